package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Setting describes one variable.
type Setting struct {
	Variable string `json:"variable"`
	Default  string `json:"default,omitempty"`
	Required bool   `json:"required,omitempty"`
	Meaning  string `json:"meaning"`
	// ReadBy are the functions that read it.
	ReadBy []string `json:"readBy"`
}

// Describe lists the settings of one function, or of all for the empty name.
func Describe(name string) ([]Setting, error) {
	if name != "" {
		if _, err := New(name); err != nil {
			return nil, err
		}
	}
	var list []Setting
	for _, fn := range functions() {
		for _, f := range fields(reflect.TypeOf(fn.settings).Elem()) {
			v := variable(f)
			i := slices.IndexFunc(list, func(s Setting) bool { return s.Variable == v })
			if i < 0 {
				i = len(list)
				list = append(list, Setting{
					Variable: v, Default: f.Tag.Get("default"), Required: f.Tag.Get("required") == "true", Meaning: f.Tag.Get("desc"),
				})
			}
			list[i].ReadBy = append(list[i].ReadBy, fn.name)
		}
	}
	if name != "" {
		list = slices.DeleteFunc(list, func(s Setting) bool { return !slices.Contains(s.ReadBy, name) })
	}
	return list, nil
}

// Usage is the table of settings in Markdown: those of one function, or, for the
// empty name, all of them with the functions that read each.
func Usage(name string) (string, error) {
	list, err := Describe(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if name != "" {
		b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	} else {
		b.WriteString("| variable | default | read by | meaning |\n|---|---|---|---|\n")
	}
	for _, s := range list {
		fallback := ""
		if s.Default != "" {
			fallback = "`" + s.Default + "`"
		} else if s.Required {
			fallback = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s |", s.Variable, fallback)
		if name == "" {
			by := strings.Join(s.ReadBy, ", ")
			if len(s.ReadBy) == len(functions()) {
				by = "all"
			}
			fmt.Fprintf(&b, " %s |", by)
		}
		fmt.Fprintf(&b, " %s |\n", s.Meaning)
	}
	return b.String(), nil
}

// variable is the name that envconfig derives from a field. It is derived again
// here, because envconfig tells it only through text/template, which would make
// every function a megabyte larger.
func variable(f reflect.StructField) string {
	if f.Tag.Get("split_words") != "true" {
		return prefix + "_" + strings.ToUpper(f.Name)
	}
	var b strings.Builder
	for i, r := range f.Name {
		if i == 0 || unicode.IsUpper(r) && !unicode.IsUpper(rune(f.Name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return prefix + b.String()
}
