package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/stack"
)

// perStory is how long the effects of one story may take to show.
const perStory = 10 * time.Second

// playAll plays a story for every event type. It fails with the first whose effects
// do not show: later ones build on earlier ones.
func (l *local) playAll(ctx context.Context) error {
	stories, err := stack.Stories()
	if err != nil {
		return err
	}
	began := time.Now()
	types, effects := map[event.Type]bool{}, 0
	for _, x := range stories {
		from := ""
		if x.Source != "" {
			from = " (" + x.Source + ")"
		}
		fmt.Fprintf(l.out, "\n%s%s: %s\n", x.Type, from, x.Title)
		if err := l.playStory(ctx, x); err != nil {
			return hint(err, "look at the lines above, or at more of them with --set MFAFLOW_LOG_LEVEL=DEBUG")
		}
		for _, e := range x.Effects {
			fmt.Fprintf(l.out, "      ok  %s\n", e.Title)
		}
		types[x.Type] = true
		effects += len(x.Effects)
	}
	fmt.Fprintf(l.out, "\n%d stories of %d event types, %d effects seen, in %.1f s\n", len(stories), len(types), effects, time.Since(began).Seconds())
	return nil
}

// playStory plays one story and waits until the worker has said its last word about
// it, so that the lines of two stories do not mix.
func (l *local) playStory(ctx context.Context, x stack.Story) error {
	ctx, cancel := context.WithTimeoutCause(ctx, perStory, fmt.Errorf("not within %s", perStory))
	defer cancel()
	playing, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	person, _ := l.Find(x.Person)
	lane := person.ID
	if x.Type.IsTenantWide() {
		lane = event.TenantLane
	}
	l.trail.follow("identity-worker", lane, string(x.Type))
	l.trail.forget()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case o := <-l.trail.settled:
				if o.Lane != lane || o.Type != string(cmp.Or(x.Becomes, x.Type)) {
					continue
				}
				if o.Outcome != string(ledger.Done) && !strings.HasPrefix(o.Outcome, "waiting") {
					giveUp(fmt.Errorf("the worker's verdict is %q", o.Outcome))
				}
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	_, err := l.Play(playing, x)
	if err != nil {
		cancel()
	}
	<-ended
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: the event does not come to its end: %w", x.Type, context.Cause(ctx))
	}
	return err
}
