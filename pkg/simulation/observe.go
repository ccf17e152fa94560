package simulation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/azauth"
	"mfaflow/pkg/event"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
	graphsim "mfaflow/pkg/sim/graph"
)

// Changes of the tenant.
const (
	actIssue      = "issue-pass"
	actDeletePass = "delete-pass"
	actBlock      = "block"
	actUnblock    = "unblock"
	actRevoke     = "revoke"
	actPassword   = "password"
	actRemove     = "remove"
	actDefault    = "set-default"
	actGroup      = "add-to-group"
)

// effect is one change that a worker made, or may have made.
type effect struct {
	key, action string
	person      int
	at          time.Time
	err         error
}

// registration is a method that a person registered during the run.
type registration struct {
	person int
	id     string
	at     time.Time
	after  string // key of the event whose pass was delivered last before
}

// observations are what was seen during a run.
type observations struct {
	mu     sync.Mutex // the reads of a turn run side by side
	broken []string

	effects []effect
	// Passes by their value: whose, for which event, and their ids.
	personOf map[string]int
	keyOf    map[string]string
	valueOf  map[string]string // by pass id
	// Deliveries: how many mails of a mailbox were looked at, values by event.
	seen          map[string]int
	deliveries    map[string][]string
	lastDelivered map[int]string
	deliveredFor  map[int]string
	deliveredAt   map[string]time.Time // by event key

	used       map[string]bool
	registered []registration
	methods    int
	foreign    map[int]map[string]bool // ids of passes issued past mfaflow
	meddled    map[int]string
	meddledAt  map[int]time.Time
	wayIn      map[int]bool
	touched    map[int]int // effects until the last rest

	strikes      map[string]int
	brokerFaults int
	approvals    map[string]map[string]bool // by event key: operators
	firstBlock   map[string]time.Time
	sawRisk      map[string]bool
	held         map[string]string // by event key: how it waits, when it blocks others
	heldType     map[string]event.Type
	snapshot     map[int][]graphsim.Method
	starts       map[string]int
	overruled    map[int]bool   // operators released a statement of HR
	repeats      map[string]int // deliveries of the same event
	onIssue      func(identity.IssuedPass)
}

func newObservations() observations {
	return observations{
		personOf: map[string]int{}, keyOf: map[string]string{}, valueOf: map[string]string{}, seen: map[string]int{}, deliveries: map[string][]string{},
		lastDelivered: map[int]string{}, deliveredFor: map[int]string{}, deliveredAt: map[string]time.Time{}, used: map[string]bool{},
		foreign: map[int]map[string]bool{}, meddled: map[int]string{}, meddledAt: map[int]time.Time{}, wayIn: map[int]bool{}, touched: map[int]int{}, strikes: map[string]int{},
		approvals: map[string]map[string]bool{}, firstBlock: map[string]time.Time{}, sawRisk: map[string]bool{}, held: map[string]string{},
		heldType: map[string]event.Type{}, snapshot: map[int][]graphsim.Method{}, starts: map[string]int{}, repeats: map[string]int{}, overruled: map[int]bool{},
	}
}

func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(w.broken, text) {
		w.broken = append(w.broken, text)
		w.note("VIOLATION: %s", text)
	}
}

func (w *world) struck(key string) { w.strikes[key]++ }

// excuses are how many effects of an event may have been made once more because a
// fault hid that they had been made.
func (w *world) excuses(key string) int { return w.strikes[key] + w.brokerFaults }

func personOf(u identity.UserID) int {
	for i := range people {
		if personID(i) == string(u) {
			return i
		}
	}
	return -1
}

// began sees a turn begin.
func (w *world) began(l *life, t *lane.Turn) {
	if l.queue != lanesQueue {
		return
	}
	key, p := t.Event.Key, personOf(t.Event.UserID)
	// The ledger counts the starts of one event at a time, so another event in between
	// can cost a few more.
	if w.starts[key]++; w.starts[key] > 10*(1+w.repeats[key])+w.starts["waits "+key] && w.excuses(key) == 0 {
		w.violate("%s is started again and again", key)
	}
	if u, ok := w.tenant.User(personID(p)); ok && u.Risk != nil && (u.Risk.Level == "high" || u.Risk.State == "confirmedCompromised") && u.Risk.State != "dismissed" {
		w.sawRisk[key] = true
	}
	for other, kind := range w.held {
		o := w.sent[other]
		if other == key || o == nil || o.action.Person != w.sent[key].action.Person || o.order > w.sent[key].order || w.mutant(forgetHandled) {
			continue
		}
		if kind == "retry" && t.Event.Type.Precedence() <= w.heldType[other].Precedence() && w.ledger(p).WaitingFor(other) != nil &&
			w.ledger(p).WaitingFor(other).Sequence < t.Message.Sequence {
			w.violate("%s runs although %s, which came before, waits for a retry", key, other)
		}
	}
}

