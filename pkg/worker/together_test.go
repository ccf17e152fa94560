package worker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestTogetherGivesTheFirstErrorInOrder(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	failed := make(chan struct{})
	err := together(
		func() error { return nil },
		func() error { <-failed; return first },
		func() error { defer close(failed); return second },
	)
	if !errors.Is(err, first) {
		t.Errorf("%v, want the error of the earlier read although it came later", err)
	}
	if err := together(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// A read that panics must end its own event and not the process, and not before the
// others have stopped writing.
func TestTogetherPanicsInTheCaller(t *testing.T) {
	panicked, other := make(chan struct{}), false
	defer func() {
		p := fmt.Sprint(recover())
		if !strings.Contains(p, "broken answer") || !strings.Contains(p, "together_test.go") {
			t.Errorf("recovered %q, want the cause and where it was", p)
		}
		if !other {
			t.Error("the caller went on before every read had ended")
		}
	}()
	err := together(
		func() error { <-panicked; other = true; return errors.New("slow") },
		func() error { defer close(panicked); panic("broken answer") },
	)
	t.Errorf("returned %v, want a panic", err)
}
