variable "name" {
  description = "Beginning of the names of everything that is made; unique in the AWS account and in the tenant."
  type        = string
  default     = "mfaflow"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,19}$", var.name))
    error_message = "name has 3 to 20 characters: a to z, 0 to 9 and -, beginning with a letter."
  }
}

variable "account_id" {
  description = "AWS account. Terraform refuses to work in another one."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is the 12 digits of an AWS account."
  }
}

variable "region" {
  description = "AWS region of the functions."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is the code of an AWS region, such as eu-central-1."
  }
}

variable "tenant_id" {
  description = "Id of the Entra tenant, whose MFA is kept in step. Not a domain: notifications of Graph name the id."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$", var.tenant_id))
    error_message = "tenant_id is a GUID in lower case."
  }
}

variable "subscription_id" {
  description = "Azure subscription of the Service Bus namespace."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$", var.subscription_id))
    error_message = "subscription_id is a GUID in lower case: az account show --query id."
  }
}

variable "location" {
  description = "Azure region of the Service Bus namespace; near the AWS region, since every event crosses both."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location is the short name of an Azure region, such as germanywestcentral: az account list-locations."
  }
}

variable "namespace" {
  description = "Name of the Service Bus namespace, unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{4,48}[a-zA-Z0-9]$", var.namespace))
    error_message = "namespace has 6 to 50 letters, digits and -, beginning with a letter, and is no host name."
  }
}

variable "packages" {
  description = "Folder of the zips, for the architecture; null is where make package wrote them."
  type        = string
  default     = null

  # Said once, and before anything is asked of a cloud.
  validation {
    condition = alltrue([for f in keys(jsondecode(file("${path.module}/functions.json")).functions) :
      fileexists("${coalesce(var.packages, "${path.module}/../dist/package/${var.architecture == "x86_64" ? "amd64" : "arm64"}")}/${f}.zip")
    ])
    error_message = "packages has no zip of some function: run make package first, from the repository."
  }
}

variable "architecture" {
  description = "Of the Lambda functions, and of the packages: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture is arm64 or x86_64."
  }
}

variable "settings" {
  description = "MFAFLOW_ settings of the functions, by function; those of \"all\" go to every function. Nothing secret: see README."
  type        = map(map(string))

  validation {
    condition     = alltrue([for f in keys(var.settings) : f == "all" || contains(keys(jsondecode(file("${path.module}/functions.json")).functions), f)])
    error_message = "settings has a key that is neither all nor a function."
  }
  validation {
    condition     = alltrue(flatten([for s in values(var.settings) : [for n in keys(s) : startswith(n, "MFAFLOW_")]]))
    error_message = "A setting begins with MFAFLOW_."
  }
  validation {
    condition = alltrue(flatten([for s in values(var.settings) : [for n in keys(s) : !contains(concat(
      ["MFAFLOW_SERVICEBUS_CONNECTION_STRING", "MFAFLOW_CLIENT_SECRET", "MFAFLOW_CLIENT_CERTIFICATE"],
      flatten([for f in values(jsondecode(file("${path.module}/functions.json")).functions) : f.secrets]),
    ), n)]]))
    error_message = "A secret belongs in Secrets Manager, not in settings: README, step 5."
  }
  validation {
    # It is renewed at half, and the alarm rings at two days.
    condition = alltrue([for s in values(var.settings) :
      can(regex("^(9[6-9]|[1-6][0-9]{2})h$", lookup(s, "MFAFLOW_SUBSCRIPTION_LIFETIME", "672h")))
    ])
    error_message = "MFAFLOW_SUBSCRIPTION_LIFETIME is from 96h to 695h, in hours: a shorter one is always about to lapse."
  }
}

variable "workers" {
  description = "How many identity-workers and identity-routers run side by side."
  type        = number
  default     = 1

  validation {
    condition     = var.workers >= 1 && var.workers <= 50 && floor(var.workers) == var.workers
    error_message = "workers is a whole number from 1 to 50."
  }
}

variable "paused" {
  description = "Switch the schedules off: webhooks are accepted and queued, and nothing is done about them."
  type        = bool
  default     = false
}

variable "locked" {
  description = "Keep the Service Bus namespace from being deleted. Off for a deployment that takes a right on a queue away, which Azure refuses under the lock: README, upgrade."
  type        = bool
  default     = true
}

variable "method_policy" {
  description = "Let mfa.method.policy events change the authentication methods policy of the tenant. The consent root has the same variable: identity-worker then has Policy.ReadWrite.AuthenticationMethod."
  type        = bool
  default     = false
}

variable "hr_bus" {
  description = "Take HR events from an EventBridge bus of its own: the accounts that may put events, and the source and detail types that are taken. Null makes no bus."
  type = object({
    accounts     = list(string)
    source       = string
    detail_types = list(string)
  })
  default = null
}

variable "operator_roles" {
  description = "ARNs of the IAM Identity Center roles of operators, without wildcards. User names there must be UPNs or mail addresses: see README. Their permission sets need what the output operator_policy says."
  type        = list(string)
  default     = []
}

variable "operators" {
  description = "Operators who sign in to the console by OpenID Connect: the issuer, the client id of the console, and names by subject (sub of their ID token)."
  type = object({
    issuer              = string
    client_id           = string
    people              = map(string)
    session_hours       = optional(number, 1)
    existing_issuer_arn = optional(string)
  })
  default = null
}

variable "client_certificates" {
  description = "Functions that prove themselves by certificate instead of federation, with the certificate as PEM. Its key goes to Secrets Manager with the other secrets."
  type        = map(string)
  default     = {}
}

variable "federation_exists" {
  description = "True when outbound web identity federation is already enabled in the AWS account. It is one switch for the whole account."
  type        = bool
  default     = false
}

variable "alarm_addresses" {
  description = "Mail addresses that are told about alarms; AWS asks each to confirm."
  type        = list(string)

  validation {
    condition     = length(var.alarm_addresses) > 0
    error_message = "An alarm that nobody hears is none: name at least one address."
  }
}

variable "log_days" {
  description = "How long logs are kept. The audit trail is in them."
  type        = number
  default     = 400

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_days)
    error_message = "log_days is one of CloudWatch's retention times, 90 or more."
  }
}

variable "tags" {
  description = "Tags of everything that can have them."
  type        = map(string)
  default     = {}
}
