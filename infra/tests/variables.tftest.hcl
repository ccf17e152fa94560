# What is refused before anything is made.

mock_provider "aws" {
  source = "./tests/mocks/aws"
}

mock_provider "azurerm" {
  source = "./tests/mocks/azurerm"
}

mock_provider "azuread" {
  source = "./tests/mocks/azuread"
}

# Runs of a module take of these what it knows, and change what they are about.
variables {
  name     = "mfaflow"
  packages = "tests/packages"

  # modules/operators
  issuer       = "https://idp.example"
  client_id    = "console"
  function_arn = "arn:aws:lambda:eu-central-1:111122223333:function:mock"
  people       = { subject = "ada@contoso.com" }

  # modules/function
  function     = { trigger = { url = true }, memory = 128, timeout = 10 }
  concurrency  = 1
  role         = { id = "role", arn = "arn:aws:iam::111122223333:role/role" }
  package      = "tests/packages/hr-events.zip"
  architecture = "arm64"
  environment  = {}
  has_secrets  = false
  federated    = true
  key_arn      = "arn:aws:kms:eu-central-1:111122223333:key/mock"
  log_days     = 400
}

run "a_secret_among_the_settings" {
  command = plan

  variables {
    settings = { hr-events = { MFAFLOW_SOURCE_KEYS = "{}" } }
  }

  expect_failures = [var.settings]
}

run "a_connection_string" {
  command = plan

  variables {
    settings = { all = { MFAFLOW_SERVICEBUS_CONNECTION_STRING = "Endpoint=sb://x" } }
  }

  expect_failures = [var.settings]
}

run "settings_of_nobody" {
  command = plan

  variables {
    settings = { hr-event = { MFAFLOW_LOG_LEVEL = "DEBUG" } }
  }

  expect_failures = [var.settings]
}

run "a_subscription_that_is_always_about_to_lapse" {
  command = plan

  variables {
    settings = { tenant-sweep = { MFAFLOW_SUBSCRIPTION_LIFETIME = "48h" } }
  }

  expect_failures = [var.settings]
}

run "a_domain_for_the_tenant" {
  command = plan

  variables {
    tenant_id = "contoso.com"
  }

  expect_failures = [var.tenant_id]
}

run "an_architecture_that_is_not_built" {
  command = plan

  variables {
    architecture = "amd64"
  }

  expect_failures = [var.architecture]
}

run "packages_that_are_not_built" {
  command = plan

  variables {
    packages = "tests/nothing"
  }

  expect_failures = [var.packages]
}

run "packages_where_make_puts_them" {
  command = plan

  variables {
    packages     = null
    architecture = "x86_64"
  }

  expect_failures = [var.packages]
}

run "a_place_for_a_region" {
  command = plan

  variables {
    region = "Frankfurt"
  }

  expect_failures = [var.region]
}

run "a_name_with_spaces_for_a_location" {
  command = plan

  variables {
    location = "Germany West Central"
  }

  expect_failures = [var.location]
}

run "a_name_for_the_subscription" {
  command = plan

  variables {
    subscription_id = "Contoso Production"
  }

  expect_failures = [var.subscription_id]
}

run "a_host_for_the_namespace" {
  command = plan

  variables {
    namespace = "mfaflow-contoso.servicebus.windows.net"
  }

  expect_failures = [var.namespace]
}

run "alarms_for_nobody" {
  command = plan

  variables {
    alarm_addresses = []
  }

  expect_failures = [var.alarm_addresses]
}

run "two_operators_of_one_name" {
  command = plan

  module {
    source = "./modules/operators"
  }

  variables {
    people = { subject-a = "ada@contoso.com", subject-b = "ada@contoso.com" }
  }

  expect_failures = [var.people]
}

run "more_subjects_than_a_trust_policy_holds" {
  command = plan

  module {
    source = "./modules/operators"
  }

  variables {
    people = { for i in range(25) : format("%064d", i) => "operator${i}@contoso.com" }
  }

  expect_failures = [var.people]
}

run "a_subject_that_is_no_session_name" {
  command = plan

  module {
    source = "./modules/operators"
  }

  variables {
    people = { "auth0|ada" = "ada@contoso.com" }
  }

  expect_failures = [var.people]
}

run "an_issuer_without_tls" {
  command = plan

  module {
    source = "./modules/operators"
  }

  variables {
    issuer = "http://idp.example"
  }

  expect_failures = [var.issuer]
}

run "a_function_without_a_trigger" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    function = { trigger = {}, memory = 128, timeout = 10 }
  }

  expect_failures = [var.function]
}

run "more_settings_than_lambda_takes" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    environment = { MFAFLOW_SOURCES = join("", [for i in range(500) : "0123456789"]) }
  }

  expect_failures = [aws_lambda_function.this]
}
