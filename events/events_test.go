package events_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/events"
	"mfaflow/events/tenant"
	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/strictjson"
	"mfaflow/pkg/webhook"
)

var update = flag.Bool("update", false, "rewrite the expected answers and mapped events")

func newCatalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// each runs a test for every JSON file two levels below dir but the sources of HR
// systems, and fails when a pattern finds nothing to test.
func each(t *testing.T, dir string, run func(t *testing.T, name string, raw []byte)) {
	t.Helper()
	names, err := fs.Glob(events.FS(), dir+"/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("%s has no files", dir)
	}
	for _, name := range names {
		if path.Base(name) == "source.json" {
			continue
		}
		raw, err := fs.ReadFile(events.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(strings.TrimPrefix(name, dir+"/"), ".json"), func(t *testing.T) { run(t, name, raw) })
	}
}

// compare checks got against the file beside name with another extension.
func compare(t *testing.T, name, extension string, got []byte) {
	t.Helper()
	file := strings.TrimSuffix(name, ".json") + extension
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it, then read it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestSamples(t *testing.T) {
	c := newCatalog(t)
	ids := map[string]string{}
	each(t, "samples", func(t *testing.T, name string, raw []byte) {
		e, err := c.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if folder := path.Base(path.Dir(name)); string(e.Type) != folder {
			t.Errorf("a %s lies in the folder %s", e.Type, folder)
		}
		if other, twice := ids[e.Source+" "+e.ID]; twice {
			t.Errorf("same source and id as %s", other)
		}
		ids[e.Source+" "+e.ID] = name
		if err := decodeData(e); err != nil {
			t.Error(err)
		}
	})
}

// decodeData reads the data as the code that acts on it does.
func decodeData(e event.Event) error {
	var err error
	switch family, _, _ := strings.Cut(string(e.Type), "."); {
	case e.Type.IsStatement():
		_, err = e.Employment()
	case e.Type == event.Mover:
		_, err = e.Move()
	case e.Type == event.Ref:
		_, err = e.RecordRef()
	case e.Type == event.MethodPolicy:
		_, err = e.PolicyChange()
	case family == "mfa":
		_, err = e.MFA()
	case family == "risk":
		_, err = e.Risk()
	case e.Type == event.AccountLocked:
		_, err = e.Lockout()
	case e.Type == event.AccountChanged:
		_, err = e.AccountUpdate()
	case e.Type == event.SessionRevoked:
		_, err = e.Revocation()
	case e.Type == event.CredentialChanged:
		_, err = e.CredentialUpdate()
	default:
		err = errors.New("no data struct for " + string(e.Type))
	}
	return err
}

// The answer to an invalid sample is the text file beside it.
func TestInvalid(t *testing.T) {
	c := newCatalog(t)
	each(t, "invalid", func(t *testing.T, name string, raw []byte) {
		_, err := c.Parse(raw)
		if err == nil {
			t.Fatal("accepted")
		}
		answer := err.Error()
		if invalid, ok := errors.AsType[*catalog.InvalidError](err); ok {
			lines := make([]string, len(invalid.Fields))
			for i, f := range invalid.Fields {
				lines[i] = f.String()
			}
			answer = strings.Join(lines, "\n")
		}
		compare(t, name, ".txt", []byte(answer+"\n"))
	})
}

func TestEveryTypeIsComplete(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range event.Types() {
		if !strings.Contains(string(page), "`"+string(typ)+"`") {
			t.Errorf("README.md does not name %s", typ)
		}
		for _, pattern := range []string{"schemas/%.v1.json", "samples/%/*.json", "invalid/%/*.json", "invalid/%/*.txt"} {
			pattern = strings.ReplaceAll(pattern, "%", string(typ))
			if found, err := fs.Glob(events.FS(), pattern); err != nil || len(found) == 0 {
				t.Errorf("%s has no %s", typ, pattern)
			}
		}
	}
}

func TestNoStrayFiles(t *testing.T) {
	known := map[string]bool{"envelope": true, "policy-file": true}
	for _, typ := range event.Types() {
		known[string(typ)] = true
	}
	for _, dir := range []string{"samples", "invalid", "golden"} {
		entries, err := fs.ReadDir(events.FS(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && !known[e.Name()] {
				t.Errorf("%s/%s is named after no event type", dir, e.Name())
			}
		}
	}
	schemas, err := fs.Glob(events.FS(), "schemas/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range schemas {
		if typ, _, ok := strings.Cut(path.Base(name), ".v"); !ok || !known[typ] {
			t.Errorf("%s is named after no event type", name)
		}
	}
	answers, err := fs.Glob(events.FS(), "invalid/*/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range answers {
		if _, err := fs.Stat(events.FS(), strings.TrimSuffix(name, ".txt")+".json"); err != nil {
			t.Errorf("%s answers nothing: %v", name, err)
		}
	}
}

// What a mapping makes of a payload is the text file beside it: one event a line,
// each with what the catalogue says to it once ingest has added the envelope.
func TestMappings(t *testing.T) {
	c := newCatalog(t)
	unused := map[string]bool{}
	for _, name := range mappings(t) {
		unused[name] = true
	}
	test := func(t *testing.T, name string, raw []byte, source ingest.Source) {
		delete(unused, source.Mapping)
		payload, err := strictjson.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if source.EventBridge != nil {
			payload = payload.(map[string]any)["detail"]
		}
		if source.Mapping == "ssf" {
			payload = verified(t, payload)
		}
		program, err := mapping.Open(source.Mapping)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, name, ".txt", []byte(mapped(t, c, program, payload)))
	}
	each(t, "hr", func(t *testing.T, name string, raw []byte) {
		test(t, name, raw, recommended(t, path.Base(path.Dir(name))))
	})
	each(t, "risk", func(t *testing.T, name string, raw []byte) {
		test(t, name, raw, ingest.Source{Mapping: path.Base(path.Dir(name))})
	})
	for _, system := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("mappings/%s.jq has no payloads in hr/%s or risk/%s", system, system, system)
	}
}

