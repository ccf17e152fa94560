package readiness

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/posture"
)

// chart sizes, in the units of the SVG.
const (
	chartWidth = 420
	barsFrom   = 230 // where bars begin, right of their labels
	barsTo     = 380
	barStep    = 22
	lineHeight = 180
	lineFrom   = 34
	lineTop    = 10
	lineFoot   = 150
)

type barChart struct {
	Title         string
	Width, Height int
	Rows          []bar
}

type bar struct {
	Label string
	TextY int
	Parts []barPart
	EndX  int
	Total int
}

type barPart struct {
	Class    string
	X, Width string
	Y        int
	Title    string
}

// stack is one bar of a chart before it is laid out.
type stack struct {
	label string
	parts []part
}

type part struct {
	class string
	n     int
}

func (s stack) total() int {
	n := 0
	for _, p := range s.parts {
		n += p.n
	}
	return n
}

// layOut draws the stacks to one scale.
func layOut(title string, stacks []stack) barChart {
	c := barChart{Title: title, Width: chartWidth, Height: barStep*len(stacks) + 4}
	longest := 1
	for _, s := range stacks {
		longest = max(longest, s.total())
	}
	unit := float64(barsTo-barsFrom) / float64(longest)
	for i, s := range stacks {
		b := bar{Label: shorten(s.label, 37), TextY: barStep*i + 15, EndX: chartWidth, Total: s.total()}
		x := float64(barsFrom)
		for _, p := range s.parts {
			if p.n > 0 {
				wide := float64(p.n) * unit
				b.Parts = append(b.Parts, barPart{p.class, fmt.Sprintf("%.2f", x), fmt.Sprintf("%.2f", wide), barStep*i + 4, fmt.Sprintf("%s: %d %s", s.label, p.n, p.class)})
				x += wide
			}
		}
		c.Rows = append(c.Rows, b)
	}
	return c
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// departments shows those with most people in scope.
func (r Report) departments() barChart {
	var stacks []stack
	for _, d := range r.Summary.Departments {
		s := stack{label: cmp.Or(d.Name, "(no department)")}
		for _, v := range []posture.Verdict{posture.Blocked, posture.Prompted, posture.Fine} {
			s.parts = append(s.parts, part{string(v), d.Verdicts[v]})
		}
		if s.total() > 0 {
			stacks = append(stacks, s)
		}
	}
	trouble := func(s stack) int { return s.parts[0].n + s.parts[1].n }
	slices.SortStableFunc(stacks, func(a, b stack) int { return cmp.Or(trouble(b)-trouble(a), b.total()-a.total()) })
	return layOut("People in scope by department and verdict", stacks[:min(bars, len(stacks))])
}

// reasons shows the most frequent ones of the people who are blocked or prompted.
func (r Report) reasons() barChart {
	counts := map[posture.Code][2]int{}
	for _, p := range r.People {
		if p.Verdict != posture.Blocked && p.Verdict != posture.Prompted {
			continue
		}
		for _, c := range posture.Codes() {
			if p.Has(c) {
				n := counts[c]
				n[rank(p.Verdict)]++
				counts[c] = n
			}
		}
	}
	codes := slices.Sorted(maps.Keys(counts))
	total := func(c posture.Code) int { return counts[c][0] + counts[c][1] }
	slices.SortStableFunc(codes, func(a, b posture.Code) int { return total(b) - total(a) })
	var stacks []stack
	for _, c := range codes[:min(bars, len(codes))] {
		stacks = append(stacks, stack{c.Text(), []part{{string(posture.Blocked), counts[c][0]}, {string(posture.Prompted), counts[c][1]}}})
	}
	return layOut("Blocked and prompted people by reason", stacks)
}

type line struct {
	Title         string
	Width, Height int
	Grid          []gridLine
	Points        []dot
	Path          string
	FootY         int
	First, Last   string
}

type gridLine struct {
	X, Y, TextY int
	Label       string
}

type dot struct {
	X, Y  string
	Title string
}

// line is the trend, this report included.
func (r Report) line() line {
	l := line{Title: "Share of people in scope who are fine", Width: chartWidth, Height: lineHeight, FootY: lineFoot + 20}
	points := slices.Clone(r.Trend)
	if len(r.Changes) == 0 && !slices.ContainsFunc(points, func(p Point) bool { return p.TakenAt.Equal(r.TakenAt) }) {
		points = append(points, Point{TakenAt: r.TakenAt, Verdicts: r.Summary.Verdicts})
	}
	if len(points) == 0 {
		return l
	}
	for _, percent := range []int{0, 50, 100} {
		y := lineFoot - (lineFoot-lineTop)*percent/100
		l.Grid = append(l.Grid, gridLine{chartWidth, y, y + 4, fmt.Sprintf("%d %%", percent)})
	}
	first, last := points[0].TakenAt, points[len(points)-1].TakenAt
	span := max(last.Sub(first), time.Second)
	var path []string
	for _, p := range points {
		x := lineFrom + float64(chartWidth-lineFrom-4)*float64(p.TakenAt.Sub(first))/float64(span)
		y := lineFoot - float64(lineFoot-lineTop)*p.Verdicts.Ready()
		d := dot{fmt.Sprintf("%.1f", x), fmt.Sprintf("%.1f", y), fmt.Sprintf("%s: %.0f %% fine", p.TakenAt.Format(time.DateOnly), 100*p.Verdicts.Ready())}
		l.Points = append(l.Points, d)
		path = append(path, d.X+","+d.Y)
	}
	l.Path, l.First, l.Last = strings.Join(path, " "), first.Format(time.DateOnly), last.Format(time.DateOnly)
	return l
}
