package simulation_test

import (
	"flag"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mfaflow/pkg/simulation"
)

var (
	seeds     = flag.Uint64("sim.seeds", 300, "how many seeds to play")
	from      = flag.Uint64("sim.from", 1, "the first seed")
	mutations = flag.Uint64("sim.mutations", 0, "with how many seeds each mutation is looked for; 0 skips the mutations")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSeeds(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = min(n, 30)
	}
	faults := 0
	_, err := simulation.Seeds(t.Context(), *from, n, 2, "", func(r simulation.Result) bool {
		faults += r.Faults
		if len(r.Broken) == 0 {
			return true
		}
		if short, err := simulation.Shrink(t.Context(), r, ""); err == nil {
			r = short
		}
		t.Error(r.Report())
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	if faults == 0 {
		t.Error("no fault struck: the seeds prove little")
	}
}

// A failing seed is of use only when it fails again.
func TestASeedRepeats(t *testing.T) {
	var logs []string
	for range 2 {
		r, err := simulation.Run(t.Context(), 304, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, r.Trace())
	}
	if diff := cmp.Diff(logs[0], logs[1]); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryIsReadAsItIsWritten(t *testing.T) {
	want := simulation.History(7)
	got, err := simulation.Parse(simulation.Format(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(simulation.Format(want), simulation.Format(got)); diff != "" {
		t.Error(diff)
	}
}

// Switching a guarantee off must be noticed by some seed. It takes minutes: make
// sim-mutations.
func TestMutations(t *testing.T) {
	if *mutations == 0 {
		t.Skip("run with -sim.mutations=n")
	}
	for _, m := range simulation.Mutations() {
		t.Run(string(m), func(t *testing.T) {
			var caught *simulation.Result
			n, err := simulation.Seeds(t.Context(), *from, *mutations, 2, m, func(r simulation.Result) bool {
				if len(r.Broken) > 0 {
					caught = &r
				}
				return caught == nil
			})
			switch {
			case err != nil:
				t.Fatal(err)
			case caught == nil:
				t.Errorf("%d seeds did not notice", n)
			default:
				t.Logf("seed %d: %s", caught.Seed, caught.Broken[0])
			}
		})
	}
}
