package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/queue"
	simgraph "mfaflow/pkg/sim/graph"
)

// mixed measures the worker on events of every kind.
func mixed(events int) func(context.Context, Bin) ([]Figure, error) {
	return func(ctx context.Context, bin Bin) ([]Figure, error) {
		var figures []Figure
		for _, latency := range []time.Duration{0, 50 * time.Millisecond} {
			for _, lanes := range []int{8, 32} {
				name := fmt.Sprintf("Graph %d ms, %d lanes", latency.Milliseconds(), lanes)
				r, err := mix(ctx, bin, events, lanes, latency)
				if err != nil {
					return figures, fmt.Errorf("%s: %w", name, err)
				}
				figures = append(figures,
					Figure{Name: name, Value: float64(len(r.ended)) / r.took.Seconds(), Unit: "events/s"},
					Figure{Name: fmt.Sprintf("  until %d events are done", len(r.ended)), Value: r.took.Seconds(), Unit: "s"},
					Figure{Name: "  processor time per event, worker", Value: milliseconds(r.worker), Unit: "ms"})
			}
		}
		return figures, nil
	}
}

func mix(ctx context.Context, bin Bin, events, lanes int, latency time.Duration) (r result, err error) {
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return r, err
	}
	messages, err := mixture(tenant, events)
	if err != nil {
		return r, err
	}
	s, err := openSite(ctx, tenant, latency, messages)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.work(ctx, bin, shift{lanes: lanes, events: len(messages), settings: []string{"MFAFLOW_LEAVER_GRACE=0s"}})
}

// saying is an event about somebody.
type saying struct {
	typ  event.Type
	data map[string]any
}

// mixture makes at least n events, and the people they are about. Of 20 events 10 are
// joiners, of whom two are cancelled; one in five changes an account for the worse, so
// that 10,000 stay within what the breaker can count.
func mixture(tenant *simgraph.Tenant, n int) ([]queue.Message, error) {
	join := saying{event.Joiner, joinerData("")}
	cancel := saying{event.Cancelled, map[string]any{"cancels": "joiner"}}
	leave := saying{event.Leaver, map[string]any{"immediate": true}}
	reset := saying{event.Reregister, map[string]any{"mode": "full", "requestedBy": "helpdesk@contoso.example"}}
	steal := saying{event.DeviceStolen, map[string]any{"requestedBy": "helpdesk@contoso.example"}}
	codes := saying{event.CodesNotReceived, map[string]any{"channel": "sms"}}
	risk := saying{event.RiskUser, map[string]any{"level": "low", "state": "atRisk"}}
	joiner := [][]saying{{join}, {join}, {join}, {join}, {join}, {join}, {join}, {join}, {join, cancel}, {join, cancel}}
	member := [][]saying{{leave}, {leave}, {reset}, {steal}, {codes}, {codes}, {risk}, {risk}}

	rounds := (n + 19) / 20
	joiners, err := populate(tenant, modelJoiner, rounds*len(joiner))
	if err != nil {
		return nil, err
	}
	members, err := populate(tenant, modelReset, rounds*len(member))
	if err != nil {
		return nil, err
	}
	var messages []queue.Message
	tell := func(u *simgraph.User, list []saying) error {
		for i, s := range list {
			data := map[string]any{"person": map[string]any{"employeeId": u.EmployeeID}}
			for k, v := range s.data {
				if k != "person" {
					data[k] = v
				}
			}
			m, err := eventOf(u, fmt.Sprintf("%s-%d", u.EmployeeID, i), s.typ, data)
			if err != nil {
				return err
			}
			messages = append(messages, m)
		}
		return nil
	}
	for round := range rounds {
		for i, list := range joiner {
			if err := tell(joiners[round*len(joiner)+i], list); err != nil {
				return nil, err
			}
		}
		for i, list := range member {
			if err := tell(members[round*len(member)+i], list); err != nil {
				return nil, err
			}
		}
	}
	return messages, nil
}
