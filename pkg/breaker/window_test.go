package breaker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mfaflow/pkg/breaker"
)

const digest = "AAECAwQFBgcI" // nine bytes

func TestStateOnTheWire(t *testing.T) {
	s := &shared{}
	w := newWorker(t, s.accept, atMost(5))
	w.reserve(leaver("a"))
	w.reserve(breaker.Request{Key: "b", Class: breaker.Compromise})
	w.now = t0.Add(2 * time.Minute)
	w.reserve(leaver("c"))
	// The beginnings of the SHA-256 of "a", "b" and "c".
	want := `{"v":1,"b":[{"t":"2026-11-23T08:00:00Z","k":{"compromise":"PiPoFgA5WUoz","leaver":"ypeBEsobvcr6"}},` +
		`{"t":"2026-11-23T08:02:00Z","k":{"leaver":"Ln0sA6lQeuJl"}}]}`
	if string(s.state) != want {
		t.Errorf("%s\nwant\n%s", s.state, want)
	}
}

func TestUnreadableStateFailsClosed(t *testing.T) {
	at := `"t":"2026-11-23T08:00:00Z"`
	for name, state := range map[string]string{
		"no JSON":             `breaker`,
		"cut off":             `{"v":1,"b":[`,
		"null":                `null`,
		"no version":          `{}`,
		"later version":       `{"v":2}`,
		"earlier version":     `{"v":0}`,
		"a field more":        `{"v":1,"x":true}`,
		"a value more":        `{"v":1}{"v":1}`,
		"no time":             `{"v":1,"b":[{"k":{"leaver":"` + digest + `"}}]}`,
		"no such time":        `{"v":1,"b":[{"t":"yesterday","k":{"leaver":"` + digest + `"}}]}`,
		"no keys":             `{"v":1,"b":[{` + at + `,"k":{}}]}`,
		"empty keys":          `{"v":1,"b":[{` + at + `,"k":{"leaver":""}}]}`,
		"half a key":          `{"v":1,"b":[{` + at + `,"k":{"leaver":"` + digest + `AAAA"}}]}`,
		"no base64":           `{"v":1,"b":[{` + at + `,"k":{"leaver":"!"}}]}`,
		"class of the future": `{"v":1,"b":[{` + at + `,"k":{"joiner":"` + digest + `"}}]}`,
		"out of order": `{"v":1,"b":[{` + at + `,"k":{"leaver":"` + digest + `"}},` +
			`{"t":"2026-11-23T07:59:59Z","k":{"leaver":"` + digest + `"}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := &shared{state: []byte(state)}
			w := newWorker(t, s.accept, atMost(5))
			r := leaver("a")
			r.Released = true
			if d, err := w.b.Reserve(t.Context(), r); !errors.Is(err, breaker.ErrUnreadable) || d.Granted {
				t.Errorf("reserve: %v, %v", d, err)
			}
			if _, err := w.b.State(t.Context()); !errors.Is(err, breaker.ErrUnreadable) {
				t.Errorf("state: %v", err)
			}
			if string(s.state) != state || s.sets > 0 || s.held {
				t.Errorf("written over or held: %s", s.state)
			}
		})
	}
}

func TestClocks(t *testing.T) {
	for name, c := range map[string]struct {
		off  time.Duration
		want error
	}{
		"behind as far as may be": {-time.Minute, nil},
		"too far behind":          {-time.Minute - time.Second, breaker.ErrClock},
		"ahead":                   {time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shared{}
			newWorker(t, s.accept, atMost(2)).reserve(leaver("a"))
			before := string(s.state)
			w := newWorker(t, s.accept, atMost(2))
			w.now = t0.Add(c.off)
			d, err := w.b.Reserve(t.Context(), leaver("b"))
			if !errors.Is(err, c.want) || d.Granted != (c.want == nil) {
				t.Fatalf("%v, %v", d, err)
			}
			if c.want != nil {
				if _, err := w.b.State(t.Context()); !errors.Is(err, c.want) || string(s.state) != before {
					t.Errorf("state: %v, %s", err, s.state)
				}
				return
			}
			// Whoever wrote, neither is let go before its hour is over.
			w.now = t0.Add(time.Hour - time.Second + c.off)
			if d := w.reserve(leaver("c")); d.Granted {
				t.Errorf("%s", d)
			}
		})
	}
}

// full is a state with n reservations in as many buckets as there can be, each with
// every class.
func full(t *testing.T, n int) []byte {
	t.Helper()
	const buckets = 64
	type bucket struct {
		Last time.Time                `json:"t"`
		Keys map[breaker.Class][]byte `json:"k"`
	}
	var list []bucket
	for i := range buckets {
		b := bucket{Last: t0.Add(time.Duration(i+1-buckets)*time.Minute/32 - time.Nanosecond), Keys: map[breaker.Class][]byte{}}
		for j, c := range breaker.Classes() {
			for k := range n/(buckets*4) + 1 {
				if n > 0 && (k < n/(buckets*4) || i*4+j < n%(buckets*4)) {
					b.Keys[c] = append(b.Keys[c], fmt.Sprintf("%02d%02d%05d", i, j, k)...)
				}
			}
		}
		list = append(list, b)
	}
	state, err := json.Marshal(map[string]any{"v": 1, "b": list})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestCapacityBoundsTheState(t *testing.T) {
	s := &shared{state: full(t, breaker.Capacity-1)}
	w := newWorker(t, s.accept, breaker.Limits{Window: breaker.MinWindow, Count: 1, ImmediateCount: 1})
	released := breaker.Request{Key: "last", Class: breaker.Reregistration, Released: true}
	if d := w.reserve(released); !d.Granted {
		t.Fatalf("%s", d)
	}
	if len(s.state) > 48<<10 {
		t.Errorf("%d bytes", len(s.state))
	}
	released.Key = "one too many"
	d := w.reserve(released)
	if d.Granted || d.Counted != breaker.Capacity || d.Limit != breaker.Capacity || !d.RoomAt.After(t0) || s.sets != 1 {
		t.Errorf("%+v", d)
	}
	w.now = d.RoomAt
	if d := w.reserve(released); !d.Granted {
		t.Errorf("when there is room: %s", d)
	}
	w.now = t0.Add(time.Hour)
	w.reserve(breaker.Request{Key: "next", Class: breaker.Leaver})
	if len(s.state) > 100 {
		t.Errorf("what has left the window is still there: %d bytes", len(s.state))
	}
}

// Whatever the state is: it is refused and left alone, or everything holds.
func FuzzState(f *testing.F) {
	f.Add([]byte(nil), false)
	f.Add([]byte(`{"v":1,"b":[{"t":"2026-11-23T07:30:00Z","k":{"leaver":"`+digest+`","compromise":"`+digest+digest+`"}}]}`), false)
	f.Add([]byte(`{"v":1,"b":[{"t":"2026-11-23T09:30:00+01:00","k":{"leaver":"ypeBEsobvcr6"}},{"t":"2026-11-23T08:00:59Z","k":{"immediate-leaver":"`+digest+`"}}]}`), true)
	f.Add([]byte(`{"v":2}`), true)
	f.Fuzz(func(t *testing.T, state []byte, released bool) {
		s := &shared{state: state}
		w := newWorker(t, s.accept, atMost(3))
		r := leaver("a")
		r.Released = released
		before, err := w.b.State(t.Context())
		d, reserveErr := w.b.Reserve(t.Context(), r)
		if (err == nil) != (reserveErr == nil) {
			t.Fatalf("state: %v; reserve: %v", err, reserveErr)
		}
		if err != nil {
			if !errors.Is(err, breaker.ErrUnreadable) && !errors.Is(err, breaker.ErrClock) || s.sets > 0 || d.Granted {
				t.Fatalf("%v, written %d times, %s", err, s.sets, d)
			}
			return
		}
		after := w.status()
		known := s.sets == 0
		switch {
		case !d.Granted && (released || before.Ordinary < 3) && d.Limit != breaker.Capacity:
			t.Errorf("%s of %+v", d, before)
		case d.Granted && !known && after.Ordinary != before.Ordinary+1:
			t.Errorf("%+v after %+v", after, before)
		case d.Granted && !released && !known && before.Ordinary >= 3:
			t.Errorf("%s of %+v", d, before)
		}
		if !d.Granted {
			return
		}
		written := bytes.Clone(s.state)
		if again := w.reserve(r); !again.Granted || again.Counted != after.Ordinary || !bytes.Equal(s.state, written) {
			t.Errorf("again: %s", again)
		}
	})
}

// A random history of workers whose clocks differ, against a list of what was
// granted and when.
func TestHistory(t *testing.T) {
	type grant struct {
		key       string
		immediate bool
		// first and last are the earliest and the latest moment at which it may have
		// been counted: a resume after the window may count anew.
		first, last time.Time
	}
	rapid.Check(t, func(rt *rapid.T) {
		l := breaker.Limits{
			Window:  rapid.SampledFrom([]time.Duration{time.Minute, 10 * time.Minute, time.Hour}).Draw(rt, "window"),
			Count:   rapid.IntRange(1, 6).Draw(rt, "count"),
			Percent: rapid.SampledFrom([]int{0, 5, 50}).Draw(rt, "percent"),
		}
		l.ImmediateCount = l.Count + rapid.IntRange(0, 3).Draw(rt, "immediate count")
		l.ImmediatePercent = l.Percent
		people := rapid.IntRange(1, 200).Draw(rt, "people")
		s := &shared{}
		var workers []*worker
		var offsets []time.Duration
		for range rapid.IntRange(1, 4).Draw(rt, "workers") {
			workers = append(workers, newWorker(t, s.accept, l))
			offsets = append(offsets, time.Duration(rapid.IntRange(-30, 30).Draw(rt, "seconds ahead"))*time.Second)
		}
		// The latest a reservation can be let go: a clock that is ahead wrote it, one
		// that is behind reads it.
		longest := l.Window + 2*time.Minute + l.Window/32
		now := t0
		var grants []grant
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(l.Window/time.Second)/3).Draw(rt, "seconds")) * time.Second)
			i := rapid.IntRange(0, len(workers)-1).Draw(rt, "worker")
			r := breaker.Request{
				Key: fmt.Sprint("k", rapid.IntRange(0, 30).Draw(rt, "key")), Class: rapid.SampledFrom(breaker.Classes()).Draw(rt, "class"),
				People: people, Released: rapid.IntRange(0, 9).Draw(rt, "released") == 0,
			}
			immediate := r.Class == breaker.ImmediateLeaver
			limit := l.Count
			if immediate {
				limit = l.ImmediateCount
			}
			if l.Percent > 0 {
				limit = min(limit, max(1, people*l.Percent/100))
			}
			surely, perhaps := 0, 0
			for _, g := range grants {
				if g.immediate == immediate && now.Sub(g.first) < l.Window {
					surely++
				}
				if g.immediate == immediate && now.Sub(g.last) < longest {
					perhaps++
				}
			}
			known := slices.IndexFunc(grants, func(g grant) bool { return g.key == r.Key && now.Sub(g.last) < longest })

			w := workers[i]
			w.now = now.Add(offsets[i])
			sets := s.sets
			d, err := w.b.Reserve(t.Context(), r)
			if err != nil {
				rt.Fatalf("%+v: %v", r, err)
			}
			counted := s.sets > sets
			switch {
			case counted && !d.Granted:
				rt.Fatalf("counted without a grant: %s", d)
			case known >= 0 && now.Sub(grants[known].first) < l.Window:
				if !d.Granted || counted {
					rt.Fatalf("resume of %s: %s, counted: %v", r.Key, d, counted)
				}
			case counted && !r.Released && surely >= limit:
				rt.Fatalf("%s admitted although %d of %d are in the window", r.Key, surely, limit)
			case !d.Granted && (r.Released || perhaps < limit):
				rt.Fatalf("%s refused although there is room: %s, at most %d of %d", r.Key, d, perhaps, limit)
			case !d.Granted && (!d.RoomAt.After(w.now) || !strings.HasPrefix(d.String(), "refused")):
				rt.Fatalf("room at %s, now %s", d.RoomAt, w.now)
			case known < 0 && d.Granted != counted:
				rt.Fatalf("%s granted without being counted", r.Key)
			}
			if counted {
				grants = append(grants, grant{key: r.Key, immediate: immediate, first: now, last: now})
			}
		}
	})
}
