package flow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/queue"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/worker"
)

// settle lets time pass until nothing waits any more: retries come due, and so does
// the pass.
func (w *world) settle() {
	w.t.Helper()
	for range 60 {
		w.work()
		if c := w.counts("inbound"); c.Scheduled+w.counts("lanes").Scheduled == 0 {
			return
		}
		w.clock.Advance(5 * time.Minute)
	}
	w.t.Fatal("something waits for ever")
}

// onePass wants what the main job promises, whatever happened on the way: the pass
// delivered last is the one that works, the person has one pass, nothing is left.
func (w *world) onePass() {
	w.t.Helper()
	delivered := w.delivered(amara)
	if len(delivered) == 0 {
		w.t.Fatalf("no pass delivered; lane %+v", w.ledger(lenaID))
	}
	w.clock.Set(opens)
	if err := w.tenant.SignInWithPass(lena, delivered[len(delivered)-1]); err != nil {
		w.t.Errorf("the pass delivered last: %v", err)
	}
	for _, earlier := range delivered[:len(delivered)-1] {
		if earlier == delivered[len(delivered)-1] {
			continue // notifications are at least once
		}
		if w.tenant.SignInWithPass(lena, earlier) == nil {
			w.t.Error("an earlier pass works too")
		}
	}
	if n := len(w.tenant.Passes(lena)); n != 1 {
		w.t.Errorf("%d passes", n)
	}
	l := w.ledger(lenaID)
	if _, ok := l.HandledAs("hr:m1"); !ok || len(l.Waiting) != 0 || l.Pass == nil || !l.Pass.Delivered {
		w.t.Errorf("ledger %+v", l)
	}
	w.idle(nil)
	w.secretFree()
}

// Every request to Graph fails once, in every way, before and after it took effect.
func TestGraphFailsAtEveryRequest(t *testing.T) {
	for name, f := range map[string]graphsim.Fault{
		"cut":             {Kind: graphsim.FaultCut},
		"cut too late":    {Kind: graphsim.FaultCut, AfterEffect: true},
		"503":             {Kind: graphsim.FaultStatus, Status: 503},
		"504 too late":    {Kind: graphsim.FaultStatus, Status: 504, AfterEffect: true},
		"429":             {Kind: graphsim.FaultStatus, Status: 429, RetryAfter: "30"},
		"429 with no say": {Kind: graphsim.FaultStatus, Status: 429},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				struck := false
				t.Run(fmt.Sprint("request ", n), func(t *testing.T) {
					w := newWorld(t)
					w.clock.Set(leadUp)
					f := f
					f.Skip, f.Path, f.App = n, "**", "identity-worker"
					f.Count = 2 // the adapter repeats a read once by itself
					if _, err := w.tenant.AddFault(f); err != nil {
						t.Fatal(err)
					}
					w.post(w.joiner("m1", "E1004", start), 202)
					w.settle()
					struck = w.tenant.Faults()[0].Hits > 0
					w.tenant.ClearFaults()
					w.settle()
					w.onePass()
				})
				if !struck || t.Failed() {
					return
				}
			}
		})
	}
}

var errKilled = errors.New("the process is dead")

// mortal makes a process die at its n-th step: every call that follows fails.
type mortal struct {
	left int
	late bool // the step takes effect all the same
	dead bool
}

func (m *mortal) step(do func() error) error {
	if m.dead {
		return errKilled
	}
	if m.left--; m.left >= 0 {
		return do()
	}
	m.dead = true
	if m.late {
		_ = do()
	}
	return errKilled
}

type mortalSession struct {
	lane.Session
	m *mortal
}

func (s mortalSession) SetState(ctx context.Context, b []byte) error {
	return s.m.step(func() error { return s.Session.SetState(ctx, b) })
}

func (s mortalSession) Complete(ctx context.Context, r queue.Received) error {
	return s.m.step(func() error { return s.Session.Complete(ctx, r) })
}

func (s mortalSession) Defer(ctx context.Context, r queue.Received) error {
	return s.m.step(func() error { return s.Session.Defer(ctx, r) })
}

type mortalTenant struct {
	*graph.Client
	m *mortal
}

