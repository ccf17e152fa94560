package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/identity"
)

// ErrUnreadable: the state of the session is none that this version wrote. Nothing is
// swept and nothing is written over it.
var ErrUnreadable = errors.New("sweep state unreadable; run the version of mfaflow that wrote the state of session " + SessionID +
	" of the control queue, or clear it: the sweep then begins anew from now on")

const (
	stateVersion = 1
	// maxState is in bytes. A message of the Standard tier, which the state travels in,
	// has 256 KiB (learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas).
	maxState = 240 << 10
)

// state is what a sweep remembers. It holds no secret.
type state struct {
	Version       int                             `json:"version"`
	Subscriptions map[string]*subscribed          `json:"subscriptions,omitempty"` // by slot
	Changes       changeState                     `json:"changes,omitzero"`
	RiskyUsers    window                          `json:"riskyUsers,omitzero"`
	Detections    window                          `json:"detections,omitzero"`
	SignIns       map[int]*window                 `json:"signIns,omitempty"` // by error code
	Employment    map[identity.UserID]*employment `json:"employment,omitempty"`
	// EmploymentAt is when employment was read to the end last.
	EmploymentAt time.Time `json:"employmentAt,omitzero"`
}

// subscribed is a subscription that we made.
type subscribed struct {
	ID string `json:"id"`
	// Key is the id of the key behind its client state.
	Key       string    `json:"key"`
	ExpiresAt time.Time `json:"expiresAt"`
	// SeenAt is when the directory listed it last.
	SeenAt time.Time `json:"seenAt"`
}

// changeState is where the delta query is.
type changeState struct {
	// Link begins the next round, CompletedAt is when the round before it began: what
	// changed earlier was told.
	Link        string    `json:"link,omitempty"`
	CompletedAt time.Time `json:"completedAt,omitzero"`
	// Next goes on with a round that was interrupted, begun at BegunAt.
	Next    string    `json:"next,omitempty"`
	BegunAt time.Time `json:"begunAt,omitzero"`
	// Gap is set while everything is read again.
	Gap *gap `json:"gap,omitempty"`
	// LastGap is the latest that was filled.
	LastGap *gap `json:"lastGap,omitempty"`
}

// gap is a time of which the directory cannot tell what changed in it.
type gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Deleted is true once the users deleted in it were read.
	Deleted bool `json:"deleted,omitempty"`
	// Told counts the users whose lanes were told to look.
	Told int `json:"told"`
}

// window is a span of time that is read page by page.
type window struct {
	// Done is the end of the last window that was read whole.
	Done time.Time `json:"done,omitzero"`
	// Since, Until and Next are those of a window that was interrupted.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Next  string    `json:"next,omitempty"`
}

// employment is what the lanes were told about a person's dates.
type employment struct {
	// Hire and Leave are calendar dates; empty when none, or when they were withdrawn.
	Hire  string `json:"hire,omitempty"`
	Leave string `json:"leave,omitempty"`
}

func decodeState(raw []byte) (*state, error) {
	s := &state{Version: stateVersion}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, s); err != nil || s.Version != stateVersion {
			return nil, ErrUnreadable
		}
	}
	if s.Subscriptions == nil {
		s.Subscriptions = map[string]*subscribed{}
	}
	if s.SignIns == nil {
		s.SignIns = map[int]*window{}
	}
	if s.Employment == nil {
		s.Employment = map[identity.UserID]*employment{}
	}
	return s, nil
}

func (s *state) encode() ([]byte, error) {
	raw, err := json.Marshal(s)
	if err == nil && len(raw) > maxState {
		err = fmt.Errorf("sweep state has %d bytes, at most %d are kept: shorten the time ahead of which dates of employment are told", len(raw), maxState)
	}
	return raw, err
}
