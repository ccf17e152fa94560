package graph

import (
	"net/http"
	"reflect"
	"testing"
)

// A policy that is accepted is kept so that it is accepted again, unchanged, and any
// policy that is accepted can be evaluated.
func FuzzConditionalAccess(f *testing.F) {
	const good = `{"displayName":"x","state":"enabled","conditions":{"clientAppTypes":["all"],"applications":{"includeApplications":["All"]},"users":{"includeUsers":["All"]}},` +
		`"grantControls":{"operator":"OR","builtInControls":["mfa"]}}`
	f.Add([]byte(good))
	f.Add([]byte(`{"displayName":"x","state":"disabled","conditions":{"clientAppTypes":["browser"],"applications":{"includeUserActions":["urn:user:registersecurityinfo"]},` +
		`"users":{"includeGuestsOrExternalUsers":{"guestOrExternalUserTypes":"internalGuest"}},"locations":{"includeLocations":["All"]}},` +
		`"grantControls":{"operator":"AND","authenticationStrength":{"id":"00000000-0000-0000-0000-000000000004"}},"sessionControls":null}`))
	f.Add([]byte(`null`))
	t, err := SampleTenant()
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{dir: newDirectory(t)}
	f.Fuzz(func(t *testing.T, data []byte) {
		body, err := incomingAccessPolicy(&request{method: http.MethodPost, body: data})
		if err != nil {
			return
		}
		first, err := s.keepAccessPolicy(body, "fuzz", nil, nil)
		if err != nil {
			return
		}
		again, err := s.keepAccessPolicy(s.plainAccessPolicy(first), "fuzz", nil, nil)
		if err != nil {
			t.Fatalf("%s was accepted, and then not: %v", data, err)
		}
		if !reflect.DeepEqual(first, again) {
			t.Fatalf("%v became %v", first, again)
		}
		s.dir.setAccessPolicies([]Document{first})
		for _, u := range s.dir.Users {
			for _, flow := range []Flow{Interactive, PasswordGrant} {
				o := newEvaluation(s.dir, u, Attempt{User: u.ID, App: azurePortal, Flow: flow, Client: ClientBrowser}).outcome()
				if o.Verdict == "" || (o.Verdict == VerdictBlocked) != (o.Reason != "") || (o.Verdict == VerdictMustRegister) != (len(o.Register) > 0) {
					t.Fatalf("%s makes of %s %+v", data, u.UserPrincipalName, o)
				}
			}
		}
	})
}
