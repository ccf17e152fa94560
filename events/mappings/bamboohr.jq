# BambooHR event-based webhooks (documentation.bamboohr.com/docs/event-based-webhooks):
# they name the employee and what changed, and no value.
#
# A leaver comes as employee.updated, as any other change does; the record says what it
# is. A deleted record is one that should never have been: its start is withdrawn, and
# nobody is shut out.

# "2026-01-31T18:42:00+0000": RFC 3339 has a colon in the offset.
def time: if test("[+-][0-9]{4}$") then .[:-2] + ":" + .[-2:] else . end;

if (.type | type) != "string" then error("type is missing: choose event-based webhooks, not field-based ones") else . end
| . as $in
| {employee: {person: {employeeId: (.data.employeeId | tostring)}}} as {$employee}
| {subject: $employee.person.employeeId, time: (.timestamp | time)}
| if ($in.data.employeeId | type) != "string" and ($in.data.employeeId | type) != "number" then error("data.employeeId is missing")
  elif $in.type == "employee.created" or $in.type == "employee.updated" then
    .type = "employee.ref" | .data = $employee + {change: $in.type, company: ($in.data.companyId | tostring)}
  elif $in.type == "employee.deleted" then
    .type = "employee.cancelled" | .data = $employee + {cancels: "joiner"}
  else empty end
