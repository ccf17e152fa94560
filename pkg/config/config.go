// Package config reads the settings of a function from MFAFLOW_ environment
// variables, once, at the start: one struct per function, holding only what it
// reads.
//
// It is the only importer of envconfig. It knows no adapter and opens nothing but
// files that a setting names. Values never appear in its errors: a secret pasted
// into the wrong variable would end up in the log.
package config

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

const prefix = "MFAFLOW"

// SigningKey is the variable from which the command line tool takes the key to
// sign events with. No function reads it.
const SigningKey = "MFAFLOW_SIGNING_KEY"

// OperationsURL is the variable from which the command line tool takes the URL of
// event-replay. No function reads it.
const OperationsURL = "MFAFLOW_OPERATIONS_URL"

// SettingsSecret is the variable that names a secret of AWS Secrets Manager with further
// settings; see Add.
const SettingsSecret = "MFAFLOW_SETTINGS_SECRET"

// Settings are those of one function: *HREvents, *RiskSignals,
// *IdentityRouter, *IdentityWorker, *FlagNotifier.
type Settings interface {
	// problems are the values that parse and yet cannot be.
	problems() SettingsError
}

// Load fills the settings from the environment. Its error is SettingsError and holds every
// problem at once: values that do not parse, in the order of the struct, values that
// cannot be, and variables of ours that no function knows, which are misspellings.
func Load(s Settings) error {
	var found SettingsError
	v := reflect.ValueOf(s).Elem()
	all := fields(v.Type())
	missing := func(f reflect.StructField) bool { return required(f) && v.FieldByIndex(f.Index).IsZero() }
	// envconfig stops at the first bad variable. Reading each field on its own finds
	// them all, but costs a cold start a third of a millisecond when all is well.
	if envconfig.Process(prefix, s) != nil || slices.ContainsFunc(all, missing) {
		for _, f := range all {
			if what := process(f, v.FieldByIndex(f.Index)); what != "" {
				found = append(found, Problem{variable(f), what})
			}
		}
	}
	unread := found
	for _, p := range s.problems() {
		// A value that did not parse is not there to be judged.
		if !unread.Concern(p.Variable) {
			found = append(found, p)
		}
	}
	if found = append(found, misspelled(all)...); len(found) > 0 {
		return found
	}
	return nil
}

func required(f reflect.StructField) bool { return f.Tag.Get("required") == "true" }

// process reads one field, as a struct of its own. It returns what is wrong with it.
func process(f reflect.StructField, to reflect.Value) (what string) {
	one := reflect.New(reflect.StructOf([]reflect.StructField{{Name: f.Name, Type: f.Type, Tag: f.Tag}}))
	err := envconfig.Process(prefix, one.Interface())
	if parse := (*envconfig.ParseError)(nil); errors.As(err, &parse) {
		// ParseError prints the value, and so may its cause.
		if cause := decodeError(""); errors.As(parse.Err, &cause) {
			return string(cause)
		}
		return "is not " + describe(f.Type)
	}
	value := one.Elem().Field(0)
	if required(f) && (err != nil || value.IsZero()) {
		return "is required"
	}
	if err != nil {
		return "cannot be read"
	}
	to.Set(value)
	return ""
}

// decodeError is an error of our own decoders, which quote no values.
type decodeError string

func (e decodeError) Error() string { return string(e) }

func describe(t reflect.Type) string {
	switch t.String() {
	case "time.Duration":
		return "a duration such as 90s or 15m"
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "slog.Level":
		return "DEBUG, INFO, WARN or ERROR"
	default:
		return "a valid " + t.String()
	}
}

// fields are the settings of a struct, those of embedded groups included.
func fields(t reflect.Type) []reflect.StructField {
	var list []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous && f.Tag.Get("desc") != "" {
			list = append(list, f)
		}
	}
	return list
}

// misspelled finds variables that begin like ours and are none. Those of another
// function are none of own and yet fine.
func misspelled(own []reflect.StructField) SettingsError {
	var strangers []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		mine := func(f reflect.StructField) bool { return variable(f) == name }
		if strings.HasPrefix(name, prefix+"_") && !slices.ContainsFunc(own, mine) {
			strangers = append(strangers, name)
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	known := map[string]bool{SigningKey: true, OperationsURL: true, SettingsSecret: true}
	for _, f := range functions() {
		for _, x := range fields(reflect.TypeOf(f.settings).Elem()) {
			known[variable(x)] = true
		}
	}
	var found SettingsError
	for _, name := range strangers {
		if known[name] {
			continue
		}
		what := "is no setting"
		if near := nearest(name, known); near != "" {
			what += "; did you mean " + near + "?"
		}
		found = append(found, Problem{name, what})
	}
	slices.SortFunc(found, func(a, b Problem) int { return strings.Compare(a.Variable, b.Variable) })
	return found
}

// nearest is the known name that takes the fewest edits, if few are enough.
func nearest(name string, known map[string]bool) string {
	best, fewest := "", 4
	for k := range known {
		if d := edits(name, k); d < fewest || d == fewest && best != "" && k < best {
			best, fewest = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := min(row[j+1]+1, row[j]+1)
			if a[i] == b[j] {
				next = min(next, diagonal)
			} else {
				next = min(next, diagonal+1)
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
