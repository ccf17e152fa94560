package operate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"mfaflow/pkg/event"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	"mfaflow/pkg/queue"
)

const (
	// maxSelection bounds a plan: its answer must fit the 6 MB that a function may answer
	// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), and an entry takes
	// some 400 bytes.
	maxSelection = 10_000
	// exactPeople is up to how many entries the methods of every person are read. Above
	// it they are estimated: Microsoft allows an app 5 such requests in 10 s for one
	// tenant (learn.microsoft.com/graph/throttling-limits, authentication methods), so that
	// 10,000 people take hours.
	exactPeople = 200
)

// planning is the making of one plan, or of one look. What it has read of a lane it does
// not read again.
type planning struct {
	*Desk
	worker Worker

	mu    sync.Mutex
	lanes map[[2]string]func() (*ledger.Ledger, error)
}

func (d *Desk) planning(w Worker) *planning {
	return &planning{Desk: d, worker: w, lanes: map[[2]string]func() (*ledger.Ledger, error){}}
}

// memory reads the ledger of a lane once.
func (p *planning) memory(ctx context.Context, queueName, laneID string) (*ledger.Ledger, error) {
	at := [2]string{queueName, laneID}
	p.mu.Lock()
	read := p.lanes[at]
	if read == nil {
		read = sync.OnceValues(func() (*ledger.Ledger, error) { return p.Desk.memory(ctx, queueName, laneID) })
		p.lanes[at] = read
	}
	p.mu.Unlock()
	return read()
}

// chosen is one entry that was selected.
type chosen struct {
	edit Edit
	// message is nil when it is no longer there.
	message *queue.Stored
}

// selected finds what a selection is about.
func (d *Desk) selected(ctx context.Context, s Selection) ([]chosen, error) {
	edits := map[ID]json.RawMessage{}
	for _, e := range s.Edits {
		edits[e.ID] = e.Patch
	}
	var list []chosen
	switch {
	case (s.Filter == nil) == (len(s.IDs) == 0):
		return nil, fmt.Errorf("%w: select entries by their numbers or by a filter", ErrRefused)
	case len(s.IDs) > maxSelection:
		return nil, tooMany()
	case s.Filter != nil:
		places, err := d.places(*s.Filter)
		if err != nil {
			return nil, err
		}
		for _, p := range places {
			_, err := walk(ctx, d.Shelves[p], 0, func(m queue.Stored) bool {
				if s.Filter.picks(entry(p, m), m.Body) {
					list = append(list, chosen{Edit{ID: ID{p, m.Sequence}}, &m})
				}
				return len(list) <= maxSelection
			})
			if err != nil {
				return nil, err
			}
		}
		if len(list) > maxSelection {
			return nil, tooMany()
		}
	default:
		list = make([]chosen, len(s.IDs))
		seen := map[ID]bool{}
		var looks []func() error
		for i, id := range s.IDs {
			if seen[id] {
				return nil, fmt.Errorf("%w: %s %d is selected twice", ErrRefused, id.Place, id.Sequence)
			}
			seen[id] = true
			shelf := d.Shelves[id.Place]
			if shelf == nil {
				return nil, fmt.Errorf("%w: %q is no place", ErrRefused, id.Place)
			}
			list[i].edit.ID = id
			looks = append(looks, func() error {
				m, err := find(ctx, shelf, id.Sequence)
				if errors.Is(err, ErrNotFound) {
					return nil
				}
				list[i].message = &m
				return err
			})
		}
		if err := together(atOnce, looks...); err != nil {
			return nil, err
		}
	}
	for i, c := range list {
		list[i].edit.Patch = edits[c.edit.ID]
		delete(edits, c.edit.ID)
	}
	if len(edits) > 0 {
		return nil, fmt.Errorf("%w: an edit is of an entry that is not selected", ErrRefused)
	}
	return list, nil
}

func tooMany() error {
	return fmt.Errorf("%w: the selection has more than %d entries; narrow it down", ErrRefused, maxSelection)
}

// Plan implements Looking.
func (d *Desk) Plan(ctx context.Context, s Selection) (Plan, error) {
	list, err := d.selected(ctx, s)
	if err != nil {
		return Plan{}, err
	}
	w, read := d.Worker, true
	if len(list) > exactPeople && !s.Exact && d.Estimate != nil {
		if w, err = d.Estimate(ctx); err != nil {
			return Plan{}, fmt.Errorf("estimate methods: %w", err)
		}
		read = false
	}
	making := d.planning(w)
	p := Plan{Settings: d.Settings, At: d.Now(), Entries: make([]PlannedEntry, len(list))}
	seen := make([]foresight, len(list))
	var looks []func() error
	for i, c := range list {
		looks = append(looks, func() error {
			if c.message == nil {
				seen[i] = foresight{PlannedEntry: PlannedEntry{ID: c.edit.ID}}.never("it is no longer there")
				return nil
			}
			seen[i] = making.foresee(ctx, c.edit, *c.message)
			return ctx.Err()
		})
	}
	if err := together(atOnce, looks...); err != nil {
		return Plan{}, err
	}
	digests := make([]string, len(list))
	p.Summary.MethodsRead = read
	for i, f := range seen {
		f.MethodsRead = f.MethodsRead && read
		f.Digest = f.PlannedEntry.digest()
		p.Entries[i], digests[i] = f.PlannedEntry, f.Digest
		p.Summary.add(f)
	}
	if b := d.breaker(ctx); b != nil {
		p.Summary.RadiusLimit = b.OrdinaryLimit
	}
	p.Digest = planDigest(p.Settings, digests)
	return p, nil
}

// add counts one entry.
func (s *Summary) add(f foresight) {
	s.Calls += f.Calls
	switch {
	case f.Unplannable != "":
		s.Unplannable++
		return
	case f.Decision.Decision == AlreadyDone:
		s.Done++
		return
	case f.Decision.Decision == StillWaiting, f.Decision.Decision == string(plan.Wait):
		s.Waiting++
		return
	case f.Decision.Decision == string(plan.Obsolete):
		s.Obsolete++
		return
	case f.Decision.Decision == string(plan.Hold):
		s.Held++
		return
	}
	counted := false
	for _, step := range f.plan.Steps {
		switch step.Action {
		case plan.IssuePass:
			s.Passes++
		case plan.RemoveMethods:
			s.Resets++
			s.Methods += f.Methods
		case plan.BlockSignIn:
			s.Blocks++
		default:
			continue
		}
		counted = true
	}
	if !counted {
		s.Other++
	}
	if f.plan.Destructive() && f.plan.Class != plan.ClassImmediateLeaver {
		s.Radius++
	}
}

// digest covers everything of an entry that a replay depends on.
func (e PlannedEntry) digest() string {
	return hash(e.Place, e.Sequence, e.Key, string(compact(e.Patch)), e.decisionDigest(), e.Generation, e.Unplannable == "")
}

// decisionDigest is what the worker compares.
func (e PlannedEntry) decisionDigest() string {
	return plan.Digest(e.Decision.Decision, e.Reason, e.Steps)
}

// SettingsDigest covers what the worker plans with: a plan made by other settings is out
// of date.
func SettingsDigest(s plan.Settings, scopes map[string]event.Scope, reportOnly bool) string {
	zone := ""
	if s.DefaultZone != nil { // a time zone encodes as an empty object
		zone, s.DefaultZone = s.DefaultZone.String(), nil
	}
	return hash(s, zone, scopes, reportOnly)
}

func planDigest(settings string, entries []string) string { return hash(settings, entries) }

func hash(parts ...any) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(err) // nothing here that JSON cannot hold
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
