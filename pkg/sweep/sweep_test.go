package sweep_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/servicebus"
	"mfaflow/pkg/sim/clock"
	sbsim "mfaflow/pkg/sim/servicebus"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/telemetry"
)

const (
	tenantID = "84bd8158-6d4d-4958-8b9f-9d6445542f95"
	mei      = identity.UserID("10000000-0000-4000-8000-000000000011")
	peter    = identity.UserID("10000000-0000-4000-8000-000000000012")
	amara    = identity.UserID("10000000-0000-4000-8000-000000000013")

	notifications = "https://hooks.contoso.example/graph/notifications"
	lifecycle     = "https://hooks.contoso.example/graph/lifecycle"
	lifetime      = 28 * 24 * time.Hour
)

var t0 = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// tenant is what a sweep asks, by the port. The adapter's own tests show that Graph
// answers like this.
type tenant struct {
	clock *clock.Manual

	subscriptions map[string]sweep.Subscription
	made          int
	quota         int
	calls         []string

	// log is what changed, in order; a link is a position in it.
	log       []sweep.Change
	forgotten int // links before this position are too old
	everybody []identity.UserID
	deleted   []sweep.Deleted

	risky       []sweep.RiskyUser
	detections  []sweep.Detection
	signIns     []sweep.SignIn
	employments map[identity.UserID]sweep.Employment

	// fail is asked before every call, by its name.
	fail func(call string) error
}

func (d *tenant) call(format string, args ...any) error {
	name := fmt.Sprintf(format, args...)
	d.calls = append(d.calls, name)
	if d.fail != nil {
		return d.fail(name)
	}
	return nil
}

func (d *tenant) Subscriptions(context.Context) ([]sweep.Subscription, error) {
	if err := d.call("list"); err != nil {
		return nil, err
	}
	var list []sweep.Subscription
	for _, id := range slices.Sorted(maps.Keys(d.subscriptions)) {
		if s := d.subscriptions[id]; s.ExpiresAt.After(d.clock.Now()) {
			s.ClientState = identity.Secret{}
			list = append(list, s)
		}
	}
	return list, nil
}

func (d *tenant) Subscribe(_ context.Context, s sweep.Subscription) (sweep.Subscription, error) {
	if err := d.call("subscribe"); err != nil {
		return sweep.Subscription{}, err
	}
	if d.quota > 0 && len(d.subscriptions) >= d.quota {
		return sweep.Subscription{}, sweep.ErrQuota
	}
	d.made++
	s.ID = fmt.Sprintf("s%d", d.made)
	d.subscriptions[s.ID] = s
	return s, nil
}

func (d *tenant) Renew(_ context.Context, id string, until time.Time) (sweep.Subscription, error) {
	if err := d.call("renew %s", id); err != nil {
		return sweep.Subscription{}, err
	}
	s, ok := d.subscriptions[id]
	if !ok {
		return s, fmt.Errorf("renew: %w", identity.ErrNotFound)
	}
	s.ExpiresAt = until
	d.subscriptions[id] = s
	return s, nil
}

func (d *tenant) Unsubscribe(_ context.Context, id string) error {
	if err := d.call("unsubscribe %s", id); err != nil {
		return err
	}
	delete(d.subscriptions, id)
	return nil
}

// pageSize is small, so that everything has pages.
const pageSize = 2

func paged[T any](all []T, link string) sweep.Page[T] {
	var at int
	_, _ = fmt.Sscanf(link, "page:%d", &at)
	if at+pageSize >= len(all) {
		return sweep.Page[T]{Items: all[min(at, len(all)):]}
	}
	return sweep.Page[T]{Items: all[at : at+pageSize], Next: fmt.Sprintf("page:%d", at+pageSize)}
}

func (d *tenant) delta() string { return fmt.Sprintf("delta:%d", len(d.log)) }

func (d *tenant) Changes(_ context.Context, link string) (sweep.Page[sweep.Change], error) {
	if err := d.call("changes %s", link); err != nil {
		return sweep.Page[sweep.Change]{}, err
	}
	var at, end int
	switch {
	case link == "" || strings.HasPrefix(link, "page:"):
		p := paged(d.everybody, link)
		out := sweep.Page[sweep.Change]{Next: p.Next}
		for _, id := range p.Items {
			out.Items = append(out.Items, sweep.Change{ID: id})
		}
		if p.Next == "" {
			out.Delta = d.delta()
		}
		return out, nil
	default:
		if n, _ := fmt.Sscanf(link, "more:%d:%d", &at, &end); n != 2 {
			_, _ = fmt.Sscanf(link, "delta:%d", &at)
			end = len(d.log)
		}
	}
	if at < d.forgotten {
		return sweep.Page[sweep.Change]{}, fmt.Errorf("changes: %w", sweep.ErrResync)
	}
	if at+pageSize >= end {
		return sweep.Page[sweep.Change]{Items: d.log[at:end], Delta: fmt.Sprintf("delta:%d", end)}, nil
	}
	return sweep.Page[sweep.Change]{Items: d.log[at : at+pageSize], Next: fmt.Sprintf("more:%d:%d", at+pageSize, end)}, nil
}

func (d *tenant) ChangesFromNow(context.Context) (string, error) {
	if err := d.call("changes from now"); err != nil {
		return "", err
	}
	return d.delta(), nil
}

func (d *tenant) DeletedUsers(_ context.Context, since time.Time, link string) (sweep.Page[sweep.Deleted], error) {
	if err := d.call("deleted %s", link); err != nil {
		return sweep.Page[sweep.Deleted]{}, err
	}
	return paged(slices.DeleteFunc(slices.Clone(d.deleted), func(x sweep.Deleted) bool { return x.At.Before(since) }), link), nil
}

func (d *tenant) RiskyUsers(_ context.Context, since time.Time, link string) (sweep.Page[sweep.RiskyUser], error) {
	if err := d.call("risky %s", link); err != nil {
		return sweep.Page[sweep.RiskyUser]{}, err
	}
	return paged(slices.DeleteFunc(slices.Clone(d.risky), func(u sweep.RiskyUser) bool { return u.UpdatedAt.Before(since) }), link), nil
}

