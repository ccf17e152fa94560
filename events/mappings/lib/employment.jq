# What a person's employment, as an HR system has it now, amounts to: statements of
# the catalogue. A mapping of records begins with include "employment"; brings the
# record into the form below and ends with employment.
#
# input   {employeeId, status, startDate, lastDay, returns, previousLastDay, timeZone}:
#         status is prehire, active or terminated; dates are calendar dates or null;
#         returns is true for somebody who was or is here before the start date, until
#         previousLastDay; timeZone falls back to that of the source
#
# What the record says now decides, not what changed, and so it is told again with
# every change: who neither starts nor leaves is told as a leaving that was taken back,
# or the leaver of yesterday's record would still be shut out.

# The zones of the world differ by at most a day from that of $receivedAt (UTC).
def yesterday: ($receivedAt[:19] + "Z" | fromdate - 86400 | todate)[:10];

# A date of an API: null, "" and zeros are no date, a time of day is not meant.
def date:
  if . == null or . == "" or . == "0000-00-00" then null
  elif type == "string" then .[:10]
  else error("a date is neither text nor null") end;

def employment:
  if .employeeId == null or .employeeId == "" then error("the record has no id") else . end
  | (.employeeId | tostring) as $id
  | (.timeZone // $source.timeZone) as $zone
  # A last day before the first is that of an earlier employment.
  | (.lastDay != null and .startDate != null and .lastDay < .startDate) as $before
  | (if $before then .previousLastDay = .lastDay | .lastDay = null | .returns = true else . end)
  | (.status == "prehire" or (.startDate != null and .startDate >= yesterday)) as $starts
  | def statement($type; $data): {type: ("employee." + $type), subject: $id, data: ({person: {employeeId: $id}} + $data)};
    def leaver($day): if $day == null then statement("leaver"; {immediate: true})
      else statement("leaver"; {lastDay: $day, timeZone: $zone}) end;
    if .status != "prehire" and .status != "active" and .status != "terminated" then
      error("the status is neither prehire, active nor terminated")
    elif $starts and (.status != "terminated" or $before) then
      statement(if .returns == true then "rehire" else "joiner" end; {startDate: .startDate, timeZone: $zone}),
      if .previousLastDay != null and .previousLastDay >= yesterday then leaver(.previousLastDay)
      elif .lastDay != null then leaver(.lastDay)
      else empty end
    elif .status == "terminated" then leaver(.lastDay)
    elif .lastDay == null then statement("cancelled"; {cancels: "leaver"})
    elif .lastDay >= yesterday then leaver(.lastDay)
    else error("the last day is over and the status still active") end;
