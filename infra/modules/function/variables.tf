variable "name" {
  description = "Name of the Lambda function."
  type        = string
}

variable "function" {
  description = "The function's entry in functions.json."
  type = object({
    trigger = object({
      http     = optional(list(string))
      schedule = optional(string)
      events   = optional(bool, false)
      url      = optional(bool, false)
    })
    memory  = number
    timeout = number
  })

  validation {
    condition     = length([for used in [var.function.trigger.http != null, var.function.trigger.schedule != null, var.function.trigger.url] : used if used]) == 1
    error_message = "A function has one of the triggers http, schedule and url."
  }
}

variable "concurrency" {
  description = "Sandboxes at most, which are also reserved. A schedule starts as many."
  type        = number

  validation {
    condition     = var.concurrency >= 1
    error_message = "Without a bound a flood of webhooks takes every other function's sandboxes."
  }
}

variable "paused" {
  description = "Whether the schedule is switched off."
  type        = bool
  default     = false
}

variable "role" {
  description = "Role that the function runs as."
  type        = object({ id = string, arn = string })
}

variable "package" {
  description = "Zip with the executable bootstrap."
  type        = string
}

variable "architecture" {
  type = string
}

variable "environment" {
  description = "Settings, none of them secret."
  type        = map(string)
}

variable "has_secrets" {
  description = "Whether settings of the function lie in Secrets Manager."
  type        = bool
}

variable "federated" {
  description = "Whether the function proves itself to Entra with a token of AWS."
  type        = bool
}

variable "api" {
  description = "HTTP API of a function with the trigger http."
  type        = object({ id = string, execution_arn = string, api_endpoint = string })
  default     = null
}

variable "bus" {
  description = "EventBridge bus to make for the function."
  type        = object({ accounts = list(string), source = string, detail_types = list(string) })
  default     = null
}

variable "files" {
  description = "Under which prefix the function reads files, and below what of it it writes them; null writes none."
  type        = object({ bucket_arn = string, prefix = string, writes = optional(string) })
  default     = null
}

variable "key_arn" {
  description = "Key that encrypts logs, secrets and files."
  type        = string
}

variable "log_days" {
  type = number
}
