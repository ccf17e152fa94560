# Security Event Tokens of OpenID Shared Signals (CAEP 1.0, RISC 1.0), verified: {"event",
# "issuer", "time", "person", "claims"}. claims are those of the event, person is whom the
# subject names for the directory.
#
# What another system says of its own account is a reason to look at ours, never an order:
#
# session-revoked                     session.revoked, as settings
# credential-change                   credential.changed, as settings
# risk-level-change of a USER         risk.user with the level
# credential-compromise               risk.user, high
# account-disabled, hijacking         risk.user, high
# account-credential-change-required  risk.user, medium: somebody there had a doubt
# account-disabled, account-enabled   account.changed: look whether ours was, too
# all others                          nothing: sessions that begin, devices, claims,
#                                     assurance, consent, identifiers, recovery

def line($most):
  if type == "string" then [splits("[[:space:][:cntrl:]]+") | select(. != "")] | join(" ") | .[:$most] | rtrimstr(" ") | if . == "" then null else . end
  else null end;

def given: with_entries(select(.value != null));
def one($of): if type == "string" then ascii_downcase as $v | if $of | index([$v]) then $v else null end else null end;
def reason: .claims | (.reason_admin // .reason_user) | if type == "object" then .en // ([.[]] | .[0]) else . end | line(500);
def initiator: .claims.initiating_entity | one(["admin", "user", "policy", "system"]);
def level: if type == "string" then ascii_downcase else . end;

def event($type; data):
  {type: $type, time: .time, data: ({person: .person} + (data | given))}
  + (.person | (.employeeId // .userPrincipalName // .mail // .objectId) as $who | if $who then {subject: $who} else {} end);

def risk($level): event("risk.user"; {level: $level, detection: .event, detail: reason});

if .event == "session-revoked" then
  event("session.revoked"; {initiatedBy: initiator, reason: reason})
elif .event == "credential-change" then
  event("credential.changed"; {
    # Okta writes ALL_FACTORS and OKTA_VERIFY_PUSH where CAEP has words with hyphens.
    credential: (.claims.credential_type | if type == "string" then [ascii_downcase | splits("[^a-z0-9]+") | select(. != "")] | join("-") else . end),
    change: .claims.change_type, initiatedBy: initiator, reason: reason
  })
elif .event == "risk-level-change" then
  if .claims.principal | one(["user"]) then
    event("risk.user"; {
      level: (.claims.current_level | level), previousLevel: (.claims.previous_level | one(["low", "medium", "high"])),
      detection: (.claims.risk_reason | line(128)), detail: reason
    })
  else empty end
elif .event == "credential-compromise" then risk("high")
elif .event == "account-disabled" and .claims.reason == "hijacking" then
  event("risk.user"; {level: "high", detection: "account-disabled: hijacking", detail: reason})
elif .event == "account-credential-change-required" then risk("medium")
elif .event == "account-disabled" or .event == "account-enabled" then event("account.changed"; {change: "updated"})
else empty end