func (c mortalTenant) IssuePass(ctx context.Context, u identity.UserID, r identity.PassRequest) (pass identity.IssuedPass, err error) {
	err = c.m.step(func() error { pass, err = c.Client.IssuePass(ctx, u, r); return err })
	return pass, err
}

func (c mortalTenant) SendMail(ctx context.Context, m identity.Mail) error {
	return c.m.step(func() error { return c.Client.SendMail(ctx, m) })
}

// The worker dies at every step between taking the joiner and settling it, and
// another one takes over.
func TestWorkerDiesAtEveryStep(t *testing.T) {
	diesAtEveryStep(t, func(w *world) {
		w.clock.Set(leadUp)
		w.post(w.joiner("m1", "E1004", start), 202)
	}, func(w *world) {
		w.onePass()
		if got := len(w.delivered(amara)); got > 2 {
			w.t.Errorf("%d passes delivered for one death", got)
		}
	})
}

// The same while somebody is shut out who was robbed: the tenant is as it must be, and
// a human is told.
func TestWorkerDiesAtEveryStepOfACompromise(t *testing.T) {
	diesAtEveryStep(t, func(w *world) {
		w.post(w.statement("s1", "mfa.device-stolen", map[string]any{"person": map[string]any{"employeeId": "E1027"}, "requestedBy": amara}), 202)
	}, func(w *world) {
		if w.enabled(victor) || len(w.methods(victor)) != 0 || w.revokedAt(victor).Before(t0) {
			w.t.Error("the person is not shut out")
		}
		w.idle(map[string]sbsim.Counts{"flags": {Active: 1}})
		w.secretFree()
	})
}

// diesAtEveryStep lets the worker die at each step of what was posted, before and
// after it takes effect, and judges what the next one makes of it.
func diesAtEveryStep(t *testing.T, post, check func(*world)) {
	for n := 0; ; n++ {
		died := false
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("step %d late %v", n, late), func(t *testing.T) {
				w := newWorld(t)
				post(w)
				w.visit("inbound")

				m := &mortal{left: n, late: late}
				live := *w.worker
				tenant := mortalTenant{w.graph, m}
				w.worker.Passes = tenant
				w.worker.Channels = []worker.Channel{worker.ManagerMail{Directory: w.graph, Mailer: tenant, Sender: sender}}
				s, err := w.client.AcceptNext(t.Context(), "lanes", 5*time.Second)
				w.must(err)
				_, err = w.engines["lanes"].Visit(t.Context(), mortalSession{s, m}, func() bool { return true })
				if died = died || m.dead; err == nil && m.dead {
					t.Error("a dead process ended well")
				}

				*w.worker = live
				w.settle()
				check(w)
			})
		}
		if !died || t.Failed() {
			return
		}
	}
}

// Mail that never gets through: the value is discarded, the pass deleted, a human told.
func TestUndeliverablePassIsDeleted(t *testing.T) {
	for name, f := range map[string]graphsim.Fault{
		"for good":  {Kind: graphsim.FaultStatus, Status: 403},
		"for hours": {Kind: graphsim.FaultStatus, Status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.clock.Set(leadUp)
			f.Path, f.Count = "users/*/sendMail", -1
			if _, err := w.tenant.AddFault(f); err != nil {
				t.Fatal(err)
			}
			w.post(w.joiner("m1", "E1004", start), 202)
			w.settle()
			if n := len(w.tenant.Passes(lena)); n != 0 {
				t.Errorf("%d passes that nobody has", n)
			}
			if got := w.waits(lenaID); got != "held: delivery-failed" {
				t.Errorf("lane %s", got)
			}
			if got := w.counts("flags"); got.Active != 2 { // the cause and the hold
				t.Errorf("flags %+v", got)
			}
			if n := len(w.tenant.IssuedPassValues()); n > 3 {
				t.Errorf("issued %d times", n)
			}
			w.secretFree()
		})
	}
}

func TestBrokerDown(t *testing.T) {
	w := newWorld(t)
	w.clock.Set(leadUp)
	e := w.joiner("m1", "E1004", start)
	w.broker.SetDown(true)
	began := time.Now()
	w.post(e, 503)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("answered after %s", took)
	}
	w.broker.SetDown(false)
	w.post(e, 202)
	w.settle()
	w.onePass()
}
