package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Problem is what is wrong with one variable. It never holds the value.
type Problem struct {
	// Variable is the full name, such as MFAFLOW_SOURCES.
	Variable string
	// What completes the sentence that the name begins.
	What string
}

func (p Problem) String() string { return p.Variable + " " + p.What }

// SettingsError is all that is wrong with the settings of a function.
type SettingsError []Problem

// Error is one line for each problem.
func (p SettingsError) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// Concern reports whether something is wrong with the variable.
func (p SettingsError) Concern(variable string) bool {
	return slices.ContainsFunc(p, func(x Problem) bool { return x.Variable == variable })
}

func (p *SettingsError) add(name, what string) {
	*p = append(*p, Problem{prefix + "_" + name, what})
}

func (p *SettingsError) number(name string, v, least, most int) {
	if v < least || v > most {
		p.add(name, fmt.Sprintf("is not between %d and %d", least, most))
	}
}

func (p *SettingsError) duration(name string, v, least, most time.Duration) {
	if v < least || v > most {
		p.add(name, fmt.Sprintf("is not between %s and %s", short(least), short(most)))
	}
}

// short is a duration without its zero parts: 10m, not 10m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
