package graph

import (
	"strings"
	"testing"

	"mfaflow/pkg/identity"
)

// Whatever comes, there is an answer for each item, and one that can be used has a
// status.
func FuzzParseBatch(f *testing.F) {
	f.Add([]byte(`{"responses":[{"id":"1","status":204},{"id":"0","status":429,"headers":{"Retry-After":"3"},"body":{"error":{"code":"x"}}}]}`), uint8(2))
	f.Add([]byte(`{"responses":[{"id":"0","status":-1},{"id":"0","status":200},{"id":"00","status":200}]}`), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		answers, ok := parseBatch(data, int(n))
		if !ok {
			return
		}
		if len(answers) != int(n) {
			t.Fatalf("%d answers for %d items", len(answers), n)
		}
		for _, a := range answers {
			err := a.failure(deleteMethod)
			var r identity.MethodResult
			judge(&r, err)
			if (r.Outcome == identity.MethodDeleted) != (a.status >= 200 && a.status < 300) {
				t.Errorf("status %d is %s", a.status, r.Outcome)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("error of several lines: %q", err)
			}
		}
	})
}

// A method that is read has an id and a kind, and every item of the list is read.
func FuzzParseMethods(f *testing.F) {
	f.Add([]byte(`{"value":[{"@odata.type":"#microsoft.graph.phoneAuthenticationMethod","id":"a","phoneType":"mobile","createdDateTime":null}],"@odata.nextLink":"x"}`))
	f.Add([]byte(`{"value":[{"@odata.type":"","id":"a"},null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		methods, _, err := parseMethods(body)
		if err != nil {
			if methods != nil {
				t.Error("methods beside an error")
			}
			return
		}
		for _, m := range methods {
			if m.ID == "" || m.Kind == "" || m.Phone != "" && m.Kind != identity.MethodPhone {
				t.Errorf("%+v", m)
			}
		}
	})
}

func FuzzParseRisk(f *testing.F) {
	f.Add([]byte(`{"riskLevel":"high","riskState":"atRisk","riskLastUpdatedDateTime":"2026-11-23T08:00:00Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, ok := parseRisk(body); ok && (r.Level == "" || r.State == "") || !ok && r != (identity.Risk{}) {
			t.Errorf("%+v, %v", r, ok)
		}
	})
}

// An id of any form stays one segment of the path.
func FuzzRemovalURL(f *testing.F) {
	f.Add("../x/$ref?a#b%2F")
	f.Fuzz(func(t *testing.T, id string) {
		r, _ := removals(identity.MethodExternal)
		u, ok := r.url("/users/u/authentication", id)
		if ok && (strings.Count(u, "/") != 6 || strings.ContainsAny(u, "?# ") || strings.Contains(u, "/../")) {
			t.Errorf("%q gives %q", id, u)
		}
	})
}

// What identity calls deletable has a path here, and nothing else has.
func TestEveryDeletableKindHasAPath(t *testing.T) {
	for _, k := range []identity.MethodKind{
		identity.MethodPassword, identity.MethodPhone, identity.MethodEmail, identity.MethodFIDO2, identity.MethodWindowsHello,
		identity.MethodAuthenticator, identity.MethodSoftwareOATH, identity.MethodHardwareOATH, identity.MethodPlatformCredential,
		identity.MethodExternal, identity.MethodQRCodePIN, identity.MethodTemporaryAccessPass, identity.MethodPasswordlessAuthenticator, "", "palmScan",
	} {
		if _, ok := removals(k); ok != k.Deletable() {
			t.Errorf("%q: path %v, deletable %v", k, ok, k.Deletable())
		}
	}
}
