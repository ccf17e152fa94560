# Copy to <deployment>.tfvars, which is not for the repository, and change every line.

account_id      = "111122223333"
region          = "eu-central-1"
tenant_id       = "aaaabbbb-0000-4ccc-8ddd-eeeeffff0000"
subscription_id = "bbbbcccc-1111-4ddd-8eee-ffff00001111"
location        = "germanywestcentral"
namespace       = "mfaflow-contoso"

alarm_addresses = ["it-operations@contoso.com"]

# Any setting of README.md but the secret ones. Those that only one function reads are
# under its name.
settings = {
  all = {
    MFAFLOW_DEFAULT_TIME_ZONE = "Europe/Berlin"
    MFAFLOW_SOURCE_SCOPES     = "{\"workday\": [\"employee.*\"], \"helpdesk\": [\"mfa.*\"], \"graph\": [\"account.changed\"], \"entra-risk\": [\"risk.*\"], \"entra-sign-ins\": [\"account.locked\", \"mfa.codes-unrequested\"]}"
    MFAFLOW_MAIL_SENDER       = "onboarding@contoso.com"

    # Until the first weeks have been looked at: what would have been done is written to
    # the audit trail, and nothing is.
    MFAFLOW_REPORT_ONLY = "true"

    # Break-glass accounts. Two people must agree before these are changed.
    MFAFLOW_PROTECTED_ACCOUNTS = "cccc0000-2222-4eee-8fff-000011112222,cccc0000-2222-4eee-8fff-000011113333"
  }
  hr-events = {
    MFAFLOW_SOURCES = "[{\"name\": \"workday\", \"format\": \"cloudevents\", \"verify\": {\"preset\": \"standard-webhooks\"}, \"types\": [\"employee.*\"], \"timeZone\": \"Europe/Berlin\"}]"
  }
  risk-signals = {
    MFAFLOW_SOURCES = "[{\"name\": \"helpdesk\", \"format\": \"cloudevents\", \"verify\": {\"preset\": \"standard-webhooks\"}, \"types\": [\"mfa.*\"]}]"
  }
  flag-notifier = {
    MFAFLOW_FLAG_MAIL_TO = "it-security@contoso.com"
  }
  readiness-report = {
    # The same accounts: the report says when nobody could sign in with one.
    MFAFLOW_BREAK_GLASS_ACCOUNTS = "cccc0000-2222-4eee-8fff-000011112222,cccc0000-2222-4eee-8fff-000011113333"
  }
}

# Operators sign in with IAM Identity Center, by command line:
operator_roles = ["arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_MfaflowOperators_0123456789abcdef"]

# ... or with OpenID Connect, at a console that serves them all:
operators = {
  issuer    = "https://login.microsoftonline.com/aaaabbbb-0000-4ccc-8ddd-eeeeffff0000/v2.0"
  client_id = "dddd1111-3333-4fff-8000-111122223333"
  people = {
    "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ" = "ada@contoso.com"
    "AAAAAAAAAAAAAAAAAAAAAMLkPwlPGwx0kN3bn9mcpSc" = "grace@contoso.com"
  }
}
