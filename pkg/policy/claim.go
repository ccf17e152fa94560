package policy

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/readiness"
)

const (
	// claimLife is how long a claim holds that is not renewed: as long as others wait for one
	// who was killed.
	claimLife = 3 * time.Minute
	// claimSkew is by how much the clocks of two machines may differ.
	claimSkew = 30 * time.Second
)

const claims = "policy/claims/"

// Store keeps the runs, and the claims to change the tenant.
type Store interface {
	readiness.Store
	// Create puts a file that is not there, as a whole or not at all; of any number of callers
	// one succeeds. It is readiness.ErrExists for the others, and may be for the one too if an
	// answer was lost on the way.
	Create(ctx context.Context, name string, data []byte) error
}

// Claimant is who applies a plan, to be told to others.
type Claimant struct {
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// Lane is the lane that the claimant holds, if it works under the lock of one. A lane has
	// one holder at a time, so the next one goes on with the claim of the last.
	Lane string `json:"lane,omitempty"`
}

// claim is the right to change the tenant. Claims lie in the store by number, and the last
// one is in force: whoever creates it has it, and nobody but its holder writes it.
type claim struct {
	Token    string    `json:"token"`
	Operator string    `json:"operator"`
	Plan     string    `json:"plan"`
	Since    time.Time `json:"since"`
	// Until is when the claim ends unless it is renewed; Released that it has ended.
	Until    time.Time `json:"until"`
	Released bool      `json:"released,omitempty"`
	Claimant
}

// ErrClaimed: another process is applying a plan.
var ErrClaimed = errors.New("a plan is being applied to this tenant")

func (c claim) String() string {
	return fmt.Sprintf("by %s on %s (process %d) since %s, plan %.12s; the claim ends at %s unless it is renewed",
		c.Operator, c.Host, c.PID, c.Since.UTC().Format(time.RFC3339), c.Plan, c.Until.UTC().Format(time.RFC3339))
}

// held is a claim of ours.
type held struct {
	claim
	number int
	store  Store
	now    func() time.Time
}

func claimFile(number int) string { return fmt.Sprintf("%s%08d.json", claims, number) }

// lastClaim is the number of the claim in force; 0 when there never was one.
func lastClaim(ctx context.Context, store Store) (int, error) {
	names, err := store.List(ctx, claims)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	last := names[len(names)-1]
	number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(last, claims), ".json"))
	if err != nil || number < 1 || claimFile(number) != last {
		return 0, fmt.Errorf("%s is no claim", last)
	}
	return number, nil
}

// hold takes the claim: ErrClaimed when somebody else has it, unless it is to be taken over.
func (e Engine) hold(ctx context.Context, plan Plan, operator string) (*held, error) {
	number, err := lastClaim(ctx, e.Store)
	if err != nil {
		return nil, err
	}
	if number > 0 && !e.TakeOver {
		var other claim
		if err := get(ctx, e.Store, claimFile(number), &other); err != nil {
			return nil, fmt.Errorf("%w, by whom cannot be read: %w", ErrClaimed, err)
		}
		ours := other.Lane != "" && other.Lane == e.Claimant.Lane
		if !other.Released && !ours && !e.Now().After(other.Until) {
			return nil, fmt.Errorf("%w, %s", ErrClaimed, other)
		}
	}
	now := e.Now().UTC()
	h := &held{
		claim:  claim{Token: rand.Text(), Operator: operator, Plan: plan.Digest, Since: now, Claimant: e.Claimant},
		number: number, store: e.Store, now: e.Now,
	}
	return h, h.create(ctx)
}

// create makes the next claim ours.
func (h *held) create(ctx context.Context) error {
	next := *h
	next.number++
	next.Until = h.now().UTC().Add(claimLife)
	data, err := json.Marshal(next.claim)
	if err != nil {
		return err
	}
	err = h.store.Create(ctx, claimFile(next.number), data)
	if errors.Is(err, readiness.ErrExists) {
		err = next.lost(ctx, next.number)
	}
	if err == nil {
		*h = next
	}
	return err
}

// lost reads the claim of that number: nil when it is ours after all, and else ErrClaimed.
func (h *held) lost(ctx context.Context, number int) error {
	var other claim
	if err := get(ctx, h.store, claimFile(number), &other); err != nil {
		return fmt.Errorf("%w, by whom cannot be read: %w", ErrClaimed, err)
	}
	if other.Token == h.Token {
		return nil
	}
	return fmt.Errorf("%w, %s", ErrClaimed, other)
}

// keep is asked before everything that changes the tenant or a run: nil when the claim is
// ours for a while to come. It is renewed while it surely holds. Once it may have ended it
// is claimed anew, since somebody else may be doing just that.
func (h *held) keep(ctx context.Context) error {
	_, err := h.store.Get(ctx, claimFile(h.number+1))
	switch {
	case err == nil:
		return h.lost(ctx, h.number+1)
	case !errors.Is(err, readiness.ErrNoFile):
		return err
	}
	switch left := h.Until.Sub(h.now()); {
	case left > claimLife/2:
		return nil
	case left > claimSkew:
		renewed := h.claim
		renewed.Until = h.now().UTC().Add(claimLife)
		if err := put(ctx, h.store, claimFile(h.number), renewed); err != nil {
			return err
		}
		ended := h.Until.Sub(h.now()) <= claimSkew
		h.claim = renewed
		if ended { // before that was written, and somebody else may have claimed it
			return h.create(ctx)
		}
		return nil
	default:
		return h.create(ctx)
	}
}

// alive renews the claim when it is time, without looking whether somebody took it over.
func (h *held) alive(ctx context.Context) error {
	if h.Until.Sub(h.now()) > claimLife/2 {
		return nil
	}
	return h.keep(ctx)
}

// release lets others begin at once. If that cannot be told, the claim ends by itself.
func (h *held) release(ctx context.Context) {
	h.Released = true
	_ = put(context.WithoutCancel(ctx), h.store, claimFile(h.number), h.claim)
}
