# Grants the app registrations the permissions on Microsoft Graph that functions.json
# lists. It is a root of its own because it needs other rights than the rest: whoever
# applies it lets programs into the whole tenant, and should do nothing else that day.

terraform {
  required_version = ">= 1.11"

  required_providers {
    azuread = {
      source  = "hashicorp/azuread"
      version = "~> 3.7"
    }
  }

  backend "local" {}
}

variable "tenant_id" {
  description = "Id of the Entra tenant."
  type        = string
}

variable "client_ids" {
  description = "The output client_ids of the deployment: client id by function."
  type        = map(string)

  validation {
    condition     = toset(keys(var.client_ids)) == toset(keys(jsondecode(file("${path.module}/../functions.json")).functions))
    error_message = "client_ids has not the functions of functions.json: take the output of this version's deployment."
  }
}

variable "mail_sender" {
  description = "Mailbox that sends passes and flags, MFAFLOW_MAIL_SENDER."
  type        = string
}

variable "method_policy" {
  description = "As in the deployment: events may change the authentication methods policy."
  type        = bool
  default     = false
}

provider "azuread" {
  tenant_id = var.tenant_id
}

locals {
  functions = jsondecode(file("${path.module}/../functions.json")).functions
  grants = {
    for pair in flatten([for name, f in local.functions : [for p in concat(f.graph, var.method_policy ? try(f.methodPolicy.graph, []) : []) : { function = name, permission = p }]]) :
    "${pair.function} ${pair.permission}" => pair
  }
}

data "azuread_application_published_app_ids" "this" {}

data "azuread_service_principal" "graph" {
  client_id = data.azuread_application_published_app_ids.this.result.MicrosoftGraph
}

data "azuread_service_principal" "function" {
  for_each = var.client_ids

  client_id = each.value
}

resource "azuread_app_role_assignment" "this" {
  for_each = local.grants

  app_role_id         = data.azuread_service_principal.graph.app_role_ids[each.value.permission]
  principal_object_id = data.azuread_service_principal.function[each.value.function].object_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}

# Mail.Send granted here would be for every mailbox of the tenant. Exchange grants it for
# one, and knows no Terraform:
# learn.microsoft.com/exchange/permissions-exo/application-rbac
output "exchange" {
  description = "What an Exchange administrator runs in Exchange Online PowerShell, so that mail is sent from one mailbox only."
  value = join("\n", concat(
    ["New-ManagementScope -Name 'mfaflow sender' -RecipientRestrictionFilter \"PrimarySmtpAddress -eq '${var.mail_sender}'\""],
    flatten([for name, f in local.functions : [
      "New-ServicePrincipal -AppId ${var.client_ids[name]} -ObjectId ${data.azuread_service_principal.function[name].object_id} -DisplayName 'mfaflow ${name}'",
      [for p in f.exchange : "New-ManagementRoleAssignment -Name 'mfaflow ${name} ${p}' -App ${data.azuread_service_principal.function[name].object_id} -Role 'Application ${p}' -CustomResourceScope 'mfaflow sender'"],
      "Test-ServicePrincipalAuthorization -Identity ${data.azuread_service_principal.function[name].object_id} -Resource ${var.mail_sender}",
    ] if length(f.exchange) > 0]),
  ))
}
