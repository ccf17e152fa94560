package simulation

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/ledger"
	graphsim "mfaflow/pkg/sim/graph"
	sbsim "mfaflow/pkg/sim/servicebus"
)

// settle ends the faults and lets time pass until nothing is scheduled any more.
func (w *world) settle() {
	w.armed = nil
	w.tenant.ClearFaults()
	w.broker.ClearFaults()
	w.note("faults end")
	w.work()
	for range 3000 {
		if len(w.broken) > 0 {
			return
		}
		w.rest()
		w.live()
		list := w.scheduled()
		if len(list) == 0 {
			return
		}
		w.until(slices.MinFunc(list, time.Time.Compare), true)
	}
	w.violate("something is scheduled for ever")
}

// fate is what became of an event in the end.
type fate struct {
	outcome string // an outcome of the ledger, "held", "behind", "quarantined", or a dead-letter reason
	detail  string
}

// judge checks every invariant once nothing is scheduled any more.
func (w *world) judge() {
	w.rest()
	fates := w.fates()
	w.judgeQueues()
	for key, s := range w.sent {
		f, ok := fates[key]
		if !ok && !w.mutant(forgetHandled) { // then no ledger tells
			w.violate("%s: the event is lost", key)
		}
		if !ok {
			continue
		}
		w.judgeFate(s, f)
	}
	w.judgeStatements(fates)
	w.judgeEffects()
	w.judgeRequirements(fates)
	w.judgeSecrets()
	if _, err := audit.Verify(strings.NewReader(w.log.String())); err != nil {
		w.violate("the audit trail is broken: %v", err)
	}
}

// fates finds every event that was accepted.
func (w *world) fates() map[string]fate {
	fates := map[string]fate{}
	put := func(key string, f fate) { fates[key] = f }
	for _, queueName := range []string{inboundQueue, lanesQueue} { // the lane has the last word
		for _, state := range w.broker.SessionStates(queueName) {
			l, err := ledger.Decode(state)
			if err != nil {
				w.violate("a ledger is unreadable: %v", err)
				continue
			}
			for _, h := range l.Handled {
				if queueName == lanesQueue { // forwarded is not the end
					put(h.Key, fate{outcome: string(h.Outcome)})
				}
			}
			for _, x := range l.Waiting {
				put(x.Key, fate{outcome: string(x.Kind), detail: x.Reason})
			}
			if !l.Floor.IsZero() && queueName == lanesQueue {
				for key, s := range w.sent {
					if _, known := fates[key]; !known && !s.at.After(l.Floor) {
						put(key, fate{outcome: "forgotten"})
					}
				}
			}
		}
		for _, m := range w.broker.Stored(queueName) {
			if key := m.Properties["mfaflow-key"]; m.Dead && w.sent[key] != nil {
				if _, known := fates[key]; !known {
					put(key, fate{outcome: m.Properties["DeadLetterReason"], detail: m.Properties["DeadLetterErrorDescription"]})
				}
			}
		}
	}
	for _, m := range w.broker.Stored(quarantineQueue) {
		put(m.Properties["mfaflow-key"], fate{outcome: "quarantined"})
	}
	return fates
}

// judgeFate checks that an end is one that an event may have.
func (w *world) judgeFate(s *accepted, f fate) {
	key := s.event.Key
	switch f.outcome {
	case string(ledger.Done), string(ledger.Obsolete), string(ledger.Held), string(ledger.Behind), "forgotten", string(lane.UnknownPerson), string(ledger.Planned), string(ledger.Retry): // judgeQueues judges what waits
	case string(ledger.Dropped):
		if !strings.Contains(w.log.String(), `"drop"`) {
			w.violate("%s: dropped, and nobody said so", key)
		}
	case string(lane.OutOfScope):
		if scopes()[s.event.Origin].Allows(s.event.Type) {
			w.violate("%s: dead-lettered as out of scope", key)
		}
	case string(lane.Poison):
		if w.excuses(key) < 3 && s.action.Data["poison"] == nil {
			w.violate("%s: dead-lettered as poison", key)
		}
	case "quarantined":
		if s.action.What != "conflict" {
			w.violate("%s: quarantined", key)
		}
	default:
		w.violate("%s: ends as %s: %s", key, f.outcome, f.detail)
	}
	if f.outcome == string(ledger.Held) && f.detail == "foreign-pass" && len(w.foreign[s.action.Person]) == 0 {
		w.violate("%s: held for a foreign pass, and nobody issued one", key)
	}
}

