package console

import (
	"math"
	"net/url"
	"time"

	"mfaflow/pkg/operate"
)

// meter is a number beside its limit.
type meter struct {
	Name        string
	Used, Limit int
	// Level is calm, near (from three quarters on) or full.
	Level string
}

func newMeter(name string, used, limit int) meter {
	m := meter{Name: name, Used: used, Limit: limit, Level: "calm"}
	switch {
	case used >= limit:
		m.Level = "full"
	case 4*used >= 3*limit:
		m.Level = "near"
	}
	return m
}

// Width is how much of 100 the bar takes.
func (m meter) Width() float64 {
	if m.Limit <= 0 {
		return 0
	}
	return math.Min(100, 100*float64(m.Used)/float64(m.Limit))
}

// bar is a row of a chart that is a table.
type bar struct {
	Label, Note string
	Link        string
	N           int
	Oldest      time.Time
	// Width is of 100, the longest bar of the table.
	Width float64
}

func scale(bars []bar) []bar {
	longest := 0
	for _, b := range bars {
		longest = max(longest, b.N)
	}
	for i := range bars {
		bars[i].Width = 100 * float64(bars[i].N) / float64(max(longest, 1))
	}
	return bars
}

// history is a chart of columns over time.
type history struct {
	// Low and High name the two parts of a column.
	Low, High string
	Columns   []column
	Top       int // the value at the upper edge
	Step      time.Duration
	From, To  time.Time
}

// column is a span of time, drawn in a field of 1000 by 100.
type column struct {
	From, To                           time.Time
	Low, High                          int
	Link                               string
	X, Width                           float64
	LowY, LowHeight, HighY, HighHeight float64
}

// steps are the widths that a column may have.
var steps = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour,
}

const columnsMost = 36

// named says what the parts of the columns are.
func (h history) named(low, high string) history {
	h.Low, h.High = low, high
	return h
}

// newHistory counts times in columns from the oldest until now. Link makes the address
// of a column; nil makes none.
func newHistory(now time.Time, low, high []time.Time, link func(since, until time.Time) string) history {
	now = now.UTC()
	oldest := now
	for _, list := range [][]time.Time{low, high} {
		for _, t := range list {
			if !t.IsZero() && t.Before(oldest) {
				oldest = t.UTC()
			}
		}
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if now.Sub(oldest) <= (columnsMost-1)*s {
			step = s
			break
		}
	}
	h := history{Step: step, From: oldest.Truncate(step), To: now.Truncate(step).Add(step)}
	// A chart of three columns says less than one with the quiet before them.
	const least = 12
	if h.To.Sub(h.From) < least*step {
		h.From = h.To.Add(-least * step)
	}
	if h.To.Sub(h.From) > columnsMost*step {
		h.From = h.To.Add(-columnsMost * step)
	}
	h.Columns = make([]column, int(h.To.Sub(h.From)/step))
	for i := range h.Columns {
		h.Columns[i].From = h.From.Add(time.Duration(i) * step)
		h.Columns[i].To = h.Columns[i].From.Add(step)
	}
	at := func(t time.Time) *column {
		i := int(t.Sub(h.From) / step)
		return &h.Columns[min(max(i, 0), len(h.Columns)-1)]
	}
	for _, t := range low {
		at(t).Low++
	}
	for _, t := range high {
		at(t).High++
	}
	highest := 0
	for _, c := range h.Columns {
		highest = max(highest, c.Low+c.High)
	}
	h.Top = roundUp(highest)
	for i := range h.Columns {
		c := &h.Columns[i]
		slot := 1000 / float64(len(h.Columns))
		c.X, c.Width = round(float64(i)*slot+slot*0.12), round(slot*0.76)
		c.LowHeight = round(100 * float64(c.Low) / float64(h.Top))
		c.HighHeight = round(100 * float64(c.High) / float64(h.Top))
		c.LowY = round(100 - c.LowHeight)
		c.HighY = round(c.LowY - c.HighHeight)
		if link != nil {
			c.Link = link(c.From, c.To)
		}
	}
	return h
}

// Total is how many there are in the chart.
func (h history) Total() (n int) {
	for _, c := range h.Columns {
		n += c.Low + c.High
	}
	return n
}

// Peak is the tallest column.
func (h history) Peak() (top column) {
	for _, c := range h.Columns {
		if c.Low+c.High > top.Low+top.High {
			top = c
		}
	}
	return top
}

// Sum is how many a column has.
func (c column) Sum() int { return c.Low + c.High }

func round(x float64) float64 { return math.Round(x*100) / 100 }

// roundUp is the next number of the form 1, 2 or 5 times a power of ten.
func roundUp(n int) int {
	for power := 1; ; power *= 10 {
		for _, f := range []int{1, 2, 5} {
			if n <= f*power {
				return f * power
			}
		}
	}
}

// spanLink is the list of what came in a span of time.
func spanLink(since, until time.Time) string {
	q := encodeFilter(operate.Filter{Since: since, Until: until})
	return (&url.URL{Path: "/entries", RawQuery: q.Encode()}).String()
}
