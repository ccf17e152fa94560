package ingest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/webhook"
)

func TestParseSources(t *testing.T) {
	list, err := ingest.ParseSources([]byte(`[
		{"name":"workday","format":"cloudevents","verify":{"preset":"standard-webhooks"},"types":["employee.*"],"allowedOrigins":["a.example"]},
		{"name":"humi","format":"mapped","mapping":"humi","verify":{"preset":"bearer","keys":["k"]},"types":["employee.joiner","employee.leaver"],"timeZone":"America/Halifax","form":true},
		{"name":"bus","format":"cloudevents","eventBridge":{"source":"hr.acme","detailType":"Event"},"types":["employee.*"]}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	const key = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	list, err = ingest.WithKeys(list, map[string][]identity.Secret{"workday": {identity.NewSecret(key)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
	}
	_, err = ingest.WithKeys(list, map[string][]identity.Secret{"workdya": {identity.NewSecret("hunter2")}, "bus": {identity.NewSecret("hunter2")}})
	if err == nil || !strings.Contains(err.Error(), `"workdya"`) || !strings.Contains(err.Error(), `"bus"`) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("keys without a source: %v", err)
	}
	for name, bad := range map[string]string{
		"UnknownField":       `[{"name":"a","formt":"mapped"}]`,
		"UnknownFieldInside": `[{"name":"a","verify":{"preset":"bearer","kyes":[]}}]`,
		"DoubledField":       `[{"name":"a","name":"b"}]`,
		"NotAList":           `{"name":"a"}`,
		"KeyOfWrongType":     `[{"name":"a","verify":{"keys":"hunter2"}}]`,
		"Duration":           `[{"name":"a","verify":{"timestamp":{"tolerance":"hunter2"}}}]`,
	} {
		if _, err := ingest.ParseSources([]byte(bad)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is wrong is said, and nothing that only follows from it.
func TestFaultsAreSaidOnce(t *testing.T) {
	list, err := ingest.ParseSources([]byte(`[{"name":"okta","format":"mapped","mapping":"okta-hook","verify":{"preset":"okta"},"challenge":"okta","types":["risk.*"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if err := list[0].Validate(); err == nil || !strings.Contains(err.Error(), "keys: at least one") || strings.Contains(err.Error(), "challenge") {
		t.Error(err)
	}
	if _, err := ingest.ParseSources([]byte(`{"name":"okta"}`)); err == nil || !strings.Contains(err.Error(), "put [ ] around") {
		t.Error(err)
	}
}

func TestValidateReportsEverything(t *testing.T) {
	tests := map[string]struct {
		sources string
		says    []string
	}{
		"Empty": {`{}`, []string{"name:", "format:", "verify or eventBridge", "types:"}},
		"Everything": {`{"name":"Work day","format":"mapped","mapping":"{","verify":{"preset":"nobody"},"eventBridge":{"source":""},
			"types":["employee.*","employee.jioner"],"timeZone":"Local","allowedOrigins":["a"],"allowedRate":-1}`,
			[]string{"name:", "bad mapping program", "no preset", "eventBridge.source", "employee.jioner", "timeZone", "allowedOrigins", "allowedRate"}},
		"NameOfOurs":            {`{"name":"operator","format":"cloudevents","verify":{"preset":"bearer","keys":["k"]},"types":["mfa.*"]}`, []string{"operators' words"}},
		"MappingForCloudEvents": {`{"name":"a","format":"cloudevents","mapping":".","verify":{"preset":"bearer","keys":["k"]},"types":["employee.*"]}`, []string{"mapping, form and unsigned"}},
		"NoMapping":             {`{"name":"a","format":"mapped","verify":{"preset":"bearer","keys":["k"]},"types":["employee.*"]}`, []string{"mapping: is required"}},
		"UnknownMapping":        {`{"name":"a","format":"mapped","mapping":"nobody","verify":{"preset":"bearer","keys":["k"]},"types":["employee.*"]}`, []string{"generic, gusto-record"}},
		"FormsThatCannotVerify": {`{"name":"a","format":"mapped","mapping":"generic","form":true,"verify":{"preset":"bamboohr","keys":["k"]},"types":["employee.*"]}`, []string{"form: no form can verify"}},
		"NoKeys":                {`{"name":"a","format":"cloudevents","verify":{"preset":"standard-webhooks"},"types":["employee.*"]}`, []string{"keys: at least one"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := ingest.ParseSources([]byte("[" + tt.sources + "]"))
			if err != nil {
				t.Fatal(err)
			}
			err = list[0].Validate()
			for _, say := range tt.says {
				if err == nil || !strings.Contains(err.Error(), say) {
					t.Errorf("%v does not say %q", err, say)
				}
			}
		})
	}
	for _, preset := range []string{"hibob", "gusto", "deel", "bearer"} {
		s := ingest.Source{
			Name: "a", Format: ingest.Mapped, Mapping: "generic", Form: true, Types: []string{"employee.*"},
			Verify: &webhook.Config{Preset: preset, Keys: webhook.Keys{identity.NewSecret("k")}},
		}
		if err := s.Validate(); err != nil {
			t.Errorf("form under %s: %v", preset, err)
		}
	}
	twice := `{"name":"a","format":"cloudevents","verify":{"preset":"bearer","keys":["k"]},"eventBridge":{"source":"s"},"types":["employee.*"]}`
	list, err := ingest.ParseSources([]byte("[" + twice + "," + twice + "]"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ingest.New(ingest.Options{Prefix: "/hr/", Sources: list})
	for _, say := range []string{"there twice", "same bus events"} {
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%v does not say %q", err, say)
		}
	}
	if _, err := ingest.New(ingest.Options{}); err == nil {
		t.Error("no source, no error")
	}
}

func TestNameOfSource(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "7": true, "work-day-2": true, "a--b": true, strings.Repeat("a", 32): true,
		"": false, "-": false, "-a": false, "a-": false, "Workday": false, "work_day": false, "work day": false, "wörk": false,
		"a/b": false, "a\n": false, strings.Repeat("a", 33): false,
	} {
		s := ingest.Source{
			Name: name, Format: ingest.CloudEvents, EventBridge: &ingest.EventBridgeRule{Source: "hr"}, Types: []string{"employee.*"},
		}
		if err := s.Validate(); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What the README tells people to configure can be configured.
func TestSourcesOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	entries := regexp.MustCompile("`(\\{\"name\": .*?\\})` \\|").FindAllStringSubmatch(string(text), -1)
	if len(entries) < 5 {
		t.Fatalf("%d sources found", len(entries))
	}
	for _, entry := range entries {
		list, err := ingest.ParseSources([]byte("[" + entry[1] + "]"))
		if err != nil {
			t.Errorf("%s: %v", entry[1], err)
			continue
		}
		keys := map[string][]identity.Secret{}
		if list[0].Verify != nil {
			keys[list[0].Name] = []identity.Secret{identity.NewSecret(secret)}
		}
		if list, err = ingest.WithKeys(list, keys); err == nil {
			err = ingest.Validate(list, true)
		}
		if err != nil {
			t.Errorf("%s: %v", entry[1], err)
			continue
		}
		mapping := list[0].Mapping
		if list[0].Format == ingest.SecurityEvents {
			mapping = "ssf"
		}
		if mapping == "generic" { // gives whatever it is told
			continue
		}
		goldens, err := filepath.Glob("../../events/risk/" + mapping + "/*.txt")
		if err != nil || list[0].Format != ingest.CloudEvents && len(goldens) == 0 {
			t.Fatalf("%s: no samples, %v", mapping, err)
		}
		for _, name := range goldens {
			golden, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`"type":"([a-z.-]+)"`).FindAllStringSubmatch(string(golden), -1) {
				if typ, err := event.ParseType(found[1]); err == nil && !event.Scope(list[0].Types).Allows(typ) {
					t.Errorf("%s: %s is outside the scope of %s", name, typ, list[0].Name)
				}
			}
		}
	}
}
