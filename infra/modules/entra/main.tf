# One app registration: one function, one set of permissions, one role of AWS that it
# trusts. What it asks for is listed here; the consent root grants it.

variable "name" { type = string }

variable "issuer" {
  description = "Who signs the tokens of the role: AWS, for this account."
  type        = string
}

variable "subject" {
  description = "ARN of the role that alone may be this app."
  type        = string
}

variable "graph" {
  description = "Application permissions on Microsoft Graph."
  type        = list(string)
}

variable "certificate" {
  description = "Certificate as PEM that takes the place of federation; null federates."
  type        = string
  default     = null
}

data "azuread_application_published_app_ids" "this" {}

data "azuread_service_principal" "graph" {
  client_id = data.azuread_application_published_app_ids.this.result.MicrosoftGraph
}

resource "azuread_application" "this" {
  display_name                   = var.name
  sign_in_audience               = "AzureADMyOrg"
  prevent_duplicate_names        = true
  fallback_public_client_enabled = false

  dynamic "required_resource_access" {
    for_each = length(var.graph) > 0 ? [true] : []

    content {
      resource_app_id = data.azuread_application_published_app_ids.this.result.MicrosoftGraph

      dynamic "resource_access" {
        for_each = sort(var.graph)

        content {
          id   = data.azuread_service_principal.graph.app_role_ids[resource_access.value]
          type = "Role"
        }
      }
    }
  }
}

resource "azuread_service_principal" "this" {
  client_id = azuread_application.this.client_id
}

resource "azuread_application_federated_identity_credential" "this" {
  count = var.certificate == null ? 1 : 0

  application_id = azuread_application.this.id
  display_name   = "aws-role"
  description    = "The role of the Lambda function"
  issuer         = var.issuer
  subject        = var.subject
  audiences      = ["api://AzureADTokenExchange"]
}

resource "azuread_application_certificate" "this" {
  count = var.certificate == null ? 0 : 1

  application_id = azuread_application.this.id
  type           = "AsymmetricX509Cert"
  value          = var.certificate
}

output "client_id" {
  value = azuread_application.this.client_id
}

output "service_principal_id" {
  value = azuread_service_principal.this.object_id
}
