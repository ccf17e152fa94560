package simulation

import (
	"context"
	"errors"
	"strings"
	"time"

	"mfaflow/pkg/breaker"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// Steps that a worker can fail at. The reads that begin a turn run side by side and are
// none, so that a run repeats; Graph fails at them instead.
const (
	stepState    = "state"    // write the ledger
	stepComplete = "complete" // settle
	stepDefer    = "defer"
	stepDead     = "dead-letter"
	stepDeferred = "receive-deferred"
	stepWake     = "wake-up"
	stepFlag     = "flag"
	stepForward  = "forward"
	stepRead     = "read"
	stepWrite    = "write" // change the tenant
	stepMail     = "mail"
	stepReserve  = "reserve" // write the breaker's state
	anyStep      = "any"
)

var steps = [...]string{
	stepState, stepState, stepState, stepComplete, stepDefer, stepDead, stepDeferred, stepWake, stepFlag, stepForward, stepRead, stepWrite, stepWrite, stepMail, stepReserve,
}

// calls are requests to Graph that can fail, as method and path.
var calls = [...]string{
	"GET users/**", "GET users/*/authentication/methods", "GET users", "POST users/*/authentication/temporaryAccessPassMethods",
	"DELETE users/*/authentication/temporaryAccessPassMethods/*", "PATCH users/*", "POST users/*/revokeSignInSessions",
	"DELETE users/*/authentication/**", "POST users/*/sendMail", " $batch", "GET identityProtection/riskyUsers/*", " **",
}

// operations of the broker that can fail.
var operations = [...]string{
	"send", "complete", "defer", "com.microsoft:set-session-state", "com.microsoft:get-session-state", "com.microsoft:receive-by-sequence-number", "com.microsoft:peek-message",
}

var errKilled = errors.New("the process is dead")

// life is one process's visit to one lane.
type life struct {
	world *world
	lane  string
	queue string
	// key is the event in progress.
	key    string
	cancel context.CancelFunc
	// dead: the process has ended. overtaken: it stalled, and another one has the lane.
	dead, overtaken bool
	session         lane.Session
	pending         []byte // lazyLedger: what was not written yet
	started         ledger.Current
}

type lifeKey struct{}

func lifeOf(ctx context.Context) *life {
	l, _ := ctx.Value(lifeKey{}).(*life)
	return l
}

// step takes one step of a worker, unless a fault strikes it.
func step(ctx context.Context, name string, do func() error) error {
	l := lifeOf(ctx)
	if l == nil {
		return do()
	}
	if l.dead {
		return errKilled
	}
	a := l.world.strike(name)
	if a == nil {
		return do()
	}
	l.world.struck(l.key)
	l.world.note("fault: %s at %s of %s in lane %s", a.What, name, l.key, l.lane)
	if a.What == "stall" {
		if l.world.stalled || name == stepReserve {
			return do()
		}
		var err error
		if a.Late {
			err = do()
		}
		l.overtake()
		if a.Late {
			return err
		}
		return do()
	}
	if a.Late {
		_ = do()
	}
	l.dead = true
	l.cancel()
	return errKilled
}

// overtake lets the lock run out and others work while this process is stalled.
func (l *life) overtake() {
	w := l.world
	w.stalled = true
	defer func() { w.stalled = false }()
	if !w.mutant(ignoreLock) {
		l.session.Close()
	}
	l.overtaken = true
	w.clock.Advance(2 * time.Minute)
	w.work()
}

// strike uses up the first armed fault that fits a step.
func (w *world) strike(name string) *Action {
	for i := range w.armed {
		a := &w.armed[i]
		if a.At != name && a.At != anyStep {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		hit := *a
		w.armed = append(w.armed[:i:i], w.armed[i+1:]...)
		return &hit
	}
	return nil
}

// session is a lane under lock as the process of a life sees it.
type session struct {
	lane.Session
	life *life
}

func (s session) Guard(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if s.life.dead {
		return nil, nil, errKilled
	}
	if s.life.overtaken && s.life.world.mutant(ignoreLock) {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, nil
	}
	return s.Session.Guard(ctx)
}

func (s session) State(ctx context.Context) ([]byte, error) {
	if s.life.dead {
		return nil, errKilled
	}
	state, err := s.Session.State(ctx)
	if err != nil {
		return nil, err
	}
	return s.life.world.seam.read(s.life, state), nil
}

func (s session) SetState(ctx context.Context, b []byte) error {
	return step(ctx, stepState, func() error {
		if s.life.world.seam.skipWrite(s.life, b) {
			return nil
		}
		return s.Session.SetState(ctx, b)
	})
}

func (s session) Receive(ctx context.Context, wait time.Duration) (queue.Received, error) {
	if s.life.dead {
		return queue.Received{}, errKilled
	}
	return s.Session.Receive(ctx, wait)
}

func (s session) ReceiveDeferred(ctx context.Context, sequence int64) (m queue.Received, err error) {
	err = step(ctx, stepDeferred, func() error { m, err = s.Session.ReceiveDeferred(ctx, sequence); return err })
	return m, err
}

func (s session) Waiting(ctx context.Context, after int64) (bool, error) {
	if s.life.dead {
		return false, errKilled
	}
	return s.Session.Waiting(ctx, after)
}

func (s session) Holds(ctx context.Context, sequence int64) (bool, error) {
	if s.life.dead {
		return false, errKilled
	}
	return s.Session.Holds(ctx, sequence)
}

func (s session) Complete(ctx context.Context, m queue.Received) error {
	return step(ctx, stepComplete, func() error { return s.Session.Complete(ctx, m) })
}

func (s session) Defer(ctx context.Context, m queue.Received) error {
	return step(ctx, stepDefer, func() error {
		if s.life.world.mutant(completeWaiting) {
			return s.Session.Complete(ctx, m)
		}
		return s.Session.Defer(ctx, m)
	})
}

func (s session) DeadLetter(ctx context.Context, m queue.Received, reason, description string) error {
	return step(ctx, stepDead, func() error { return s.Session.DeadLetter(ctx, m, reason, description) })
}

// broker sends messages as the process of a life.
type broker struct {
	lane.Sender
	world *world
}

func (b broker) Send(ctx context.Context, queueName string, msgs ...queue.Message) error {
	name := stepForward
	switch {
	case queueName == flagsQueue:
		name = stepFlag
		if b.world.mutant(noFlags) {
			return nil
		}
	case len(msgs) > 0 && strings.HasPrefix(msgs[0].ID, "wake~"):
		name = stepWake
		if b.world.mutant(noWakeUp) {
			return nil
		}
	}
	return step(ctx, name, func() error { return b.Sender.Send(ctx, queueName, msgs...) })
}

// counter is the breaker's session.
type counter struct{ breaker.Session }

func (c counter) SetState(ctx context.Context, b []byte) error {
	return step(ctx, stepReserve, func() error { return c.Session.SetState(ctx, b) })
}

// directory is the tenant as the workers see it: every port, through the real client.
type directory struct{ world *world }

func (d directory) client(ctx context.Context) (*graph.Client, error) {
	if l := lifeOf(ctx); l != nil && l.dead {
		return nil, errKilled
	}
	return d.world.graph()
}

func read[T any](ctx context.Context, d directory, get func(*graph.Client) (T, error)) (value T, err error) {
	c, err := d.client(ctx)
	if err != nil {
		return value, err
	}
	return get(c)
}

// Find implements router.Directory.
func (d directory) Find(ctx context.Context, r identity.Reference) (list []identity.Account, err error) {
	err = step(ctx, stepRead, func() error {
		list, err = read(ctx, d, func(c *graph.Client) ([]identity.Account, error) { return c.Find(ctx, r) })
		return err
	})
	return list, err
}

// Account implements worker.Directory.
func (d directory) Account(ctx context.Context, u identity.UserID) (a identity.Account, err error) {
	a, err = read(ctx, d, func(c *graph.Client) (identity.Account, error) { return c.Account(ctx, u) })
	return stale(d.world, "account/"+string(u), a, err)
}

// Manager implements worker.Directory.
func (d directory) Manager(ctx context.Context, u identity.UserID) (a identity.Account, err error) {
	err = step(ctx, stepRead, func() error {
		a, err = read(ctx, d, func(c *graph.Client) (identity.Account, error) { return c.Manager(ctx, u) })
		return err
	})
	return a, err
}

// Membership implements worker.Directory.
func (d directory) Membership(ctx context.Context, u identity.UserID) (identity.Membership, error) {
	return read(ctx, d, func(c *graph.Client) (identity.Membership, error) { return c.Membership(ctx, u) })
}

// Roles implements worker.Directory.
func (d directory) Roles(ctx context.Context, u identity.UserID) (active, eligible []string, err error) {
	c, err := d.client(ctx)
	if err != nil {
		return nil, nil, err
	}
	return c.Roles(ctx, u)
}

// PassPolicy implements worker.Directory.
func (d directory) PassPolicy(ctx context.Context) (identity.PassPolicy, error) {
	p, err := read(ctx, d, func(c *graph.Client) (identity.PassPolicy, error) { return c.PassPolicy(ctx) })
	if d.world.mutant(noPreflight) {
		p.Enabled = true
	}
	return p, err
}

// Passes implements worker.Passes.
func (d directory) Passes(ctx context.Context, u identity.UserID) ([]identity.Pass, error) {
	list, err := read(ctx, d, func(c *graph.Client) ([]identity.Pass, error) { return c.Passes(ctx, u) })
	return stale(d.world, "passes/"+string(u), list, err)
}

// MethodsAndDefault implements worker.Methods.
func (d directory) MethodsAndDefault(ctx context.Context, u identity.UserID) (identity.Registration, error) {
	r, err := read(ctx, d, func(c *graph.Client) (identity.Registration, error) { return c.MethodsAndDefault(ctx, u) })
	return stale(d.world, "methods/"+string(u), r, err)
}

// AllMethods implements worker.Methods.
func (d directory) AllMethods(ctx context.Context, u identity.UserID) ([]identity.Method, error) {
	list, err := read(ctx, d, func(c *graph.Client) ([]identity.Method, error) { return c.AllMethods(ctx, u) })
	return stale(d.world, "all-methods/"+string(u), list, err)
}

// SetDefaultMethod implements worker.Methods.
func (d directory) SetDefaultMethod(ctx context.Context, u identity.UserID, m identity.Method) error {
	return d.change(ctx, stepWrite, actDefault, u, func(c *graph.Client) error { return c.SetDefaultMethod(ctx, u, m) })
}

// Risk implements worker.Risks.
func (d directory) Risk(ctx context.Context, u identity.UserID) (identity.Risk, error) {
	r, err := read(ctx, d, func(c *graph.Client) (identity.Risk, error) { return c.Risk(ctx, u) })
	if d.world.mutant(trustRisk) && err == nil {
		r = identity.Risk{Level: identity.RiskHigh, State: identity.RiskStateAtRisk}
	}
	return r, err
}

// CountUsers is how many people there are.
func (d directory) CountUsers(ctx context.Context) (int, error) {
	return read(ctx, d, func(c *graph.Client) (int, error) { return c.CountUsers(ctx) })
}

// change makes one change of the tenant and watches it.
func (d directory) change(ctx context.Context, name, action string, u identity.UserID, do func(*graph.Client) error) error {
	return step(ctx, name, func() error {
		c, err := d.client(ctx)
		if err != nil {
			return err
		}
		d.world.before(ctx, action, u)
		err = do(c)
		d.world.after(ctx, action, u, err)
		return err
	})
}

// IssuePass implements worker.Passes.
func (d directory) IssuePass(ctx context.Context, u identity.UserID, r identity.PassRequest) (p identity.IssuedPass, err error) {
	err = d.change(ctx, stepWrite, actIssue, u, func(c *graph.Client) error {
		p, err = c.IssuePass(ctx, u, r)
		if err == nil {
			d.world.issued(ctx, u, p)
		}
		return err
	})
	return p, err
}

// DeletePass implements worker.Passes.
func (d directory) DeletePass(ctx context.Context, u identity.UserID, id string) error {
	return d.change(ctx, stepWrite, actDeletePass, u, func(c *graph.Client) error { return c.DeletePass(ctx, u, id) })
}

// SetEnabled implements worker.Accounts.
func (d directory) SetEnabled(ctx context.Context, u identity.UserID, enabled bool) error {
	action := actBlock
	if enabled {
		action = actUnblock
	}
	return d.change(ctx, stepWrite, action, u, func(c *graph.Client) error { return c.SetEnabled(ctx, u, enabled) })
}

// AddToGroup implements worker.Groups.
func (d directory) AddToGroup(ctx context.Context, u identity.UserID, group string) error {
	return d.change(ctx, stepWrite, actGroup, u, func(c *graph.Client) error { return c.AddToGroup(ctx, u, group) })
}

// RevokeSessions implements worker.Accounts.
func (d directory) RevokeSessions(ctx context.Context, u identity.UserID) error {
	return d.change(ctx, stepWrite, actRevoke, u, func(c *graph.Client) error { return c.RevokeSessions(ctx, u) })
}

// SetRandomPassword implements worker.Accounts.
func (d directory) SetRandomPassword(ctx context.Context, u identity.UserID) error {
	return d.change(ctx, stepWrite, actPassword, u, func(c *graph.Client) error { return c.SetRandomPassword(ctx, u) })
}

// DeleteMethods implements worker.Methods.
func (d directory) DeleteMethods(ctx context.Context, u identity.UserID, list []identity.Method, serial bool) (results []identity.MethodResult, err error) {
	err = d.change(ctx, stepWrite, actRemove, u, func(c *graph.Client) error {
		results, err = c.DeleteMethods(ctx, u, list, serial)
		return err
	})
	return results, err
}

// SendMail implements worker.Mailer.
func (d directory) SendMail(ctx context.Context, m identity.Mail) error {
	return step(ctx, stepMail, func() error {
		c, err := d.client(ctx)
		if err != nil {
			return err
		}
		defer d.world.scan()
		if d.world.mutant(mailTwice) {
			if err := c.SendMail(ctx, m); err != nil {
				return err
			}
		}
		return c.SendMail(ctx, m)
	})
}