func (d *tenant) Detections(_ context.Context, since time.Time, link string) (sweep.Page[sweep.Detection], error) {
	if err := d.call("detections %s", link); err != nil {
		return sweep.Page[sweep.Detection]{}, err
	}
	return paged(slices.DeleteFunc(slices.Clone(d.detections), func(x sweep.Detection) bool { return x.DetectedAt.Before(since) }), link), nil
}

func (d *tenant) FailedSignIns(_ context.Context, code int, since, until time.Time, link string) (sweep.Page[sweep.SignIn], error) {
	if err := d.call("sign-ins %d %s", code, link); err != nil {
		return sweep.Page[sweep.SignIn]{}, err
	}
	return paged(slices.DeleteFunc(slices.Clone(d.signIns), func(s sweep.SignIn) bool {
		return s.Code != code || s.At.Before(since) || !s.At.Before(until)
	}), link), nil
}

func (d *tenant) between(when func(sweep.Employment) time.Time, from, to time.Time, link string) (sweep.Page[sweep.Employment], error) {
	var list []sweep.Employment
	for _, id := range slices.Sorted(maps.Keys(d.employments)) {
		if e := d.employments[id]; !when(e).Before(from) && when(e).Before(to) {
			list = append(list, e)
		}
	}
	return paged(list, link), d.call("employments %s", link)
}

func (d *tenant) Hires(_ context.Context, from, to time.Time, link string) (sweep.Page[sweep.Employment], error) {
	p, err := d.between(func(e sweep.Employment) time.Time { return e.HireDate }, from, to, link)
	for i := range p.Items {
		p.Items[i].LeaveAt = time.Time{}
	}
	return p, err
}

func (d *tenant) Leavers(_ context.Context, from, to time.Time, link string) (sweep.Page[sweep.Employment], error) {
	return d.between(func(e sweep.Employment) time.Time { return e.LeaveAt }, from, to, link)
}

func (d *tenant) Employment(_ context.Context, id identity.UserID) (sweep.Employment, error) {
	if err := d.call("employment"); err != nil {
		return sweep.Employment{}, err
	}
	e, ok := d.employments[id]
	if !ok {
		return e, fmt.Errorf("user: %w", identity.ErrNotFound)
	}
	return e, nil
}

// world is a tenant, a broker and a sweeper between them.
type world struct {
	testing.TB
	clock   *clock.Manual
	bus     *sbsim.Server
	client  *servicebus.Client
	tenant  *tenant
	log     *lockedBuffer
	Sweeper *sweep.Sweeper
	schemas *catalog.Catalog
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func keys(t testing.TB, ids ...string) *clientstate.Keys {
	t.Helper()
	var list []clientstate.Key
	for _, id := range ids {
		list = append(list, clientstate.Key{ID: id, Secret: identity.NewSecret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id, 32))))})
	}
	k, err := clientstate.NewKeys(list)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t testing.TB, polls ...sweep.Poll) *world {
	t.Helper()
	w := &world{TB: t, clock: clock.NewManual(t0), log: &lockedBuffer{}}
	var err error
	w.bus, err = sbsim.Start(t.Context(), sbsim.Options{Clock: w.clock, Queues: []sbsim.QueueConfig{
		{Name: "control", RequiresSession: true, LockDuration: 5 * time.Minute, DuplicateDetection: 7 * 24 * time.Hour},
		{Name: "inbound", RequiresSession: true, LockDuration: 5 * time.Minute, DuplicateDetection: 7 * 24 * time.Hour},
	}})
	w.must(err)
	t.Cleanup(func() { _ = w.bus.Close() })
	w.client, err = servicebus.New(servicebus.Options{ConnectionString: identity.NewSecret(w.bus.ConnectionString()), LockDuration: 5 * time.Minute})
	w.must(err)
	t.Cleanup(w.client.Close)
	w.schemas, err = catalog.New()
	w.must(err)
	zone, err := time.LoadLocation("Europe/Berlin")
	w.must(err)
	w.tenant = &tenant{clock: w.clock, subscriptions: map[string]sweep.Subscription{}, employments: map[identity.UserID]sweep.Employment{}}
	w.Sweeper = &sweep.Sweeper{
		Accept: func(ctx context.Context) (sweep.Session, error) {
			s, err := w.client.Accept(ctx, "control", sweep.SessionID, 5*time.Second)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Sender: w.client, Directory: w.tenant, Polls: polls, InboundQueue: "inbound", EmploymentAhead: 14 * 24 * time.Hour, Zone: zone,
		Now: w.clock.Now, Log: telemetry.NewLogger(w.log, "tenant-sweep", slog.LevelDebug), Metrics: telemetry.NewMetrics(w.log, "mfaflow", "tenant-sweep", w.clock.Now),
	}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) subscribing() *world {
	w.Sweeper.Subscriptions = &sweep.Subscribing{
		Directory: w.tenant, Keys: keys(w, "a"), TenantID: tenantID, NotificationURL: notifications, LifecycleURL: lifecycle, Lifetime: lifetime,
		Slots: []sweep.Slot{{Name: "users", Resource: "users", ChangeType: "updated,deleted"}},
	}
	return w
}

// sweep runs one sweep, as an invocation with a deadline does.
func (w *world) sweep() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	w.must(w.Sweeper.Run(ctx, time.Minute))
}

func (w *world) after(d time.Duration) {
	w.Helper()
	w.clock.Advance(d)
	w.sweep()
}

