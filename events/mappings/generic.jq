# A flat object, or an array of them, for tools that can post JSON but not build a
# CloudEvent: {"type": "joiner", "employeeId": "E1004", "startDate": "2026-12-01"}.
#
# type       joiner, leaver, ... or the full name; id, time and subject are optional
# person     employeeId, userPrincipalName, mail, objectId: at least one
# the rest   data of the type as it is, so that the schema judges every field
#
# null and "" mean that there is no value. A date at midnight is a date. timeZone
# falls back to that of the source.

def given: with_entries(select(.value != null and .value != ""));

def date: if type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T00:00(:00(\\.0+)?)?") then .[:10] else . end;

def event:
  given as $in
  | ["employeeId", "userPrincipalName", "mail", "objectId"] as $ids
  | ($in | with_entries(select(.key | IN($ids[])))) as $person
  | ($in | with_entries(select(.key | IN($ids[], "id", "type", "time", "subject") | not))) as $rest
  | ($person | if .employeeId | type == "number" then .employeeId |= tostring else . end) as $person
  | {
      id: $in.id,
      type: ($in.type | if type == "string" and (contains(".") | not) then "employee." + . else . end),
      time: $in.time,
      subject: ($in.subject // $person.employeeId // $person.userPrincipalName // $person.mail // $person.objectId),
      data: ($rest + {person: $person})
    }
  | if .data | has("startDate") then .data.startDate |= date else . end
  | if .data | has("lastDay") then .data.lastDay |= date else . end
  | if (.data | has("startDate") or has("lastDay")) and (.data | has("timeZone") | not)
    then .data.timeZone = $source.timeZone else . end
  | given;

(if type == "array" then .[] else . end)
| if type == "object" then event else error("expected a JSON object or an array of objects") end
