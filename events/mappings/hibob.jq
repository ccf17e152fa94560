# HiBob webhooks v2 (apidocs.hibob.com/reference/employee-data-webhooks): ids and what
# happened, no values. employee.joined and employee.left come at midnight of the day, the
# lifecycle table when somebody enters it: only with the table is a joiner known in time.
#
# Of the tables only lifecycle and employment say who starts and who leaves. A deleted
# entry has no event of its own (same page); employee.updated follows it, and the record
# says what is left. The address is tried with "Ping test" before anything is sent.
#
# triggeredAt names no zone, so the time is that of the receipt.

def ping: . == "Ping test" or (type == "object" and keys == ["text"]);

if ping then empty
elif type != "object" or (.type | type) != "string" then error("type is missing")
elif (.type | startswith("employee.") or startswith("table.entry.")) and (.data.employeeId | type) != "string" then error("data.employeeId is missing")
else
  . as $in
  | {person: {employeeId: .data.employeeId}} as $employee
  | if .type == "employee.deleted" then {type: "employee.cancelled", data: ($employee + {cancels: "joiner"})}
    elif (.type | startswith("table.entry.")) and .data.tableId != "lifecycle" and .data.tableId != "employment" then empty
    elif .type | startswith("employee.") or startswith("table.entry.") then
      {type: "employee.ref", data: ($employee + {change: .type, company: (.companyId | tostring)})}
    else empty end
  | .subject = $in.data.employeeId
end
