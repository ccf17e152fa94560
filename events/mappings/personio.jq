# Personio webhooks v2 (developer.personio.de/reference/webhooks): company_id, event_name,
# occurred_at and payload. Subscribe person.created, person.deleted and employment.*:
# employment.started and employment.terminated come on the day itself.
#
# Personio publishes the envelope and no example of a payload. The forms read here are an
# object of the person or its id beside the employment, and the person itself; what has
# neither is parked, so that one line here puts it right.

def person:
  .payload as $p
  | [$p.person.id?, $p.person_id?, $p.employment.person.id?, $p.data.person.id?,
      (if .event_name | startswith("person.") then $p.id?, $p.data.id? else empty end)]
  | map(select(. != null))
  | if length == 0 then error("payload names no person") else .[0] | tostring end;

if (.event_name | type) != "string" then error("event_name is missing")
elif .event_name == "person.deleted" then {type: "employee.cancelled", data: {person: {employeeId: person}, cancels: "joiner"}}
elif (.event_name | startswith("person.") or startswith("employment.")) then
  {type: "employee.ref", data: {person: {employeeId: person}, change: .event_name, company: (.company_id | tostring)}}
else null end as $event
| if $event == null then empty else $event + {subject: person, time: .occurred_at} end
