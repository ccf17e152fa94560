package config

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Usage is the table of settings in Markdown: those of one function, or, for the
// empty name, all of them with the functions that read each.
func Usage(name string) (string, error) {
	if name != "" {
		s, err := New(name)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
		for _, f := range fields(reflect.TypeOf(s).Elem()) {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", variable(f), fallback(f), f.Tag.Get("desc"))
		}
		return b.String(), nil
	}

	readers := map[string][]string{}
	var all []reflect.StructField
	for _, fn := range functions() {
		for _, f := range fields(reflect.TypeOf(fn.settings).Elem()) {
			v := variable(f)
			if readers[v] == nil {
				all = append(all, f)
			}
			readers[v] = append(readers[v], fn.name)
		}
	}
	var b strings.Builder
	b.WriteString("| variable | default | read by | meaning |\n|---|---|---|---|\n")
	for _, f := range all {
		v := variable(f)
		by := strings.Join(readers[v], ", ")
		if len(readers[v]) == len(functions()) {
			by = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v, fallback(f), by, f.Tag.Get("desc"))
	}
	return b.String(), nil
}

func fallback(f reflect.StructField) string {
	if d := f.Tag.Get("default"); d != "" {
		return "`" + d + "`"
	}
	if f.Tag.Get("required") == "true" {
		return "required"
	}
	return ""
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
