package mapping

import (
	"fmt"
	"io/fs"

	"github.com/itchyny/gojq"

	"mfaflow/events"
)

// library loads what a program includes: the files of events/mappings/lib and nothing
// else. They are ours and bound by the same rules.
type library struct{}

// LoadModule implements what gojq asks of a module loader.
func (library) LoadModule(name string) (*gojq.Query, error) {
	text, err := fs.ReadFile(events.FS(), "mappings/lib/"+name+".jq")
	if err != nil || !namesOne(name) {
		return nil, fmt.Errorf("the catalogue has no module %q", name)
	}
	query, err := gojq.Parse(string(text))
	if err != nil {
		return nil, err
	}
	return query, refuse(query, string(text))
}
