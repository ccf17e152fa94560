package notify

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// propPrefix begins the names of the properties that hold the progress of a flag;
// the name of a channel follows.
const propPrefix = "mfaflow-notify-"

// state is how far a flag has come on one channel. The zero value stands for a
// channel that nothing was written about.
type state string

const (
	untried   state = "untried"
	told      state = "told"
	retrying  state = "retry"
	refused   state = "refused"
	exhausted state = "exhausted"
)

// step is what is known of a flag on one channel. Its text is the state, and for
// retry the number of attempts and the due time as well: "retry 3 2026-11-23T08:00:00Z".
type step struct {
	state    state
	attempts int
	due      time.Time
}

func (s step) String() string {
	if s.state == retrying {
		return fmt.Sprintf("%s %d %s", s.state, s.attempts, s.due.UTC().Format(time.RFC3339Nano))
	}
	return string(s.state)
}

// errProgress quotes nothing: anybody who may send to the queue could have written it.
var errProgress = errors.New("a property " + propPrefix + "<channel> says nothing that is known")

func parseStep(text string) (step, error) {
	switch s := state(text); s {
	case untried, told, refused, exhausted:
		return step{state: s}, nil
	case retrying:
		return step{}, errProgress // its numbers are missing
	}
	parts := strings.Split(text, " ")
	if len(parts) != 3 || state(parts[0]) != retrying {
		return step{}, errProgress
	}
	attempts, err := strconv.Atoi(parts[1])
	due, dueErr := time.Parse(time.RFC3339Nano, parts[2])
	if err != nil || dueErr != nil || attempts < 1 {
		return step{}, errProgress
	}
	return step{state: retrying, attempts: attempts, due: due}, nil
}

// progress is the step of each channel, by its name. It may name channels that are
// no longer configured: they are kept and not counted.
type progress map[string]step

func readProgress(properties map[string]string) (progress, error) {
	p := progress{}
	for name, text := range properties {
		channel, ok := strings.CutPrefix(name, propPrefix)
		if !ok {
			continue
		}
		s, err := parseStep(text)
		if err != nil {
			return nil, err
		}
		p[channel] = s
	}
	return p, nil
}

func (p progress) properties() map[string]string {
	properties := make(map[string]string, len(p))
	for channel, s := range p {
		properties[propPrefix+channel] = s.String()
	}
	return properties
}

// afresh forgets every failure.
func (p progress) afresh() {
	for channel, s := range p {
		if s.state != told {
			p[channel] = step{state: untried}
		}
	}
}

// due reports whether the channel is to be tried now.
func (p progress) due(channel string, now time.Time) bool {
	switch s := p[channel]; s.state {
	case told, refused, exhausted:
		return false
	case retrying:
		return !now.Before(s.due)
	default:
		return true
	}
}

// over reports whether no channel is left to try.
func (p progress) over(channels []Channel) bool {
	return !slices.ContainsFunc(channels, func(c Channel) bool {
		s := p[c.Name()].state
		return s != told && s != refused && s != exhausted
	})
}

// any reports whether some channel is in the state, configured or not.
func (p progress) any(s state) bool {
	for _, x := range p {
		if x.state == s {
			return true
		}
	}
	return false
}

// next is when the first channel is to be tried again, a little ahead of now at least.
func (p progress) next(channels []Channel, now time.Time) time.Time {
	var next time.Time
	for _, c := range channels {
		if s := p[c.Name()]; s.state == retrying && (next.IsZero() || s.due.Before(next)) {
			next = s.due
		}
	}
	if soonest := now.Add(time.Second); next.Before(soonest) {
		return soonest
	}
	return next
}

// verdict is why a flag that nobody was told about is dead-lettered, and what to do.
func (p progress) verdict(channels []Channel) (Reason, string) {
	reason := NotifyRefused
	for _, c := range channels {
		if p[c.Name()].state == exhausted {
			reason = NotifyExhausted
		}
	}
	fix := "correct the channel's address or permission"
	if reason == NotifyExhausted {
		fix = "see that the channel is in order"
	}
	return reason, p.summary(channels) + "; " + fix + ", then replay the flag"
}

// summary names each channel with its state.
func (p progress) summary(channels []Channel) string {
	var parts []string
	for _, c := range channels {
		s := p[c.Name()].state
		if s == "" {
			s = untried
		}
		parts = append(parts, c.Name()+" "+string(s))
	}
	return strings.Join(parts, ", ")
}
