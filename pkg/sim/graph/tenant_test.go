package graph_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"mfaflow/events/tenant"
	"mfaflow/pkg/sim/graph"
)

// The sample has somebody for every situation that the flows must handle.
func TestSampleTenant(t *testing.T) {
	tn, err := graph.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	guid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	for _, u := range append(tn.Users, tn.NotYetProvisioned...) {
		if u.Note == "" {
			t.Errorf("%s has no note that says what the person is there for", u.UserPrincipalName)
		}
		if !guid.MatchString(u.ID) {
			t.Errorf("%s: id %q is no GUID", u.UserPrincipalName, u.ID)
		}
	}
	if n := len(tn.Users); n < 25 || n > 39 { // 5 percent of 40 would be two: the flows count on one
		t.Errorf("%d people", n)
	}
	if len(tn.NotYetProvisioned) == 0 {
		t.Error("nobody waits for an account")
	}
	for _, a := range tn.Apps {
		if a.ClientSecret != "" {
			t.Errorf("%s: the file holds a secret", a.Name)
		}
	}
}

func TestParseTenantRefusals(t *testing.T) {
	good := string(tenant.JSON())
	for name, tc := range map[string]struct {
		old, new string
		want     string
	}{
		"unknown field":          {`"displayName": "Contoso Example"`, `"display": "x"`, "unknown field"},
		"unknown behaviour":      {`"passOutsidePolicy": "reject"`, `"passOutsidePolicy": "perhaps"`, "passOutsidePolicy has no value"},
		"unknown user type":      {`"userType": "Guest"`, `"userType": "Visitor"`, "neither Member nor Guest"},
		"missing manager":        {`"manager": "10000000-0000-4000-8000-000000000003"`, `"manager": "10000000-0000-4000-8000-000000000099"`, "does not exist"},
		"missing member":         {`["10000000-0000-4000-8000-000000000024"]`, `["10000000-0000-4000-8000-000000000099"]`, "does not exist"},
		"same user twice":        {`"id": "10000000-0000-4000-8000-000000000002"`, `"id": "10000000-0000-4000-8000-000000000001"`, "already taken"},
		"wrong default method":   {`"defaultMethod": "3179e48a-750b-4051-897c-87b9720928f7"`, `"defaultMethod": "other"`, "is not registered"},
		"impossible lifetimes":   {`"maximumLifetimeInMinutes": 480`, `"maximumLifetimeInMinutes": 59`, "default lifetime"},
		"no tenant id":           {`"id": "00000000-0000-4000-8000-00000c047050"`, `"id": ""`, "id and at least one domain"},
		"role nobody defined":    {`"roleDefinitionId": "fe930be7-5e62-47db-91af-98c3a49a38b1"`, `"roleDefinitionId": "x"`, "principal or role"},
		"more than one document": {"\n}\n", "\n}\n{}", "data after the tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, tc.old, tc.new, 1)
			if bad == good {
				t.Fatalf("the sample does not hold %s", tc.old)
			}
			if _, err := graph.ParseTenant([]byte(bad)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// What is accepted encodes to a tenant that is accepted and encodes alike.
func FuzzParseTenant(f *testing.F) {
	f.Add(tenant.JSON())
	f.Add([]byte(`{"id":"t","domains":["d"],"users":[{"id":"1","userPrincipalName":"a@d","displayName":"A","userType":"Member","accountEnabled":true}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := graph.ParseTenant(data)
		if err != nil {
			return
		}
		encoded, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := graph.ParseTenant(encoded)
		if err != nil {
			t.Fatalf("encodes to %s, which is refused: %v", encoded, err)
		}
		again, err := json.Marshal(second)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded, again) {
			t.Fatalf("encodes to\n%s\nthen to\n%s", encoded, again)
		}
		var file bytes.Buffer
		if err := first.Write(&file); err != nil {
			t.Fatal(err)
		}
		third, err := graph.ParseTenant(file.Bytes())
		if err != nil {
			t.Fatalf("is written as %s, which is refused: %v", file.Bytes(), err)
		}
		var twice bytes.Buffer
		if err := third.Write(&twice); err != nil || !bytes.Equal(file.Bytes(), twice.Bytes()) {
			t.Fatalf("is written as\n%s\nthen as\n%s (%v)", file.Bytes(), twice.Bytes(), err)
		}
	})
}
