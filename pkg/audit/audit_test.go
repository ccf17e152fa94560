package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
)

func TestRecordShape(t *testing.T) {
	var out bytes.Buffer
	w := audit.NewWriter(&out, "identity-worker")
	err := w.Write(correlation.With(t.Context(), "c-1"), audit.Record{
		Key: "workday/1", Type: "employee.joiner", Source: "workday", Lane: "u-1", User: "u-1",
		Actor: "system", Action: "issue-pass", Decision: "run", Reason: "starts-soon", Outcome: "done",
		Calls:    []correlation.Call{{Method: "POST", Path: "/v1.0/users/u-1", Status: 201, RequestID: "r-1", Duration: time.Millisecond}},
		Before:   []identity.MethodKind{identity.MethodPassword},
		After:    []identity.MethodKind{},
		Started:  time.Date(2027, 1, 4, 6, 30, 0, 0, time.UTC),
		Duration: 1500 * time.Microsecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	chain := got["audit"].(map[string]any)
	if !strings.HasPrefix(chain["writer"].(string), "identity-worker/") || chain["sequence"] != 1.0 || chain["previous"] != "" {
		t.Errorf("link is %v", chain)
	}
	delete(got, "audit")
	delete(got, "hash")
	want := map[string]any{
		"key": "workday/1", "type": "employee.joiner", "source": "workday", "lane": "u-1", "user": "u-1",
		"actor": "system", "action": "issue-pass", "decision": "run", "reason": "starts-soon", "outcome": "done",
		"calls":  []any{map[string]any{"method": "POST", "path": "/v1.0/users/u-1", "status": 201.0, "requestId": "r-1", "durationMs": 1.0}},
		"before": []any{"password"}, "after": []any{}, "correlationId": "c-1",
		"started": "2027-01-04T06:30:00Z", "durationMs": 1.5,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
}

// trail writes n records by each of several writers, interleaved with foreign lines.
func trail(t interface {
	Context() context.Context
	Fatal(...any)
}, writers, n int) []string {
	var out bytes.Buffer
	ws := make([]*audit.Writer, writers)
	for i := range ws {
		ws[i] = audit.NewWriter(&out, fmt.Sprintf("f%d", i))
	}
	for i := range n {
		for _, w := range ws {
			if err := w.Write(t.Context(), audit.Record{Key: fmt.Sprint(i), Correlation: "c", Actor: "system", Action: "a", Outcome: "done"}); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, `{"level":"INFO","msg":"not an audit line"}`)
		}
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func verify(lines []string) ([]audit.Chain, error) {
	return audit.Verify(strings.NewReader(strings.Join(lines, "\n") + "\n"))
}

func TestUntouchedTrailHolds(t *testing.T) {
	chains, err := verify(trail(t, 3, 5))
	if err != nil {
		t.Fatal(err)
	}
	if len(chains) != 3 {
		t.Fatalf("got %d chains", len(chains))
	}
	for i, c := range chains {
		if !strings.HasPrefix(c.Writer, fmt.Sprintf("f%d/", i)) || c.Last != 5 || len(c.Hash) != 64 {
			t.Errorf("chain %d is %+v", i, c)
		}
	}
}

// Lines cut off at the end are seen only in where the chain ends.
func TestVerifyTellsWhereAChainEnds(t *testing.T) {
	lines := trail(t, 1, 5)
	chains, err := verify(lines[:len(lines)-2])
	if err != nil || chains[0].Last != 4 {
		t.Errorf("got %+v, %v", chains, err)
	}
}

func TestVerifyFindsTampering(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := trail(t, rapid.IntRange(1, 3).Draw(t, "writers"), rapid.IntRange(2, 6).Draw(t, "records"))
		var records []int
		for i, l := range lines {
			if strings.HasPrefix(l, `{"audit":`) {
				records = append(records, i)
			}
		}
		writer := func(i int) string { w, _, _ := strings.Cut(lines[i], `","sequence"`); return w }
		i := rapid.SampledFrom(records).Draw(t, "line")
		switch rapid.SampledFrom([]string{"edit", "remove", "swap", "repeat"}).Draw(t, "how") {
		case "edit":
			b := []byte(lines[i])
			at := rapid.IntRange(len(`{"audit":`), len(b)-1).Draw(t, "byte")
			b[at] ^= byte(1 << rapid.IntRange(0, 2).Draw(t, "bit"))
			lines[i] = string(b)
		case "remove":
			last := !slices.ContainsFunc(lines[i+1:], func(l string) bool { return strings.HasPrefix(l, writer(i)) })
			if last {
				t.Skip("the end of a chain is not protected by it")
			}
			lines = slices.Delete(lines, i, i+1)
		case "swap":
			j := rapid.SampledFrom(records).Draw(t, "other")
			if i == j || writer(i) != writer(j) {
				t.Skip("writers are independent of one another")
			}
			lines[i], lines[j] = lines[j], lines[i]
		case "repeat":
			lines = slices.Insert(lines, i, lines[i])
		}
		if _, err := verify(lines); err == nil {
			t.Fatalf("nothing found in\n%s", strings.Join(lines, "\n"))
		}
	})
}

// A record rewritten together with its own hash still breaks the next link.
func TestVerifyFindsAResealedRecord(t *testing.T) {
	lines := trail(t, 1, 3)
	body, _, _ := strings.Cut(lines[0], `,"hash":`)
	body = strings.Replace(body, `"outcome":"done"`, `"outcome":"held"`, 1) + "}"
	lines[0] = fmt.Sprintf(`%s,"hash":"%x"}`, strings.TrimSuffix(body, "}"), sha256.Sum256([]byte(body)))

	_, err := verify(lines)
	if err == nil || !strings.Contains(err.Error(), "line 3: record 2") || strings.Contains(err.Error(), "line 1") {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentWritersOfOneChain(t *testing.T) {
	var out bytes.Buffer
	w := audit.NewWriter(&out, "f")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if err := w.Write(t.Context(), audit.Record{Actor: "system"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	chains, err := audit.Verify(&out)
	if err != nil || len(chains) != 1 || chains[0].Last != 200 {
		t.Errorf("got %+v, %v", chains, err)
	}
}

type flaky struct {
	bytes.Buffer
	fail bool
}

var errFull = errors.New("disk full")

func (f *flaky) Write(p []byte) (int, error) {
	if f.fail {
		return 0, errFull
	}
	return f.Buffer.Write(p)
}

func TestFailedWriteLeavesNoGap(t *testing.T) {
	out := &flaky{}
	w := audit.NewWriter(out, "f")
	for _, fail := range []bool{false, true, false} {
		out.fail = fail
		if err := w.Write(t.Context(), audit.Record{}); errors.Is(err, errFull) != fail {
			t.Errorf("failing %v: got %v", fail, err)
		}
	}
	chains, err := audit.Verify(out)
	if err != nil || chains[0].Last != 2 {
		t.Errorf("got %+v, %v", chains, err)
	}
}

// Whatever a log holds, Verify ends, and it approves only lines it can name.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"audit":{"writer":"f/A","sequence":1,"previous":""},"key":"0","actor":"system","action":"a","outcome":"done","started":"2027-01-04T06:30:00Z","durationMs":0,"hash":"5116a090f8443b3d9147c7bbd9d1a2b3b3fa06ebc9df1e5bccfac8961772f2e8"}
{"audit":{"writer":"f/A","sequence":2,"previous":"5116a090f8443b3d9147c7bbd9d1a2b3b3fa06ebc9df1e5bccfac8961772f2e8"},"key":"0","actor":"system","action":"a","outcome":"done","started":"2027-01-04T06:30:00Z","durationMs":0,"hash":"3a775d30af33811ec36a1302f06e6a229e42607be8ded3889ad98fdafc6df39f"}
`))
	f.Add([]byte(`{"audit":{"writer":"f","sequence":1,"previous":""},"hash":"00"}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		chains, err := audit.Verify(bytes.NewReader(log))
		if err != nil {
			return
		}
		var total int64
		for _, c := range chains {
			total += c.Last
		}
		if n := int64(bytes.Count(log, []byte(`{"audit":`))); total > n {
			t.Errorf("approved %d records of %d", total, n)
		}
	})
}

// What was written is read, but no record that was changed.
func TestRead(t *testing.T) {
	var log bytes.Buffer
	w := audit.NewWriter(&log, "event-replay")
	var want []audit.Record
	for i := range 3 {
		r := audit.Record{
			Key: fmt.Sprint("k", i), Correlation: "c", User: "u", Actor: "ada", Action: "discard", Outcome: "discarded", Started: time.Unix(int64(i), 0).UTC(),
			Before: []identity.MethodKind{}, Calls: []correlation.Call{{Method: "GET", Path: "/v1.0/users/u", Status: 200, Duration: 1500 * time.Microsecond}}, Duration: time.Second,
		}
		if err := w.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&log, `{"level":"INFO","msg":"operation"}`)
		want = append(want, r)
	}
	text := log.String()
	var got []audit.Record
	collect := func(f audit.Found) error {
		if !strings.Contains(text, string(f.Line)+"\n") || f.Sequence != int64(len(got)+1) || !strings.HasPrefix(f.Writer, "event-replay/") {
			t.Errorf("found %+v", f)
		}
		got = append(got, f.Record)
		return nil
	}
	if err := audit.Read(strings.NewReader(text), collect); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	got = nil
	err := audit.Read(strings.NewReader(strings.Replace(text, `"actor":"ada"`, `"actor":"eve"`, 1)), func(f audit.Found) error {
		got = append(got, f.Record)
		return nil
	})
	if err == nil || len(got) != 2 || got[0].Key != "k1" {
		t.Errorf("%d records, %v", len(got), err)
	}
	stop := errors.New("enough")
	if err := audit.Read(strings.NewReader(text), func(audit.Found) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
