output "webhooks" {
  description = "Origins of the functions that take webhooks: /hr/<source>, /risk/<source>."
  value       = { for name, api in aws_apigatewayv2_api.function : name => api.api_endpoint }
}

output "operations_url" {
  description = "MFAFLOW_OPERATIONS_URL of operators."
  value       = module.function["event-replay"].url
}

output "operators_role_arn" {
  description = "Role that the console takes on for each operator."
  value       = one(module.operators[*].role_arn)
}

output "operator_policy" {
  description = "What the permission set of operators in IAM Identity Center needs."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "lambda:InvokeFunctionUrl"
        Resource  = local.event_replay_arn
        Condition = { StringEquals = { "lambda:FunctionUrlAuthType" = "AWS_IAM" } }
      },
      {
        Effect    = "Allow"
        Action    = "lambda:InvokeFunction"
        Resource  = local.event_replay_arn
        Condition = { Bool = { "lambda:InvokedViaFunctionUrl" = "true" } }
      },
    ]
  })
}

output "client_ids" {
  description = "Client ids of the app registrations, which the consent root needs."
  value       = { for name in keys(local.functions) : name => module.entra[name].client_id }
}

output "secret_arns" {
  description = "Secrets that must be filled before the functions start, with the settings each may hold."
  value       = { for name, f in local.functions : name => { arn = module.function[name].secret_arn, settings = f.secrets } if local.has_secrets[name] }
}

output "hr_bus_arn" {
  description = "Where HR puts its events."
  value       = module.function["hr-events"].bus_arn
}

output "files_bucket" {
  description = "Bucket of reports and rollback states."
  value       = aws_s3_bucket.files.bucket
}

output "servicebus_host" {
  description = "Host name of the Service Bus namespace."
  value       = module.servicebus.host
}

# For tests: what each function sees of the world.
output "environment" {
  description = "Settings of each function, none of them secret."
  value       = local.environment
}
