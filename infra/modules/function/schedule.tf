# Work that comes by itself. A schedule starts one sandbox, so one is made for each that
# may run; a drain ends before the next begins.

locals {
  schedules = var.function.trigger.schedule == null ? 0 : var.concurrency
}

resource "aws_scheduler_schedule_group" "this" {
  count = local.schedules > 0 ? 1 : 0

  name = var.name
}

resource "aws_scheduler_schedule" "this" {
  count = local.schedules

  name                         = "${var.name}-${count.index + 1}"
  group_name                   = aws_scheduler_schedule_group.this[0].name
  schedule_expression          = var.function.trigger.schedule
  schedule_expression_timezone = "UTC"
  state                        = var.paused ? "DISABLED" : "ENABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.this.arn
    role_arn = aws_iam_role.scheduler[0].arn

    retry_policy {
      maximum_retry_attempts       = 0
      maximum_event_age_in_seconds = 60
    }

    dead_letter_config {
      arn = aws_sqs_queue.failures.arn
    }
  }
}

resource "aws_iam_role" "scheduler" {
  count = local.schedules > 0 ? 1 : 0

  name = "${var.name}-scheduler"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceArn" = aws_scheduler_schedule_group.this[0].arn } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  count = local.schedules > 0 ? 1 : 0

  name = "invoke"
  role = aws_iam_role.scheduler[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "lambda:InvokeFunction"
        Resource = aws_lambda_function.this.arn
      },
      {
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.failures.arn
      },
    ]
  })
}
