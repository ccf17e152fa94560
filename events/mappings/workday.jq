# Workday has no webhooks of its own: a step of a business process starts an Orchestrate
# flow or a Studio integration, which posts what the customer composes. This is the
# composition that we propose; Orchestrate's JSON step makes it from the event:
#
#   {
#     "businessProcess": "Hire", "status": "Successfully Completed",
#     "completedOn": "2026-11-23T09:12:44.120-08:00",
#     "worker": {"employeeId": "21508", "hireDate": "2026-12-01", "originalHireDate": "2026-12-01",
#                "terminationDate": null, "lastDayOfWork": null},
#     "position": {"businessTitle": "Planner", "supervisoryOrganization": "Logistics", "effectiveDate": "2026-12-01"}
#   }
#
# Employee_ID, Hire_Date, Original_Hire_Date, Termination_Date and Last_Day_of_Work are
# fields of Workday's Staffing service; Hire, Terminate Employee and Change Job are its
# business processes; a completed one can be corrected, which states it anew, or rescinded,
# which takes it back (documentation.sailpoint.com/connectors/workday, "Rescinded and
# corrected user records"). Processes that are still under way say nothing yet.

def date: if . == null or . == "" then null else .[:10] end;

.worker as $w
| ($w.employeeId // error("worker.employeeId is missing") | tostring) as $id
| {person: {employeeId: $id}} as $who
| ({"Hire": "start", "Contract Contingent Worker": "start", "Terminate Employee": "end", "End Contingent Worker Contract": "end",
    "Change Job": "move", "Transfer Employee": "move", "Promote Employee": "move"}[.businessProcess] // "other") as $kind
| (if $w.lastDayOfWork == null then $w.terminationDate else $w.lastDayOfWork end | date) as $last
| if $kind == "other" then empty
  elif .status == "Rescinded" and $kind == "move" then empty
  elif .status == "Rescinded" then
    {type: "employee.cancelled", data: ($who + {cancels: (if $kind == "start" then "joiner" else "leaver" end)})}
  elif .status == "Canceled" or .status == "In Progress" or .status == "Denied" or .status == "Saved for Later" then empty
  elif .status != "Successfully Completed" and .status != "Corrected" then error("the status of the business process is unknown")
  elif $kind == "start" then
    ($w.originalHireDate != null and $w.originalHireDate != "" and ($w.originalHireDate | date) < ($w.hireDate | date)) as $returns
    | {
        type: (if $returns then "employee.rehire" elif .status == "Corrected" then "employee.start-date-changed" else "employee.joiner" end),
        data: ($who + {startDate: ($w.hireDate | date), timeZone: $source.timeZone})
      }
  elif $kind == "end" then
    {
      type: (if .status == "Corrected" then "employee.last-day-changed" else "employee.leaver" end),
      data: ($who + {lastDay: $last, timeZone: $source.timeZone})
    }
  else
    {
      type: "employee.mover",
      data: ($who + {role: .position.businessTitle, department: .position.supervisoryOrganization, effectiveDate: (.position.effectiveDate | date), timeZone: $source.timeZone})
    }
  end as $event
| $event + {subject: $id} + (if .completedOn == null then {} else {time: .completedOn} end)
