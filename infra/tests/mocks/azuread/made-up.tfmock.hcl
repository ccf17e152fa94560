# The ids of permissions are their names here, so that tests can be read. A permission
# that is misspelled in functions.json has none, as in a tenant.

mock_resource "azuread_application" {
  defaults = { id = "/applications/eeee2222-4444-4000-8111-222233334444" }
}
mock_data "azuread_application_published_app_ids" {
  defaults = { result = { MicrosoftGraph = "00000003-0000-0000-c000-000000000000" } }
}
mock_data "azuread_service_principal" {
  defaults = {
    object_id = "99990000-6666-4222-8333-444455556666"
    app_role_ids = {
      "Application.Read.All"                   = "Application.Read.All"
      "AuditLog.Read.All"                      = "AuditLog.Read.All"
      "Directory.Read.All"                     = "Directory.Read.All"
      "Domain.Read.All"                        = "Domain.Read.All"
      "Group.Read.All"                         = "Group.Read.All"
      "GroupMember.Read.All"                   = "GroupMember.Read.All"
      "IdentityRiskEvent.Read.All"             = "IdentityRiskEvent.Read.All"
      "IdentityRiskyUser.Read.All"             = "IdentityRiskyUser.Read.All"
      "Mail.Send"                              = "Mail.Send"
      "Organization.Read.All"                  = "Organization.Read.All"
      "Policy.Read.All"                        = "Policy.Read.All"
      "Policy.Read.AuthenticationMethod"       = "Policy.Read.AuthenticationMethod"
      "Policy.ReadWrite.AuthenticationMethod"  = "Policy.ReadWrite.AuthenticationMethod"
      "Policy.ReadWrite.ConditionalAccess"     = "Policy.ReadWrite.ConditionalAccess"
      "RoleManagement.Read.Directory"          = "RoleManagement.Read.Directory"
      "User-LifeCycleInfo.Read.All"            = "User-LifeCycleInfo.Read.All"
      "User-PasswordProfile.ReadWrite.All"     = "User-PasswordProfile.ReadWrite.All"
      "GroupMember.ReadWrite.All"              = "GroupMember.ReadWrite.All"
      "User.EnableDisableAccount.All"          = "User.EnableDisableAccount.All"
      "User.Read.All"                          = "User.Read.All"
      "User.ReadWrite.All"                     = "User.ReadWrite.All"
      "User.RevokeSessions.All"                = "User.RevokeSessions.All"
      "UserAuthMethod-TAP.ReadWrite.All"       = "UserAuthMethod-TAP.ReadWrite.All"
      "UserAuthenticationMethod.Read.All"      = "UserAuthenticationMethod.Read.All"
      "UserAuthenticationMethod.ReadWrite.All" = "UserAuthenticationMethod.ReadWrite.All"
    }
  }
}
