package runbook_test

import (
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/lane"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/runbook"
)

func TestFor(t *testing.T) {
	tests := []struct {
		section      runbook.Section
		reason       string
		happened, do string
	}{
		{runbook.DeadLetters, string(lane.Poison), "The worker started", "Read its log"},
		{runbook.Holds, string(plan.ProtectedPerson), "", "A break-glass account"},
		{runbook.Waits, string(plan.DueLater), "", "The day comes."},
		{runbook.Quarantine, "mapping-failed", "", "The mapping does not fit"},
		{runbook.Plans, "act", "", "Take the steps"},
	}
	for _, tt := range tests {
		a, ok := runbook.For(tt.section, tt.reason)
		if !ok || !strings.HasPrefix(a.Happened, tt.happened) || !strings.HasPrefix(a.Do, tt.do) || (tt.happened == "") != (a.Happened == "") {
			t.Errorf("%s, %s: %+v, %v", tt.section, tt.reason, a, ok)
		}
	}
	if a, ok := runbook.For(runbook.Holds, string(lane.Poison)); ok {
		t.Errorf("a dead letter's reason among the holds: %+v", a)
	}
	if all := runbook.Reasons(runbook.Plans); !slices.Contains(all, string(plan.Obsolete)) || slices.Contains(all, "poison") {
		t.Errorf("plans: %v", all)
	}
}
