package graph

import (
	"strings"
	"testing"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
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

// A page that is read has no item without what its kind always has, and at most one way on.
func FuzzParseList(f *testing.F) {
	f.Add([]byte(`{"value":[{"id":"aaaaaaaa-0000-4000-8000-000000000001","accountEnabled":true,"@removed":{"reason":"changed"}}],"@odata.deltaLink":"x"}`))
	f.Add([]byte(`{"value":[{"id":"aaaaaaaa-0000-4000-8000-000000000001","riskLevel":"high","riskState":"atRisk","riskLastUpdatedDateTime":"2026-11-23T08:00:00Z","isDeleted":null}],"@odata.nextLink":"x"}`))
	f.Add([]byte(`{"value":[{"id":"d","userId":"","riskLevel":"x","riskState":"y","detectedDateTime":"2026-11-23T08:00:00Z"}]}`))
	f.Add([]byte(`{"value":[{"id":"s","userId":"00000000-0000-0000-0000-000000000000","createdDateTime":"2026-11-23T08:00:00Z","status":{"errorCode":50053}}]}`))
	f.Add([]byte(`{"value":[{"id":"aaaaaaaa-0000-4000-8000-000000000001","deletedDateTime":"2026-11-23T08:00:00Z","accountEnabled":false,"employeeHireDate":null}]}`))
	f.Add([]byte(`{"value":[null],"@odata.nextLink":"a","@odata.deltaLink":"b"}`))
	guid := func(id identity.UserID) bool { _, ok := objectID(string(id)); return ok }
	f.Fuzz(func(t *testing.T, body []byte) {
		checkList(t, body, userChange, func(c sweep.Change) bool { return guid(c.ID) })
		checkList(t, body, deletedUser, func(d sweep.Deleted) bool { return guid(d.ID) && !d.At.IsZero() })
		checkList(t, body, riskyUser, func(r sweep.RiskyUser) bool { return guid(r.ID) && knownLevel(r.Level) && knownState(r.State) })
		checkList(t, body, detection, func(d sweep.Detection) bool {
			return d.ID != "" && (d.UserID == "" || guid(d.UserID)) && knownLevel(d.Level) && knownState(d.State)
		})
		checkList(t, body, func(w wireSignIn) (sweep.SignIn, bool, bool) { s, ok := signIn(w); return s, true, ok },
			func(s sweep.SignIn) bool { return s.ID != "" && (s.UserID == "" || guid(s.UserID)) })
		checkList(t, body, func(w wireEmployment) (sweep.Employment, bool, bool) { e, ok := employment(w); return e, true, ok },
			func(e sweep.Employment) bool { return guid(e.ID) })
		if e, ok := parseEmployment(body); ok && !guid(e.ID) || !ok && e != (sweep.Employment{}) {
			t.Errorf("%+v, %v", e, ok)
		}
	})
}

func checkList[W, T any](t *testing.T, body []byte, convert func(W) (T, bool, bool), good func(T) bool) {
	t.Helper()
	p, ok := parseList(body, convert)
	if !ok {
		if p.Items != nil || p.Next != "" || p.Delta != "" {
			t.Errorf("%+v beside a refusal", p)
		}
		return
	}
	if p.Next != "" && p.Delta != "" {
		t.Error("two ways on")
	}
	for _, item := range p.Items {
		if !good(item) {
			t.Errorf("%+v", item)
		}
	}
}

// A report that cannot be read is no report of people without methods, and a name that
// nobody knows counts as a method that may let somebody in.
func FuzzRegistered(f *testing.F) {
	f.Add([]byte(`{"value":[{"id":"10000000-0000-4000-8000-000000000004","methodsRegistered":["mobilePhone","retinaScan","temporaryAccessPass"]}]}`))
	f.Add([]byte(`{"value":[{"id":"10000000-0000-4000-8000-000000000004"}]}`))
	f.Add([]byte(`{"value":[{"id":"x","methodsRegistered":[]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		page, ok := parseList(body, registered)
		if !ok && len(page.Items) > 0 {
			t.Error("people beside an error")
		}
		for _, r := range page.Items {
			if !identity.IsGUID(string(r.user)) {
				t.Errorf("%+v", r)
			}
			for _, m := range r.methods {
				if m.Kind == identity.MethodPassword || m.Kind == identity.MethodTemporaryAccessPass {
					t.Errorf("%+v", m)
				}
			}
		}
	})
}

// A rule that is read asks for a strength that something satisfies, and only a policy that
// is enabled counts as enforced.
func FuzzParseAccessRules(f *testing.F) {
	f.Add([]byte(`{"value":[{"displayName":"a","state":"enabled","conditions":{"users":{"includeUsers":["All"]}},"grantControls":{"authenticationStrength":{"displayName":"s","allowedCombinations":["fido2","temporaryAccessPassOneTime"]}}}]}`))
	f.Add([]byte(`{"value":[{"state":"enabledForReportingButNotEnforced","grantControls":{"authenticationStrength":{"allowedCombinations":[]}}},{"state":"disabled"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		page, ok := parseList(data, accessRule)
		if !ok {
			return
		}
		for _, r := range page.Items {
			if r.Enforced && !strings.Contains(string(data), "enabled") || r.Everyone && !strings.Contains(strings.ToLower(string(data)), "all") && !strings.Contains(string(data), `\u`) {
				t.Errorf("%+v of %s", r, data)
			}
		}
	})
}
