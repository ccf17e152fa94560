package policy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

const voice = "breakGlass: {none: lab}\nmethods: {voice: {state: enabled, include: {all: true}}, softwareOath: {state: enabled, include: {all: true}}}\n"

// small is a tenant with a plan of two writes.
func small(t *testing.T) (*desk, policy.Plan) {
	t.Helper()
	s := contoso()
	s.Policies.Methods.Methods["softwareoath"] = posture.MethodSetting{ID: "SoftwareOath"}
	d := newDesk(s)
	p, err := d.plan(voice)
	if err != nil || len(p.Refusals) > 0 || len(p.Steps) != 2 {
		t.Fatal(p.Refusals, p.Steps, err)
	}
	return d, p
}

// other is an apply of another process on another machine.
func (d *desk) other(p policy.Plan, takeOver bool) (policy.Outcome, error) {
	e := d.engine()
	e.Claimant, e.TakeOver = policy.Claimant{Host: "server", PID: 2}, takeOver
	return e.Apply(context.Background(), p, "eve@contoso.example", "meanwhile")
}

// While one applies the others are told who does and until when, and change nothing.
func TestOneAppliesAtATime(t *testing.T) {
	d, p := small(t)
	asked := 0
	d.trouble = func(policy.Write, bool) error {
		asked++
		d.now = d.now.Add(80 * time.Second) // it is renewed on the way
		files := d.store.count("policy/runs/")
		want := "by op@contoso.example on laptop (process 4711) since 2026-11-23T12:00:00Z, plan " + p.Digest[:12] + "; the claim ends at "
		if _, err := d.other(p, false); !errors.Is(err, policy.ErrClaimed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if n := d.store.count("policy/runs/"); n != files {
			t.Errorf("%d files where %d were", n, files)
		}
		return nil
	}
	if out, err := d.apply(p); err != nil || !out.Done() {
		t.Fatal(out, err)
	}
	if asked != 4 || d.writes != 2 {
		t.Errorf("asked %d times, %d writes", asked, d.writes)
	}
	d.trouble = nil
	if out, err := d.other(p, false); err != nil || !out.Already { // at once: the claim was released
		t.Error(out, err)
	}
}

// Whoever was killed keeps the tenant for a while, or until it is taken over on purpose.
func TestClaimOfTheDead(t *testing.T) {
	for name, c := range map[string]struct {
		wait     time.Duration
		takeOver bool
		refused  bool
	}{
		"at once":         {refused: true},
		"almost":          {wait: 3 * time.Minute, refused: true},
		"ended":           {wait: 3*time.Minute + time.Second},
		"taken over":      {takeOver: true},
		"taken over late": {takeOver: true, wait: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			d, p := small(t)
			d.trouble = func(_ policy.Write, after bool) error {
				if after {
					d.store.full = func(string) error { return errKilled }
				}
				return nil
			}
			if _, err := d.apply(p); !errors.Is(err, errKilled) || d.writes != 1 {
				t.Fatal(err)
			}
			d.trouble, d.store.full = nil, nil
			d.now = d.now.Add(c.wait)
			out, err := d.other(p, c.takeOver)
			if c.refused {
				if !errors.Is(err, policy.ErrClaimed) || d.writes != 1 {
					t.Error(err, d.writes)
				}
				return
			}
			if err != nil || !out.Done() || d.writes != 2 {
				t.Error(out, err, d.writes)
			}
		})
	}
}

// Who was taken over finds out before the next write, also when thought dead by mistake, and
// leaves the run to the other.
func TestTakenOver(t *testing.T) {
	for name, asleep := range map[string]time.Duration{"at work": 0, "asleep for long": time.Hour} {
		t.Run(name, func(t *testing.T) {
			d, p := small(t)
			d.trouble = func(_ policy.Write, after bool) error {
				if !after {
					return nil
				}
				d.trouble = nil
				d.now = d.now.Add(asleep)
				if out, err := d.other(p, asleep == 0); err != nil || !out.Done() {
					t.Error(out, err)
				}
				return nil
			}
			if _, err := d.apply(p); !errors.Is(err, policy.ErrClaimed) || !strings.Contains(err.Error(), "by eve@contoso.example on server (process 2)") {
				t.Error(err)
			}
			if d.writes != 2 {
				t.Errorf("%d writes", d.writes)
			}
			runs, err := policy.Runs(t.Context(), d.store)
			if err != nil || len(runs) != 1 || runs[0].Open() || len(runs[0].StepsDone) != 2 {
				t.Errorf("%+v, %v", runs, err)
			}
		})
	}
}

