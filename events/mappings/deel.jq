# Deel webhooks (developer.deel.com/api/webhooks/events): data.meta.event_type and a
# resource, which is an object in the examples of the pages and an array in the text. The
# payloads of contracts carry no start date, so that they are references to the contract.
#
# Simulated deliveries carry is_simulation and come to nothing.

.data.meta as $meta
| if ($meta.event_type | type) != "string" then error("data.meta.event_type is missing")
  elif $meta.is_simulation == true or ($meta.event_type | startswith("contract.") | not) then empty
  else .data.resource | if type == "array" then .[] else . end end
| (.contract_id // .id // error("the resource has no contract id") | tostring) as $id
| {
    type: "employee.ref", subject: $id,
    data: {person: {employeeId: $id}, change: $meta.event_type, company: ($meta.organization_id | tostring)}
  }
