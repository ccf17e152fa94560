# A person's record as an HR API gives it: {"employeeId": "E1004", "status":
# "prehire", "startDate": "2026-12-01"}. What the record says now decides, not what
# changed.
#
# status     prehire: a joiner; terminated: a leaver, at once without a lastDay;
#            active with a lastDay: a leaver then; anything else: nothing to do
# timeZone   falls back to that of the source

def person: {employeeId: (.employeeId | tostring)};
def zone: .timeZone // $source.timeZone;

if .status == "prehire" then
  {type: "employee.joiner", subject: person.employeeId, data: {person: person, startDate: .startDate, timeZone: zone}}
elif .status == "terminated" and .lastDay == null then
  {type: "employee.leaver", subject: person.employeeId, data: {person: person, immediate: true}}
elif .status == "terminated" or (.status == "active" and .lastDay != null) then
  {type: "employee.leaver", subject: person.employeeId, data: {person: person, lastDay: .lastDay, timeZone: zone}}
else empty end
