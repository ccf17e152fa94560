# Deployments that differ from example.tfvars.

mock_provider "aws" {
  source = "./tests/mocks/aws"
}

mock_provider "azurerm" {
  source = "./tests/mocks/azurerm"
}

mock_provider "azuread" {
  source = "./tests/mocks/azuread"
}

variables {
  packages = "tests/packages"
}

run "more_workers" {
  command = plan

  variables {
    workers = 3
  }

  assert {
    condition     = local.concurrency["identity-worker"] == 3 && local.concurrency["identity-router"] == 3 && local.concurrency["tenant-sweep"] == 1
    error_message = "Lanes are drained by three, and everything else as before."
  }

  assert {
    condition     = local.graph_workers == 3 + 3 + 1 + 1 + 1 + 2
    error_message = "All processes that ask Graph share its limits."
  }
}

run "an_account_that_federates_already" {
  command = plan

  variables {
    federation_exists = true
  }

  assert {
    condition     = length(aws_iam_outbound_web_identity_federation.this) == 0
    error_message = "The switch of the account is not ours: destroy would turn it off."
  }
}

run "a_certificate_takes_the_place_of_federation" {
  command = plan

  variables {
    client_certificates = { event-replay = "-----BEGIN CERTIFICATE-----" }
  }

  assert {
    condition     = local.has_secrets["event-replay"] && !local.has_secrets["readiness-report"]
    error_message = "The key of the certificate has no secret."
  }
}

run "events_may_change_the_policy" {
  command = plan

  variables {
    method_policy = true
  }

  assert {
    condition     = contains(local.graph["identity-worker"], "Policy.ReadWrite.AuthenticationMethod") && !anytrue([for name, p in local.graph : contains(p, "Policy.ReadWrite.AuthenticationMethod") if name != "identity-worker"])
    error_message = "The worker alone writes the authentication methods policy."
  }

  assert {
    condition     = local.files["identity-worker"].prefix == "readiness-report" && local.files["identity-worker"].writes == "policy/" && local.files["event-replay"].writes == null
    error_message = "The worker reads the files of readiness-report and writes its runs, event-replay reads them."
  }

  assert {
    condition     = alltrue([for name in ["identity-worker", "event-replay"] : local.environment[name].MFAFLOW_METHOD_POLICY == "true" && local.environment[name].GOMEMLIMIT == "1740MiB"])
    error_message = "Who plans and who acts have the same setting, and room for all people."
  }
}

run "events_may_not_change_the_policy" {
  command = plan

  assert {
    condition     = !anytrue([for p in values(local.graph) : contains(p, "Policy.ReadWrite.AuthenticationMethod")]) && local.files["identity-worker"] == null && !anytrue([for e in values(local.environment) : can(e.MFAFLOW_METHOD_POLICY)])
    error_message = "It is off unless somebody switches it on."
  }
}

run "a_right_on_a_queue_is_taken_away" {
  command = plan

  module {
    source = "./modules/servicebus"
  }

  variables {
    name            = "mfaflow"
    namespace       = "contoso-mfaflow"
    location        = "germanywestcentral"
    tags            = {}
    queues          = { inbound = { sessions = true } }
    receivers       = {}
    senders         = {}
    principals      = {}
    alarm_addresses = ["ops@contoso.com"]
    locked          = false
  }

  assert {
    condition     = length(azurerm_management_lock.this) == 0
    error_message = "Azure takes no right away under the lock."
  }
}