// told empties the inbound queue and lists the events in order, as type and who, or
// what the test asks of them. Each obeys its schema.
func (w *world) told(show ...func(event.Event) string) string {
	w.Helper()
	var list []string
	for _, m := range w.inbound() {
		e, err := event.Decode(m.Body)
		w.must(err)
		outside := map[string]any{"specversion": "1.0", "id": e.ID, "source": e.Source, "type": string(e.Type), "time": e.Time.Format(time.RFC3339Nano), "subject": e.Subject}
		d := json.NewDecoder(bytes.NewReader(e.Data))
		d.UseNumber()
		var data any
		w.must(d.Decode(&data))
		outside["data"] = data
		if _, err := w.schemas.ParseValue(outside); err != nil {
			w.Errorf("%s: %v", e.Data, err)
		}
		text := string(e.Type) + " " + names[identity.UserID(e.Subject)]
		for _, f := range show {
			text += " " + f(e)
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

var names = map[identity.UserID]string{mei: "mei", peter: "peter", amara: "amara"}

func (w *world) inbound() []queue.Received {
	w.Helper()
	var all []queue.Received
	for w.counts("inbound").Active > 0 {
		s, err := w.client.AcceptNext(w.Context(), "inbound", 5*time.Second)
		w.must(err)
		for last := int64(0); ; {
			waiting, err := s.Waiting(w.Context(), last)
			w.must(err)
			if !waiting {
				break
			}
			m, err := s.Receive(w.Context(), 5*time.Second)
			w.must(err)
			w.must(s.Complete(w.Context(), m))
			last = m.Sequence
			all = append(all, m)
		}
		s.Close()
	}
	slices.SortFunc(all, func(a, b queue.Received) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all
}

// command puts a lifecycle notification on the control queue.
func (w *world) command(id string, c sweep.Command) {
	w.Helper()
	m, err := c.Message(id, "")
	w.must(err)
	w.must(w.client.Send(w.Context(), "control", m))
}

func (w *world) counts(name string) sbsim.Counts {
	w.Helper()
	c, ok := w.bus.Counts(name)
	if !ok {
		w.Fatalf("no queue %s", name)
	}
	return c
}

func (w *world) want(what, got, want string) {
	w.Helper()
	if got != want {
		w.Errorf("%s: %q, want %q", what, got, want)
	}
}

func kind(e event.Event) string {
	u, _ := e.AccountUpdate()
	return string(u.Change)
}

// Nothing that happened before the first sweep is told.
func TestFirstSweepBeginsNow(t *testing.T) {
	w := newWorld(t, sweep.PollRiskyUsers, sweep.PollDetections, sweep.PollSignIns)
	w.tenant.everybody = []identity.UserID{mei, peter, amara}
	w.tenant.log = []sweep.Change{{ID: mei}}
	w.tenant.risky = []sweep.RiskyUser{{ID: mei, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, UpdatedAt: t0.Add(-48 * time.Hour)}}
	w.sweep()
	w.want("told", w.told(), "")
}

func TestChanges(t *testing.T) {
	w := newWorld(t)
	w.sweep()
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei}, sweep.Change{ID: peter, Removed: true}, sweep.Change{ID: amara})
	w.after(5 * time.Minute)
	w.want("told", w.told(kind), "account.changed mei updated, account.changed peter deleted, account.changed amara updated")
	w.after(5 * time.Minute)
	w.want("told again", w.told(), "")
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei})
	w.after(5 * time.Minute)
	w.want("changed again", w.told(), "account.changed mei")
}

// A sweep that fails in the middle of a round goes on there, and tells nothing twice.
func TestRoundGoesOn(t *testing.T) {
	w := newWorld(t)
	w.sweep()
	for _, id := range []identity.UserID{mei, peter, amara, mei} {
		w.tenant.log = append(w.tenant.log, sweep.Change{ID: id})
	}
	w.tenant.fail = func(call string) error {
		if strings.HasPrefix(call, "changes more") {
			return &identity.RetryError{Err: errors.New("busy")}
		}
		return nil
	}
	w.after(time.Minute)
	w.want("first half", w.told(), "account.changed mei, account.changed peter")
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: peter}) // of the next round
	w.tenant.fail = nil
	w.after(time.Minute)
	w.want("second half", w.told(), "account.changed amara, account.changed mei")
	w.after(time.Minute)
	w.want("next round", w.told(), "account.changed peter")
}

// The directory has forgotten where we were: everybody is looked at, and those who were
// deleted meanwhile; the gap is in the log.
func TestGap(t *testing.T) {
	w := newWorld(t)
	w.sweep()
	w.clock.Advance(40 * 24 * time.Hour)
	w.tenant.log = []sweep.Change{{ID: mei}, {ID: peter}, {ID: amara}}
	w.tenant.forgotten = 3
	w.tenant.everybody = []identity.UserID{mei, amara, "10000000-0000-4000-8000-000000000014"}
	w.tenant.deleted = []sweep.Deleted{{ID: peter, At: t0.Add(24 * time.Hour)}, {ID: amara, At: t0.Add(-24 * time.Hour)}}
	w.sweep()
	w.want("told", w.told(kind), "account.changed peter deleted, account.changed mei updated, account.changed amara updated, account.changed  updated")
	if log := w.log.String(); !strings.Contains(log, `"msg":"gap","function":"tenant-sweep","outcome":"found","from":"2026-11-23T08:00:00Z","to":"2027-01-02T08:00:00Z"`) ||
		!strings.Contains(log, `"outcome":"filled"`) || !strings.Contains(log, `"users":4`) || !strings.Contains(log, `"ChangesGap":3456000`) {
		t.Error(log)
	}
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei})
	w.after(time.Minute)
	w.want("afterwards", w.told(), "account.changed mei")
}

// Being interrupted while everything is read again loses nobody.
func TestGapGoesOn(t *testing.T) {
	w := newWorld(t)
	w.sweep()
	w.tenant.log, w.tenant.forgotten = []sweep.Change{{ID: mei}}, 1
	w.tenant.everybody = []identity.UserID{mei, peter, amara}
	w.tenant.deleted = []sweep.Deleted{{ID: "10000000-0000-4000-8000-000000000014", At: t0.Add(time.Minute)}}
	w.clock.Advance(time.Hour)
	failing := []string{"deleted ", "changes ", "changes page:2"}
	w.tenant.fail = func(call string) error {
		if len(failing) > 0 && call == failing[0] {
			failing = failing[1:]
			return &identity.RetryError{Err: errors.New("busy")}
		}
		return nil
	}
	for range 4 {
		w.after(time.Minute)
	}
	if len(failing) > 0 {
		t.Fatalf("not reached: %v", failing)
	}
	w.want("told", w.told(kind), "account.changed  deleted, account.changed mei updated, account.changed peter updated, account.changed amara updated")
}

