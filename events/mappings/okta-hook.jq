# Okta event hooks (developer.okta.com/docs/concepts/event-hooks): a batch of System Log
# events, each with an id that stays over retries.
#
# user.account.lock                                   account.locked
# user.risk.change, user.risk.detect                  risk.user with the level
# user.account.report_suspicious_activity_by_enduser  risk.sign-in: the person says that
#                                                     it was not them
# security.breached_credential.detected               risk.user, high
# all others                                          nothing
#
# The person is the target of type User, or else the actor; alternateId is the login.

# {previousLevel=LOW, level=MEDIUM, detectionName=..., issuer=OKTA} (developer.okta.com/
# docs/reference/api/itp-et). A value may hold a comma: what has no = belongs to none.
def risk:
  (.debugContext.debugData // {} | .risk // .Risk // "")
  | if type == "string" then [ltrimstr("{") | rtrimstr("}") | split(", ")[] | select(contains("=")) | split("=") | {(.[0]): (.[1:] | join("="))}] | add // {} else {} end;

def person:
  ([.target // [] | .[] | select(.type == "User")] | .[0]) // (.actor | if .type? == "User" then . else null end)
  | {userPrincipalName: .alternateId};

def level: if type == "string" then ascii_downcase else . end;

def event($type; $data):
  {key: .uuid, type: $type, time: .published, subject: person.userPrincipalName, data: ({person: person} + ($data | with_entries(select(.value != null and .value != ""))))};

if .data.events | type == "array" then .data.events[] else error("no batch of events") end
| if .eventType == "user.account.lock" then event(
    "account.locked"; {cause: "tooManyAttempts", detail: .outcome.reason})
  elif .eventType == "user.risk.change" or .eventType == "user.risk.detect" then
    risk as $risk
    | event("risk.user"; {
        level: ($risk.level | level), detection: $risk.detectionName,
        previousLevel: ($risk.previousLevel | level | if IN("none", "low", "medium", "high") then . else null end)
      })
  elif .eventType == "user.account.report_suspicious_activity_by_enduser" then
    event("risk.sign-in"; {level: "medium", detection: "reported by the person"})
  elif .eventType == "security.breached_credential.detected" then
    event("risk.user"; {level: "high", detection: "breached credential"})
  else empty end
