package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

// Run is the record of a plan that is or was applied. It lies in the store under
// policy/runs, with what every object was before it was written.
type Run struct {
	ID       string    `json:"id"`
	Plan     Plan      `json:"plan"`
	Operator string    `json:"operator"`
	Reason   string    `json:"reason"`
	BeganAt  time.Time `json:"beganAt"`
	// EndedAt is zero while steps are left.
	EndedAt time.Time `json:"endedAt,omitzero"`
	// UndoneBy is the run that took it back, SupersededBy the one that began before it had
	// ended.
	UndoneBy     string `json:"undoneBy,omitempty"`
	SupersededBy string `json:"supersededBy,omitempty"`
	// StepsDone are the times at which steps were done, in order.
	StepsDone []time.Time `json:"stepsDone"`
	// IDs are those of policies that the run created, by what stood for them.
	IDs map[string]string `json:"ids"`
	// Blocked are the people who could not sign in when the run, or the rollout that it goes
	// on with, began.
	Blocked []identity.UserID `json:"blocked"`
	// Rolling is when the rollout that the run goes on with came into force for anybody; zero
	// for a rollout of its own.
	Rolling time.Time `json:"rolling,omitzero"`
}

// Open reports whether the run can go on.
func (r Run) Open() bool { return r.EndedAt.IsZero() && r.UndoneBy == "" && r.SupersededBy == "" }

// kept is what an object was before a write.
type kept struct {
	Step  int       `json:"step"`
	Write Write     `json:"write"`
	Was   State     `json:"was"`
	At    time.Time `json:"at"`
}

const runs = "policy/runs/"

func (r Run) file() string { return runs + r.ID + "/run.json" }

func keptFile(run string, step, write int) string {
	return fmt.Sprintf("%s%s/kept/%04d-%06d.json", runs, run, step, write)
}

