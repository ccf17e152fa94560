# A SCIM bulk request as tools send it to Entra's API-driven provisioning
# (learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-curl-tutorial;
# RFC 7644 section 3.7): up to 50 users, each with its state, whatever changed.
#
# SCIM has no dates of employment. HireDate is the attribute of Microsoft's own samples;
# TerminationDate is named after it. Both are looked for in every extension schema. A
# user who is not active leaves at once, unless a first day is still to come: accounts
# are made before they are enabled. Who is active, without dates to come, is no news.
#
# timezone is not used: Microsoft's sample has "America/Boston", which is none.

def yesterday: ($receivedAt[:19] + "Z" | fromdate - 86400 | todate)[:10];
def extension($name): [to_entries[] | select(.key | startswith("urn:")) | .value[$name]? | select(. != null and . != "")] | .[0] | if . == null then null else .[:10] end;

if ((.schemas // []) | index("urn:ietf:params:scim:api:messages:2.0:BulkRequest")) == null then error("no SCIM BulkRequest") else .Operations[] end
| select((.path | startswith("/Users")) and .method != "DELETE")
| .data
| (."urn:ietf:params:scim:schemas:extension:enterprise:2.0:User".employeeNumber // .externalId) as $id
| extension("HireDate") as $start
| extension("TerminationDate") as $end
| {person: {employeeId: $id}} as $who
# What the schema refuses is parked by itself and the other users go on, which error
# would not let them: a user without a number, and one who is active after the last day.
| if $end != null and ($start == null or $start <= $end) then
    {type: "employee.leaver", data: (if .active == true and $end < yesterday then $who else $who + {lastDay: $end, timeZone: $source.timeZone} end)}
  elif $start != null and $start >= yesterday then
    {type: "employee.joiner", data: ($who + {startDate: $start, timeZone: $source.timeZone})}
  elif .active == false or $id == null then {type: "employee.leaver", data: ($who + {immediate: true})}
  else empty end
| if $id == null then . else .subject = $id end
