output "arn" {
  value = aws_lambda_function.this.arn
}

output "function_name" {
  value = aws_lambda_function.this.function_name
}

output "url" {
  description = "Function URL, null without one."
  value       = one(aws_lambda_function_url.this[*].function_url)
}

output "secret_arn" {
  description = "Secret of further settings, null without one."
  value       = one(aws_secretsmanager_secret.settings[*].arn)
}

output "bus_arn" {
  value = one(aws_cloudwatch_event_bus.this[*].arn)
}

output "log_group" {
  value = aws_cloudwatch_log_group.this.name
}

output "failures_queue" {
  value = aws_sqs_queue.failures.name
}
