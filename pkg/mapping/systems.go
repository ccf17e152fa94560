package mapping

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"

	"mfaflow/events"
)

// Systems are the HR systems that the catalogue knows how to connect.
func Systems() []string {
	files, _ := fs.Glob(events.FS(), "hr/*/source.json") // the pattern is well-formed
	for i, f := range files {
		files[i] = path.Base(path.Dir(f))
	}
	return files
}

// Recommended is how a system is connected (events/hr/<system>/source.json): its entry
// in the sources of hr-events, without keys, and that in the record sources of
// identity-router, with words in angle brackets where the customer's own belong. The
// record is nil for a system whose events say everything.
func Recommended(system string) (source, record json.RawMessage, err error) {
	raw, err := fs.ReadFile(events.FS(), "hr/"+system+"/source.json")
	if err != nil {
		return nil, nil, fmt.Errorf("the catalogue has no system %q", system)
	}
	var file struct {
		Source json.RawMessage `json:"source"`
		Record json.RawMessage `json:"record"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, nil, fmt.Errorf("%s/source.json: %w", system, err)
	}
	return file.Source, file.Record, nil
}
