package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/operate"
	"mfaflow/pkg/pause"
)

const (
	// mostAtOnce is how many entries go with one request.
	mostAtOnce = 100
	// oneRequest is how long one request may take; it goes on when the rest is paused.
	oneRequest = 2 * time.Minute
)

func newReplay(of string, env []string) *cobra.Command {
	var (
		reason string
		yes    bool
		rate   float64
		only   []string
	)
	c := &cobra.Command{
		Use:   "replay PLAN-FILE",
		Short: "Replay what a plan says, or, without --yes, show the plan",
		Long: "Replay the entries of a plan that `mfaflow " + of + " plan -o` wrote. Nothing happens when the settings are no longer those\n" +
			"of the plan; an entry of which the worker would now do something else is held for an operator.\n\n" +
			"Ctrl-C pauses. The same command goes on from there, on any machine: what has been replayed is no longer among the\n" +
			"dead letters, and nothing is done twice.",
		Example: "  mfaflow " + of + " replay friday.plan\n  mfaflow " + of + " replay friday.plan --reason 'directory was down' --rate 5 --yes",
		Args:    checked(cobra.ExactArgs(1)),
	}
	changing(c, &reason, &yes)
	c.Flags().Float64Var(&rate, "rate", 20, "entries in a second; 0 is as fast as it goes")
	c.Flags().StringSliceVar(&only, "only", nil, "only entries with one of these decisions, such as act")
	return operating(env, c, false, func(ctx context.Context, d *desk, args []string) error {
		if rate < 0 || rate > 10_000 || rate != rate {
			return &usageError{errors.New("--rate is not between 0 and 10000")}
		}
		kept, err := readPlan(args[0])
		if errors.Is(err, fs.ErrNotExist) {
			return hint(err, "mfaflow %s plan -o %s", of, args[0])
		} else if err != nil { // not with this name: whatever the file is, it is not to be overwritten
			return hint(err, "mfaflow %s plan --all -o FILE writes one", of)
		}
		todo := slices.DeleteFunc(slices.Clone(kept.Plan.Entries), func(e operate.PlannedEntry) bool {
			return e.Unplannable != "" || len(only) > 0 && !slices.Contains(only, e.Decision.Decision)
		})
		if !yes {
			if d.json {
				return printJSON(d.out, kept)
			}
			d.plan(kept.Plan)
			fmt.Fprintf(d.out, "\nNothing was changed. --yes replays %d of them.\n", len(todo))
			return nil
		}
		if err := needReason(reason); err != nil {
			return err
		}
		done, err := d.replay(ctx, kept.Plan, todo, reason, rate)
		if errors.Is(err, errPaused) {
			err = hint(err, "the same command again to go on, or leave it at that")
		} else if err != nil && !errors.Is(err, operate.ErrStale) {
			err = hint(err, "the same command again: what was done is not done twice")
		}
		return errors.Join(err, d.replayed(done))
	})
}

func readPlan(path string) (f planFile, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil || dec.More() || f.Plan.Digest == "" {
		return f, fmt.Errorf("%s is not a plan", path)
	}
	return f, nil
}

// errPaused: the operator pressed Ctrl-C.
var errPaused = errors.New("paused")

// replay sends the entries in parts, no faster than rate. A part that has begun ends
// before a pause.
func (d *desk) replay(ctx context.Context, p operate.Plan, todo []operate.PlannedEntry, reason string, rate float64) (done []operate.Outcome, err error) {
	digests := make([]string, len(p.Entries))
	for i, e := range p.Entries {
		digests[i] = e.Digest
	}
	size := mostAtOnce
	if rate > 0 {
		size = max(1, min(size, int(rate)))
	}
	send := func(part []operate.PlannedEntry) ([]operate.Outcome, error) {
		request, cancel := context.WithTimeout(context.WithoutCancel(ctx), oneRequest)
		defer cancel()
		return d.Replay(request, "", operate.Replay{Plan: p.Digest, Settings: p.Settings, Digests: digests, Entries: part, Reason: reason})
	}
	progress := newProgress(d, len(todo))
	defer progress.end()
	for part := range slices.Chunk(todo, size) {
		if err := progress.await(ctx, rate); err != nil {
			return done, fmt.Errorf("%w after %d of %d", errPaused, len(done), len(todo))
		}
		some, err := send(part)
		done = append(done, some...)
		progress.show(len(done))
		if err != nil {
			return done, fmt.Errorf("after %d of %d: %w", len(done), len(todo), err)
		}
	}
	// An entry may have been in the hands of another replayer, who is done by now.
	for i, o := range done {
		if o.Outcome != "failed" || ctx.Err() != nil {
			continue
		}
		if again, err := send(todo[i : i+1]); err == nil && len(again) == 1 {
			done[i] = again[0]
		}
	}
	return done, nil
}

// replayed prints how many ended how, and each that did not go as planned.
func (d *desk) replayed(done []operate.Outcome) error {
	if d.json {
		return d.outcomes(nonNil(done))
	}
	counts := map[string]int{}
	t := table{header: []string{"ENTRY", "KEY", "OUTCOME", "DETAIL"}}
	for _, o := range done {
		counts[o.Outcome]++
		if undone([]operate.Outcome{o}) != nil {
			t.add(name(o.ID), o.Key, o.Outcome, o.Detail)
		}
	}
	var parts []string
	for _, outcome := range []string{"replayed", "gone", "stale", "failed"} {
		if counts[outcome] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[outcome], outcome))
		}
	}
	if len(t.rows) > 0 {
		t.print(d.out, d.width)
	}
	if len(parts) > 0 {
		fmt.Fprintln(d.out, strings.Join(parts, ", "))
	}
	return undone(done)
}

// progress is a bar with rate and time left, on a terminal only.
type progress struct {
	d     *desk
	total int
	began time.Time
	done  int
	shows bool
}

func newProgress(d *desk, total int) *progress {
	return &progress{d: d, total: total, began: time.Now(), shows: isTerminal(d.problems)}
}

// await returns when the next part may go, or when ctx ends.
func (p *progress) await(ctx context.Context, rate float64) error {
	if err := ctx.Err(); err != nil || rate == 0 {
		return err
	}
	due := p.began.Add(time.Duration(float64(p.done) / rate * float64(time.Second)))
	return pause.For(ctx, time.Until(due))
}

const barWidth = 24

func (p *progress) show(done int) {
	p.done = done
	if !p.shows || p.total == 0 {
		return
	}
	fmt.Fprintf(p.d.problems, "\r%s\x1b[K", bar(done, p.total, time.Since(p.began)))
}

// bar is how far it has come, how fast, and how long it will still take.
func bar(done, total int, took time.Duration) string {
	filled := barWidth * done / total
	text := fmt.Sprintf("[%s%s] %d/%d", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), done, total)
	if took > 0 && done > 0 {
		perSecond := float64(done) / took.Seconds()
		left := time.Duration(float64(total-done) / perSecond * float64(time.Second))
		text += fmt.Sprintf("  %.1f/s  %s left", perSecond, left.Round(time.Second))
	}
	return text
}

func (p *progress) end() {
	if p.shows {
		fmt.Fprintln(p.d.problems)
	}
}
