package graph

import (
	"strings"
	"sync"
)

// application is a client of Microsoft's own that every tenant knows, with the resource
// that a sign-in to it is for.
type application struct {
	id, name, resource string
	// suites are the names by which Conditional Access targets it beside its ids.
	suites []string
	// enforced is set for those that Microsoft demands multifactor authentication for.
	enforced enforcement
}

// Ids of resources and clients. Those of the enforced applications are on the page
// "Planning for mandatory Microsoft Entra multifactor authentication", the others on
// "Conditional Access: Target resources" and "Apps included in the Office 365 app suite".
const (
	azurePortal     = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c" // the Entra and Intune admin centers share it
	azureCLI        = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	azurePowerShell = "1950a258-227b-4e31-a9cf-717495945fc2"
	azureMobile     = "0c1307d4-29d6-4389-a11c-5cbe7f65d7fa"
	azureManagement = "797f4846-ba00-4fd7-ba43-dac1f8f63013" // Windows Azure Service Management API
	exchangeOnline  = "00000002-0000-0ff1-ce00-000000000000"
	sharePoint      = "00000003-0000-0ff1-ce00-000000000000"
	teamsServices   = "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe"
)

// Suites of applications that a Conditional Access policy can name.
const (
	suiteOffice       = "Office365"
	suiteAdminPortals = "MicrosoftAdminPortals"
)

func applications() []application {
	return []application{
		{id: azurePortal, name: "Azure Portal", resource: azureManagement, suites: []string{suiteAdminPortals}, enforced: enforcedAtSignIn},
		{id: azureCLI, name: "Microsoft Azure CLI", resource: azureManagement, enforced: enforcedForChanges},
		{id: azurePowerShell, name: "Microsoft Azure PowerShell", resource: azureManagement, enforced: enforcedForChanges},
		{id: azureMobile, name: "Azure mobile app", resource: azureManagement, enforced: enforcedForChanges},
		{id: azureManagement, name: "Windows Azure Service Management API", resource: azureManagement},
		{id: exchangeOnline, name: "Office 365 Exchange Online", resource: exchangeOnline, suites: []string{suiteOffice}},
		{id: sharePoint, name: "Office 365 SharePoint Online", resource: sharePoint, suites: []string{suiteOffice}},
		{id: teamsServices, name: "Microsoft Teams Services", resource: teamsServices, suites: []string{suiteOffice}},
	}
}

// knownApplication finds a client of Microsoft's by its id.
func knownApplication(id string) (application, bool) {
	a, known := applicationsByID()[strings.ToLower(id)]
	return a, known
}

// applicationsByID is asked for every entry of a log.
var applicationsByID = sync.OnceValue(func() map[string]application {
	byID := make(map[string]application)
	for _, a := range applications() {
		byID[a.id] = a
	}
	return byID
})

// enforcement is when Microsoft demands multifactor authentication for an application
// whatever the tenant's policies say. The zero value is never.
type enforcement int

// Phase 1 demands it at every sign-in, phase 2 for creating, updating and deleting only.
const (
	enforcedAtSignIn enforcement = iota + 1
	enforcedForChanges
)
