package event_test

import (
	"errors"
	"testing"

	"mfaflow/pkg/event"
)

func TestParseType(t *testing.T) {
	seen := map[event.Type]bool{}
	for _, want := range event.Types() {
		got, err := event.ParseType(string(want))
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v", want, got, err)
		}
		if seen[want] {
			t.Errorf("%s is listed twice", want)
		}
		seen[want] = true
	}
	for _, name := range []string{"", "employee", "employee.*", "Employee.Joiner", "employee.joiner "} {
		if _, err := event.ParseType(name); !errors.Is(err, event.ErrUnknownType) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestTypesIsACopy(t *testing.T) {
	event.Types()[0] = "overwritten"
	if got := event.Types()[0]; got != event.Joiner {
		t.Errorf("a caller changed the catalogue to %s", got)
	}
}

// leaver > compromise > re-registration > joiner
func TestPrecedence(t *testing.T) {
	order := []event.Type{event.Joiner, event.Reregister, event.DeviceStolen, event.Leaver}
	for i := 1; i < len(order); i++ {
		if lower, higher := order[i-1], order[i]; lower.Precedence() >= higher.Precedence() {
			t.Errorf("%s does not come before %s", higher, lower)
		}
	}
}

func TestScope(t *testing.T) {
	for _, tt := range []struct {
		name    string
		scope   event.Scope
		typ     event.Type
		allowed bool
	}{
		{"nothing by default", nil, event.Joiner, false},
		{"the type", event.Scope{"employee.joiner"}, event.Joiner, true},
		{"another type", event.Scope{"employee.joiner"}, event.Leaver, false},
		{"the family", event.Scope{"risk.*", "employee.*"}, event.Leaver, true},
		{"another family", event.Scope{"risk.*"}, event.Joiner, false},
		{"part of a family name", event.Scope{"emp.*"}, event.Joiner, false},
		{"everything is no scope", event.Scope{"*"}, event.Joiner, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.scope.Allows(tt.typ); got != tt.allowed {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestParseScope(t *testing.T) {
	if _, err := event.ParseScope([]string{"employee.*", "risk.user"}); err != nil {
		t.Error(err)
	}
	for _, entry := range []string{"", "*", "employees.*", "employee.joinr", "employee."} {
		if _, err := event.ParseScope([]string{"employee.*", entry}); err == nil {
			t.Errorf("%q is accepted", entry)
		}
	}
}
