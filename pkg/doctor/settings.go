package doctor

import (
	"maps"
	"slices"
	"strings"

	"mfaflow/pkg/event"
)

func settingsChecks() []Check {
	return []Check{
		{"settings", "Every function's settings are complete", "Correct the variables named; mfaflow config FUNCTION says what each means", (*exam).settings},
		{"agreement", "The functions work in one tenant, with the same queues and plans", "Give the functions named the same value", (*exam).agreement},
		{"time-zones", "The functions have the same default time zone", "Set MFAFLOW_DEFAULT_TIME_ZONE to the same zone everywhere", (*exam).timeZones},
		{"source-scopes", "What a source may send, the worker may act on", "Add the source or type to MFAFLOW_SOURCE_SCOPES of identity-worker and event-replay, or take it from the source's types", (*exam).sourceScopes},
		{"client-state", "graph-notifications knows the key that tenant-sweep signs with", "Put the first key of tenant-sweep's MFAFLOW_CLIENT_STATE_KEYS into that of graph-notifications", (*exam).clientState},
	}
}

func (e *exam) settings(f *finding) {
	n := 0
	for _, fn := range e.Functions {
		switch {
		case fn.Unread != "":
			f.skip("%s: %s", fn.Name, fn.Unread)
		case len(fn.Problems) > 0:
			f.fail("%s: %s", fn.Name, strings.Join(fn.Problems, ", "))
		default:
			n++
		}
	}
	if n > 0 {
		f.note("%s", plural(n, "function", "functions"))
	}
}

func (e *exam) agreement(f *finding) {
	properties := map[string]func(*Function) string{
		"tenant": func(fn *Function) string { return strings.ToLower(fn.Tenant) },
		"broker": func(fn *Function) string { return strings.ToLower(fn.Broker) },
		"Graph":  func(fn *Function) string { return strings.ToLower(strings.TrimSuffix(fn.Graph, "/")) },
		"plans":  func(fn *Function) string { return fn.Planning },
	}
	for _, p := range []Purpose{Inbound, Lanes, Flags, Control, Quarantine} {
		properties["queue "+string(p)] = func(fn *Function) string { return strings.ToLower(fn.Queues[p]) }
	}
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		by := e.by(properties[name])
		if e.have(properties[name]) > 1 {
			compared++
		}
		if len(by) < 2 {
			continue
		}
		if name == "plans" { // digests say nothing to anybody
			f.fail("%s plan with different settings", strings.Join(slices.Sorted(maps.Values(by)), " and "))
			continue
		}
		f.fail("%s: %s", name, values(by))
	}
	if compared == 0 {
		f.skip("no settings of two functions to compare")
		return
	}
	f.note("%s", plural(compared, "property", "properties"))
}

// by are the functions by the value that a property has, where it has one.
func (e *exam) by(property func(*Function) string) map[string]string {
	by := map[string]string{}
	for _, fn := range e.readable() {
		v := property(fn)
		if v == "" {
			continue
		}
		if by[v] != "" {
			by[v] += ", "
		}
		by[v] += fn.Name
	}
	return by
}

// have is how many functions have a value of a property.
func (e *exam) have(property func(*Function) string) (n int) {
	for _, fn := range e.readable() {
		if property(fn) != "" {
			n++
		}
	}
	return n
}

func values(by map[string]string) string {
	var list []string
	for _, v := range slices.Sorted(maps.Keys(by)) {
		list = append(list, v+" ("+by[v]+")")
	}
	return strings.Join(list, " against ")
}

func (e *exam) timeZones(f *finding) {
	by := e.by(func(fn *Function) string { return fn.Zone })
	switch len(by) {
	case 0:
		f.skip("no settings of functions that have one")
	case 1:
		f.note("%s", values(by))
	default:
		f.fail("%s", values(by))
	}
}

func (e *exam) sourceScopes(f *finding) {
	worker := e.function("identity-worker")
	if worker == nil {
		f.skip("no settings of identity-worker")
		return
	}
	if replay := e.function("event-replay"); replay != nil && !maps.EqualFunc(replay.Scopes, worker.Scopes, slices.Equal) {
		f.fail("event-replay and identity-worker have different scopes")
	}
	n := 0
	for _, fn := range e.readable() {
		for _, source := range slices.Sorted(maps.Keys(fn.Sources)) {
			n++
			scope, known := worker.Scopes[source]
			if !known {
				f.fail("%s lets %s in, which identity-worker does not know", fn.Name, source)
				continue
			}
			var refused []string
			for _, t := range event.Types() {
				if fn.Sources[source].Allows(t) && !scope.Allows(t) {
					refused = append(refused, string(t))
				}
			}
			if len(refused) > 0 {
				f.fail("%s lets %s send %s, which identity-worker refuses", fn.Name, source, strings.Join(refused, ", "))
			}
		}
	}
	if n == 0 {
		f.skip("no settings of a function that lets sources in")
		return
	}
	f.note("%s", plural(n, "source", "sources"))
}

func (e *exam) clientState(f *finding) {
	sweeper, taker := e.function("tenant-sweep"), e.function("graph-notifications")
	switch {
	case sweeper == nil || taker == nil:
		f.skip("no settings of tenant-sweep and graph-notifications")
		return
	case sweeper.NotificationURL == "":
		f.skip("nothing is subscribed to: tenant-sweep has no MFAFLOW_NOTIFICATION_URL")
		return
	}
	state, err := sweeper.ClientState.Make(sweeper.Tenant, "users")
	if err != nil {
		f.fail("tenant-sweep: %v", err)
		return
	}
	if _, ok := taker.ClientState.Check(state.Reveal(), taker.Tenant); !ok {
		f.fail("graph-notifications drops what tenant-sweep subscribes to with the key %s", sweeper.ClientState.Current())
		return
	}
	f.note("key %s", sweeper.ClientState.Current())
}
