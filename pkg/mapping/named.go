package mapping

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"mfaflow/events"
)

// Open compiles a program: jq text, or the name of one in events/mappings. Errors
// are ErrProgram.
func Open(text string) (*Program, error) {
	if text == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrProgram)
	}
	if namesOne(text) {
		program, err := fs.ReadFile(events.FS(), "mappings/"+text+".jq")
		if err != nil {
			return nil, fmt.Errorf("%w: the catalogue has no %q (there are: %s)", ErrProgram, text, strings.Join(names(), ", "))
		}
		text = string(program)
	}
	return New(text)
}

// namesOne reports whether the text is a name and no program: a program has a dot, a
// brace or a space.
func namesOne(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func names() []string {
	files, _ := fs.Glob(events.FS(), "mappings/*.jq") // the pattern is well-formed
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".jq")
	}
	return files
}
