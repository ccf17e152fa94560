mock_provider "azuread" {
  source = "../tests/mocks/azuread"
}

variables {
  tenant_id   = "aaaabbbb-0000-4ccc-8ddd-eeeeffff0000"
  mail_sender = "onboarding@contoso.com"
  client_ids = {
    hr-events           = "00000000-0000-4000-8000-000000000001"
    graph-notifications = "00000000-0000-4000-8000-000000000002"
    risk-signals        = "00000000-0000-4000-8000-000000000003"
    identity-router     = "00000000-0000-4000-8000-000000000004"
    identity-worker     = "00000000-0000-4000-8000-000000000005"
    flag-notifier       = "00000000-0000-4000-8000-000000000006"
    tenant-sweep        = "00000000-0000-4000-8000-000000000007"
    readiness-report    = "00000000-0000-4000-8000-000000000008"
    event-replay        = "00000000-0000-4000-8000-000000000009"
  }
}

run "grants" {
  command = apply

  assert {
    condition     = toset(keys(azuread_app_role_assignment.this)) == toset(flatten([for name, f in jsondecode(file("../functions.json")).functions : [for p in f.graph : "${name} ${p}"]]))
    error_message = "What is granted is not what functions.json lists."
  }

  assert {
    condition     = alltrue([for key, a in azuread_app_role_assignment.this : a.app_role_id == split(" ", key)[1]])
    error_message = "A grant is of another permission than its name says."
  }

  assert {
    condition     = !anytrue([for a in azuread_app_role_assignment.this : startswith(a.app_role_id, "Mail.")])
    error_message = "Mail is granted for every mailbox."
  }

  assert {
    condition     = length(regexall("-Role 'Application Mail.Send' -CustomResourceScope 'mfaflow sender'", output.exchange)) == 2
    error_message = "Two functions send mail, from one mailbox."
  }
}

run "ids_of_another_version" {
  command = plan

  variables {
    client_ids = { hr-events = "00000000-0000-4000-8000-000000000001" }
  }

  expect_failures = [var.client_ids]
}

run "events_may_change_the_policy" {
  command = plan

  variables {
    method_policy = true
  }

  assert {
    condition     = [for key in keys(azuread_app_role_assignment.this) : key if endswith(key, "Policy.ReadWrite.AuthenticationMethod")] == ["identity-worker Policy.ReadWrite.AuthenticationMethod"]
    error_message = "The worker alone is granted what changes the authentication methods policy."
  }
}