// judgeQueues checks that ledgers and queues tell the same.
func (w *world) judgeQueues() {
	flags := map[string]bool{}
	for _, m := range w.broker.Stored(flagsQueue) {
		f, err := flag.Decode(m.Body)
		if err != nil {
			w.violate("a flag cannot be read: %v", err)
			continue
		}
		if f.Cause == flag.Held {
			flags[fmt.Sprintf("%s/%s/%d/%d", f.Queue, f.Lane, f.Sequence, f.Attempt)] = true
		}
	}
	for _, name := range []string{inboundQueue, lanesQueue} {
		deferred := map[string]map[int64]bool{}
		for _, m := range w.broker.Stored(name) {
			switch {
			case m.Dead:
			case m.State == sbsim.StateDeferred:
				if deferred[m.Session] == nil {
					deferred[m.Session] = map[int64]bool{}
				}
				deferred[m.Session][m.Sequence] = true
			default:
				w.violate("%s: message %s is left", name, m.ID)
			}
		}
		for id, state := range w.broker.SessionStates(name) {
			l, err := ledger.Decode(state)
			if err != nil {
				continue // told before
			}
			for _, x := range l.Waiting {
				if !deferred[id][x.Sequence] {
					w.violate("%s: %s waits in the ledger and not in the queue", name, x.Key)
				}
				delete(deferred[id], x.Sequence)
				switch {
				case x.Kind == ledger.Held && x.Released:
					w.violate("%s: %s was released and did not run", name, x.Key)
				case x.Kind == ledger.Held && !flags[fmt.Sprintf("%s/%s/%d/%d", name, id, x.Sequence, x.Attempt)]:
					w.violate("%s: %s is held and no flag is open", name, x.Key)
				case x.Kind == ledger.Held:
				case (x.Kind == ledger.Behind || !x.Until.After(w.clock.Now())) && w.behind(l, x):
				default:
					w.violate("%s: %s waits (%s) and nothing will bring it back", name, x.Key, x.Kind)
				}
			}
		}
		for id, list := range deferred {
			for sequence := range list {
				w.violate("%s: message %d of lane %s is deferred and in no ledger", name, sequence, id)
			}
		}
	}
}

// behind reports whether an event has one to wait behind.
func (w *world) behind(l *ledger.Ledger, x ledger.Waiting) bool {
	return slices.ContainsFunc(l.Waiting, func(o ledger.Waiting) bool {
		before, after := w.sent[o.Key], w.sent[x.Key]
		return o.Sequence < x.Sequence && o.Kind != ledger.Planned && before != nil && after != nil &&
			after.event.Type.Precedence() <= before.event.Type.Precedence()
	})
}

// statements are what HR said about a person and the lane heard, in the order in which
// HR said it.
func (w *world) statements(person int, fates map[string]fate) (list []*accepted) {
	for key, s := range w.sent {
		f := fates[key].outcome
		heard := f == string(ledger.Done) || f == string(ledger.Obsolete) || f == string(ledger.Held) || f == string(ledger.Behind) || f == string(ledger.Planned) ||
			f == string(ledger.Retry) || f == string(ledger.Dropped)
		if s.action.Person == person && s.event.Type.IsStatement() && heard && s.event.Origin == "hr" {
			list = append(list, s)
		}
	}
	sort.Slice(list, func(i, j int) bool { return madeAfter(list[j], list[i]) })
	return list
}

func madeAfter(a, b *accepted) bool {
	if x, y := a.event.MadeAt(), b.event.MadeAt(); !x.Equal(y) {
		return x.After(y)
	}
	return a.event.ReceivedAt.After(b.event.ReceivedAt)
}

