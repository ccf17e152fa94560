# The one store of events and of the state of lanes.

variable "name" { type = string }
variable "namespace" { type = string }
variable "location" { type = string }
variable "tags" { type = map(string) }

variable "queues" {
  description = "Queues of functions.json."
  type        = map(object({ sessions = bool }))
}

variable "receivers" {
  description = "Queues that each function takes messages and session state from."
  type        = map(list(string))
}

variable "senders" {
  description = "Queues that each function sends to."
  type        = map(list(string))
}

variable "principals" {
  description = "Object id of each function's service principal."
  type        = map(string)
}

variable "alarm_addresses" { type = list(string) }

variable "locked" {
  description = "Keep the namespace from being deleted, which keeps rights on its queues from being taken away as well."
  type        = bool
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
  tags     = var.tags
}

resource "azurerm_servicebus_namespace" "this" {
  name                = var.namespace
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = var.tags

  # Standard has sessions, duplicate detection and scheduling. What Premium has beyond
  # that, private endpoints first, costs about 70 times as much.
  sku                 = "Standard"
  minimum_tls_version = "1.2"

  # No shared access signatures: nothing but a token of Entra opens a queue.
  local_auth_enabled = false
}

resource "azurerm_servicebus_queue" "this" {
  for_each = var.queues

  name         = each.key
  namespace_id = azurerm_servicebus_namespace.this.id

  # Sessions and duplicate detection cannot be changed later: Azure makes a new queue.
  requires_session                        = each.value.sessions
  requires_duplicate_detection            = true
  duplicate_detection_history_time_window = "P7D"

  lock_duration         = "PT1M"
  max_delivery_count    = 50
  max_size_in_megabytes = 5120

  # Messages have no end: default_message_ttl is left out, which is forever. A deferred
  # event that expired would be a leaver who is never blocked. If an end is ever set by
  # hand, what it takes is still seen.
  dead_lettering_on_message_expiration = true
}

locals {
  roles = merge(
    { for pair in flatten([for f, queues in var.receivers : [for q in queues : { function = f, queue = q }]]) :
    "${pair.function} receives from ${pair.queue}" => merge(pair, { role = "Azure Service Bus Data Receiver" }) },
    { for pair in flatten([for f, queues in var.senders : [for q in queues : { function = f, queue = q }]]) :
    "${pair.function} sends to ${pair.queue}" => merge(pair, { role = "Azure Service Bus Data Sender" }) },
  )
}

resource "azurerm_role_assignment" "this" {
  for_each = local.roles

  scope                            = azurerm_servicebus_queue.this[each.value.queue].id
  role_definition_name             = each.value.role
  principal_id                     = var.principals[each.value.function]
  principal_type                   = "ServicePrincipal"
  skip_service_principal_aad_check = true # it was made a moment ago
}

# A queue that is deleted takes every waiting event and the state of every lane along. The lock
# keeps rights on queues from being taken away, too.
resource "azurerm_management_lock" "this" {
  count = var.locked ? 1 : 0

  name       = "${var.name}-events"
  scope      = azurerm_servicebus_namespace.this.id
  lock_level = "CanNotDelete"
  notes      = "Holds every event that waits and the state of every lane."

  depends_on = [azurerm_servicebus_queue.this, azurerm_role_assignment.this]
}

resource "azurerm_monitor_action_group" "this" {
  name                = "${var.name}-alarms"
  resource_group_name = azurerm_resource_group.this.name
  short_name          = substr(var.name, 0, 12)
  tags                = var.tags

  dynamic "email_receiver" {
    for_each = toset(var.alarm_addresses)

    content {
      name                    = email_receiver.value
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

locals {
  # A function takes what comes to these.
  drained = ["inbound", "lanes", "flags", "control"]

  # The broker's own counts: they are right even when no function runs.
  counted = {
    "dead-letters" = {
      says   = "An event could not be done", metric = "DeadletteredMessages", aggregation = "Maximum", above = 0, window = "PT5M"
      queues = sort(keys(var.queues)), anchor = "an-event-is-dead-lettered"
    }
    # Nobody takes these but an operator.
    "quarantine" = {
      says   = "Something lies in quarantine for a quarter of a day", metric = "ActiveMessages", aggregation = "Minimum", above = 0, window = "PT6H"
      queues = ["quarantine"], anchor = "something-lies-in-quarantine"
    }
    "broker-errors" = {
      says   = "The broker throttles", metric = "ThrottledRequests", aggregation = "Total", above = 0, window = "PT15M"
      queues = [], anchor = "the-broker-refuses"
    }
  }
}

resource "azurerm_monitor_metric_alert" "this" {
  for_each = local.counted

  name                = "${var.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  scopes              = [azurerm_servicebus_namespace.this.id]
  description         = "${each.value.says}. Runbook: infra/README.md#${each.value.anchor}"
  severity            = 2
  frequency           = "PT5M"
  window_size         = each.value.window
  tags                = var.tags

  criteria {
    metric_namespace = "Microsoft.ServiceBus/namespaces"
    metric_name      = each.value.metric
    aggregation      = each.value.aggregation
    operator         = "GreaterThan"
    threshold        = each.value.above

    # Of the whole namespace where no queues are named.
    dynamic "dimension" {
      for_each = length(each.value.queues) > 0 ? [each.value.queues] : []

      content {
        name     = "EntityName"
        operator = "Include"
        values   = dimension.value
      }
    }
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

# The number of active messages tells nothing here: deferred ones are among them, which are the
# events that wait on purpose and the flags that are open. If messages come for an hour and none
# goes out, nobody takes them. Azure takes one value of a dimension where there are several
# criteria, hence an alarm for each queue.
resource "azurerm_monitor_metric_alert" "untaken" {
  for_each = toset(local.drained)

  name                = "${var.name}-${each.key}-untaken"
  resource_group_name = azurerm_resource_group.this.name
  scopes              = [azurerm_servicebus_namespace.this.id]
  description         = "Events of ${each.key} are not taken. Runbook: infra/README.md#events-are-not-taken"
  severity            = 2
  frequency           = "PT5M"
  window_size         = "PT1H"
  tags                = var.tags

  dynamic "criteria" {
    for_each = { IncomingMessages = { operator = "GreaterThan", threshold = 0 }, OutgoingMessages = { operator = "LessThan", threshold = 1 } }

    content {
      metric_namespace = "Microsoft.ServiceBus/namespaces"
      metric_name      = criteria.key
      aggregation      = "Total"
      operator         = criteria.value.operator
      threshold        = criteria.value.threshold

      dimension {
        name     = "EntityName"
        operator = "Include"
        values   = [each.key]
      }
    }
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

output "host" {
  description = "Host name of the namespace."
  value       = "${azurerm_servicebus_namespace.this.name}.servicebus.windows.net"
}