// The worker dies after the broker has the events and before that is written: the same
// events are made again, and the broker drops them.
func TestPageToldTwiceIsOne(t *testing.T) {
	w := newWorld(t, sweep.PollRiskyUsers, sweep.PollEmployment)
	w.sweep()
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei}, sweep.Change{ID: peter}, sweep.Change{ID: amara})
	w.tenant.risky = []sweep.RiskyUser{{ID: mei, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, UpdatedAt: t0.Add(time.Minute)}}
	w.tenant.employments[amara] = sweep.Employment{ID: amara, HireDate: t0.Add(72 * time.Hour)}
	w.clock.Advance(2 * time.Minute)
	accept := w.Sweeper.Accept
	for left := range 6 {
		m := &mortal{left: left}
		w.Sweeper.Accept = func(ctx context.Context) (sweep.Session, error) {
			s, err := accept(ctx)
			if err != nil {
				return nil, err
			}
			m.Session = s
			return m, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_ = w.Sweeper.Run(ctx, time.Minute)
		cancel()
	}
	w.Sweeper.Accept = accept
	w.sweep()
	w.want("told", w.told(), "risk.user mei, employee.joiner amara, account.changed mei, account.changed peter, account.changed amara")
}

// mortal is a session whose process dies at a write of the state.
type mortal struct {
	sweep.Session
	left int
}

func (m *mortal) SetState(ctx context.Context, state []byte) error {
	if m.left--; m.left < 0 {
		return queue.ErrLockLost
	}
	return m.Session.SetState(ctx, state)
}

func TestRiskyUsers(t *testing.T) {
	w := newWorld(t, sweep.PollRiskyUsers)
	w.sweep()
	show := func(e event.Event) string {
		r, _ := e.Risk()
		return fmt.Sprintf("%s %s %s", r.Level, r.State, e.Time.Format(time.TimeOnly))
	}
	w.tenant.risky = []sweep.RiskyUser{
		{ID: mei, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, Detail: "none", UpdatedAt: t0.Add(time.Minute)},
		{ID: peter, Level: identity.RiskMedium, State: identity.RiskStateAtRisk, UpdatedAt: t0.Add(time.Minute), Processing: true},
		{ID: amara, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, UpdatedAt: t0.Add(time.Minute), Deleted: true},
	}
	w.after(5 * time.Minute)
	w.want("told", w.told(show), "risk.user mei high atRisk 08:01:00")
	// Within the overlap: told again under the same key, and dropped. What is updated is
	// told anew, and so is what was being computed.
	w.tenant.risky[0].State, w.tenant.risky[0].Level, w.tenant.risky[0].UpdatedAt = identity.RiskStateDismissed, identity.RiskNone, t0.Add(6*time.Minute)
	w.tenant.risky[1].Processing = false
	w.after(5 * time.Minute)
	w.want("afterwards", w.told(show), "risk.user mei none dismissed 08:06:00, risk.user peter medium atRisk 08:01:00")
	w.after(5 * time.Minute)
	w.want("at rest", w.told(show), "")
}

func TestDetections(t *testing.T) {
	w := newWorld(t, sweep.PollDetections)
	w.sweep()
	w.tenant.detections = []sweep.Detection{
		{ID: "d1", UserID: mei, Kind: "anonymizedIPAddress", Activity: "signin", Level: identity.RiskMedium, State: identity.RiskStateAtRisk, SignInID: "r1", DetectedAt: t0.Add(time.Minute), UpdatedAt: t0.Add(time.Minute)},
		{ID: "d2", UserID: peter, Kind: "leakedCredentials", Activity: "user", Level: identity.RiskHigh, State: identity.RiskStateAtRisk, DetectedAt: t0.Add(time.Minute), UpdatedAt: t0.Add(time.Minute)},
		{ID: "d3", UserID: amara, Kind: "somethingNew", Activity: "unknownFutureValue", Level: identity.RiskLow, State: identity.RiskStateAtRisk, DetectedAt: t0.Add(2 * time.Minute)},
	}
	w.after(5 * time.Minute)
	w.want("told", w.told(func(e event.Event) string {
		r, _ := e.Risk()
		return fmt.Sprintf("%s %s %s", r.Detection, r.Level, r.SignInID)
	}), "risk.sign-in mei anonymizedIPAddress medium r1, risk.user peter leakedCredentials high , risk.user amara somethingNew low ")
	w.after(5 * time.Minute)
	w.want("again", w.told(), "")
}

func TestSignIns(t *testing.T) {
	w := newWorld(t, sweep.PollSignIns)
	w.sweep()
	at := t0.Add(time.Minute)
	w.tenant.signIns = []sweep.SignIn{
		{ID: "i1", UserID: mei, At: at, Code: 50053, Reason: "The account is locked, you've tried to sign in too many times."},
		{ID: "i2", UserID: peter, At: at, Code: 50053, Reason: "Sign-in was blocked because it came from an IP address with malicious activity."},
		{ID: "i3", UserID: amara, At: at, Code: 500121, Reason: "Authentication failed", Details: "MFA denied; Phone App Reported Fraud"},
		{ID: "i4", UserID: amara, At: at, Code: 500121, Details: "MFA denied; user declined the authentication"},
		{ID: "i5", UserID: amara, At: at, Code: 50126},
		{ID: "i6", At: at, Code: 50057}, // an account that does not exist here
		{ID: "i7", UserID: mei, At: at, Code: 53003},
	}
	show := func(e event.Event) string {
		l, _ := e.Lockout()
		return strings.TrimSpace(string(l.Cause) + " " + l.Detail)
	}
	w.after(5 * time.Minute)
	w.want("told", w.told(show), "account.locked mei smartLockout AADSTS50053, account.locked peter maliciousAddress AADSTS50053, "+
		"account.locked mei conditionalAccess AADSTS53003, mfa.codes-unrequested amara ")
	// It reaches the log late, but within the overlap.
	w.tenant.signIns = append(w.tenant.signIns, sweep.SignIn{ID: "i8", UserID: peter, At: at, Code: 50057})
	w.after(5 * time.Minute)
	w.want("late", w.told(show), "account.locked peter disabled AADSTS50057")
}

