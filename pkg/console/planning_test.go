package console

import (
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/operate"
	"mfaflow/pkg/runbook"
)

// Every decision of the runbook is a group of a plan, with words of its own.
func TestKindsAreThoseOfTheRunbook(t *testing.T) {
	decisions := runbook.Reasons(runbook.Plans)
	if len(decisions) == 0 {
		t.Fatal("the runbook says nothing about plans")
	}
	words := pageText(t, "page/parts.html")
	for _, d := range decisions {
		if kind := kindOf(operate.PlannedEntry{Decision: operate.Decision{Decision: d}}); kind != d {
			t.Errorf("%s is of the kind %s", d, kind)
		}
		if !strings.Contains(words, `eq . "`+d+`"}}<span class="pill`) {
			t.Errorf("%s has no words on a page", d)
		}
	}
	for _, k := range kinds[:len(kinds)-2] {
		if !slices.Contains(decisions, k.Kind) {
			t.Errorf("%s is no decision of the runbook", k.Kind)
		}
	}
	if kind := kindOf(operate.PlannedEntry{Decision: operate.Decision{Decision: "something new"}}); kind != "other" {
		t.Errorf("an unknown decision is of the kind %s", kind)
	}
}

func pageText(t *testing.T, name string) string {
	t.Helper()
	text, err := source.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
