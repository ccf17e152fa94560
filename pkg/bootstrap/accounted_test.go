package bootstrap_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/ledger"
	sbsim "mfaflow/pkg/sim/servicebus"
)

// wantAllAccountedFor wants every accepted event to be in exactly one place: finished
// in its lane, waiting there with what ends the wait, or dead with a reason. And
// nothing else may be deferred.
func (w *world) wantAllAccountedFor(people []*person) {
	w.t.Helper()
	open := w.flags()
	dead := map[string][]string{} // reasons by key
	ledgers := map[string]*ledger.Ledger{}
	for _, name := range []string{"inbound", "lanes"} {
		deferred := map[string]map[int64]bool{}
		wakeUps := map[string]bool{}
		for _, m := range w.broker.Stored(name) {
			switch {
			case m.Dead:
				dead[m.Properties["mfaflow-key"]] = append(dead[m.Properties["mfaflow-key"]], m.Properties["DeadLetterReason"])
			case m.State == sbsim.StateDeferred:
				if deferred[m.Session] == nil {
					deferred[m.Session] = map[int64]bool{}
				}
				deferred[m.Session][m.Sequence] = true
			case m.State == sbsim.StateScheduled:
				wakeUps[m.ID] = true
			}
		}
		for session, state := range w.broker.SessionStates(name) {
			l, err := ledger.Decode(state)
			w.must(err)
			if name == "lanes" {
				ledgers[session] = l
			}
			for _, x := range l.Waiting {
				if !deferred[session][x.Sequence] {
					w.t.Errorf("%s/%s waits for %s, which is not deferred", name, session, x.Key)
				}
				delete(deferred[session], x.Sequence)
				switch x.Kind {
				case ledger.Planned, ledger.Retry:
					if !wakeUps[fmt.Sprintf("wake~%d~%d", x.Sequence, x.Attempt)] {
						w.t.Errorf("%s/%s: nothing wakes %s", name, session, x.Key)
					}
				case ledger.Held:
					if !slices.ContainsFunc(open, func(f flag.Flag) bool {
						return f.Cause == flag.Held && f.Queue == name && f.Lane == session && f.Sequence == x.Sequence
					}) {
						w.t.Errorf("%s/%s: nobody is told that %s is held", name, session, x.Key)
					}
				default:
					w.t.Errorf("%s/%s: %s waits as %s", name, session, x.Key, x.Kind)
				}
			}
		}
		for session, list := range deferred {
			for sequence := range list {
				w.t.Errorf("%s/%s: nobody waits for the deferred message %d", name, session, sequence)
			}
		}
	}
	for _, p := range people {
		for _, s := range p.says {
			handled, waiting := false, false
			if l := ledgers[p.id]; l != nil {
				_, handled = l.HandledAs(s.key())
				waiting = l.WaitingFor(s.key()) != nil
			}
			var want []string
			if p.want.dead != "" {
				want = []string{string(p.want.dead)}
			}
			if !slices.Equal(dead[s.key()], want) {
				w.t.Errorf("%s %s: dead letters %q, want %q", p.name, s.key(), dead[s.key()], want)
			}
			if p.want.dead == "" && handled == waiting {
				w.t.Errorf("%s, who %s: %s is handled %v, waiting %v", p.name, p.story.name, s.key(), handled, waiting)
			}
		}
		var held []string
		if l := ledgers[p.id]; l != nil {
			for _, x := range l.Waiting {
				held = append(held, x.Reason)
			}
		}
		if !slices.Equal(held, p.want.held) {
			w.t.Errorf("%s, who %s: held for %q, want %q", p.name, p.story.name, held, p.want.held)
		}
		for _, cause := range p.want.flags {
			if !slices.ContainsFunc(open, func(f flag.Flag) bool { return string(f.User) == p.id && f.Cause == cause }) {
				w.t.Errorf("%s, who %s: no flag %s", p.name, p.story.name, cause)
			}
		}
	}
	if c := w.counts("quarantine"); c != (sbsim.Counts{}) {
		w.t.Errorf("quarantine %+v", c)
	}
}

