package config_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"mfaflow/pkg/config"
	"mfaflow/pkg/identity"
)

// What lies in the secret becomes settings; what it cannot be is said without its values.
func TestSettingsOfASecret(t *testing.T) {
	set(t, with(hrEvents, "MFAFLOW_SOURCE_KEYS", "", "MFAFLOW_SEND_TIMEOUT", ""))
	os.Unsetenv("MFAFLOW_SOURCE_KEYS") // set restores it
	os.Unsetenv("MFAFLOW_SEND_TIMEOUT")
	err := config.Add(identity.NewSecret(`{"MFAFLOW_SOURCE_KEYS": {"workday": ["whsec_a"]}, "MFAFLOW_SEND_TIMEOUT": "2s"}`))
	var c config.HREvents
	if err == nil {
		err = config.Load(&c)
	}
	if err != nil || c.SourceKeys["workday"][0].Reveal() != "whsec_a" || c.SendTimeout.Seconds() != 2 {
		t.Errorf("%v, %v", c, err)
	}
	for name, tc := range map[string]struct{ secret, want string }{
		"no JSON":             {"whsec_hush", "is not a JSON object"},
		"a list":              {`["hush"]`, "is not a JSON object"},
		"two":                 {`{} {"a": "hush"}`, "is not a JSON object"},
		"no setting":          {`{"PATH": "hush"}`, "PATH of the secret: is no setting"},
		"itself":              {`{"MFAFLOW_SETTINGS_SECRET": "hush"}`, "is no setting"},
		"what is there":       {`{"MFAFLOW_SOURCES": "hush"}`, "MFAFLOW_SOURCES of the secret: is in the environment as well"},
		"a number":            {`{"MFAFLOW_MAX_STARTS": 17}`, "MFAFLOW_MAX_STARTS of the secret: is neither a string nor a JSON document"},
		"null":                {`{"MFAFLOW_MAX_STARTS": null}`, "is neither"},
		"a NUL in a variable": {`{"MFAFLOW_MAX_STARTS": "hush\u0000"}`, "MFAFLOW_MAX_STARTS of the secret"},
	} {
		if err := config.Add(identity.NewSecret(tc.secret)); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a secret holds, it sets variables of ours only, and none that was set.
func FuzzSettingsOfASecret(f *testing.F) {
	f.Add(`{"MFAFLOW_X": "y"}`)
	f.Add(`{"MFAFLOW_X": {"a": [1]}, "MFAFLOW_Y": " "}`)
	f.Add(`{"HOME": "x", "MFAFLOW_SOURCES": "x"}`)
	f.Fuzz(func(t *testing.T, secret string) {
		before := map[string]string{}
		for _, pair := range os.Environ() {
			name, value, _ := strings.Cut(pair, "=")
			before[name] = value
		}
		err := config.Add(identity.NewSecret(secret))
		for _, pair := range os.Environ() {
			name, value, _ := strings.Cut(pair, "=")
			old, was := before[name]
			if was && old != value || !was && !strings.HasPrefix(name, "MFAFLOW_") {
				t.Errorf("%q changed %s", secret, name)
			}
			if !was {
				os.Unsetenv(name)
			}
		}
		if err == nil && !json.Valid([]byte(secret)) {
			t.Errorf("%q was taken", secret)
		}
	})
}

// Another process's environment is read as that process would read it, and this one's is
// as it was afterwards.
func TestLoadFrom(t *testing.T) {
	t.Setenv("MFAFLOW_LOG_LEVEL", "WARN")
	t.Setenv("MFAFLOW_PROVISION_RETRY", "soon") // which would be refused
	env := []string{
		"PATH=/nowhere", "MFAFLOW_SOURCES=[]", "MFAFLOW_LOG_LEVEL=DEBUG",
		"MFAFLOW_SERVICEBUS_CONNECTION_STRING=Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=b",
	}
	var c config.HREvents
	err := config.LoadFrom(env, identity.NewSecret(`{"MFAFLOW_SOURCE_KEYS": {"hr": ["whsec_x"]}}`), &c)
	if err != nil || c.LogLevel != slog.LevelDebug || c.SourceKeys["hr"][0].Reveal() != "whsec_x" {
		t.Errorf("%+v, %v", c, err)
	}
	if err := config.LoadFrom(append(env, "MFAFLOW_SUORCES=[]"), identity.Secret{}, &config.HREvents{}); err == nil || !strings.Contains(err.Error(), "did you mean MFAFLOW_SOURCES?") {
		t.Error(err)
	}
	if os.Getenv("MFAFLOW_LOG_LEVEL") != "WARN" || os.Getenv("MFAFLOW_PROVISION_RETRY") != "soon" || os.Getenv("MFAFLOW_SOURCES") != "" || os.Getenv("MFAFLOW_SOURCE_KEYS") != "" || os.Getenv("PATH") == "/nowhere" {
		t.Error("the environment of this process is another now")
	}
}
