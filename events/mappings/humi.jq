# Humi partner webhooks. Point the topics employee.created and employee.terminated
# at this source and no other: the payload does not name its topic, and that of
# employee.deleted looks like that of employee.created.
#
# Humi's own id of the employee is taken for the employeeId of the directory.

def given: select(. != null and . != "");

.employee as $e
| {
    subject: $e.id,
    time: (.timestamp | todate),
    data: {
      person: ({employeeId: $e.id} + ({mail: (.account.email | given)} // {})),
      timeZone: $source.timeZone
    }
  }
| if $e.status == "terminated" then
    .type = "employee.leaver" | .data.lastDay = ($e.end_date // $e.terminated_on)
  elif $e.status == "active" then
    .type = "employee.joiner" | .data.startDate = $e.start_date
  else
    error("employee.status is neither active nor terminated")
  end
