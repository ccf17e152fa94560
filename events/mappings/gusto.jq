# Gusto webhooks (docs.gusto.com/app-integrations/docs/employee-events): the event and the
# uuid of the employee. Terminations and rehires are announced when they are entered, when
# they take effect and when they are cancelled; the record says what holds.
#
# Only somebody who is still onboarding can be deleted, so that a start is withdrawn.

.entity_uuid as $id
| if (.event_type | type) != "string" then error("event_type is missing")
  elif .entity_type != "Employee" or (.event_type | startswith("employee.") | not) then empty
  elif ($id | type) != "string" then error("entity_uuid is missing")
  elif .event_type == "employee.deleted" then {type: "employee.cancelled", data: {person: {employeeId: $id}, cancels: "joiner"}, at: .timestamp}
  elif .event_type == "employee.invited_to_partner_portal" then empty
  else {type: "employee.ref", data: {person: {employeeId: $id}, change: .event_type, company: .resource_uuid}, at: .timestamp} end
| .subject = $id
| .time = (.at | todate)
| del(.at)