// flags are those raised.
func (w *world) flags() (list []flag.Flag) {
	w.t.Helper()
	for _, m := range w.broker.Stored("flags") {
		f, err := flag.Decode(m.Body)
		w.must(err)
		list = append(list, f)
	}
	return list
}

// wantEndings wants every account to be as its story says. Passes for next week are
// tried last, because the clock does not go back.
func (w *world) wantEndings(people []*person, now *shiftedClock) {
	w.t.Helper()
	delivered := w.delivered()
	var next []*person
	for _, p := range people {
		if p.model == "" {
			continue
		}
		wrong := func(format string, args ...any) {
			w.t.Helper()
			w.t.Errorf("%s, who %s: %s", p.name, p.story.name, fmt.Sprintf(format, args...))
		}
		u, ok := w.tenant.User(p.name)
		if !ok {
			wrong("has no account")
			continue
		}
		if u.AccountEnabled == p.want.shutOut {
			wrong("enabled %v", u.AccountEnabled)
		}
		if p.want.shutOut && u.SignInSessionsValidFromDateTime == nil {
			wrong("sessions go on")
		}
		var want, got []string
		for _, m := range p.before {
			if !p.want.noMethods && !slices.Contains(p.want.removed, m.Kind) {
				want = append(want, m.Kind+" "+m.ID)
			}
		}
		for _, m := range w.tenant.Methods(p.name) {
			if m.Kind != "password" && m.Kind != "temporaryAccessPass" {
				got = append(got, m.Kind+" "+m.ID)
			}
		}
		if !slices.Equal(want, got) {
			wrong("has methods %q, want %q", got, want)
		}
		passes := w.tenant.Passes(p.name)
		switch {
		case !p.want.pass && len(passes) > 0:
			wrong("has a pass")
		case p.want.pass && (len(passes) != 1 || len(delivered[p.name]) == 0):
			wrong("%d passes, %d delivered", len(passes), len(delivered[p.name]))
		case p.want.pass && passes[0].Start.After(now.Now()):
			next = append(next, p)
		case p.want.pass:
			w.wantLastPass(p, delivered[p.name])
		}
	}
	now.setTo(w.opens(7))
	for _, p := range next {
		w.wantLastPass(p, delivered[p.name])
	}
}

// wantLastPass wants the pass delivered last to open the account, and no other.
func (w *world) wantLastPass(p *person, delivered []string) {
	w.t.Helper()
	last := delivered[len(delivered)-1]
	if err := w.tenant.SignInWithPass(p.name, last); err != nil {
		w.t.Errorf("%s, who %s: the pass delivered last of %d: %v", p.name, p.story.name, len(delivered), err)
	}
	for _, earlier := range delivered {
		if earlier != last && w.tenant.SignInWithPass(p.name, earlier) == nil {
			w.t.Errorf("%s, who %s: an earlier pass works too", p.name, p.story.name)
		}
	}
}

// wantTrail wants the audit lines of a process to be one chain. A line that the end of
// the process cut off is none.
func (w *world) wantTrail(p *process) {
	w.t.Helper()
	said := p.said()
	whole := said[:strings.LastIndexByte(said, '\n')+1]
	if _, err := audit.Verify(strings.NewReader(whole)); err != nil {
		w.t.Errorf("the trail of %s: %v", p.name, err)
	}
}

func (w *world) wantNoPassIn(where string, text []byte) {
	w.t.Helper()
	for _, value := range w.tenant.IssuedPassValues() {
		if bytes.Contains(text, []byte(value)) {
			w.t.Errorf("a pass value is in %s", where)
		}
	}
}

// wantNoPassAtRest wants no pass value in what the broker keeps.
func (w *world) wantNoPassAtRest() {
	w.t.Helper()
	var all bytes.Buffer
	for _, name := range []string{"inbound", "lanes", "flags", "quarantine", "control"} {
		for _, m := range w.broker.Stored(name) {
			fmt.Fprintln(&all, m.ID, m.Session, m.Properties, string(m.Body))
		}
		for _, state := range w.broker.SessionStates(name) {
			all.Write(state)
		}
	}
	w.wantNoPassIn("a queue", all.Bytes())
}
