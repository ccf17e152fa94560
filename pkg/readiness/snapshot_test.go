package readiness_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

// What is kept judges everybody as what was gathered did, once the policies are read anew,
// and has no name but those that a policy file may use.
func TestKeptSnapshotJudgesTheSame(t *testing.T) {
	town, store := newTown(11), &memory{}
	s := gather(t, town, store)
	if err := readiness.KeepSnapshot(t.Context(), store, s); err != nil {
		t.Fatal(err)
	}
	kept, err := readiness.ReadSnapshot(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept.Policies.Conditional) != 0 || len(kept.Principals) != 0 || kept.People[0].DisplayName+kept.People[0].Department != "" || kept.People[0].UserPrincipalName == "" {
		t.Errorf("%+v", kept)
	}
	town.calls = nil
	again, err := readiness.Gatherer{Tenant: town, Now: func() time.Time { return now }}.Refresh(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(town.calls)
	if asked := slices.Compact(town.calls); slices.ContainsFunc(asked, func(what string) bool {
		return strings.Contains(what, "people") || strings.Contains(what, "registr") || strings.Contains(what, "sign") || strings.Contains(what, "member")
	}) {
		t.Errorf("asked for %v", asked)
	}
	same := cmp.Options{
		cmpopts.EquateEmpty(), cmpopts.IgnoreFields(posture.Person{}, "DisplayName", "Department"), cmpopts.IgnoreFields(posture.Snapshot{}, "Principals"),
		cmpopts.SortSlices(func(a, b identity.UserID) bool { return a < b }),
	}
	if diff := cmp.Diff(s, again, same); diff != "" {
		t.Error(diff)
	}
	q := posture.Question{At: now, Phase: posture.Phase2}
	before, err := posture.Evaluate(s, q)
	if err != nil {
		t.Fatal(err)
	}
	after, err := posture.Evaluate(again, q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Results, after.Results, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// A policy that names another group by now has its members read; what cannot be read by now
// is a gap, and what could not be read then no longer is one.
func TestRefreshReadsWhatIsNew(t *testing.T) {
	town := newTown(5)
	s := gather(t, town, &memory{})
	s.Groups = nil
	s.Gaps = []posture.Gap{{Fact: posture.FactMethodsPolicy, Why: "then"}, {Fact: posture.FactRegistrations, Why: "then"}}
	town.before = func(what, _ string) error {
		if what == "strengths" {
			return identity.ErrForbidden
		}
		return nil
	}
	again, err := readiness.Gatherer{Tenant: town, Now: func() time.Time { return now }}.Refresh(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Groups[group].Members) == 0 || s.Groups != nil {
		t.Errorf("groups %+v", again.Groups)
	}
	if again.Missing(posture.FactMethodsPolicy) || !again.Missing(posture.FactStrengths) || !again.Missing(posture.FactRegistrations) || s.Missing(posture.FactStrengths) {
		t.Errorf("gaps %+v, were %+v", again.Gaps, s.Gaps)
	}
	town.before = func(string, string) error {
		return &identity.RetryError{After: time.Minute, Err: errors.New("throttled")}
	}
	waited := time.Duration(0)
	_, err = readiness.Gatherer{Tenant: town, Now: func() time.Time { return now }, Sleep: func(_ context.Context, d time.Duration) error {
		waited += d
		return &identity.RetryError{After: d, Err: errors.New("no time")}
	}}.Refresh(t.Context(), s)
	if retry := (*identity.RetryError)(nil); !errors.As(err, &retry) || retry.After != time.Minute || waited != time.Minute {
		t.Errorf("%v after %s", err, waited)
	}
}

// Every report keeps one snapshot, in the place of the one before.
func TestReporterKeepsTheSnapshot(t *testing.T) {
	town, store := newTown(4), &memory{}
	at := now
	r := readiness.Reporter{
		Gatherer: readiness.Gatherer{Tenant: town, Store: store, Now: func() time.Time { return at }},
		Store:    store, Sender: &sender{}, FlagsQueue: "flags", Phase: posture.Phase2, Every: 24 * time.Hour, Now: func() time.Time { return at },
		Log: slog.New(slog.DiscardHandler),
	}
	for range 2 {
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := readiness.ReadSnapshot(t.Context(), store)
		if err != nil || len(s.People) != 4 || !s.TakenAt.Equal(at) {
			t.Fatalf("%d people of %s: %v", len(s.People), s.TakenAt, err)
		}
		at = at.Add(25 * time.Hour)
	}
	names, err := store.List(t.Context(), "")
	if err != nil || len(slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, "snapshot") })) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// What is not there, not whole or of another version is no snapshot.
func TestDamagedSnapshots(t *testing.T) {
	store := &memory{}
	if _, err := readiness.ReadSnapshot(t.Context(), store); !errors.Is(err, readiness.ErrNoFile) {
		t.Error(err)
	}
	if err := readiness.KeepSnapshot(t.Context(), store, gather(t, newTown(6), nil)); err != nil {
		t.Fatal(err)
	}
	whole := store.files[readiness.LatestSnapshot]
	text := unzipped(t, whole)
	head, people, _ := strings.Cut(text, "\n")
	for name, file := range map[string][]byte{
		"empty":             {},
		"no gzip":           []byte(text),
		"cut off":           whole[:len(whole)/2],
		"a person too few":  zipped(t, head+"\n"+people[:strings.LastIndex(strings.TrimSpace(people), "\n")]),
		"a person too many": zipped(t, text+`{"id": "x"}`),
		"another version":   zipped(t, strings.Replace(text, `"version":1`, `"version":2`, 1)),
		"nobody's member":   zipped(t, strings.Replace(text, `"members":{`, `"members":{"g":[99],`, 1)),
		"no people at all":  zipped(t, ""),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readiness.ReadSnapshot(t.Context(), &memory{files: map[string][]byte{readiness.LatestSnapshot: file}})
			if !errors.Is(err, readiness.ErrSnapshot) {
				t.Error(err)
			}
		})
	}
}

