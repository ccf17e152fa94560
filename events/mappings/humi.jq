# Humi partner webhooks. Point the topics employee.created and employee.terminated
# at this source and no other: the payload does not name its topic, and that of
# employee.deleted looks like that of employee.created.
#
# The directory keeps Humi's id of the employee as employeeId. account.email is not
# used: until the first day it may be a private address, and every identifier that
# an event names must agree with the account.

.employee as $e
| {
    subject: $e.id,
    time: (.timestamp | todate),
    data: {person: {employeeId: $e.id}, timeZone: $source.timeZone}
  }
| if $e.status == "terminated" then
    .type = "employee.leaver" | .data.lastDay = ($e.end_date // $e.terminated_on)
  elif $e.status == "active" then
    .type = "employee.joiner" | .data.startDate = $e.start_date
  else
    error("employee.status is neither active nor terminated")
  end