// ended sees the verdict of a turn.
func (w *world) ended(l *life, t *lane.Turn, v lane.Verdict) {
	if l.queue != lanesQueue {
		return
	}
	key := t.Event.Key
	delete(w.held, key)
	if kind, waits := strings.CutPrefix(v.String(), "waiting: "); waits {
		w.starts["waits "+key]++
		kind, _, _ = strings.Cut(kind, ":")
		if kind == "retry" && !l.dead && !l.overtaken {
			w.held[key], w.heldType[key] = kind, t.Event.Type
		}
	}
}

// decided sees an operator's word.
func (w *world) decided(a Action, held ledger.Waiting) {
	if a.What != string(lane.Release) {
		return
	}
	if w.approvals[held.Key] == nil {
		w.approvals[held.Key] = map[string]bool{}
	}
	w.approvals[held.Key][a.By] = true
	if s := w.sent[held.Key]; s != nil && s.event.Type.IsStatement() {
		w.overruled[a.Person] = true
	}
}

// before judges a change that is about to be made.
func (w *world) before(ctx context.Context, action string, u identity.UserID) {
	l, p := lifeOf(ctx), personOf(u)
	if l == nil || p < 0 {
		return
	}
	w.snapshot[p] = w.tenant.Methods(personID(p))
	sent := w.sent[l.key]
	if sent == nil {
		return
	}
	t := sent.event.Type
	if roles[p] == admin && action != actDeletePass && len(w.approvals[l.key]) < 2 {
		w.violate("%s: %s of a protected person without two approvals", l.key, action)
	}
	switch action {
	case actPassword:
		if t == event.RiskUser && !w.sawRisk[l.key] {
			w.violate("%s: answered as a compromise without a high risk", l.key)
		}
	case actBlock:
		if c := w.ledger(p).Compromise; t != event.Leaver && t != event.LastDayChanged && c != nil && c.Key == l.key && c.Released {
			w.violate("%s: blocks somebody whom an operator let in", l.key)
		}
		if _, again := w.firstBlock[l.key]; !again {
			w.firstBlock[l.key] = w.clock.Now()
		}
	case actGroup:
		strong := slices.ContainsFunc(w.snapshot[p], func(m graphsim.Method) bool { return m.Kind == "fido2" || m.Kind == "windowsHelloForBusiness" })
		if t != event.RequirementSet || !strong {
			w.violate("%s: person %d must use a method that they do not have", l.key, p)
		}
	case actRemove:
		if began, blocked := w.firstBlock[l.key]; blocked && (t == event.Leaver || t == event.LastDayChanged) && w.clock.Now().Before(began.Add(w.town.settings.Grace-5*time.Minute)) {
			w.violate("%s: methods of a leaver are removed before the grace period ends", l.key)
		}
	}
	if !scopes()[sent.event.Origin].Allows(t) {
		w.violate("%s: acts although its source may not send it", l.key)
	}
	if strings.HasPrefix(string(t), "mfa.") && sent.at.Sub(sent.event.Time) > w.town.settings.MaxAge {
		w.violate("%s: acts although it was too old when it came", l.key)
	}
}

// after records a change.
func (w *world) after(ctx context.Context, action string, u identity.UserID, err error) {
	l, p := lifeOf(ctx), personOf(u)
	if l == nil || p < 0 {
		return
	}
	w.effects = append(w.effects, effect{key: l.key, action: action, person: p, at: w.clock.Now(), err: err})
	w.note("%s of person %d for %s: %v", action, p, l.key, err)
	if err == nil && l.overtaken {
		w.violate("%s: %s by a process that had lost the lane", l.key, action)
	}
	if action != actRemove {
		return
	}
	now := w.tenant.Methods(personID(p))
	for _, m := range w.snapshot[p] {
		if slices.ContainsFunc(now, func(x graphsim.Method) bool { return x.ID == m.ID && x.Kind == m.Kind }) {
			continue
		}
		for _, r := range w.registered {
			if r.id == m.ID && w.deliveries[l.key] != nil && r.after == l.key && !r.at.Before(w.deliveredAt[l.key]) {
				w.violate("%s: removes a method that was registered after its pass had been delivered", l.key)
			}
		}
	}
}

// issued sees a pass in the only answer that has its value.
func (w *world) issued(ctx context.Context, u identity.UserID, p identity.IssuedPass) {
	l := lifeOf(ctx)
	value := p.Value.Reveal()
	w.personOf[value], w.keyOf[value], w.valueOf[p.ID] = personOf(u), l.key, value
	if w.onIssue != nil {
		w.onIssue(p)
	}
}

