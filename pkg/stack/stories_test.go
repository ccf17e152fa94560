package stack_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/event"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/stack"
)

func stories(t *testing.T) []stack.Story {
	t.Helper()
	all, err := stack.Stories()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryTypeHasAStory(t *testing.T) {
	told := map[event.Type]bool{}
	for _, x := range stories(t) {
		told[x.Type] = true
		if len(x.Effects) == 0 {
			t.Errorf("%s: %s has no effect", x.Type, x.Title)
		}
	}
	for _, typ := range event.Types() {
		if !told[typ] {
			t.Errorf("no story tells of %s", typ)
		}
	}
}

// The HR systems of the catalogue tell stories, and nobody tells one who is not in it. A
// system that is new may go without, so that adding one takes no code.
func TestSystemsTellStories(t *testing.T) {
	known, told := mapping.Systems(), map[string]bool{}
	for _, x := range stories(t) {
		if x.Source == "" {
			continue
		}
		if told[x.Source] = true; !slices.Contains(known, x.Source) || x.Payload == "" {
			t.Errorf("%s: told by %s, with the payload %q", x.Title, x.Source, x.Payload)
		}
	}
	for _, system := range []string{"bamboohr", "hibob", "personio", "gusto", "deel", "humi", "scim", "workday", "successfactors", "generic"} {
		if !told[system] {
			t.Errorf("no story of %s", system)
		}
	}
}

// Every event type runs from a signed webhook to its effect, on the built functions.
func TestStories(t *testing.T) {
	s, lines := start(t, stack.StorySettings()...)
	for _, x := range stories(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := s.Play(ctx, x); err != nil {
			t.Errorf("%s: %v", x.Title, err)
		}
		cancel()
	}
	values := s.Graph.IssuedPassValues()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Log(lines.all())
	}
	if _, err := audit.Verify(strings.NewReader(lines.of("identity-worker"))); err != nil {
		t.Error(err)
	}
	for _, value := range values {
		if strings.Contains(lines.all(), value) {
			t.Error("a pass shows in the logs")
		}
	}
}

// A story whose effect is missing fails and says what is missing.
func TestStoryWithoutItsEffect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	reported := errors.New("the worker did nothing")
	s, err := stack.Start(ctx, stack.Options{
		Bin: build(t), Environment: os.Environ(), Settings: append(stack.StorySettings(), "MFAFLOW_REPORT_ONLY=true"),
		Each: func(from string, line []byte) {
			if from == "identity-worker" && strings.Contains(string(line), `"msg":"event"`) {
				giveUp(reported)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = s.Play(waiting, stories(t)[0])
	if !errors.Is(err, stack.ErrNoEffect) || !errors.Is(err, reported) || !strings.Contains(err.Error(), "a pass is in the manager's mailbox") {
		t.Errorf("got %v", err)
	}
}
