package readiness

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"mfaflow/pkg/posture"
)

// JSON writes the whole report.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// columns are those of the CSV.
var columns = [...]string{
	"verdict", "at best", "enforced", "user principal name", "display name", "department", "kind", "methods", "marks", "reasons", "object id",
}

// CSV writes a row for each person. Cells that a spreadsheet would take for a formula
// begin with an apostrophe (OWASP, CSV injection).
func (r Report) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(columns[:]); err != nil {
		return err
	}
	for _, p := range r.People {
		var methods, marks, reasons []string
		for _, m := range p.Methods {
			methods = append(methods, string(m))
		}
		for _, m := range p.Marks {
			marks = append(marks, string(m))
		}
		for _, x := range p.Reasons {
			reasons = append(reasons, r.Sentence(x))
		}
		row := []string{
			string(p.Verdict), string(p.AtBest), strconv.FormatBool(p.Enforced), p.UserPrincipalName, p.DisplayName, p.Department, string(p.Kind),
			strings.Join(methods, " "), strings.Join(marks, " "), strings.Join(reasons, "; "), string(p.ID),
		}
		for i := range row {
			row[i] = inert(row[i])
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// inert is a cell that no spreadsheet takes for a formula, nor any part of it where one
// begins a new cell: by its place in the world a spreadsheet may split at semicolons or tabs,
// and heeds no quotes then.
func inert(cell string) string {
	var out strings.Builder
	for cell != "" {
		end := len(cell)
		if i := strings.IndexAny(cell, ";\t\r\n"); i >= 0 {
			end = i + 1
		}
		out.WriteString(plain(cell[:end]))
		cell = cell[end:]
	}
	return out.String()
}

// plain is a text that does not begin as a formula does: it looks past what is not seen, and
// knows the wide forms of the signs.
func plain(cell string) string {
	for _, c := range cell {
		switch c {
		case '=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠':
			return "'" + cell
		}
		if unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) || unicode.Is(unicode.Cc, c) {
			continue
		}
		return cell
	}
	return cell
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Marked are the people who have the mark.
func (r Report) Marked(mark posture.Mark) []Person {
	var list []Person
	for _, p := range r.People {
		for _, m := range p.Marks {
			if m == mark {
				list = append(list, p)
			}
		}
	}
	return list
}