// hooked is a shelf that something happens at before it answers.
type hooked struct {
	*shelf
	put, get func(name string)
}

func (h hooked) Put(ctx context.Context, name string, data []byte) error {
	h.put(name)
	return h.shelf.Put(ctx, name, data)
}

func (h hooked) Get(ctx context.Context, name string) ([]byte, error) {
	h.get(name)
	return h.shelf.Get(ctx, name)
}

// Who renews a claim so slowly that it ends meanwhile finds out that somebody else has it.
func TestClaimIsRenewedTooLate(t *testing.T) {
	d, p := small(t)
	late, taken := false, false
	e := d.engine()
	e.Store = hooked{d.store, func(name string) {
		if name == "policy/claims/00000001.json" && late && !taken {
			taken = true
			d.now = d.now.Add(95 * time.Second) // 15 s more than were left
			if out, err := d.other(p, false); err != nil || !out.Done() {
				t.Error(out, err)
			}
		}
	}, func(name string) {
		if strings.Contains(name, "/kept/0001-") && !late {
			late = true
			d.now = d.now.Add(100 * time.Second)
		}
	}}
	if _, err := e.Apply(t.Context(), p, "op", "r"); !errors.Is(err, policy.ErrClaimed) || !strings.Contains(err.Error(), "by eve@contoso.example") {
		t.Error(err)
	}
	if d.writes != 2 || !taken {
		t.Errorf("%d writes", d.writes)
	}
	if runs, err := policy.Runs(t.Context(), d.store); err != nil || len(runs) != 1 || runs[0].Open() {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A claim that ended because its holder slept is claimed anew if nobody else has it.
func TestClaimIsTakenUpAgain(t *testing.T) {
	d, p := small(t)
	d.trouble = func(policy.Write, bool) error {
		d.now = d.now.Add(time.Hour)
		return nil
	}
	if out, err := d.apply(p); err != nil || !out.Done() {
		t.Error(out, err)
	}
}

// A claim whose answer was lost is ours; one that nobody can read is somebody's.
func TestClaimInTrouble(t *testing.T) {
	d, p := small(t)
	d.store.forgets = true
	if out, err := d.apply(p); err != nil || !out.Done() {
		t.Error(out, err)
	}
	d, p = small(t)
	if err := d.store.Put(t.Context(), "policy/claims/00000001.json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.apply(p); !errors.Is(err, policy.ErrClaimed) || d.writes > 0 {
		t.Error(err)
	}
	if out, err := d.other(p, true); err != nil || !out.Done() {
		t.Error(out, err)
	}
	d, p = small(t)
	if err := d.store.Put(t.Context(), "policy/claims/note.txt", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.apply(p); err == nil || d.writes > 0 {
		t.Error("what is no claim is passed over")
	}
}

// A tenant that takes long to be read is claimed all the while.
func TestClaimWhileReading(t *testing.T) {
	d, p := small(t)
	e := d.engine()
	e.Snapshot = func(ctx context.Context, alive func(context.Context) error) (posture.Snapshot, error) {
		for range 60 {
			d.now = d.now.Add(time.Minute)
			if err := alive(ctx); err != nil {
				t.Error(err)
			}
			if _, err := d.other(p, false); !errors.Is(err, policy.ErrClaimed) {
				t.Error(err)
			}
		}
		return d.gathered(), nil
	}
	if out, err := e.Apply(t.Context(), p, "op", "r"); err != nil || !out.Done() {
		t.Error(out, err)
	}
	if diff := cmp.Diff([]string{"policy/claims/00000001.json"}, must(d.store.List(t.Context(), "policy/claims/"))); diff != "" {
		t.Error(diff)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var _ policy.Store = (*shelf)(nil)

// count is how many files begin with prefix.
func (s *shelf) count(prefix string) int { return len(must(s.List(context.Background(), prefix))) }