func unzipped(t testing.TB, file []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whatever lies in the file: an error of ours, or a snapshot that is the same when it is
// kept and read again.
func FuzzSnapshotFile(f *testing.F) {
	store := &memory{}
	for _, n := range []int{0, 1, 4} {
		s := posture.Snapshot{TakenAt: now, Groups: map[string]posture.Group{"g": {DisplayName: "G", Members: []identity.UserID{who(0), "stranger"}}}, People: newTown(n).people}
		if err := readiness.KeepSnapshot(context.Background(), store, s); err != nil {
			f.Fatal(err)
		}
		f.Add(unzipped(f, store.files[readiness.LatestSnapshot]))
	}
	f.Fuzz(func(t *testing.T, text string) {
		store := &memory{files: map[string][]byte{readiness.LatestSnapshot: zipped(t, text)}}
		s, err := readiness.ReadSnapshot(t.Context(), store)
		if err != nil {
			if !errors.Is(err, readiness.ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		if err := readiness.KeepSnapshot(t.Context(), store, s); err != nil {
			return // a time that JSON cannot hold
		}
		first, err := readiness.ReadSnapshot(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		if err := readiness.KeepSnapshot(t.Context(), store, first); err != nil {
			t.Fatal(err)
		}
		second, err := readiness.ReadSnapshot(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := json.Marshal(first)
		b, errB := json.Marshal(second)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s\n%s\n%v %v", a, b, errA, errB)
		}
	})
}

// The size of the file and what it takes to read it, for 100,000 people.
func BenchmarkSnapshot(b *testing.B) {
	random := rand.New(rand.NewPCG(7, 7))
	id := func() identity.UserID {
		return identity.UserID(fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.Uint32()>>16, random.Uint32()>>20, random.Uint32()>>20, random.Uint64()>>16))
	}
	s := posture.Snapshot{TakenAt: now, Groups: map[string]posture.Group{}}
	var staff posture.Group
	for i := range 100_000 {
		p := posture.Person{
			ID: id(), UserPrincipalName: fmt.Sprintf("%x.%d@contoso.example", random.Uint32(), i), Kind: posture.Member, Enabled: true, PerUserMFA: posture.PerUserDisabled,
			CreatedAt: now.Add(-time.Duration(random.Uint32()) * time.Second),
			Registration: posture.Registration{
				Known: true, Methods: []posture.Method{posture.AuthenticatorPush, "mobilePhone"}, Default: "push", UpdatedAt: now.Add(-time.Duration(random.Uint32()) * time.Millisecond),
			},
		}
		s.People, staff.Members = append(s.People, p), append(staff.Members, p.ID)
	}
	s.Groups["staff"] = staff
	store := &memory{}
	for b.Loop() {
		if err := readiness.KeepSnapshot(context.Background(), store, s); err != nil {
			b.Fatal(err)
		}
		if _, err := readiness.ReadSnapshot(context.Background(), store); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(store.files[readiness.LatestSnapshot])), "bytes")
}
