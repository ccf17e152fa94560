# The whole deployment of example.tfvars, with mock providers: nothing is reached, and what
# the clouds would have chosen is made up below. Run it with -var-file=example.tfvars.

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

run "deployment" {
  command = apply
}