// Anybody may fail to sign in as often as they like: whom they lock out hears of it once
// in each sweep, and again only when they go on.
func TestManySignInsAreOneLock(t *testing.T) {
	w := newWorld(t, sweep.PollSignIns)
	w.sweep()
	attack := func(name string) { // the log has the newest first
		for i := range 7 {
			w.tenant.signIns = slices.Insert(w.tenant.signIns, 0, sweep.SignIn{ID: fmt.Sprintf("%s%d", name, i), UserID: mei, At: w.clock.Now(), Code: 50053, Reason: "account is locked"})
		}
	}
	attack("a")
	w.after(5 * time.Minute)
	w.want("told", w.told(), "account.locked mei")
	w.after(5 * time.Minute)
	w.want("told again", w.told(), "")
	attack("b")
	w.after(5 * time.Minute)
	w.want("goes on", w.told(), "account.locked mei")
}

// A window that was interrupted goes on at its page; when the link is too old, it is
// read again.
func TestWindowGoesOn(t *testing.T) {
	for name, fail := range map[string]error{"busy": &identity.RetryError{Err: errors.New("busy")}, "link too old": sweep.ErrResync, "link refused": fmt.Errorf("%w: badRequest", identity.ErrRefused)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sweep.PollRiskyUsers)
			w.sweep()
			for i, id := range []identity.UserID{mei, peter, amara} {
				w.tenant.risky = append(w.tenant.risky, sweep.RiskyUser{ID: id, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, UpdatedAt: t0.Add(time.Duration(i+1) * time.Minute)})
			}
			failed := 0
			w.tenant.fail = func(call string) error {
				if call == "risky page:2" && failed == 0 {
					failed++
					return fail
				}
				return nil
			}
			w.after(5 * time.Minute)
			w.after(5 * time.Minute)
			w.want("told", w.told(), "risk.user mei, risk.user peter, risk.user amara")
			if failed != 1 {
				t.Error("the page was not asked for")
			}
		})
	}
}

// A directory that refuses its own links holds nobody up for ever: what can be read is
// told, the rest of the sweep goes on, and the next one tries again.
func TestLinksThatNeverWork(t *testing.T) {
	w := newWorld(t, sweep.PollRiskyUsers)
	w.sweep()
	w.tenant.everybody = []identity.UserID{mei, peter, amara}
	for i, id := range w.tenant.everybody {
		w.tenant.risky = append(w.tenant.risky, sweep.RiskyUser{ID: id, Level: identity.RiskHigh, State: identity.RiskStateAtRisk, UpdatedAt: t0.Add(time.Duration(i+1) * time.Minute)})
	}
	w.tenant.log, w.tenant.forgotten = []sweep.Change{{ID: mei}}, 1
	broken := true
	w.tenant.fail = func(call string) error {
		if len(w.tenant.calls) > 100 {
			t.Fatal("for ever")
		}
		if broken && strings.HasSuffix(call, "page:2") {
			return sweep.ErrResync
		}
		return nil
	}
	w.after(5 * time.Minute)
	w.after(5 * time.Minute)
	if got := w.told(); !strings.Contains(got, "risk.user mei, risk.user peter") || !strings.Contains(got, "account.changed mei, account.changed peter") || strings.Contains(got, "amara") {
		t.Error(got)
	}
	broken = false
	w.after(5 * time.Minute)
	if got := w.told(); !strings.Contains(got, "risk.user amara") || !strings.Contains(got, "account.changed amara") {
		t.Error(got)
	}
}

// One thing that the directory refuses, for a licence or a permission, does not keep
// the others from being swept.
func TestOneRefusalDoesNotStopTheRest(t *testing.T) {
	w := newWorld(t, sweep.PollRiskyUsers, sweep.PollSignIns).subscribing()
	w.tenant.fail = func(call string) error {
		if strings.HasPrefix(call, "risky") || call == "list" {
			return fmt.Errorf("read risky users: %w (IdentityRiskyUser.Read.All)", identity.ErrForbidden)
		}
		return nil
	}
	w.sweep()
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei})
	w.tenant.signIns = []sweep.SignIn{{ID: "i1", UserID: peter, At: t0.Add(time.Minute), Code: 50057}}
	w.after(5 * time.Minute)
	w.want("told", w.told(), "account.locked peter, account.changed mei")
	if log := w.log.String(); strings.Count(log, `"outcome":"failed"`) != 4 || !strings.Contains(log, "IdentityRiskyUser.Read.All") {
		t.Error(log)
	}
}

func dates(e event.Event) string {
	d, err := e.Employment()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(strings.Join([]string{d.StartDate.String(), d.LastDay.String(), d.Cancels}, " "))
}

const none = "0000-00-00"

