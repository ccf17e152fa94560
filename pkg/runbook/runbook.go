// Package runbook gives what the catalogue's page says about a reason: what happened
// and what to do. The page is the one place where that is written.
//
// It imports the catalogue and the standard library only.
package runbook

import (
	"slices"
	"strings"
	"sync"

	"mfaflow/events"
)

// Section is a table of the runbook. The zero value is invalid.
type Section string

// The sections, named as their headings are.
const (
	DeadLetters Section = "Dead letters"
	Holds       Section = "Holds"
	Waits       Section = "Waits"
	Quarantine  Section = "Quarantine"
	// Plans has decisions in the place of reasons, and in Do what a replay would do.
	Plans Section = "Plans"
)

// Advice is a row of the runbook, without Markdown.
type Advice struct {
	// Happened is empty where the section has no such column.
	Happened string
	// Do is what to do; for a wait, until when it lasts.
	Do string
}

type key struct {
	section Section
	reason  string
}

var advice = sync.OnceValue(func() map[key]Advice { return parse(events.Page()) })

// For is the advice about a reason; ok is false for reasons that have none.
func For(s Section, reason string) (a Advice, ok bool) {
	a, ok = advice()[key{s, reason}]
	return a, ok
}

// Reasons are those that a section has advice about, sorted.
func Reasons(s Section) (list []string) {
	for k := range advice() {
		if k.section == s {
			list = append(list, k.reason)
		}
	}
	slices.Sort(list)
	return list
}

// parse reads the tables below the headings of the sections.
func parse(page string) map[key]Advice {
	found := map[key]Advice{}
	_, page, _ = strings.Cut(page, "\n## Runbook\n")
	page, _, _ = strings.Cut(page, "\n## ")
	for _, part := range strings.Split(page, "\n### ") {
		heading, body, _ := strings.Cut(part, "\n")
		for line := range strings.Lines(body) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			if reason := strings.TrimSpace(cells[0]); len(cells) >= 2 && strings.HasPrefix(reason, "`") {
				a := Advice{Do: sentence(cells[len(cells)-1])}
				if len(cells) > 2 {
					a.Happened = sentence(cells[1])
				}
				found[key{Section(heading), strings.Trim(reason, "`")}] = a
			}
		}
	}
	return found
}

// sentence makes a cell of a table one: without code marks, with a capital and a stop.
func sentence(cell string) string {
	text := strings.TrimSpace(strings.ReplaceAll(cell, "`", ""))
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}
