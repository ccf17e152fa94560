# SAP SuccessFactors: an Intelligent Services event starts an Integration Center
# integration with a REST destination, whose JSON the customer composes field by field.
# This is the composition that we propose, the event as a constant of each integration:
#
#   {
#     "event": "Hire",
#     "eventReason": "HIRNEW",
#     "lastModifiedDateTime": "2026-11-23T09:12:44Z",
#     "personIdExternal": "80412", "userId": "80412",
#     "empEmployment": {"startDate": "2026-12-01T00:00:00", "endDate": null, "lastDateWorked": null, "originalStartDate": null}
#   }
#
# The names are those of the OData entities PerPerson and EmpEmployment, the events those of
# the picklist (Hire H, Rehire R, Termination 26, Transfer 6, Job Change 16: SAP note
# 2617429). endDate is the last day of the employment. SuccessFactors has no event for a
# termination that was taken back: the integration that runs when a terminated employment
# is deleted sends "Termination Cancelled", and "Hire Cancelled" likewise.

def date: if . == null or . == "" then null elif test("^/Date\\(-?[0-9]+") then (capture("(?<ms>-?[0-9]+)").ms | tonumber / 1000 | todate)[:10] else .[:10] end;

.empEmployment as $e
| ((.personIdExternal // .userId // error("personIdExternal is missing")) | tostring) as $id
| {person: {employeeId: $id}} as $who
| ($e.lastDateWorked | date // ($e.endDate | date)) as $last
| ({"Hire": "joiner", "H": "joiner", "Rehire": "rehire", "R": "rehire", "Start Contingent Worker": "joiner", "SCWK": "joiner",
    "Termination": "leaver", "26": "leaver", "End Contingent Worker": "leaver", "ECWK": "leaver",
    "Transfer": "mover", "6": "mover", "Job Change": "mover", "16": "mover", "Promotion": "mover", "8": "mover",
    "Hire Cancelled": "no joiner", "Termination Cancelled": "no leaver"}[.event | tostring] // "other") as $kind
| if (.event | type) != "string" then error("event is missing")
  elif $kind == "other" then empty
  elif $kind == "no joiner" or $kind == "no leaver" then {type: "employee.cancelled", data: ($who + {cancels: $kind[3:]})}
  elif $kind == "leaver" then {type: "employee.leaver", data: ($who + {lastDay: $last, timeZone: $source.timeZone})}
  elif $kind == "mover" then
    {type: "employee.mover", data: ($who + {role: .jobTitle, department: .department} | del(.[] | nulls))}
  else {type: ("employee." + $kind), data: ($who + {startDate: ($e.startDate | date), timeZone: $source.timeZone})} end as $event
| $event + {subject: $id} + (if .lastModifiedDateTime == null then {} else {time: .lastModifiedDateTime} end)