func TestEmployment(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, 23+n, 0, 0, 0, 0, time.UTC) }
	type step struct {
		after      time.Duration
		hire, left time.Time
		gone       bool
		want       string
	}
	const daily = 24 * time.Hour
	for name, steps := range map[string][]step{
		"a joiner, once": {
			{hire: day(7), want: "employee.joiner mei 2026-11-30 " + none}, {after: daily, hire: day(7)}, {after: 30 * daily, hire: day(7)},
		},
		"a start that is far off": {{hire: day(20)}, {after: 7 * daily, hire: day(20), want: "employee.joiner mei 2026-12-13 " + none}},
		"a start that moves, and moves back": {
			{hire: day(7), want: "employee.joiner mei 2026-11-30 " + none},
			{after: daily, hire: day(9), want: "employee.start-date-changed mei 2026-12-02 " + none},
			{after: daily, hire: day(7), want: "employee.start-date-changed mei 2026-11-30 " + none},
			{after: daily, hire: day(60), want: "employee.start-date-changed mei 2027-01-22 " + none},
		},
		"an offer that is withdrawn, and made again": {
			{hire: day(7), want: "employee.joiner mei 2026-11-30 " + none}, {after: daily, want: "employee.cancelled mei " + none + " " + none + " joiner"},
			{after: daily}, {after: daily, hire: day(7), want: "employee.joiner mei 2026-11-30 " + none},
		},
		"an account that is deleted before": {{hire: day(7), want: "employee.joiner mei 2026-11-30 " + none}, {after: daily, gone: true}, {after: daily, gone: true}},
		"a start of long ago":               {{hire: day(-3)}, {after: daily, hire: day(-3)}},
		"a start of today":                  {{hire: day(0), want: "employee.joiner mei 2026-11-23 " + none}},
		"a leaver, a resignation withdrawn": {
			{left: day(7), want: "employee.leaver mei " + none + " 2026-11-30"},
			{after: daily, left: day(5), want: "employee.last-day-changed mei " + none + " 2026-11-28"},
			{after: daily, want: "employee.cancelled mei " + none + " " + none + " leaver"},
		},
		"a start and an end withdrawn at once": {
			{left: day(7), want: "employee.leaver mei " + none + " 2026-11-30"},
			{after: daily, hire: day(3), left: day(7), want: "employee.joiner mei 2026-11-26 " + none},
			{after: daily, want: "employee.cancelled mei " + none + " " + none + " joiner, employee.cancelled mei " + none + " " + none + " leaver"},
		},
		"a last day that moves into the past": {
			{left: day(7), want: "employee.leaver mei " + none + " 2026-11-30"},
			{after: 2 * daily, left: day(1), want: "employee.last-day-changed mei " + none + " 2026-11-24"},
		},
		"an hour of the day in the zone of the company": {{left: time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC), want: "employee.leaver mei " + none + " 2026-12-01"}},
		"a short contract: its end is told once it has begun": {
			{hire: day(2), left: day(9), want: "employee.joiner mei 2026-11-25 " + none}, {after: daily, hire: day(2), left: day(9)},
			{after: daily, hire: day(2), left: day(9), want: "employee.leaver mei " + none + " 2026-12-02"},
		},
		"somebody who comes back": {
			{left: day(2), want: "employee.leaver mei " + none + " 2026-11-25"},
			{after: 30 * daily, left: day(2), hire: day(35), want: "employee.joiner mei 2026-12-28 " + none},
		},
		"a sweep that was not run for days": {{}, {after: 5 * daily, hire: day(3), want: "employee.joiner mei 2026-11-26 " + none}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sweep.PollEmployment)
			for i, s := range steps {
				w.tenant.employments[mei] = sweep.Employment{ID: mei, EmployeeID: "E1011", HireDate: s.hire, LeaveAt: s.left, Enabled: true}
				if s.gone {
					delete(w.tenant.employments, mei)
				}
				w.after(s.after)
				w.want(fmt.Sprintf("step %d", i+1), w.told(dates), s.want)
			}
		})
	}
}

// HR says the same thing a second time, long after it took it back. Lanes remember keys
// for years, so it must go by another.
func TestEmploymentSaidAgainIsAnotherStatement(t *testing.T) {
	w := newWorld(t, sweep.PollEmployment)
	w.Sweeper.EmploymentAhead = 80 * 24 * time.Hour
	w.sweep()
	last, told := t0.Add(70*24*time.Hour), map[string]string{}
	for round := range 3 {
		for _, at := range []time.Time{last, {}} {
			w.tenant.employments[mei] = sweep.Employment{ID: mei, LeaveAt: at, Enabled: true}
			w.after(24 * time.Hour)
			said := w.told(func(e event.Event) string {
				if told[e.Key] != "" {
					t.Errorf("round %d: %s goes by the key of %s", round, e.Type, told[e.Key])
				}
				told[e.Key] = string(e.Type)
				return ""
			})
			if said == "" {
				t.Errorf("round %d: nothing told", round)
			}
		}
		w.after(16 * 24 * time.Hour)
	}
}

// crowded is a tenant where many start on one day.
type crowded struct {
	*tenant
	starters []sweep.Employment
}

func (c crowded) Hires(context.Context, time.Time, time.Time, string) (sweep.Page[sweep.Employment], error) {
	return sweep.Page[sweep.Employment]{Items: c.starters}, nil
}

// counted is a broker that takes everything.
type counted map[string]int

func (c counted) Send(_ context.Context, _ string, msgs ...queue.Message) error {
	for _, m := range msgs {
		c[m.Properties[queue.PropType]]++
	}
	return nil
}

// What is too much to remember is told, and does not keep the rest from being
// remembered.
func TestTooManyDatesDoNotStopTheRest(t *testing.T) {
	w := newWorld(t, sweep.PollEmployment)
	w.sweep()
	var starters []sweep.Employment
	for n := range 6000 {
		starters = append(starters, sweep.Employment{ID: identity.UserID(fmt.Sprintf("20000000-0000-4000-8000-%012d", n)), HireDate: t0.Add(72 * time.Hour)})
	}
	sent := counted{}
	w.Sweeper.Directory, w.Sweeper.Sender = crowded{w.tenant, starters}, sent
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei})
	for range 3 {
		w.after(5 * time.Minute)
	}
	if log := w.log.String(); !strings.Contains(log, "shorten the time ahead") || sent["employee.joiner"] != 3*len(starters) || sent["account.changed"] != 1 {
		t.Errorf("%v, %s", sent, log)
	}
}

// subscribed lists what the directory tells us of, with the slot and key that its
// client state proves.
func (w *world) subscribed() string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(w.tenant.subscriptions)) {
		s := w.tenant.subscriptions[id]
		slot, ok := w.Sweeper.Subscriptions.Keys.Check(s.ClientState.Reveal(), tenantID)
		list = append(list, fmt.Sprintf("%s %s %t %s", id, slot, ok, s.ExpiresAt.Sub(w.clock.Now()).Round(time.Hour)))
	}
	return strings.Join(list, ", ")
}

func TestSubscriptionIsMadeAndRenewed(t *testing.T) {
	w := newWorld(t).subscribing()
	w.sweep()
	w.want("made", w.subscribed(), "s1 users true 672h0m0s")
	s := w.tenant.subscriptions["s1"]
	if s.Resource != "users" || s.ChangeType != "updated,deleted" || s.NotificationURL != notifications || s.LifecycleURL != lifecycle {
		t.Errorf("%+v", s)
	}
	w.after(10 * 24 * time.Hour)
	w.want("left alone", w.subscribed(), "s1 users true 432h0m0s")
	w.after(5 * 24 * time.Hour)
	w.want("renewed", w.subscribed(), "s1 users true 672h0m0s")
	if log := w.log.String(); !strings.Contains(log, `"outcome":"subscribed","resource":"users","until":"2027-01-05T08:00:00Z"`) || !strings.Contains(log, `"SubscriptionLeft":`) {
		t.Error(log)
	}
}