// judgeStatements checks that the last word of HR counts.
func (w *world) judgeStatements(fates map[string]fate) {
	for person := range people {
		list := w.statements(person, fates)
		for i, s := range list {
			if fates[s.event.Key].outcome != string(ledger.Obsolete) {
				continue
			}
			justified := slices.ContainsFunc(list, func(o *accepted) bool {
				if s.action.Data["cancels"] == "joiner" && (o.event.Type == event.Leaver || o.event.Type == event.LastDayChanged) {
					return true // no start to withdraw
				}
				if s.action.Data["cancels"] == "leaver" && (o.event.Type == event.Joiner || o.event.Type == event.StartDateChanged || o.event.Type == event.Rehire) {
					return true // no leaving to withdraw
				}
				return o != s && (madeAfter(o, s) || o.event.MadeAt().Equal(s.event.MadeAt())) && (s.action.Data["immediate"] != true || o.event.Type == event.Rehire)
			})
			if !justified {
				w.violate("%s: obsolete, and HR said nothing later (%d of %d)", s.event.Key, i+1, len(list))
			}
		}
		w.judgeLeaver(person, list, fates)
	}
}

// left is the statement by which the person has left; nil when they have not.
func left(list []*accepted, fates map[string]fate) *accepted {
	var gone *accepted
	for _, s := range list {
		if fates[s.event.Key].outcome == string(ledger.Obsolete) {
			continue // judged by itself
		}
		switch s.event.Type {
		case event.Leaver, event.LastDayChanged:
			gone = s
		case event.Rehire:
			gone = nil
		default:
			if s.action.Data["cancels"] == "leaver" {
				gone = nil
			}
			if gone != nil && gone.action.Data["immediate"] != true {
				gone = nil
			}
		}
	}
	return gone
}

func (w *world) judgeLeaver(person int, list []*accepted, fates map[string]fate) {
	l := w.ledger(person)
	gone := left(list, fates)
	u, ok := w.tenant.User(personID(person))
	if !ok {
		return
	}
	open := slices.ContainsFunc(l.Waiting, func(x ledger.Waiting) bool { return x.Blocks() })
	if gone == nil {
		dropped := strings.Contains(w.log.String(), `"drop"`)
		if l.Block != nil && l.Block.For == ledger.BlockedAsLeaver && !l.Block.Immediate && !u.AccountEnabled && !open && !dropped && w.meddled[person] == "" {
			w.violate("person %d is still blocked as a leaver and nobody is asked", person)
		}
		return
	}
	if fates[gone.event.Key].outcome != string(ledger.Done) || open {
		return
	}
	if len(w.approvals[gone.event.Key]) == 0 && w.overruled[person] {
		return // operators let somebody in whom an immediate leaver keeps out
	}
	for key, s := range w.sent {
		if s.event.Type == event.LetIn && s.action.Person == person && fates[key].outcome == string(ledger.Done) && list[len(list)-1] != gone {
			return // operators let somebody in whom HR expects
		}
	}
	meddled := w.meddled[person] == "enable"
	if u.AccountEnabled && !meddled {
		w.violate("person %d has left (%s) and is not blocked", person, gone.event.Key)
	}
	if p, live := w.livePass(person); live && !meddled && !w.foreign[person][p.ID] {
		w.violate("person %d has left (%s) and has a pass", person, gone.event.Key)
	}
	for _, m := range u.Methods {
		if !meddled && w.town.tenant.Behaviour.LastDefaultMethod != "kept" {
			w.violate("person %d has left (%s) and has a method (%s)", person, gone.event.Key, m.Kind)
		}
	}
}

