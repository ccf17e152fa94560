package bench

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	simgraph "mfaflow/pkg/sim/graph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, tt := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{nil, 0.5, 0}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0.5, 2}, {[]float64{4, 3, 2, 1}, 0.5, 2},
		{hundred, 0.99, 99}, {hundred, 0.5, 50}, {hundred, 1, 100}, {hundred, 0, 1},
	} {
		if got := quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("quantile %v of %d values: %v, want %v", tt.q, len(tt.values), got, tt.want)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		kind  BoundKind
		value float64
		met   bool
	}{
		{Under, 10.1, true}, {Under, 10, false}, {AtMost, 10, true}, {AtMost, 9.9, false}, {AtLeast, 10, true}, {AtLeast, 10.1, false},
	} {
		if f := (Figure{Value: 10}).bounded(tt.kind, tt.value); *f.Met != tt.met {
			t.Errorf("10 is %s %v: %v", tt.kind, tt.value, *f.Met)
		}
	}
}

func TestTable(t *testing.T) {
	g := Group{Name: "size", Title: "sizes", Error: "not measured: no disk", Figures: []Figure{
		{Name: "small", Value: 1.234, Unit: "MiB"},
		Figure{Name: "large enough", Value: 1234, Unit: "MiB"}.bounded(Under, 12),
	}}
	var b bytes.Buffer
	if err := g.Table(&b); err != nil {
		t.Fatal(err)
	}
	want := `size: sizes
  small         1.23 MiB  
  large enough  1234 MiB  under 12 MiB: NOT MET
  not measured: no disk

`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// Two lanes work for ten seconds, one event each per second, after a slow start and
// before a slow end.
func TestSteadyRateLeavesOutStartAndEnd(t *testing.T) {
	began := time.Unix(1000, 0)
	var times []time.Time
	for i := range 10 {
		at := began.Add(time.Duration(i) * time.Second)
		times = append(times, at, at)
	}
	times[0] = began.Add(-time.Hour)
	times[19] = times[19].Add(time.Hour)
	if got := steadyRate(times, 2); got < 1.8 || got > 2 {
		t.Errorf("%v per second, want nearly 2", got)
	}
	if got := steadyRate(times[:3], 2); got != 0 {
		t.Errorf("%v per second of too few events, want 0", got)
	}
}

func TestRoundsCountWhatRunsAtOnceOnce(t *testing.T) {
	const latency = 50 * time.Millisecond
	began := time.Unix(1000, 0)
	call := func(joiner string, from, took time.Duration) simgraph.Request {
		return simgraph.Request{ClientRequestID: joiner, Time: began.Add(from), Duration: took}
	}
	var log []simgraph.Request
	for _, joiner := range []string{"bench-1", "bench-2", "bench-3"} {
		log = append(log, call(joiner, 150*time.Millisecond, 51*time.Millisecond)) // a second step, logged first
		for range 5 {
			log = append(log, call(joiner, 0, 52*time.Millisecond))
		}
	}
	log = append(log, call("somebody else", 0, time.Hour))
	calls, steps := rounds(log, latency)
	if calls != 6 || steps != 2 {
		t.Errorf("%v calls in %v steps, want 6 in 2", calls, steps)
	}
	if calls, steps := rounds(nil, latency); calls != 0 || steps != 0 {
		t.Errorf("%v calls in %v steps of nothing", calls, steps)
	}
}

func TestThroughputReadsTheBenchmark(t *testing.T) {
	out := `goos: linux
BenchmarkSendReceiveComplete/memory/1-senders-and-receivers-2         	   87390	     38715 ns/op	     25830 msg/s
BenchmarkSendReceiveComplete/memory/8-senders-and-receivers           	   70970	     56825 ns/op	     9598 msg/s
PASS
`
	figures, err := throughput(out)
	if err != nil {
		t.Fatal(err)
	}
	want := []Figure{
		Figure{Name: "send + receive + complete, 1 senders and receivers", Value: 25830, Unit: "messages/s"}.bounded(AtLeast, 10_000),
		Figure{Name: "send + receive + complete, 8 senders and receivers", Value: 9598, Unit: "messages/s"}.bounded(AtLeast, 10_000),
	}
	if diff := cmp.Diff(want, figures); diff != "" {
		t.Error(diff)
	}
	if _, err := throughput("no test files"); err == nil {
		t.Error("a benchmark that did not run gives figures")
	}
}

func TestSharesReadTheTest(t *testing.T) {
	out := `=== RUN   TestResets/32_lanes
=== ATTR  TestResets/32_lanes resets 10000
=== ATTR  TestResets/32_lanes seconds 900.5
=== ATTR  TestResets/32_lanes used 0.994
=== ATTR  TestResets/32_lanes refused 0.001
--- PASS: TestResets (1.02s)
`
	figures, err := shares(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(figures) != 4 || figures[2].Value != 99.4 || !*figures[2].Met || figures[3].Value != 0.1 || !*figures[3].Met {
		t.Errorf("got %+v", figures)
	}
	if _, err := shares("no tests to run"); err == nil {
		t.Error("a test that did not run gives figures")
	}
}

// A person's calls only, and of them those about methods.
func TestRemovalIsTakenFromTheLog(t *testing.T) {
	const ours = "/v1.0/users/u1/authentication"
	log := []simgraph.Request{
		{ID: "1", Method: "GET", Path: "/beta/users/u1/authentication/methods", Batch: "b1"},
		{ID: "2", Method: "GET", Path: "/beta/users/u1/authentication/signInPreferences", Batch: "b1"},
		{ID: "b1", Method: "POST", Path: "/beta/$batch"},
		{ID: "3", Method: "GET", Path: ours + "/temporaryAccessPassMethods"},
		{ID: "4", Method: "GET", Path: "/v1.0/users/u1"},
		{ID: "5", Method: "DELETE", Path: "/v1.0/users/u2/authentication/phoneMethods/x"},
		{ID: "6", Method: "DELETE", Path: ours + "/phoneMethods/x", Batch: "b2"},
		{ID: "7", Method: "DELETE", Path: ours + "/fido2Methods/y", Batch: "b2"},
		{ID: "b2", Method: "POST", Path: "/v1.0/$batch"},
		{ID: "8", Method: "DELETE", Path: ours + "/microsoftAuthenticatorMethods/z"},
		{ID: "9", Method: "GET", Path: "/beta/users/u1/authentication/methods"},
		{ID: "10", Method: "POST", Path: "/v1.0/users/u1/revokeSignInSessions"},
	}
	reading, removal := removalOf(log, "u1")
	if trips, requests := count(reading); trips != 1 || requests != 2 {
		t.Errorf("reading: %v trips, %v requests", trips, requests)
	}
	if trips, requests := count(removal); trips != 3 || requests != 4 {
		t.Errorf("removal: %v trips, %v requests", trips, requests)
	}
}

func TestMixtureIsOfItsKind(t *testing.T) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	messages, err := mixture(tenant, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	types, ids := map[string]int{}, map[string]bool{}
	for _, m := range messages {
		types[m.Properties["mfaflow-type"]]++
		ids[m.ID] = true
	}
	if len(messages) != 10_000 || len(ids) != len(messages) {
		t.Errorf("%d events with %d ids", len(messages), len(ids))
	}
	if types["employee.leaver"] > 1500 || types["mfa.reregister"]+types["mfa.device-stolen"] > 1500 {
		t.Errorf("more than the breaker can be told to let through: %v", types)
	}
}

// The tenant that is measured on must be one in which every joiner gets a pass.
func TestPopulate(t *testing.T) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	joiners, err := populate(tenant, modelJoiner, 3)
	if err != nil {
		t.Fatal(err)
	}
	others, err := populate(tenant, modelReset, 2)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, u := range joiners {
		ids[u.ID] = true
		if tenant.User(u.UserPrincipalName) != u || u.Manager == "" || len(u.Methods) > 0 || !u.AccountEnabled {
			t.Errorf("%+v is no joiner of the tenant", u)
		}
	}
	for _, u := range others {
		ids[u.ID] = true
		if len(u.Methods) != 6 || u.Methods[0] == tenant.User(meiID).Methods[0] {
			t.Errorf("%+v has no six methods of their own", u)
		}
	}
	if len(ids) != 5 {
		t.Errorf("%d people, want 5", len(ids))
	}
	if _, err := populate(tenant, "nobody", 1); err == nil {
		t.Error("nobody has a twin")
	}
}

const meiID = "10000000-0000-4000-8000-000000000011"

func TestLinesHandsOnWholeLines(t *testing.T) {
	var got []string
	l := lines{each: func(line []byte) { got = append(got, string(line)) }}
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if diff := cmp.Diff([]string{"one", "two", ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCommand(t *testing.T) {
	serving := func(line []byte) bool { return string(line) == "ready" }
	sh := func(script string) command {
		return command{path: "/bin/sh", args: []string{"-c", script}, env: machine(), ready: serving}
	}
	p, err := sh("echo hello; echo ready; exec cat").start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := sh("echo out of luck; exit 3").start(t.Context()); err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("a process that ends: %v, want its last words", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sh("exec sleep 60").start(ctx); err == nil {
		t.Error("a start that nobody waits for succeeds")
	}
}

// What is sent arrives whole, in order and not too early, and close ends it all.
func TestRelay(t *testing.T) {
	const oneWay = 5 * time.Millisecond
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
	r, err := newRelay(t.Context(), server.Addr().String(), oneWay)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789"), 10_000)
	began := time.Now()
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*oneWay {
		t.Errorf("there and back in %s, want at least %s", took, 2*oneWay)
	}
	if !bytes.Equal(sent, got) {
		t.Error("what came back is not what was sent")
	}
	r.close()
	<-echoed
}
