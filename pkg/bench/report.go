package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Group is what one measurement found.
type Group struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Figures []Figure `json:"figures"`
	// Error says why figures are missing.
	Error string `json:"error,omitempty"`
}

// Figure is one number and, where the design has one, its bound.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bound *Bound  `json:"bound,omitempty"`
	Met   *bool   `json:"met,omitempty"`
}

// Bound is what the design asks of a figure.
type Bound struct {
	Kind  BoundKind `json:"kind"`
	Value float64   `json:"value"`
}

// BoundKind is the side from which a bound bounds.
type BoundKind string

// The kinds of bounds.
const (
	Under  BoundKind = "under"
	AtMost BoundKind = "at most"
	// AtLeast bounds from below.
	AtLeast BoundKind = "at least"
)

// bounded is the figure with a bound.
func (f Figure) bounded(kind BoundKind, value float64) Figure {
	met := false
	switch kind {
	case Under:
		met = f.Value < value
	case AtMost:
		met = f.Value <= value
	case AtLeast:
		met = f.Value >= value
	}
	f.Bound, f.Met = &Bound{kind, value}, &met
	return f
}

// Table writes a group for a reader.
func (g Group) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %s\n", g.Name, g.Title)
	for _, f := range g.Figures {
		fmt.Fprintf(t, "  %s\t%s %s\t%s\n", f.Name, number(f.Value), f.Unit, f.verdict())
	}
	if g.Error != "" {
		fmt.Fprintf(t, "  %s\n", g.Error)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

func (f Figure) verdict() string {
	if f.Bound == nil {
		return ""
	}
	met := "NOT MET"
	if *f.Met {
		met = "met"
	}
	return fmt.Sprintf("%s %s %s: %s", f.Bound.Kind, number(f.Bound.Value), f.Unit, met)
}

// JSON writes groups for a program.
func JSON(w io.Writer, groups []Group) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(groups)
}

// number shows three digits or more.
func number(v float64) string {
	digits := 0
	switch {
	case v == float64(int64(v)):
	case v < 10:
		digits = 2
	case v < 100:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