// Runs lists the runs in the store, the oldest first.
func Runs(ctx context.Context, store readiness.Store) ([]Run, error) {
	names, err := store.List(ctx, runs)
	if err != nil {
		return nil, err
	}
	list := []Run{}
	for _, name := range names {
		if !strings.HasSuffix(name, "/run.json") {
			continue
		}
		var r Run
		if err := get(ctx, store, name, &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Run) int {
		if c := a.BeganAt.Compare(b.BeganAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

func get(ctx context.Context, store readiness.Store, name string, v any) error {
	data, err := store.Get(ctx, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return nil
}

func put(ctx context.Context, store readiness.Store, name string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return store.Put(ctx, name, data)
}

// keeps are what a run kept, in the order of its writes.
func keeps(ctx context.Context, store readiness.Store, run string) ([]kept, error) {
	names, err := store.List(ctx, runs+run+"/kept/")
	if err != nil {
		return nil, err
	}
	list := make([]kept, len(names))
	for i, name := range names {
		if err := get(ctx, store, name, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// opposite is the phase of a step that is taken back.
func opposite(p Phase) Phase {
	switch p {
	case PhaseAllow:
		return PhaseNarrow
	case PhaseNarrow:
		return PhaseAllow
	case PhaseExclude, PhaseReport, PhaseEnforce:
		return PhaseRelax
	case PhaseClear, PhaseRelax:
		return PhaseEnforce
	case PhaseFree:
		return PhaseSecure
	case PhaseSecure:
		return PhaseFree
	case PhasePrepare:
	}
	return p
}

// ErrNoRun: the store has no such run, or none that can be taken back.
var ErrNoRun = errors.New("no such run")

// Rollback is the plan that puts back what a run found: everything that it wrote, in
// reverse order, under the same guards. What somebody else has changed since refuses it.
func (p Planner) Rollback(ctx context.Context, store readiness.Store, run Run, r Request) (Plan, error) {
	if run.UndoneBy != "" {
		return Plan{}, fmt.Errorf("%w: %s was taken back by %s", ErrNoRun, run.ID, run.UndoneBy)
	}
	accept, err := acceptable(r.Accept, r.Snapshot)
	if err != nil {
		return Plan{}, err
	}
	list, err := keeps(ctx, store, run.ID)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{
		Undoes: run.ID, Tenant: r.Snapshot.Tenant.ID, MadeAt: p.Now().UTC(), Question: run.Plan.Question, BreakGlass: run.Plan.BreakGlass,
		Base: r.Snapshot.Policies, Accept: accept, Warnings: []Warning{},
	}
	plan.Question.At = plan.MadeAt
	s := r.Snapshot
	s.BreakGlass = run.Plan.BreakGlass
	now := map[Object]Value{} // as it will be when the steps so far are done
	again := map[string]string{}
	var foreign []Refusal
	for i := len(list) - 1; i >= 0; i-- {
		k := list[i]
		w := k.Write
		if id, ok := run.IDs[w.ID]; ok && w.Kind == KindPolicy {
			w.ID = id
		}
		w.To, w.From = w.To.withID(w.ID), w.From.withID(w.ID)
		was := k.Was.Value.withID(w.ID)
		if id, ok := again[w.ID]; ok {
			w.ID = id
			w.To, was = w.To.withID(id), was.withID(id)
		}
		have, ok := now[w.Object]
		if w.Kind == KindPerUser || !ok {
			state, err := p.Tenant.State(ctx, w.Object, sortedUsers(w.To.PerUser))
			if err != nil {
				return Plan{}, err
			}
			have = state.Value
			if _, isNew := CreatedName(w.ID); isNew && state.ID != "" { // killed before its id was kept
				run.IDs[w.ID] = state.ID
				w.ID = state.ID
				w.To, was = w.To.withID(w.ID), was.withID(w.ID)
			}
		}
		if w.Kind == KindPerUser {
			from, to := map[identity.UserID]posture.PerUserMFA{}, map[identity.UserID]posture.PerUserMFA{}
			for id, state := range have.PerUser {
				if state == was.PerUser[id] {
					continue
				}
				if state != w.To.PerUser[id] && !registered(w.To.PerUser[id], state) {
					foreign = append(foreign, refuse(RefuseForeign, 0, []identity.UserID{id}, "per-user MFA is "+string(state)))
					continue
				}
				from[id], to[id] = state, was.PerUser[id]
			}
			if len(from) == 0 {
				continue
			}
			w.To, was = Value{PerUser: from}, Value{PerUser: to}
		} else {
			if have.Equal(was) {
				now[w.Object] = have
				continue
			}
			if !have.Equal(w.To) {
				foreign = append(foreign, refuse(RefuseForeign, 0, nil, w.Object.String()))
				now[w.Object] = have
				continue
			}
			now[w.Object] = was
			if w.Kind == KindPolicy && have.Policy == nil { // what was deleted is made anew
				id := Created(was.Policy.DisplayName)
				again[w.ID] = id
				w.ID = id
				was = was.withID(id)
				now[w.Object] = was
			}
		}
		phase, title := opposite(PhaseRelax), ""
		if k.Step < len(run.Plan.Steps) {
			phase, title = opposite(run.Plan.Steps[k.Step].Phase), run.Plan.Steps[k.Step].Title
		}
		title = "take back: " + title
		back := w.inverse(was, k.Was.Document)
		if n := len(plan.Steps); n > 0 && w.Kind == KindPerUser && plan.Steps[n-1].Title == title {
			plan.Steps[n-1].Writes = append(plan.Steps[n-1].Writes, back)
			continue
		}
		plan.Steps = append(plan.Steps, Step{Phase: phase, Title: title, Writes: []Write{back}})
	}
	if perUser(plan.Steps) {
		if s, err = p.told(ctx, s); err != nil {
			return Plan{}, err
		}
	}
	if err := p.finish(&plan, s, nil, foreign); err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// withID is the value of a policy with another id.
func (v Value) withID(id string) Value {
	if v.Policy == nil || id == "" {
		return v
	}
	p := *v.Policy
	p.ID = id
	v.Policy = &p
	return v
}
