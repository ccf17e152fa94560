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
func Open(program string) (*Program, error) {
	text, err := Text(program)
	if err != nil {
		return nil, err
	}
	return New(text)
}

// Text is the program itself: what is given, or the one of that name in events/mappings.
// Errors are ErrProgram.
func Text(program string) (string, error) {
	if program == "" {
		return "", fmt.Errorf("%w: it is empty", ErrProgram)
	}
	if !namesOne(program) {
		return program, nil
	}
	text, err := fs.ReadFile(events.FS(), "mappings/"+program+".jq")
	if err != nil {
		return "", fmt.Errorf("%w: the catalogue has no %q (there are: %s)", ErrProgram, program, strings.Join(Names(), ", "))
	}
	return string(text), nil
}

// namesOne reports whether the text is a name and no program: a program has a dot, a
// brace or a space.
func namesOne(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Names are the programs in events/mappings.
func Names() []string {
	files, _ := fs.Glob(events.FS(), "mappings/*.jq") // the pattern is well-formed
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".jq")
	}
	return files
}
