mock_resource "azurerm_resource_group" {
  defaults = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock" }
}
mock_resource "azurerm_servicebus_namespace" {
  defaults = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock" }
}
mock_resource "azurerm_servicebus_queue" {
  defaults = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.ServiceBus/namespaces/mock/queues/mock" }
}
mock_resource "azurerm_monitor_action_group" {
  defaults = { id = "/subscriptions/bbbbcccc-1111-4ddd-8eee-ffff00001111/resourceGroups/mock/providers/Microsoft.Insights/actionGroups/mock" }
}
