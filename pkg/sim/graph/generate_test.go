package graph_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mfaflow/pkg/sim/graph"
)

// The same seed gives the same tenant, another one another; what is generated is accepted
// as a tenant file.
func TestGenerate(t *testing.T) {
	encode := func(o graph.GenerateOptions) []byte {
		t.Helper()
		var data bytes.Buffer
		if err := graph.Generate(o).Write(&data); err != nil {
			t.Fatal(err)
		}
		return data.Bytes()
	}
	for _, n := range []int{0, 20, 21, 500, 3000} {
		data := encode(graph.GenerateOptions{Users: n, Seed: 7, Now: t0})
		if !bytes.Equal(data, encode(graph.GenerateOptions{Users: n, Seed: 7, Now: t0})) {
			t.Errorf("%d people: not the same again", n)
		}
		if bytes.Equal(data, encode(graph.GenerateOptions{Users: n, Seed: 8, Now: t0})) {
			t.Errorf("%d people: the seed makes no difference", n)
		}
		tn, err := graph.ParseTenant(data)
		if err != nil {
			t.Fatalf("%d people: %v", n, err)
		}
		want, _ := json.Marshal(graph.Generate(graph.GenerateOptions{Users: n, Seed: 7, Now: t0}))
		if got, _ := json.Marshal(tn); !bytes.Equal(got, want) {
			t.Errorf("%d people: read as another tenant", n)
		}
		if len(tn.Users) != max(n, 20) {
			t.Errorf("%d people, want %d", len(tn.Users), n)
		}
	}
}

// There is somebody of every kind, and something of everything.
func TestGeneratedTenant(t *testing.T) {
	tn := graph.Generate(graph.GenerateOptions{Users: 3000, Seed: 7, Now: t0})
	count := map[string]int{}
	for _, u := range tn.Users {
		add := func(name string, yes bool) {
			if yes {
				count[name]++
			}
		}
		kinds := ""
		for _, m := range u.Methods {
			kinds += m.Kind + fmt.Sprint(m.Properties["phoneType"]) + " "
		}
		add("disabled", !u.AccountEnabled)
		add("external guest", u.CreationType == "Invitation")
		add("internal guest", u.UserType == "Guest" && u.CreationType == "")
		add("break-glass with a key", u.Note == "break-glass account" && strings.Contains(kinds, "fido2"))
		add("break-glass without", u.Note == "break-glass account" && !strings.Contains(kinds, "fido2"))
		add("script", strings.HasPrefix(u.UserPrincipalName, "svc-") && u.SignInActivity.LastSignInDateTime == nil && u.SignInActivity.LastNonInteractiveSignInDateTime != nil)
		add("nothing", kinds == "" && u.Department != "")
		add("text messages only", kinds == "phonemobile ")
		add("calls only", kinds == "phoneoffice ")
		add("Windows Hello", strings.Contains(kinds, "windowsHello"))
		add("key", strings.Contains(kinds, "fido2"))
		add("enforced", u.PerUserMFA == "enforced")
		add("enabled", u.PerUserMFA == "enabled")
		add("markup", strings.Contains(u.DisplayName, "<script>"))
		add("formula", strings.HasPrefix(u.DisplayName, "=HYPERLINK"))
		add("right to left", strings.Contains(u.DisplayName, "\u202e"))
		add("with a manager", u.Manager != "")
	}
	for _, in := range tn.SignIns {
		if in.Time.After(t0) || in.Time.Before(t0.AddDate(0, 0, -32)) {
			t.Fatalf("sign-in at %s", in.Time)
		}
		count["protocol "+in.Protocol]++
		count["event "+in.Event]++
		count["app "+in.AppID]++
		if in.Code != 0 {
			count["refused"]++
		}
	}
	for _, p := range tn.Policies.ConditionalAccess {
		count[fmt.Sprint("state ", p["state"])]++
	}
	for _, p := range tn.ServicePrincipals {
		count[p.Type]++
	}
	count["eligible"], count["active"] = len(tn.RoleEligibilities), len(tn.RoleAssignments)
	for _, name := range []string{"disabled", "external guest", "internal guest", "break-glass with a key", "break-glass without", "script", "nothing", "text messages only", "calls only",
		"Windows Hello", "key", "enforced", "enabled", "markup", "formula", "right to left", "with a manager", "protocol ropc", "event nonInteractiveUser", "app " + azurePortal, "app " + azureCLI,
		"refused", "state enabled", "state disabled", "state enabledForReportingButNotEnforced", "Application", "ManagedIdentity", "eligible", "active"} {
		if count[name] == 0 {
			t.Errorf("no %s", name)
		}
	}
	t.Logf("%v", count)

	s := startWith(t, graph.Options{Tenant: tn})
	verdicts := map[graph.Verdict]int{}
	for _, u := range s.Users() {
		verdicts[s.judge(graph.Attempt{User: u.ID}).Verdict]++
	}
	for _, v := range []graph.Verdict{graph.VerdictIn, graph.VerdictAfterMFA, graph.VerdictMustRegister, graph.VerdictBlocked} {
		if verdicts[v] == 0 {
			t.Errorf("nobody is %s: %v", v, verdicts)
		}
	}
	if n := len(s.as("readiness-report", "GET", registrations+"?$top=999", nil).want(t, 200, "").value()); n != 999 {
		t.Errorf("%d on a page", n)
	}
}

// BenchmarkGenerate makes, writes and reads a tenant of a hundred thousand.
func BenchmarkGenerate(b *testing.B) {
	var data []byte
	b.Run("generate", func(b *testing.B) {
		for b.Loop() {
			graph.Generate(graph.GenerateOptions{Users: 100_000, Seed: 7, Now: t0})
		}
	})
	tn := graph.Generate(graph.GenerateOptions{Users: 100_000, Seed: 7, Now: t0})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			var out bytes.Buffer
			if err := tn.Write(&out); err != nil {
				b.Fatal(err)
			}
			data = out.Bytes()
		}
		b.SetBytes(int64(len(data)))
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := graph.ParseTenant(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEvaluate judges one sign-in after the other in a tenant of ten thousand.
func BenchmarkEvaluate(b *testing.B) {
	s, err := graph.Start(b.Context(), graph.Options{Tenant: graph.Generate(graph.GenerateOptions{Users: 10_000, Seed: 7, Now: t0})})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	people := s.Users()
	for i := 0; b.Loop(); i++ {
		if _, err := s.EvaluateSignIn(graph.Attempt{User: people[i%len(people)].ID, App: azurePortal, Flow: graph.Interactive}); err != nil {
			b.Fatal(err)
		}
	}
}
