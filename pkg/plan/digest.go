package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// Name is the step in one line: the action and what of it was decided. How long a pass
// lasts and which methods are there now is not part of it.
func (s Step) Name() string {
	name := string(s.Action)
	for _, part := range []string{string(s.For), string(s.Stage), s.Group, strings.Join(s.Titles, ", "), s.Policy} {
		if part != "" {
			name += " " + part
		}
	}
	if s.Action != RemoveMethods {
		return name
	}
	switch m := s.Methods; {
	case m.All:
		name += " all"
	case !m.After.IsZero():
		name += " registered after " + m.After.UTC().Format(time.RFC3339)
	default:
		for _, ref := range m.Refs {
			name += " " + string(ref.Kind) + ref.ID
		}
	}
	return name
}

// StepNames are the names of the steps.
func (p Plan) StepNames() (names []string) {
	for _, s := range p.Steps {
		names = append(names, s.Name())
	}
	return names
}

// Digest covers what would be done: the decision, its reason and the steps by name. It
// leaves out times that move by themselves (when a wait ends, when a pass opens), texts,
// and the generation of the ledger: of several events of one lane each changes it for
// those behind.
func Digest(decision, reason string, steps []string) string {
	b, err := json.Marshal([]any{decision, reason, steps})
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Digest is that of the plan.
func (p Plan) Digest() string { return Digest(string(p.Decision), string(p.Reason), p.StepNames()) }
