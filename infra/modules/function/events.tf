# Events of HR that come over EventBridge. Who may put them is the resource policy of the
# bus, which takes the place of a signature.

resource "aws_cloudwatch_event_bus" "this" {
  count = var.bus == null ? 0 : 1

  name = var.name
}

resource "aws_cloudwatch_event_bus_policy" "this" {
  count = var.bus == null ? 0 : 1

  event_bus_name = aws_cloudwatch_event_bus.this[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "HR"
      Effect    = "Allow"
      Principal = { AWS = var.bus.accounts }
      Action    = "events:PutEvents"
      Resource  = aws_cloudwatch_event_bus.this[0].arn
      Condition = { StringEquals = { "events:source" = var.bus.source, "events:detail-type" = var.bus.detail_types } }
    }]
  })
}

resource "aws_cloudwatch_event_rule" "this" {
  count = var.bus == null ? 0 : 1

  name           = var.name
  event_bus_name = aws_cloudwatch_event_bus.this[0].name
  event_pattern  = jsonencode({ source = [var.bus.source], "detail-type" = var.bus.detail_types })
}

resource "aws_cloudwatch_event_target" "this" {
  count = var.bus == null ? 0 : 1

  rule           = aws_cloudwatch_event_rule.this[0].name
  event_bus_name = aws_cloudwatch_event_bus.this[0].name
  arn            = aws_lambda_function.this.arn

  retry_policy {
    maximum_retry_attempts       = 185
    maximum_event_age_in_seconds = 86400
  }

  dead_letter_config {
    arn = aws_sqs_queue.failures.arn
  }
}

resource "aws_lambda_permission" "bus" {
  count = var.bus == null ? 0 : 1

  statement_id  = "bus"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.this[0].arn
}

# EventBridge writes to the queue itself; it has no role.
resource "aws_sqs_queue_policy" "bus" {
  count = var.bus == null ? 0 : 1

  queue_url = aws_sqs_queue.failures.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Undelivered"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.failures.arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.this[0].arn } }
    }]
  })
}
