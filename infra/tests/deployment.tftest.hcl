# The whole deployment of example.tfvars, with mock providers: nothing is reached, and what
# the clouds would have chosen is made up in mocks/. make infra runs it, and
# pkg/infratest reads what came of it.

mock_provider "aws" {
  source = "./tests/mocks/aws"
}

mock_provider "azurerm" {
  source = "./tests/mocks/azurerm"
}

mock_provider "azuread" {
  source = "./tests/mocks/azuread"
}

# Each queue has an id of its own, so that a role on the wrong one shows.
override_resource {
  target = module.servicebus.azurerm_servicebus_queue.this["inbound"]
  values = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock/queues/inbound" }
}

override_resource {
  target = module.servicebus.azurerm_servicebus_queue.this["lanes"]
  values = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock/queues/lanes" }
}

override_resource {
  target = module.servicebus.azurerm_servicebus_queue.this["flags"]
  values = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock/queues/flags" }
}

override_resource {
  target = module.servicebus.azurerm_servicebus_queue.this["quarantine"]
  values = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock/queues/quarantine" }
}

override_resource {
  target = module.servicebus.azurerm_servicebus_queue.this["control"]
  values = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock/queues/control" }
}

variables {
  packages = "tests/packages"
}

run "deployment" {
  command = apply

  assert {
    condition     = toset(keys(output.webhooks)) == toset(["graph-notifications", "hr-events", "risk-signals"])
    error_message = "Other functions than those that take webhooks have a public address."
  }

  assert {
    condition     = alltrue([for s in jsondecode(output.operator_policy).Statement : can(s.Condition)])
    error_message = "Operators may invoke event-replay past its URL."
  }

  assert {
    condition     = output.environment["tenant-sweep"].MFAFLOW_NOTIFICATION_URL == output.webhooks["graph-notifications"]
    error_message = "Graph would be told another address than that of graph-notifications."
  }

  assert {
    condition     = output.servicebus_host == "mfaflow-contoso.servicebus.windows.net"
    error_message = "The functions would look for another namespace."
  }
}
