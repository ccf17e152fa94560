package ledger

import (
	"encoding/json"
	"fmt"
)

// document is a ledger of an older version, member by member.
type document map[string]json.RawMessage

// migrations turn a ledger of the version before into one of the version that is the
// key. They are never changed once a version has been written by a release.
func migrations() map[int]func(document) error {
	return map[int]func(document) error{2: toVersion2}
}

// migrate brings a state to the version this package writes, step by step. A newer
// version, or none, is unreadable: what it means is not known.
func migrate(state []byte) ([]byte, error) {
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(state, &head); err != nil {
		return nil, fmt.Errorf("%w: not the JSON of a ledger", ErrUnreadable)
	}
	if head.Version < 1 || head.Version > Version {
		return nil, fmt.Errorf("%w: version %d, this program knows 1 to %d", ErrUnreadable, head.Version, Version)
	}
	if head.Version == Version {
		return state, nil
	}
	var d document
	if err := json.Unmarshal(state, &d); err != nil {
		return nil, fmt.Errorf("%w: not the JSON of a ledger", ErrUnreadable)
	}
	for v := head.Version + 1; v <= Version; v++ {
		if err := migrations()[v](d); err != nil {
			return nil, fmt.Errorf("%w: migration to version %d: %w", ErrUnreadable, v, err)
		}
		d["v"] = json.RawMessage(fmt.Sprint(v))
	}
	return json.Marshal(d)
}

// toVersion2: progress was that of one event, and what operators released an event
// from was known for as long as the hold alone.
func toVersion2(d document) error {
	if one := d["progress"]; len(one) > 0 && one[0] == '{' {
		d["progress"] = json.RawMessage("[" + string(one) + "]")
	}
	if len(d["waiting"]) == 0 {
		return nil
	}
	var waiting []document
	if err := json.Unmarshal(d["waiting"], &waiting); err != nil {
		return err
	}
	for _, w := range waiting {
		if string(w["released"]) == "true" && w["why"] != nil && w["allowed"] == nil {
			w["allowed"] = json.RawMessage("[" + string(w["why"]) + "]")
		}
	}
	b, err := json.Marshal(waiting)
	d["waiting"] = b
	return err
}