// scan looks at the mail that came in.
func (w *world) scan() {
	for _, address := range w.tenant.Mailboxes() {
		mails := w.tenant.Mailbox(address)
		for _, m := range mails[w.seen[address]:] {
			match := passLine.FindStringSubmatch(m.Body)
			if match == nil {
				continue
			}
			value := match[1]
			p, known := w.personOf[value]
			key := w.keyOf[value]
			if !known {
				w.violate("a pass was delivered that nobody issued")
				continue
			}
			if u, ok := w.tenant.User(address); !ok || personOf(identity.UserID(u.ID)) < 0 || roles[personOf(identity.UserID(u.ID))] != manager {
				w.violate("%s: the pass went to %s", key, address)
			}
			w.deliveries[key] = append(w.deliveries[key], value)
			w.lastDelivered[p], w.deliveredFor[p], w.deliveredAt[key] = value, key, w.clock.Now()
			w.note("pass of person %d delivered for %s", p, key)
		}
		w.seen[address] = len(mails)
	}
}

// foreignPass issues a pass past mfaflow, as an administrator.
func (w *world) foreignPass(person int) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.tenant.CAPEM())
	id, secret := w.tenant.App("tenant-administrator")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	credential, err := azauth.New(azauth.Settings{
		TenantID: w.tenant.TenantID(), ClientID: id, ClientSecret: identity.NewSecret(secret),
		AuthorityHost: w.tenant.AuthorityURL(), DisableInstanceDiscovery: true, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		w.violate("administrator: %v", err)
		return
	}
	c, err := graph.New(graph.Options{BaseURL: w.tenant.URL(), Credential: credential, Transport: transport})
	if err != nil {
		w.violate("administrator: %v", err)
		return
	}
	p, err := c.IssuePass(w.ctx, identity.UserID(personID(person)), identity.PassRequest{Lifetime: 8 * time.Hour})
	if err != nil {
		return // no account yet, or the policy is off
	}
	if w.foreign[person] == nil {
		w.foreign[person] = map[string]bool{}
	}
	w.foreign[person][p.ID] = true
}

// live passes

func (w *world) livePass(person int) (graphsim.Pass, bool) {
	for _, p := range w.tenant.Passes(personID(person)) {
		if w.clock.Now().Before(p.End()) && !(p.UsableOnce && p.Used) {
			return p, true
		}
	}
	return graphsim.Pass{}, false
}

// hasWayIn reports whether the person can sign in, now or when a delivered pass opens.
func (w *world) hasWayIn(person int) bool {
	u, ok := w.tenant.User(personID(person))
	if !ok || !u.AccountEnabled {
		return false
	}
	for _, m := range u.Methods {
		if m.Kind != "email" {
			return true
		}
	}
	p, ok := w.livePass(person)
	return ok && (w.foreign[person][p.ID] || w.valueOf[p.ID] == w.lastDelivered[person] && w.lastDelivered[person] != "" && w.tenant.PassReason(personID(person)) != "DisabledByPolicy")
}

// rest judges the tenant while nothing is in progress.
func (w *world) rest() {
	w.scan()
	touched := map[int]int{} // effects but for those of HR's statements
	for _, e := range w.effects {
		if s := w.sent[e.key]; s == nil || !s.event.Type.IsStatement() {
			touched[e.person]++
		}
	}
	for i := range people {
		now := w.hasWayIn(i)
		l := w.ledger(i)
		if w.wayIn[i] && !now && touched[i] > w.touched[i] && w.meddled[i] != "disable" && (l.Block == nil || l.Block.For == "") {
			w.violate("person %d was left without a way in", i)
		}
		w.wayIn[i] = now
		w.judgeSync(i, l)
		p, live := w.livePass(i)
		if !live || w.foreign[i][p.ID] {
			continue
		}
		value := w.valueOf[p.ID]
		pending := l.Pass != nil && !l.Pass.Delivered && l.WaitingFor(l.Pass.Key) != nil
		if !pending && (value == "" || w.lastDelivered[i] != value) {
			w.violate("person %d has a pass that is not the one delivered last", i)
		}
		if l.Compromise != nil && !l.Compromise.Released && !pending {
			w.violate("person %d has a pass although a compromise stands", i)
		}
	}
	w.touched = maps.Clone(touched)
}

// judgeSync wants that a block which a synchronisation undid was seen. Each event looks
// once; who enables the account after that is seen by its change notification and by the
// sweep, which do not take part here.
func (w *world) judgeSync(person int, l *ledger.Ledger) {
	u, ok := w.tenant.User(personID(person))
	if !ok || roles[person] != synced || !u.AccountEnabled || l.Block == nil || w.meddled[person] != "enable" || l.Step(l.Block.Key, string(plan.Synced)) {
		return
	}
	look := l.Block.At.Add(w.town.settings.SyncCheck)
	open := slices.ContainsFunc(l.Waiting, func(x ledger.Waiting) bool { return x.Blocks() })
	if !open && w.meddledAt[person].Before(look) && w.clock.Now().After(look.Add(time.Hour)) && len(w.armed) == 0 {
		w.violate("person %d: a synchronisation undid the block and nobody looked", person)
	}
}
