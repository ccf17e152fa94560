# Webhooks: only the routes of the catalogue reach the function; whatever else is asked
# for the gateway answers itself. Who may post is decided by signatures, in the function.

resource "aws_apigatewayv2_integration" "this" {
  count = var.function.trigger.http == null ? 0 : 1

  api_id                 = var.api.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.this.arn
  payload_format_version = "2.0"
  timeout_milliseconds   = var.function.timeout * 1000
}

resource "aws_apigatewayv2_route" "this" {
  for_each = toset(var.function.trigger.http == null ? [] : var.function.trigger.http)

  api_id    = var.api.id
  route_key = each.value
  target    = "integrations/${aws_apigatewayv2_integration.this[0].id}"
}

resource "aws_cloudwatch_log_group" "access" {
  count = var.function.trigger.http == null ? 0 : 1

  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_apigatewayv2_stage" "this" {
  count = var.function.trigger.http == null ? 0 : 1

  api_id      = var.api.id
  name        = "$default"
  auto_deploy = true

  # The same bound as the sandboxes give: each answers in about 50 ms.
  default_route_settings {
    throttling_rate_limit  = var.concurrency * 20
    throttling_burst_limit = var.concurrency * 20
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access[0].arn
    format = jsonencode({
      time      = "$context.requestTime"
      request   = "$context.requestId"
      address   = "$context.identity.sourceIp"
      route     = "$context.routeKey"
      status    = "$context.status"
      latency   = "$context.responseLatency"
      error     = "$context.error.messageString"
      bytes     = "$context.responseLength"
      upstreams = "$context.integrationErrorMessage"
    })
  }
}

resource "aws_lambda_permission" "api" {
  count = var.function.trigger.http == null ? 0 : 1

  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${var.api.execution_arn}/*"
}

# Operators: AWS finds out who asks before the function runs.
resource "aws_lambda_function_url" "this" {
  count = var.function.trigger.url ? 1 : 0

  function_name      = aws_lambda_function.this.function_name
  authorization_type = "AWS_IAM"
  invoke_mode        = "BUFFERED"
}