func TestSubscriptionIsMadeAnew(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		want   string
	}{
		"removed without a word": {func(w *world) { clear(w.tenant.subscriptions) }, "s2 users true 672h0m0s"},
		"expired":                {func(w *world) { w.clock.Advance(lifetime) }, "s1 users true -672h0m0s, s2 users true 672h0m0s"},
		"gone at its renewal": {func(w *world) {
			w.clock.Advance(20 * 24 * time.Hour)
			w.tenant.fail = func(call string) error {
				if call == "renew s1" {
					clear(w.tenant.subscriptions)
				}
				return nil
			}
		}, "s2 users true 672h0m0s"},
		"another key": {func(w *world) { w.Sweeper.Subscriptions.Keys = keys(w, "b", "a") }, "s2 users true 672h0m0s"},
		"another URL": {func(w *world) {
			w.Sweeper.Subscriptions.NotificationURL = "https://new.contoso.example/graph/notifications"
		}, "s2 users true 672h0m0s"},
		"another URL for the lifecycle": {func(w *world) {
			w.Sweeper.Subscriptions.LifecycleURL = "https://new.contoso.example/graph/lifecycle"
		}, "s2 users true 672h0m0s"},
		"another kind of change": {func(w *world) { w.Sweeper.Subscriptions.Slots[0].ChangeType = "updated" }, "s2 users true 672h0m0s"},
		"the list in another order": {func(w *world) {
			s := w.tenant.subscriptions["s1"]
			s.ChangeType, s.Resource = "deleted,updated", "Users"
			w.tenant.subscriptions["s1"] = s
		}, "s1 users true 671h0m0s"},
		"a second one that nobody remembers": {func(w *world) {
			s := w.tenant.subscriptions["s1"]
			s.ID = "lost"
			w.tenant.subscriptions["lost"] = s
		}, "s1 users true 671h0m0s"},
		"no room for two at a time": {func(w *world) { w.Sweeper.Subscriptions.Keys, w.tenant.quota = keys(w, "b", "a"), 1 }, "s2 users true 672h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).subscribing()
			w.sweep()
			c.change(w)
			w.tenant.calls = nil
			w.after(time.Hour)
			if name == "expired" {
				delete(w.tenant.subscriptions, "s1") // nobody lists it any more
				c.want = "s2 users true 672h0m0s"
			}
			w.want("subscribed", w.subscribed(), c.want)
			// The new one is there before the old one goes.
			if made, gone := slices.Index(w.tenant.calls, "subscribe"), slices.Index(w.tenant.calls, "unsubscribe s1"); gone >= 0 && made > gone && w.tenant.quota == 0 {
				t.Errorf("calls: %v", w.tenant.calls)
			}
			w.tenant.calls = nil
			w.after(time.Hour)
			if got := strings.Join(w.tenant.calls, " "); !strings.HasPrefix(got, "list changes") {
				t.Errorf("not at rest: %s", got)
			}
		})
	}
}

// The subscriptions of others in the same app, and to other resources, are theirs.
func TestForeignSubscriptionsAreLeftAlone(t *testing.T) {
	w := newWorld(t).subscribing()
	w.tenant.subscriptions["x1"] = sweep.Subscription{ID: "x1", Resource: "users", NotificationURL: "https://other.contoso.example/", ExpiresAt: t0.Add(lifetime)}
	w.tenant.subscriptions["x2"] = sweep.Subscription{ID: "x2", Resource: "groups", NotificationURL: notifications, ExpiresAt: t0.Add(lifetime)}
	w.sweep()
	w.after(time.Hour)
	if got := slices.Sorted(maps.Keys(w.tenant.subscriptions)); strings.Join(got, " ") != "s1 x1 x2" {
		t.Error(got)
	}
}

// The process dies when the subscription is made and not remembered: there is one again
// afterwards, whose client state is proven.
func TestSubscriptionThatWasNotRemembered(t *testing.T) {
	w := newWorld(t).subscribing()
	accept := w.Sweeper.Accept
	w.Sweeper.Accept = func(ctx context.Context) (sweep.Session, error) {
		s, err := accept(ctx)
		return &mortal{Session: s}, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Sweeper.Run(ctx, time.Minute); !errors.Is(err, queue.ErrLockLost) {
		t.Fatal(err)
	}
	w.Sweeper.Accept = accept
	w.sweep()
	w.want("subscribed", w.subscribed(), "s2 users true 672h0m0s")
}

func TestCommands(t *testing.T) {
	w := newWorld(t).subscribing()
	w.sweep()
	w.clock.Advance(time.Hour)
	w.command("1", sweep.Command{Action: sweep.Reauthorize, SubscriptionID: "s1", Slot: "users"})
	w.sweep()
	w.want("authorised again", w.subscribed(), "s1 users true 672h0m0s")
	w.command("2", sweep.Command{Action: sweep.Recreate, SubscriptionID: "s1", Slot: "users"})
	delete(w.tenant.subscriptions, "s1")
	w.command("3", sweep.Command{Action: sweep.BackFill, SubscriptionID: "s1", Slot: "users"})
	w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei})
	w.sweep()
	w.want("made again", w.subscribed(), "s2 users true 672h0m0s")
	w.want("filled", w.told(), "account.changed mei")
	w.must(w.client.Send(t.Context(), "control", queue.Message{ID: "4", SessionID: sweep.SessionID, Body: []byte(`{"action":"format"}`)}))
	w.sweep()
	if c := w.counts("control"); c.Active != 0 || c.DeadLetter != 1 {
		t.Errorf("%+v", c)
	}
}

// A command whose repair failed is there for the next sweep.
func TestCommandComesAgain(t *testing.T) {
	w := newWorld(t).subscribing()
	w.sweep()
	w.command("1", sweep.Command{Action: sweep.Reauthorize, SubscriptionID: "s1", Slot: "users"})
	w.tenant.fail = func(call string) error {
		if call == "renew s1" {
			return &identity.RetryError{Err: errors.New("busy")}
		}
		return nil
	}
	w.after(time.Hour)
	w.tenant.fail = nil
	w.after(time.Hour)
	// It grows older on the queue, which the alarm is about.
	if log := w.log.String(); strings.Count(log, `"Waited":3600,`) != 1 || strings.Count(log, `"Waited":7200,`) != 1 {
		t.Error(log)
	}
	w.want("authorised again", w.subscribed(), "s1 users true 672h0m0s")
	if c := w.counts("control"); c.Active != 0 {
		t.Errorf("%+v", c)
	}
}

