# Diagnostic records of Microsoft Entra, as they come out of an Event Hub: {"records":
# [...]}, posted on by whoever reads the hub (an Azure Function, a Logic App).
#
# RiskyUsers      risk.user; a record that is still being computed or of a deleted account
#                 is left out
# UserRiskEvents  risk.sign-in for what was seen at a sign-in and stands, risk.user for the
#                 rest
# SignInLogs      account.locked or mfa.codes-unrequested, for error codes that are trouble
#                 of the person; pkg/event has the same table and a test compares the two
# all others      nothing
#
# The same record comes again when it changes: its key is id and time of the change. "time"
# of a record may be in American form and is not used.

def table:
  {"50053": "", "50057": "disabled", "50088": "tooManyAttempts", "53003": "conditionalAccess", "53004": "risk", "53010": "conditionalAccess",
   "53011": "risk", "530035": "conditionalAccess", "500121": ""};

def given: with_entries(select(.value != null and .value != "" and .value != "none"));
def lower: if type == "string" then ascii_downcase else "" end;
def known: type == "string" and . != "" and . != "00000000-0000-0000-0000-000000000000";

def event($key; $type; $time; $user; $data):
  if $user | known then {key: $key, type: $type, time: $time, subject: $user, data: ({person: {objectId: $user}} + $data)} else empty end;

def riskyUser:
  if .isProcessing == true or .isDeleted == true then empty
  else event("\(.id) \(.riskLastUpdatedDateTime)"; "risk.user"; .riskLastUpdatedDateTime; .id;
    {level: .riskLevel} + ({detail: .riskDetail} | given) + (if .riskState then {state: .riskState} else {} end)) end;

def detection:
  ({level: .riskLevel} + ({detection: .riskEventType, detail: .riskDetail} | given) + (if .riskState then {state: .riskState} else {} end)) as $data
  | "\(.id) \(.lastUpdatedDateTime)" as $key
  | if .activity == "signin" then
      if .riskState == "atRisk" or .riskState == "confirmedCompromised" then
        event($key; "risk.sign-in"; .detectedDateTime; .userId; $data + ({signInId: .requestId} | given))
      else empty end
    else event($key; "risk.user"; .lastUpdatedDateTime; .userId; $data) end;

def signIn:
  (.status.errorCode | tostring) as $code
  | (.status.failureReason | lower) as $reason
  | (.status.additionalDetails | lower) as $details
  | table[$code] as $cause
  | if $cause == null then empty
    elif $code == "500121" then
      if $details | contains("fraud") then
        event(.id; "mfa.codes-unrequested"; .createdDateTime; .userId; {channel: (if $details | contains("fraud code") then "voice" else "push" end)})
      else empty end
    else
      event(.id; "account.locked"; .createdDateTime; .userId; {
        detail: "sign-in error \($code)",
        cause: (if $code != "50053" then $cause elif $reason | contains("malicious") then "maliciousAddress" elif $reason | contains("locked") then "smartLockout" else "unknown" end)
      })
    end;

(if type == "array" then .[] elif .records | type == "array" then .records[] else . end)
| if type != "object" or (.properties | type) != "object" then error("no diagnostic record") else . end
| if .category == "RiskyUsers" then .properties | riskyUser
  elif .category == "UserRiskEvents" then .properties | detection
  elif .category == "SignInLogs" then .properties | signIn
  else empty end
