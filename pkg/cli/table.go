package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// gap is between two columns.
const gap = 2

// narrow is what a column is never cut to less than.
const narrow = 8

// table is rows under a header, to be aligned. Cells may come from outside.
type table struct {
	header []string
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print aligns the columns. Where a line is longer than width the widest columns are cut,
// not the line wrapped; width 0 cuts nothing.
func (t *table) print(out io.Writer, width int) {
	lines := make([][]string, 0, len(t.rows)+1)
	lines = append(lines, t.header)
	for _, row := range t.rows {
		clean := make([]string, len(row))
		for i, cell := range row {
			clean[i] = printable(cell)
		}
		lines = append(lines, clean)
	}
	widths := make([]int, len(t.header))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for width > 0 {
		total, widest := gap*(len(widths)-1), 0
		for i, w := range widths {
			total += w
			if w >= widths[widest] {
				widest = i
			}
		}
		if total <= width || widths[widest] <= narrow {
			break
		}
		widths[widest]--
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			cell = cut(cell, widths[i])
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+gap))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(b.String(), " "))
	}
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// printable keeps what comes from outside from writing to the terminal: no escape
// sequences, no line ends, nothing that reverses the direction of the text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		default:
			return r
		}
	}, s)
}

// stamp is a time in a table; nothing for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// isTerminal reports whether a person looks at it.
func isTerminal(out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