func TestTwoSweepsAtOnce(t *testing.T) {
	w := newWorld(t)
	first, err := w.Sweeper.Accept(t.Context())
	w.must(err)
	w.sweep()
	if len(w.tenant.calls) != 0 || !strings.Contains(w.log.String(), "another sweep runs") {
		t.Errorf("calls %v", w.tenant.calls)
	}
	first.Close()
	w.sweep()
	if len(w.tenant.calls) == 0 {
		t.Error("nothing swept")
	}
}

// What another version has written is not touched.
func TestUnreadableState(t *testing.T) {
	for name, state := range map[string]string{"a later version": `{"version":2}`, "no JSON": "x"} {
		w := newWorld(t)
		s, err := w.Sweeper.Accept(t.Context())
		w.must(err)
		w.must(s.SetState(t.Context(), []byte(state)))
		s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Sweeper.Run(ctx, time.Minute); !errors.Is(err, sweep.ErrUnreadable) || len(w.tenant.calls) != 0 {
			t.Errorf("%s: %v, calls %v", name, err, w.tenant.calls)
		}
	}
}

// A sweep that has no more time stops between two pages, and the next goes on.
func TestDeadline(t *testing.T) {
	w := newWorld(t)
	w.sweep()
	for range 3 {
		w.tenant.log = append(w.tenant.log, sweep.Change{ID: mei}, sweep.Change{ID: peter})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	w.tenant.fail = func(call string) error {
		if strings.HasPrefix(call, "changes more:2") {
			cancel()
		}
		return nil
	}
	w.clock.Advance(time.Minute)
	w.must(w.Sweeper.Run(ctx, time.Minute))
	w.tenant.fail = nil
	w.after(time.Minute)
	if got := strings.Count(w.told(), "account.changed"); got != 6 {
		t.Errorf("%d told", got)
	}
}

// A process without a deadline sweeps again as soon as a command comes.
func TestRunWakesForACommand(t *testing.T) {
	w := newWorld(t).subscribing()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	swept := make(chan string, 100)
	w.tenant.fail = func(call string) error {
		swept <- call
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Sweeper.Run(ctx, time.Hour) }()
	for call := range swept {
		if call == "changes from now" {
			break
		}
	}
	w.command("1", sweep.Command{Action: sweep.Reauthorize, SubscriptionID: "s1", Slot: "users"})
	for call := range swept {
		if call == "renew s1" {
			break
		}
	}
	cancel()
	w.must(<-ended)
}

// Commands pile up while the directory refuses; none is forgotten by a process that
// holds the session all the while.
func TestRunForgetsNoCommand(t *testing.T) {
	w := newWorld(t).subscribing()
	w.sweep()
	command := func(id int) {
		w.command(fmt.Sprint(id), sweep.Command{Action: sweep.Reauthorize, SubscriptionID: "s1", Slot: "users"})
	}
	for id := range 100 {
		command(id)
	}
	refused := make(chan int)
	left := 2
	w.tenant.fail = func(call string) error {
		if call == "renew s1" && left > 0 {
			left--
			refused <- left
			return &identity.RetryError{Err: errors.New("busy")}
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	settled, ended := make(chan struct{}), make(chan error, 1)
	accept := w.Sweeper.Accept
	w.Sweeper.Accept = func(ctx context.Context) (sweep.Session, error) {
		s, err := accept(ctx)
		return &settling{Session: s, left: 102, done: settled}, err
	}
	go func() { ended <- w.Sweeper.Run(ctx, time.Hour) }()
	<-refused // with a hundred commands
	command(100)
	<-refused // and one more
	command(101)
	<-settled
	cancel()
	w.must(<-ended)
	if c := w.counts("control"); c.Active != 0 {
		t.Errorf("%+v", c)
	}
}

// settling is a session that tells when so many messages are settled.
type settling struct {
	sweep.Session
	left int
	done chan struct{}
}

func (s *settling) Complete(ctx context.Context, m queue.Received) error {
	err := s.Session.Complete(ctx, m)
	if s.left--; s.left == 0 {
		close(s.done)
	}
	return err
}

// The client state is a secret.
func TestClientStateIsNotLogged(t *testing.T) {
	w := newWorld(t).subscribing()
	w.sweep()
	if s := w.tenant.subscriptions["s1"].ClientState.Reveal(); s == "" || strings.Contains(w.log.String(), s[len(s)-43:]) {
		t.Errorf("%q is in the log, or empty", s)
	}
}

// A thing that can never be polled does not keep commands.
func TestCommandEndsWhateverElseFails(t *testing.T) {
	w := newWorld(t, sweep.PollRiskyUsers).subscribing()
	w.tenant.fail = func(call string) error {
		if strings.HasPrefix(call, "risky") {
			return identity.ErrForbidden
		}
		return nil
	}
	w.sweep()
	w.command("1", sweep.Command{Action: sweep.BackFill, Slot: "users"})
	w.after(time.Minute)
	if c := w.counts("control"); c.Active != 0 {
		t.Errorf("%+v", c)
	}
}

// What is accepted is one of the three commands, and stays what it is.
func FuzzParseCommand(f *testing.F) {
	m, err := sweep.Command{Action: sweep.BackFill, SubscriptionID: "s1", Slot: "users", ReceivedAt: t0}.Message("1", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Body)
	f.Add([]byte(`{"action":"missed","receivedAt":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := sweep.ParseCommand(queue.Message{Body: body})
		if err != nil {
			return
		}
		m, err := c.Message("1", "")
		if err != nil || !c.Action.Valid() || m.SessionID != sweep.SessionID {
			t.Fatalf("%+v, %v", c, err)
		}
		if again, err := sweep.ParseCommand(m); err != nil || again.Action != c.Action || again.SubscriptionID != c.SubscriptionID || again.Slot != c.Slot || !again.ReceivedAt.Equal(c.ReceivedAt) {
			t.Errorf("%+v, %v", again, err)
		}
	})
}
