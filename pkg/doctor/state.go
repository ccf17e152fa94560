package doctor

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/operate"
)

func stateChecks() []Check {
	return []Check{
		{"dead-letters", "Nothing lies aside", "mfaflow dead list and mfaflow quarantine list show it; the runbook says for every reason what to do", (*exam).deadLetters},
		{"open-flags", "No flag has been open for days", "mfaflow flag list and mfaflow hold list show them; resolve or decide", (*exam).openFlags},
		{"backlog", "Messages do not wait for long", "See that flag-notifier runs and that its log has no error", (*exam).backlog},
		{"breaker", "The breaker lets changes through", "Look at what was held (mfaflow hold list); release it, or wait until the window is over", (*exam).breaker},
		{"audit", "The audit trail in the log is whole", "mfaflow audit verify FILE names the records; find out who could write to the log", (*exam).audit},
		{"signals", "No source has been silent for a week", "Ask the sender whether it still delivers; for streams, whether it was paused", (*exam).signals},
	}
}

// overview is what event-replay shows; it skips when that is not to be had.
func (e *exam) overview(f *finding) (o Overview, ok bool) {
	if e.Desk == nil {
		f.skip(noDesk)
		return o, false
	}
	if _, err := e.known(); err != nil {
		f.skip("event-replay tells us nothing")
		return o, false
	}
	o, err := e.desk.get("", func() (Overview, error) { return e.Desk.Overview(e.ctx) })
	if err != nil {
		f.skip("%s", plainly(err))
		return o, false
	}
	return o, true
}

func (e *exam) deadLetters(f *finding) {
	o, ok := e.overview(f)
	if !ok {
		return
	}
	for _, c := range o.Entries {
		f.warn("%s: %d %s, the oldest for %s", c.Place, c.N, c.Reason, age(o.At, c.Oldest))
	}
	f.note("%s", plural(len(operate.Places()), "place", "places"))
}

// longOpen is how old a flag may be before somebody has forgotten it.
const longOpen = 48 * time.Hour

func (e *exam) openFlags(f *finding) {
	o, ok := e.overview(f)
	if !ok {
		return
	}
	n := 0
	for _, c := range o.OpenFlags {
		n += c.N
		if o.At.Sub(c.Oldest) > longOpen {
			f.warn("%d of cause %s, the oldest for %s", c.N, c.Cause, age(o.At, c.Oldest))
		}
	}
	f.note("%s open", plural(n, "flag is", "flags are"))
}

// backlog: how old messages of a queue with sessions are can only be told by whoever
// takes the session, which would be in the worker's way; the metric Age has it.
func (e *exam) backlog(f *finding) {
	var counts []string
	queues := &finding{}
	e.presentQueues(queues, func(name string, _ Purpose, q Queue) {
		if q.Waiting > 0 {
			counts = append(counts, plural(q.Waiting, "message", "messages")+" in "+name)
		}
	})
	if o, ok := e.overview(f); ok && o.Untold.N > 0 && o.At.Sub(o.Untold.Oldest) > longWaiting {
		f.warn("flags: %s untold, the oldest for %s", plural(o.Untold.N, "message is", "messages are"), age(o.At, o.Untold.Oldest))
	}
	f.skips = append(f.skips, queues.skips...)
	if len(queues.notes) == 0 {
		return
	}
	if len(counts) == 0 {
		counts = []string{"nothing waits"}
	}
	f.note("%s; how old messages in sessions are the metric Age tells", strings.Join(counts, ", "))
}

// longWaiting is how long a message may lie in a queue that a function drains every
// minute.
const longWaiting = 15 * time.Minute

func (e *exam) breaker(f *finding) {
	o, ok := e.overview(f)
	if !ok {
		return
	}
	b := o.Breaker
	if b == nil {
		f.skip("it cannot be read now: a worker has it, or the control queue is not as it should be")
		return
	}
	for _, x := range []struct {
		what        string
		used, limit int
	}{{"changes", b.Ordinary, b.OrdinaryLimit}, {"immediate leavers", b.Immediate, b.ImmediateLimit}} {
		if x.used >= x.limit {
			f.warn("it has tripped: %d of %d %s within %s", x.used, x.limit, x.what, span(b.Window))
			continue
		}
		f.note("%d of %d %s within %s", x.used, x.limit, x.what, span(b.Window))
	}
}

func (e *exam) audit(f *finding) {
	if len(e.Logs) == 0 {
		f.skip("no log is given: --log FILE")
		return
	}
	for _, l := range e.Logs {
		r, err := l.Open()
		if err != nil {
			f.fail("%s cannot be read", l.Name)
			continue
		}
		chains, problems := audit.Verify(r)
		_ = r.Close()
		switch {
		case problems != nil:
			first, _, _ := strings.Cut(problems.Error(), "\n")
			f.fail("%s: %s", l.Name, first)
		case len(chains) == 0:
			f.skip("%s has no audit records", l.Name)
		default:
			f.note("%s: %s", l.Name, plural(len(chains), "chain", "chains"))
		}
	}
}

// silent is how long a source may say nothing. A small company hires nobody for weeks;
// hence a warning.
const silent = week

// longestLine is far more than our functions write in one. What is longer is somebody
// else's, and passed over.
const longestLine = 1 << 20

func (e *exam) signals(f *finding) {
	expected := map[string]bool{}
	for _, fn := range e.readable() {
		if fn.Name == "tenant-sweep" {
			continue // what is asked for is silent when nothing happens
		}
		for source := range fn.Sources {
			expected[source] = true
		}
	}
	switch {
	case len(e.Logs) == 0:
		f.skip("no log is given: --log FILE")
		return
	case len(expected) == 0:
		f.skip("no settings of a function that lets sources in")
		return
	}
	last := map[string]time.Time{}
	var begins time.Time
	for _, l := range e.Logs {
		r, err := l.Open()
		if err != nil {
			f.skip("%s cannot be read", l.Name)
			return // who is in there has not been silent
		}
		lines := bufio.NewReaderSize(r, longestLine)
		for err == nil || errors.Is(err, bufio.ErrBufferFull) {
			var text []byte
			text, err = lines.ReadSlice('\n')
			var line struct {
				Time    time.Time `json:"time"`
				Source  string    `json:"source"`
				Message string    `json:"msg"`
				Outcome string    `json:"outcome"`
			}
			if json.Unmarshal(text, &line) != nil || line.Time.IsZero() {
				continue
			}
			if begins.IsZero() || line.Time.Before(begins) {
				begins = line.Time
			}
			if line.Outcome == "accepted" && line.Time.After(last[line.Source]) {
				last[line.Source] = line.Time
			}
		}
		_ = r.Close()
		if !errors.Is(err, io.EOF) {
			f.skip("%s cannot be read to its end", l.Name)
			return
		}
	}
	now := e.Now()
	if begins.IsZero() || now.Sub(begins) < silent {
		f.skip("the log does not go back a week")
		return
	}
	for _, source := range slices.Sorted(maps.Keys(expected)) {
		if at, heard := last[source]; !heard {
			f.warn("%s: nothing in the log", source)
		} else if now.Sub(at) > silent {
			f.warn("%s: nothing for %s", source, age(now, at))
		}
	}
	f.note("%s", plural(len(expected), "source", "sources"))
}
