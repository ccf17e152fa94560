# One Lambda function: what it runs, what starts it, where its failures go.

resource "aws_lambda_function" "this" {
  function_name = var.name
  role          = var.role.arn

  # The binaries are static and need nothing of the image but certificates.
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.architecture]

  filename         = var.package
  source_code_hash = filebase64sha256(var.package)

  memory_size                    = var.function.memory
  timeout                        = var.function.timeout
  reserved_concurrent_executions = var.concurrency

  environment {
    variables = merge(var.environment, var.has_secrets ? { MFAFLOW_SETTINGS_SECRET = aws_secretsmanager_secret.settings[0].arn } : {})
  }

  # Text leaves lines as they were written. In the JSON format Lambda drops lines by
  # their level, and a line missing from the audit trail breaks its chain.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  lifecycle {
    precondition {
      condition     = length(jsonencode(var.environment)) < 3900
      error_message = "Lambda takes 4 KiB of settings in all: move the longest of ${var.name} to its secret, which may hold any setting."
    }
  }

  # A function that starts before it may write logs fails without a word.
  depends_on = [aws_iam_role_policy.this]
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

# What was invoked asynchronously and could not be done, by the schedule or the bus.
resource "aws_sqs_queue" "failures" {
  name                      = "${var.name}-failures"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_lambda_function_event_invoke_config" "this" {
  function_name = aws_lambda_function.this.function_name

  # A drain that failed is followed by the next one. What the bus delivered is tried again
  # until it is too old.
  maximum_retry_attempts       = var.function.trigger.events ? 2 : 0
  maximum_event_age_in_seconds = var.function.trigger.events ? 21600 : 60

  destination_config {
    on_failure {
      destination = aws_sqs_queue.failures.arn
    }
  }
}

# The secret is made empty and filled by hand, so that no state of Terraform holds it.
resource "aws_secretsmanager_secret" "settings" {
  count = var.has_secrets ? 1 : 0

  name                    = "${var.name}/settings"
  description             = "JSON object of settings of ${var.name}"
  kms_key_id              = var.key_arn
  recovery_window_in_days = 7
}

resource "aws_iam_role_policy" "this" {
  name = "function"
  role = var.role.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*"
      },
      {
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.failures.arn
      },
    ]
  })
}

# The action knows no resources; its conditions say what tokens may be.
# docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_policies.html
resource "aws_iam_role_policy" "federation" {
  count = var.federated ? 1 : 0

  name = "federation"
  role = var.role.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "sts:GetWebIdentityToken"
      Resource = "*"
      Condition = {
        "ForAllValues:StringEquals" = { "sts:IdentityTokenAudience" = "api://AzureADTokenExchange" }
        Null                        = { "sts:IdentityTokenAudience" = "false" } # ForAllValues lets none through
        StringEquals                = { "sts:SigningAlgorithm" = "RS256" }
        NumericLessThanEquals       = { "sts:DurationSeconds" = "300" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "settings" {
  count = var.has_secrets ? 1 : 0

  name = "settings"
  role = var.role.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = aws_secretsmanager_secret.settings[0].arn
      },
      {
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.key_arn
        Condition = { StringEquals = { "kms:EncryptionContext:SecretARN" = aws_secretsmanager_secret.settings[0].arn } }
      },
    ]
  })
}

resource "aws_iam_role_policy" "files" {
  count = var.files == null ? 0 : 1

  name = "files"
  role = var.role.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([for below in var.files.writes == null ? [] : [var.files.writes] : {
      Effect   = "Allow"
      Action   = "s3:PutObject"
      Resource = "${var.files.bucket_arn}/${var.files.prefix}/${below}*"
      }], [
      {
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${var.files.bucket_arn}/${var.files.prefix}/*"
      },
      {
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = var.files.bucket_arn
        Condition = { StringLike = { "s3:prefix" = "${var.files.prefix}/*" } }
      },
      {
        # With a bucket key the context is the bucket's ARN, not the object's.
        Effect    = "Allow"
        Action    = var.files.writes == null ? ["kms:Decrypt"] : ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = var.key_arn
        Condition = { StringEquals = { "kms:EncryptionContext:aws:s3:arn" = var.files.bucket_arn } }
      },
    ])
  })
}
