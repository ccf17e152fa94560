package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"mfaflow/pkg/identity"
)

// Runtime is a variable of the environment that is no setting of ours, such as those that
// AWS Lambda sets; empty when there is none.
func Runtime(name string) string { return os.Getenv(name) }

// borrowing: one at a time has the environment of the process for another's.
var borrowing sync.Mutex

// LoadFrom is Load for the environment of another process, in the form of os.Environ, with
// what its settings secret holds; a secret of nothing is none. The environment of this
// process is lent for that long, since envconfig reads no other: it is for tools.
func LoadFrom(env []string, secret identity.Secret, s Settings) (err error) {
	borrowing.Lock()
	defer borrowing.Unlock()
	own := os.Environ()
	defer func() { err = errors.Join(err, replaceEnvironment(own)) }()
	if err := replaceEnvironment(env); err != nil {
		return err
	}
	if secret.Reveal() != "" {
		if err := Add(secret); err != nil {
			return err
		}
	}
	return Load(s)
}

// replaceEnvironment replaces what begins like ours.
func replaceEnvironment(by []string) error {
	var problems []error
	for _, env := range []struct {
		pairs []string
		set   bool
	}{{os.Environ(), false}, {by, true}} {
		for _, pair := range env.pairs {
			name, value, _ := strings.Cut(pair, "=")
			switch {
			case !strings.HasPrefix(name, prefix+"_"):
			case env.set:
				problems = append(problems, os.Setenv(name, value))
			default:
				problems = append(problems, os.Unsetenv(name))
			}
		}
	}
	return errors.Join(problems...)
}

// Add adds the settings of a secret to the environment: a JSON object of variables, whose
// values are strings, or the JSON documents that some variables take. What the environment
// has already is a contradiction, not an override. Its errors quote no value.
func Add(secret identity.Secret) error {
	var settings map[string]json.RawMessage
	d := json.NewDecoder(strings.NewReader(secret.Reveal()))
	if err := d.Decode(&settings); err != nil || d.More() {
		return fmt.Errorf(`%s: the secret is not a JSON object such as {"%s_SOURCE_KEYS": {"workday": ["whsec_..."]}}`, SettingsSecret, prefix)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value, err := text(settings[name])
		switch {
		case !strings.HasPrefix(name, prefix+"_") || name == SettingsSecret:
			err = errors.New("is no setting")
		case err == nil && isSet(name):
			err = errors.New("is in the environment as well")
		}
		if err == nil {
			err = os.Setenv(name, value)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s of the secret: %w", SettingsSecret, name, err))
		}
	}
	return errors.Join(problems...)
}

func isSet(name string) bool { _, ok := os.LookupEnv(name); return ok }

// text is a value as a variable has it.
func text(raw json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(raw, &s) == nil && raw[0] == '"' {
		return s, nil
	}
	if raw[0] != '{' && raw[0] != '[' {
		return "", errors.New("is neither a string nor a JSON document")
	}
	var out bytes.Buffer
	err := json.Compact(&out, raw)
	return out.String(), err
}
