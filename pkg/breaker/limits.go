package breaker

import (
	"errors"
	"fmt"
	"time"
)

// Class is the kind of a destructive effect. The zero value is invalid.
type Class string

// The classes. All but ImmediateLeaver share one limit.
const (
	Leaver         Class = "leaver"
	Reregistration Class = "re-registration"
	Compromise     Class = "compromise"
	// ImmediateLeaver has a limit of its own, so that shutting people out who must
	// leave at once neither waits for the rest nor stops it.
	ImmediateLeaver Class = "immediate-leaver"
)

// Classes lists all classes.
func Classes() []Class { return []Class{Leaver, Reregistration, Compromise, ImmediateLeaver} }

func (c Class) valid() bool {
	switch c {
	case Leaver, Reregistration, Compromise, ImmediateLeaver:
		return true
	default:
		return false
	}
}

// shares reports whether both classes count towards the same limit.
func (c Class) shares(other Class) bool { return (c == ImmediateLeaver) == (other == ImmediateLeaver) }

// budget names what is counted together.
func (c Class) budget() string {
	if c == ImmediateLeaver {
		return "immediate leavers"
	}
	return "destructive changes"
}

// Limits say how much is let through without an operator.
type Limits struct {
	// Window is the length of the sliding window, from MinWindow to MaxWindow.
	Window time.Duration
	// Count and Percent bound leavers, re-registrations and compromise together:
	// the lower of the two holds. Percent is of the people of a request, rounded
	// down, yet never less than one person; 0 means no share.
	Count, Percent int
	// ImmediateCount and ImmediatePercent bound immediate leavers in the same way.
	// They are never lower than the others.
	ImmediateCount, ImmediatePercent int
}

// Bounds of the limits.
const (
	MinWindow = time.Minute
	MaxWindow = 7 * 24 * time.Hour
	// MaxCount bounds either count, so that both together stay within Capacity.
	MaxCount = Capacity / 2
	// Capacity is how many reservations the window holds, released ones included.
	// It keeps the state under 48 KiB.
	Capacity = 3000
)

// skew is how far the clocks of two workers may be apart.
const skew = time.Minute

// check refuses limits that would let everything or nothing through by mistake.
func (l Limits) check() error {
	var problems []error
	add := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("breaker limits: "+format, args...))
		}
	}
	add(l.Window >= MinWindow && l.Window <= MaxWindow, "window %s is not between %s and %s", l.Window, MinWindow, MaxWindow)
	add(l.Count >= 1 && l.Count <= MaxCount, "count %d is not between 1 and %d", l.Count, MaxCount)
	add(l.ImmediateCount >= l.Count && l.ImmediateCount <= MaxCount, "immediate count %d is not between the count and %d", l.ImmediateCount, MaxCount)
	add(l.Percent >= 0 && l.Percent <= 100, "percentage %d is not between 0 and 100", l.Percent)
	add(l.ImmediatePercent == 0 || l.ImmediatePercent >= l.Percent && l.ImmediatePercent <= 100,
		"immediate percentage %d is neither 0 nor between the other and 100", l.ImmediatePercent)
	return errors.Join(problems...)
}

// share is the limit and the percentage for a class.
func (l Limits) share(c Class) (count, percent int) {
	if c == ImmediateLeaver {
		return l.ImmediateCount, l.ImmediatePercent
	}
	return l.Count, l.Percent
}

// Of is how many of the class's budget are let through in a tenant of people.
func (l Limits) Of(c Class, people int) int {
	count, percent := l.share(c)
	if percent == 0 || people == 0 {
		return count
	}
	return min(count, max(1, people/100*percent+people%100*percent/100))
}

// admissible refuses requests that cannot be judged.
func (l Limits) admissible(r Request) error {
	_, percent := l.share(r.Class)
	switch {
	case r.Key == "":
		return errors.New("breaker: a request without an event key")
	case !r.Class.valid():
		return fmt.Errorf("breaker: class %q is none of %v", r.Class, Classes())
	case r.People < 0, r.People == 0 && percent > 0 && !r.Released:
		return fmt.Errorf("breaker: %d people cannot be taken a share of", r.People)
	default:
		return nil
	}
}

// retention is how long a reservation is kept: long enough that it is never let go
// early by a clock that is ahead.
func (l Limits) retention() time.Duration { return l.Window + skew }

// width is the span of time that is counted and forgotten together. Reservations
// are kept up to so much longer than they have to.
func (l Limits) width() time.Duration { return l.Window / 32 }
