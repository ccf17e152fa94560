# Operators who sign in to the console by OpenID Connect. AWS checks their ID token, and
# the name of the session is the token's subject: without that condition an operator could
# take another one's name.

variable "name" { type = string }

variable "issuer" {
  description = "Issuer as its discovery document writes it."
  type        = string

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(/[A-Za-z0-9._~/-]*)?$", var.issuer))
    error_message = "issuer is an https URL without port, query and fragment."
  }
}

variable "client_id" {
  description = "Client id of the console at the issuer, which is aud of its ID tokens."
  type        = string

  validation {
    condition     = length(var.client_id) > 0
    error_message = "Without a client id every app of the issuer could sign operators in."
  }
}

variable "people" {
  description = "Names of operators, by subject. A subject must do as the name of a session."
  type        = map(string)

  validation {
    condition     = length(var.people) > 0 && alltrue([for s in keys(var.people) : can(regex("^[\\w+=,.@-]{2,64}$", s))])
    error_message = "people has 2 to 64 characters of letters, digits and _+=,.@- for every subject; AWS takes no other name of a session."
  }
  validation {
    # A trust policy has 2048 characters: each subject in quotes with a comma, and some 600 around them.
    condition     = length(join("", keys(var.people))) + 3 * length(var.people) <= 1400
    error_message = "people has more or longer subjects than fit into the role's trust policy: 30 of 43 characters do."
  }
  validation {
    condition     = length(distinct(values(var.people))) == length(var.people) && alltrue([for n in values(var.people) : can(regex("^[^@ ]+@[^@ ]+$", n))])
    error_message = "people has a name such as ada@contoso.com for every subject, and no name twice: two-person approval tells operators apart by it."
  }
}

variable "session_hours" {
  description = "How long a session lasts at most."
  type        = number
  default     = 1

  validation {
    condition     = var.session_hours >= 1 && var.session_hours <= 12
    error_message = "session_hours is 1 to 12."
  }
}

variable "existing_issuer_arn" {
  description = "ARN of the OIDC provider when the account has one for the issuer already; it must know the client id."
  type        = string
  default     = null
}

variable "function_arn" {
  description = "ARN of event-replay."
  type        = string
}

locals {
  # Condition keys of the provider begin with its URL without the scheme.
  host = trimprefix(var.issuer, "https://")
}

resource "aws_iam_openid_connect_provider" "this" {
  count = var.existing_issuer_arn == null ? 1 : 0

  url            = var.issuer
  client_id_list = [var.client_id]
}

resource "aws_iam_role" "this" {
  name                 = var.name
  max_session_duration = var.session_hours * 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = var.existing_issuer_arn != null ? var.existing_issuer_arn : aws_iam_openid_connect_provider.this[0].arn }
      Condition = {
        StringEquals = {
          "${local.host}:aud"   = var.client_id
          "${local.host}:sub"   = sort(keys(var.people))
          "sts:RoleSessionName" = "$${${local.host}:sub}"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "event-replay"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "lambda:InvokeFunctionUrl"
        Resource  = var.function_arn
        Condition = { StringEquals = { "lambda:FunctionUrlAuthType" = "AWS_IAM" } }
      },
      {
        # Past its URL anybody could claim to be anybody:
        # docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        Effect    = "Allow"
        Action    = "lambda:InvokeFunction"
        Resource  = var.function_arn
        Condition = { Bool = { "lambda:InvokedViaFunctionUrl" = "true" } }
      },
    ]
  })
}

output "role_arn" {
  value = aws_iam_role.this.arn
}

output "named" {
  description = "MFAFLOW_NAMED_OPERATORS of event-replay."
  value       = jsonencode({ (aws_iam_role.this.arn) = var.people })
}
