package bench

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"mfaflow/pkg/stack"
)

const stackRuns = 5

// localStack is what make run does first: everything up, one joiner, one mail.
func localStack(ctx context.Context, bin Bin) ([]Figure, error) {
	var ready, delivered []time.Duration
	for range stackRuns {
		up, mail, err := oneJoiner(ctx, bin)
		if err != nil {
			return nil, err
		}
		ready, delivered = append(ready, up), append(delivered, mail)
	}
	return []Figure{
		Figure{Name: "start to ready", Value: milliseconds(quantile(ready, 0.5)), Unit: "ms"}.bounded(Under, 1000),
		Figure{Name: "joiner event to delivered pass", Value: milliseconds(quantile(delivered, 0.5)), Unit: "ms"}.bounded(Under, 1000),
	}, nil
}

func oneJoiner(ctx context.Context, bin Bin) (ready, delivered time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	began := time.Now()
	s, err := stack.Start(ctx, stack.Options{Bin: string(bin)})
	if err != nil {
		return 0, 0, err
	}
	defer s.Close() //nolint:errcheck // measured already
	ready = time.Since(began)
	start, err := s.Tomorrow()
	if err != nil {
		return 0, 0, err
	}
	statement, err := stack.JoinerEvent(stack.ModelJoiner, start)
	if err != nil {
		return 0, 0, err
	}
	began = time.Now()
	answer, err := s.Post(ctx, stack.Source, statement)
	if err != nil {
		return 0, 0, err
	}
	if answer.Status != http.StatusAccepted {
		return 0, 0, fmt.Errorf("hr-events answered %d", answer.Status)
	}
	_, err = s.Delivered(ctx, stack.ModelJoiner)
	return ready, time.Since(began), err
}