// judgeEffects checks that each effect was made once, but for what faults hid, and
// that the breaker bounded them.
func (w *world) judgeEffects() {
	type once struct{ key, action string }
	count := map[once]int{}
	first := map[string]effect{}
	var order []string
	answered := map[int][]effect{}
	for _, e := range w.effects {
		if e.err == nil {
			count[once{e.key, e.action}]++
		}
		destructive := e.action == actBlock || e.action == actRemove || e.action == actPassword
		if _, seen := first[e.key]; destructive && !seen {
			first[e.key] = e
			order = append(order, e.key)
		}
		if e.action == actPassword && e.err == nil {
			answered[e.person] = append(answered[e.person], e)
		}
	}
	for o, n := range count {
		allowed := 1 + w.excuses(o.key)
		s := w.sent[o.key]
		if s == nil {
			continue
		}
		if o.action == actRevoke && roles[s.action.Person] == synced {
			allowed++
		}
		if (o.action == actIssue || o.action == actRevoke || o.action == actPassword) && n > allowed {
			w.violate("%s: %s %d times", o.key, o.action, n)
		}
	}
	for key, values := range w.deliveries {
		if len(values) > 1+w.excuses(key) {
			w.violate("%s: %d passes delivered", key, len(values))
		}
	}
	for person, list := range answered {
		for i := 1; i < len(list); i++ {
			a, b := list[i-1], list[i]
			anew := slices.ContainsFunc(w.registered, func(r registration) bool { return r.person == person && !r.at.Before(a.at) && !r.at.After(b.at) })
			if a.key != b.key && b.at.Sub(a.at) < w.town.settings.SettleWindow && !anew {
				w.violate("person %d: one incident was answered twice (%s, %s)", person, a.key, b.key)
			}
		}
	}
	w.judgeBreaker(order, first)
}

// judgeRequirements checks who is required to use stronger methods: whom an event asked for,
// and nobody twice.
func (w *world) judgeRequirements(fates map[string]fate) {
	members := map[string]int{}
	w.tenant.Mutate(func(t *graphsim.Tenant) {
		for _, m := range t.Groups[0].Members {
			members[m]++
		}
	})
	for i := range people {
		added, asked := 0, ""
		for _, e := range w.effects {
			added += count(e.person == i && e.action == actGroup)
		}
		for key, s := range w.sent {
			if s.action.Person == i && s.event.Type == event.RequirementSet && s.action.Data["requirement"] == requirement && s.action.What == "" &&
				s.at.Sub(s.event.Time) <= w.town.settings.MaxAge && fates[key].outcome == string(ledger.Done) {
				asked = key
			}
		}
		switch n := members[personID(i)]; {
		case n > 1:
			w.violate("person %d is %d times in the group of the requirement", i, n)
		case n == 1 && added == 0:
			w.violate("person %d is required to use stronger methods, and no event asked for it", i)
		case n == 0 && asked != "":
			w.violate("%s is done, and person %d is not required", asked, i)
		}
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (w *world) judgeBreaker(order []string, first map[string]effect) {
	for i, key := range order {
		for _, immediate := range []bool{false, true} {
			limit := w.town.limits.Count
			if immediate {
				limit = w.town.limits.ImmediateCount
			}
			n := 0
			for _, other := range order[:i+1] {
				s := w.sent[other]
				if s == nil || len(w.approvals[other]) > 0 {
					continue
				}
				within := first[key].at.Sub(first[other].at) < w.town.limits.Window
				if within && (s.action.Data["immediate"] == true) == immediate {
					n++
				}
			}
			if n > limit {
				w.violate("%s: %d people were changed within the breaker's window of %d", key, n, limit)
				return
			}
		}
	}
}

// judgeSecrets looks for pass values wherever they must not be.
func (w *world) judgeSecrets() {
	log := w.log.String()
	for _, value := range w.tenant.IssuedPassValues() {
		if strings.Contains(log, value) {
			w.violate("a pass value is in a log or audit line")
		}
		for _, name := range []string{inboundQueue, lanesQueue, flagsQueue, quarantineQueue, controlQueue} {
			for id, state := range w.broker.SessionStates(name) {
				if strings.Contains(string(state), value) {
					w.violate("a pass value is in the state of %s of %s", id, name)
				}
			}
			for _, m := range w.broker.Stored(name) {
				if strings.Contains(fmt.Sprint(m.ID, m.Properties, string(m.Body)), value) {
					w.violate("a pass value is in message %s of %s", m.ID, name)
				}
			}
		}
	}
}
