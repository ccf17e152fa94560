package cli_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
)

// onTenant is the environment of somebody on whose machine a stack runs.
func onTenant(t *testing.T) []string {
	t.Helper()
	clear(t)
	s, err := simgraph.Start(t.Context(), simgraph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []string{
		"SSL_CERT_FILE=" + ca, "MFAFLOW_TENANT_ID=" + s.TenantID(), "MFAFLOW_CLIENT_ID=", "MFAFLOW_CLIENT_SECRET=",
		"MFAFLOW_AUTHORITY_URL=" + s.AuthorityURL(), "MFAFLOW_GRAPH_URL=" + s.TLSURL(), "MFAFLOW_GRAPH_BUDGET=none",
		"MFAFLOW_BREAK_GLASS_ACCOUNTS=10000000-0000-4000-8000-000000000018", "MFAFLOW_REPORTS_URL=file://" + dir + "/reports",
	}
	for _, pair := range settings { // what the command sets is taken back at the end
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "MFAFLOW_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, app := range []string{"readiness-report", "tenant-administrator"} {
		id, secret := s.App(app)
		lines := append(slices.Clone(settings), "MFAFLOW_CLIENT_ID="+id, "MFAFLOW_CLIENT_SECRET="+secret)
		if err := os.WriteFile(filepath.Join(dir, app+".env"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := operateapi.Announce(filepath.Join(dir, "mfaflow", "operations.json"), operateapi.Local{Settings: dir}); err != nil {
		t.Fatal(err)
	}
	return []string{"XDG_RUNTIME_DIR=" + dir}
}

func TestReadiness(t *testing.T) {
	env := onTenant(t)
	dir := t.TempDir()
	html, table := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.csv")
	r := run(t, "", env, "readiness", "--html", html, "--csv", table)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{
		"Readiness of Contoso Example for ", "VERDICT", "blocked ", "svc-backup@contoso.example", "User identity used as a service account: 1", "-> Move the program to a workload identity",
		"Only a telephone number is registered: 3", "Note: Azure portal, Entra and Intune admin centers share one app id",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	if page, err := os.ReadFile(html); err != nil || !bytes.Contains(page, []byte("svc-backup@contoso.example")) {
		t.Errorf("%d bytes of HTML, %v", len(page), err)
	}
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) < 30 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	for _, file := range []string{html, table} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

func TestReadinessWhatIf(t *testing.T) {
	r := run(t, "", onTenant(t), "readiness", "--what-if", "disable=Require MFA for everybody", "--limit", "2", "--phase", "1", "--date", "2026-12-01")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, want := range []string{"for 2026-12-01, enforcement up to phase 1", "What if: disable=Require MFA for everybody", "NOW", "CHANGED", "... and ", "--limit 0 lists all"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
}

func TestReadinessAsJSON(t *testing.T) {
	r := run(t, "", onTenant(t), "readiness", "--json")
	var report struct {
		Version int
		Summary struct{ People int }
		People  []struct{ Verdict string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	if report.Version != 1 || report.Summary.People != len(report.People) || len(report.People) < 30 {
		t.Errorf("%+v", report.Summary)
	}
}

func TestReadinessOfNobody(t *testing.T) {
	clear(t)
	env := []string{"XDG_RUNTIME_DIR=" + t.TempDir()}
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no tenant":       {nil, 1, "Error: no tenant: MFAFLOW_TENANT_ID is not set, and no stack runs on this machine\nTry: mfaflow config readiness-report"},
		"no day":          {[]string{"--date", "tomorrow"}, 2, "--date is not a day such as 2026-07-01"},
		"no phase":        {[]string{"--phase", "3"}, 2, "--phase is neither 1 nor 2"},
		"no change":       {[]string{"--what-if", "mfa=on"}, 2, `--what-if: "mfa=on" is no change; there are security-defaults=on|off`},
		"half a change":   {[]string{"--what-if", "security-defaults=maybe"}, 2, "say security-defaults=on or security-defaults=off"},
		"fewer than none": {[]string{"--limit", "-1"}, 2, "--limit is negative"},
		"arguments":       {[]string{"x"}, 2, "readiness"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "", env, append([]string{"readiness"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.stderr, c.stderr) || r.stdout != "" {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Setenv("MFAFLOW_GRAPH_URL", "https://graph.microsoft.us")
	if r := run(t, "", append(onTenant(t), "MFAFLOW_GRAPH_URL=https://graph.microsoft.us"), "readiness"); r.code != 1 || !strings.Contains(r.stderr, "MFAFLOW_TENANT_ID is required") {
		t.Errorf("the stack is read instead: %+v", r)
	}
	env = append(env, "MFAFLOW_TENANT_ID=contoso.example")
	t.Setenv("MFAFLOW_TENANT_ID", "contoso.example")
	t.Setenv("MFAFLOW_READINESS_PHASE", "4")
	if r := run(t, "", env, "readiness"); r.code != 1 || !strings.Contains(r.stderr, "MFAFLOW_READINESS_PHASE is neither 1 nor 2") || !strings.Contains(r.stderr, "MFAFLOW_CLIENT_ID") {
		t.Errorf("%+v", r)
	}
}