// verified is what a mapping gets of a token with these claims. Transmitters that name
// people by ids of their own are configured with what these are in the directory.
func verified(t *testing.T, claims any) any {
	t.Helper()
	stream := secevent.Stream{Subjects: map[string]secevent.Identifier{
		"https://transmitter.okta.com": secevent.EmployeeID, "https://org.okta.com": secevent.EmployeeID,
		"https://idp.example.com/3456789/": secevent.Mail,
	}}
	token, err := stream.Read(claims.(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	return token.Value()
}

func mappings(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(events.FS(), "mappings/*.jq")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d mappings, %v", len(files), err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), ".jq")
	}
	return files
}

// isRecord reports whether a mapping reads the answer of an HR API.
func isRecord(name string) bool { return name == "record" || strings.HasSuffix(name, "-record") }

// recommended is the source of a system; that of records is the mapping alone.
func recommended(t *testing.T, system string) ingest.Source {
	t.Helper()
	if isRecord(system) {
		return ingest.Source{Mapping: system}
	}
	raw, _, err := mapping.Recommended(system)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ingest.ParseSources([]byte("[" + string(raw) + "]"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %v", system, err)
	}
	return list[0]
}

// A system is its mapping, its payloads, how it is connected, and a row on the page; a
// mapping of records is named by the system that uses it.
func TestSystemsAreComplete(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	schemas := newCatalog(t)
	used := map[string]bool{"record": true} // for systems without a mapping of their own
	risk, err := fs.ReadDir(events.FS(), "risk")
	if err != nil {
		t.Fatal(err)
	}
	for _, system := range risk {
		used[system.Name()] = true
	}
	for _, system := range mapping.Systems() {
		source := recommended(t, system)
		used[source.Mapping] = true
		if !strings.Contains(string(page), "\n| ["+system+"](hr/"+system+"/source.json) |") {
			t.Errorf("README.md has no row for %s", system)
		}
		if source.Name != system {
			t.Errorf("%s/source.json: the source is named %s", system, source.Name)
		}
		if source.Verify != nil {
			source.Verify.Keys = webhook.Keys{identity.NewSecret(keyFor(source.Verify.Preset))}
		}
		if err := ingest.Validate([]ingest.Source{source}, false); err != nil {
			t.Errorf("%s/source.json: %v", system, err)
		}
		_, raw, err := mapping.Recommended(system)
		if err != nil || raw == nil {
			continue
		}
		record, err := hrapi.Parse([]byte("[" + regexp.MustCompile(`<[^>]+>`).ReplaceAllString(string(raw), "contoso") + "]"))
		if err != nil {
			t.Errorf("%s/source.json: %v", system, err)
			continue
		}
		if _, err := hrapi.New(record, schemas, nil); err != nil || record[0].Source != system {
			t.Errorf("%s/source.json: record of %s, %v", system, record[0].Source, err)
		}
		used[record[0].Mapping] = true
	}
	for _, name := range mappings(t) {
		if !used[name] {
			t.Errorf("mappings/%s.jq: no hr/*/source.json uses it", name)
		}
	}
}

// keyFor is a key of the form that a preset wants.
func keyFor(preset string) string {
	switch preset {
	case "standard-webhooks":
		return "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	case "basic":
		return "user:password"
	default: // good as text, hex and base64
		return "00112233445566778899aabbccddeeff"
	}
}

func mapped(t *testing.T, c *catalog.Catalog, program *mapping.Program, payload any) string {
	t.Helper()
	received := time.Date(2026, time.November, 23, 14, 15, 0, 0, time.UTC)
	source := map[string]any{"name": "hr", "timeZone": "America/Halifax", "employeeId": "E1004"}
	partials, err := program.Map(t.Context(), payload, source, received)
	if errors.Is(err, mapping.ErrMapping) {
		return "refused by the mapping\n"
	} else if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, v := range partials {
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
		partial, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("the mapping gives a %T", v)
		}
		whole := map[string]any{"specversion": "1.0", "id": "1", "source": "/hr", "time": received.Format(time.RFC3339)}
		maps.Copy(whole, partial)
		delete(whole, "key") // ingest takes it
		if _, err := c.ParseValue(whole); err != nil {
			b.WriteString("refused: " + err.Error() + "\n")
		}
	}
	return b.String()
}

// The table of sign-in errors is there twice: in Go for what is polled, in jq for what a
// hub delivers.
func TestEntraMappingKnowsTheSignInErrors(t *testing.T) {
	text, err := fs.ReadFile(events.FS(), "mappings/entra.jq")
	if err != nil {
		t.Fatal(err)
	}
	program, err := mapping.New(string(text))
	if err != nil {
		t.Fatal(err)
	}
	codes := append(event.SignInFailureCodes(), 0, 50126, 50074, 50140)
	for _, code := range codes {
		for _, reason := range []string{"", "The account is locked", "an IP address with malicious activity"} {
			for _, details := range []string{"", "MFA denied; Phone App Reported Fraud", "MFA Denied, Fraud Code Entered", "MFA denied; user declined the authentication"} {
				out, err := program.Map(t.Context(), map[string]any{"category": "SignInLogs", "properties": map[string]any{
					"id": "s", "userId": "10000000-0000-4000-8000-000000000011", "createdDateTime": "2026-11-23T08:00:00Z",
					"status": map[string]any{"errorCode": json.Number(strconv.Itoa(code)), "failureReason": reason, "additionalDetails": details},
				}}, nil, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				want, trouble := event.ClassifySignIn(code, reason, details)
				if !trouble {
					want = event.SignInFailure{}
				}
				got := event.SignInFailure{}
				if len(out) == 1 {
					e := out[0].(map[string]any)
					cause, _ := e["data"].(map[string]any)["cause"].(string)
					got = event.SignInFailure{Lock: event.LockCause(cause), Unrequested: e["type"] == string(event.CodesUnrequested)}
				}
				if trouble != (len(out) == 1) || got != want {
					t.Errorf("%d %q %q: %+v, want %+v", code, reason, details, got, want)
				}
			}
		}
	}
}

// The samples are about people of the sample tenant, so that a sample that is sent
// to the local stack does what its name says.
func TestSamplesAreAboutTheSampleTenant(t *testing.T) {
	type user struct {
		ID                identity.UserID `json:"id"`
		EmployeeID        string          `json:"employeeId"`
		UserPrincipalName string          `json:"userPrincipalName"`
		Mail              string          `json:"mail"`
	}
	var sample struct {
		ID                string `json:"id"`
		Users             []user `json:"users"`
		NotYetProvisioned []user `json:"notYetProvisioned"`
	}
	if err := json.Unmarshal(tenant.JSON(), &sample); err != nil {
		t.Fatal(err)
	}
	if len(sample.Users) == 0 {
		t.Fatal("the sample tenant has no users")
	}
	want := map[string]int{"employee.joiner/two-people-with-this-number": 2, "employee.joiner/unknown-employee": 0}
	each(t, "samples", func(t *testing.T, name string, raw []byte) {
		e, err := event.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type.IsTenantWide() {
			if e.Subject != sample.ID {
				t.Errorf("it is about the tenant %s, the sample tenant is %s", e.Subject, sample.ID)
			}
			return
		}
		person, err := e.Person()
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, user := range append(sample.Users, sample.NotYetProvisioned...) {
			account := identity.Account{
				ID: user.ID, EmployeeID: user.EmployeeID, UserPrincipalName: user.UserPrincipalName, Mail: user.Mail,
			}
			if agrees, matched := account.Matches(person); agrees && matched {
				found++
			}
		}
		expected, special := want[strings.TrimSuffix(strings.TrimPrefix(name, "samples/"), ".json")]
		if !special {
			expected = 1
		}
		if found != expected {
			t.Errorf("%d people of the sample tenant match, want %d", found, expected)
		}
	})
}
