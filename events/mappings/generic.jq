# A flat object, or an array of them, for tools that can post JSON but not build a
# CloudEvent: {"type": "joiner", "employeeId": "E1004", "startDate": "2026-12-01"}.
#
# type       joiner, leaver, ... or the full name; id, time and subject are optional
# person     employeeId, userPrincipalName, mail, objectId: at least one
# the rest   data of the type as it is, so that the schema judges every field
#
# null and "" mean that there is no value. A date at midnight is a date. timeZone
# falls back to that of the source.

# A delivery may hold 500 records and has a time limit: what runs for every field of
# every record are the built-in steps (keys, delpaths), not with_entries or a regular
# expression, which take ten times as long.

def given: delpaths([keys[] as $k | if .[$k] == null or .[$k] == "" then [$k] else empty end]);

def date: if type == "string" and .[10:16] == "T00:00" then .[:10] else . end;

def event:
  given as $in
  | ["employeeId", "userPrincipalName", "mail", "objectId"] as $ids
  | ($in | delpaths([(keys - $ids)[] | [.]])
      | if .employeeId | type == "number" then . + {employeeId: .employeeId | tostring} else . end) as $person
  | ($in | delpaths([["employeeId"], ["userPrincipalName"], ["mail"], ["objectId"], ["id"], ["type"], ["time"], ["subject"]])
      | . + {person: $person}
      | if has("startDate") then . + {startDate: .startDate | date} else . end
      | if has("lastDay") then . + {lastDay: .lastDay | date} else . end
      | if (has("startDate") or has("lastDay")) and (has("timeZone") | not) then . + {timeZone: $source.timeZone} else . end) as $data
  | ($in.subject // $person.employeeId // $person.userPrincipalName // $person.mail // $person.objectId) as $subject
  | {data: $data}
  | if $in | has("id") then . + {id: $in.id} else . end
  | if $in | has("time") then . + {time: $in.time} else . end
  | if $subject == null then . else . + {subject: $subject} end
  | if $in | has("type") then . + {type: ($in.type | if type == "string" and (contains(".") | not) then "employee." + . else . end)} else . end;

(if type == "array" then .[] else . end)
| if type == "object" then event else error("expected a JSON object or an array of objects") end
