package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

const (
	// maxSingle is for how many people the state of per-user MFA is read one by one without
	// having been asked to: each takes a request, also in a $batch (json-batching), and
	// Microsoft allows 5 in 10 s of what concerns authentication methods. That this is one of
	// them is not documented, nor that it is not (throttling-limits); nor is any way to have
	// the states in bulk (authentication-get).
	maxSingle = 1000
	// readsLife is how long a plan may rest on a state that was read: as long as those of
	// 100,000 people take. Each is read again before it is written.
	readsLife = 72 * time.Hour
	// readsKept is after how many people the states are kept, for a process that is ended.
	readsKept = 100
)

const readsFile = "policy/states.json"

// Reads reads the states of per-user MFA of a tenant that does not tell them in bulk. What
// was read is kept, so that it goes on after an interruption, and so that a plan need not be
// read again to be applied.
type Reads struct {
	Store readiness.Store
	Now   func() time.Time
	// Sleep returns nil after d, or the error of ctx.
	Sleep func(ctx context.Context, d time.Duration) error
	// Many: of however many people, which may take hours.
	Many bool
	// Pace is the time that the limits of the directory take for each; 0 if none is known.
	Pace time.Duration
	// Progress is told how many are read of all, and how long the rest takes; it may be nil.
	Progress func(done, all int, left time.Duration)
}

// readState is a state as it was at a time.
type readState struct {
	State posture.PerUserMFA `json:"state"`
	At    int64              `json:"at"` // Unix time: there are many
}

// readStates are those of a tenant.
type readStates struct {
	Tenant string                        `json:"tenant"`
	States map[identity.UserID]readState `json:"states"`
}

// reading is one pass over the people whose states were not told in bulk.
type reading struct {
	*Reads
	tenant Tenant
	// since is from when on a state that was read is good enough, if they are many; written
	// are those that were written since.
	since   time.Time
	written map[identity.UserID]posture.PerUserMFA
	// alive is called on the way, unless it is nil.
	alive func(context.Context) error

	take func(identity.UserID, posture.PerUserMFA)
	kept *readStates // nil when there are too few to keep
}

// told is the snapshot with the states that were not told in bulk. Without having been asked
// to, many are not read, and the gap says what it would take.
func (x *reading) told(ctx context.Context, s posture.Snapshot) (posture.Snapshot, error) {
	at := map[identity.UserID]int{}
	for i := range s.People {
		switch s.People[i].PerUserMFA {
		case posture.PerUserDisabled, posture.PerUserEnabled, posture.PerUserEnforced:
		default:
			at[s.People[i].ID] = i
		}
	}
	if len(at) == 0 {
		return s, nil
	}
	s.People, s.Gaps = slices.Clone(s.People), slices.Clone(s.Gaps)
	x.take = func(id identity.UserID, state posture.PerUserMFA) {
		if i, ok := at[id]; ok {
			s.People[i].PerUserMFA = state
			delete(at, id)
		}
	}
	if len(at) > maxSingle && x.Reads != nil {
		if err := x.remember(ctx, s.Tenant.ID); err != nil {
			return s, err
		}
	}
	if len(at) > maxSingle && (x.Reads == nil || !x.Many) {
		for i := range s.Gaps {
			if s.Gaps[i].Fact == posture.FactPerUserMFA {
				s.Gaps[i].Why += fmt.Sprintf("; to read it of %d people one by one%s: mfaflow policy plan --per-user-reads", len(at), x.takes(len(at)))
			}
		}
		return s, nil
	}
	if err := x.read(ctx, sortedUsers(at)); err != nil {
		return s, fmt.Errorf("read states of per-user MFA: %w", err)
	}
	if len(at) == 0 {
		s.Gaps = slices.DeleteFunc(s.Gaps, func(g posture.Gap) bool { return g.Fact == posture.FactPerUserMFA })
	}
	return s, nil
}

// takes says how long so many requests take, if that is known.
func (r *Reads) takes(n int) string {
	if r == nil || r.Pace == 0 {
		return ""
	}
	text, _ := Duration(max(time.Minute, (time.Duration(n) * r.Pace).Round(time.Minute))).MarshalText() // which has no error
	return " takes about " + string(text) + " by Microsoft's limits"
}

// remember takes what an earlier process has read and written since.
func (x *reading) remember(ctx context.Context, tenant string) error {
	x.kept = &readStates{}
	err := get(ctx, x.Store, readsFile, x.kept)
	if err != nil && !errors.Is(err, readiness.ErrNoFile) {
		return err
	}
	if x.kept.Tenant != tenant || x.kept.States == nil {
		x.kept = &readStates{Tenant: tenant, States: map[identity.UserID]readState{}}
	}
	maps.DeleteFunc(x.kept.States, func(_ identity.UserID, r readState) bool { return time.Unix(r.At, 0).Before(x.since) })
	for id, r := range x.kept.States {
		state := r.State
		if now, ok := x.written[id]; ok {
			state = now
		}
		x.take(id, state)
	}
	return nil
}

// read asks for the state of each.
func (x *reading) read(ctx context.Context, users []identity.UserID) (err error) {
	if x.kept != nil {
		defer func() { err = errors.Join(err, x.keep(context.WithoutCancel(ctx))) }()
	}
	began := time.Time{}
	if x.Reads != nil {
		began = x.Now()
	}
	for done := 0; done < len(users); {
		x.tell(done, len(users), began)
		part := users[done:min(done+perRequest, len(users))]
		state, err := x.ask(ctx, part)
		if err != nil {
			return err
		}
		for id, have := range state.Value.PerUser {
			x.take(id, have)
			if x.kept != nil {
				x.kept.States[id] = readState{have, x.Now().Unix()}
			}
		}
		done += len(part)
		if x.kept != nil && done%readsKept == 0 {
			if err := x.keep(ctx); err != nil {
				return err
			}
		}
		if x.alive != nil {
			if err := x.alive(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *reading) keep(ctx context.Context) error { return put(ctx, x.Store, readsFile, x.kept) }

// tell says how far it has come. What it has taken so far says more about the rest than the
// limits do.
func (x *reading) tell(done, all int, began time.Time) {
	if x.Reads == nil || x.Progress == nil {
		return
	}
	left := time.Duration(all-done) * x.Pace
	if done >= readsKept {
		left = x.Now().Sub(began) / time.Duration(done) * time.Duration(all-done)
	}
	x.Progress(done, all, left)
}

// ask waits when the directory wants it to.
func (x *reading) ask(ctx context.Context, users []identity.UserID) (State, error) {
	for waits := 1; ; waits++ {
		state, err := x.tenant.State(ctx, Object{Kind: KindPerUser}, users)
		retry := (*identity.RetryError)(nil)
		if err == nil || x.Reads == nil || ctx.Err() != nil || waits > patience || !errors.As(err, &retry) {
			return state, err
		}
		wait := retry.After
		if wait == 0 {
			wait = time.Duration(waits) * pause
		}
		if err := x.Sleep(ctx, wait); err != nil {
			return state, err
		}
	}
}
