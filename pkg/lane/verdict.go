package lane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/queue"
)

// Verdict says what becomes of an event. The zero value is invalid.
type Verdict struct {
	kind    verdictKind
	outcome ledger.Outcome
	reason  Reason
	detail  string
	until   time.Time
	after   time.Duration
	repeat  bool // the waiting list holds it already
	needs   int
	barred  []string
}

type verdictKind int

const (
	finished verdictKind = iota + 1
	planned
	retry
	held
	behind
	deadLettered
)

// Reason is a machine-readable reason from the closed lists below.
type Reason string

// Reasons for dead-lettering. events/README.md tells what to do about each.
const (
	BadEvent         Reason = "bad-event"
	Poison           Reason = "poison"
	LedgerUnreadable Reason = "ledger-unreadable"
	LedgerFull       Reason = "ledger-full"
	UnknownPerson    Reason = "unknown-person"
	UserNotFound     Reason = "user-not-found"
	Forbidden        Reason = "forbidden"
	OutOfScope       Reason = "out-of-scope"
	Refused          Reason = "refused-by-directory"
	BadCommand       Reason = "bad-command"
	PolicyRefused    Reason = "policy-refused"
)

// Reasons for holding and waiting. Those that a plan gives are in pkg/plan.
const (
	BelowFloor     Reason = "below-floor"
	NoRecipient    Reason = "no-recipient"
	DeliveryFailed Reason = "delivery-failed"
	NotProvisioned Reason = "not-provisioned"
	Unavailable    Reason = "directory-unavailable"
	BehindOther    Reason = "behind-another-event"
	BreakerTripped Reason = "breaker-tripped"
	BlockRefused   Reason = "block-refused"
	PlanChanged    Reason = "plan-changed"
)

// Finished ends the event with an outcome; detail is for people.
func Finished(outcome ledger.Outcome, detail string) Verdict {
	return Verdict{kind: finished, outcome: outcome, detail: detail}
}

// WaitUntil sets the event aside until it is due. Later events do not wait for it.
func WaitUntil(t time.Time, reason Reason, detail string) Verdict {
	return Verdict{kind: planned, until: t, reason: reason, detail: detail}
}

// Retry sets the event aside for after, or for a growing time when after is zero.
// Later events of no higher precedence wait behind it.
func Retry(after time.Duration, reason Reason, detail string) Verdict {
	return Verdict{kind: retry, after: after, reason: reason, detail: detail}
}

// Hold sets the event aside until an operator releases or drops it.
func Hold(reason Reason, detail string) Verdict {
	return Verdict{kind: held, reason: reason, detail: detail, needs: 1}
}

// Approved makes a Hold take n different operators, none of whom may be barred: a
// name (object id, user principal name, mail) of whom the event is about or of who
// asked for it.
func (v Verdict) Approved(n int, barred ...string) Verdict {
	v.needs = n
	for _, name := range barred {
		if name != "" {
			v.barred = append(v.barred, ledger.Digest(name))
		}
	}
	return v
}

// DeadLetter gives the event up; detail names the fix.
func DeadLetter(reason Reason, detail string) Verdict {
	return Verdict{kind: deadLettered, reason: reason, detail: detail}
}

// name is the verdict as the log shows it.
func (v Verdict) name() string {
	switch v.kind {
	case finished:
		return string(v.outcome)
	case deadLettered:
		return "dead-lettered"
	default:
		return "waiting: " + string(v.waitingKind())
	}
}

// String is the verdict with its reason and detail.
func (v Verdict) String() string {
	return strings.TrimRight(fmt.Sprintf("%s: %s: %s", v.name(), v.reason, v.detail), ": ")
}

// Why is the reason of a wait, a hold or a dead letter, and the detail for people.
func (v Verdict) Why() (Reason, string) { return v.reason, v.detail }

// Done reports whether the event is over.
func (v Verdict) Done() bool { return v.kind == finished }

// Retries reports whether the event comes again by itself because of a failure.
func (v Verdict) Retries() bool { return v.kind == retry }

func (v Verdict) waitingKind() ledger.Kind {
	switch v.kind {
	case planned:
		return ledger.Planned
	case retry:
		return ledger.Retry
	case held:
		return ledger.Held
	default:
		return ledger.Behind
	}
}

// Failed turns an answer of the directory into a verdict. The error is returned when
// it was the lane that failed, or the caller that gave up.
func Failed(ctx context.Context, err error) (Verdict, error) {
	var retry *identity.RetryError
	switch {
	case errors.Is(err, queue.ErrLockLost), ctx.Err() != nil:
		return Verdict{}, err
	case errors.As(err, &retry):
		return Retry(retry.After, Unavailable, err.Error()), nil
	case errors.Is(err, identity.ErrForbidden):
		return DeadLetter(Forbidden, err.Error()), nil
	case errors.Is(err, identity.ErrNotFound):
		return DeadLetter(UserNotFound, err.Error()), nil
	case errors.Is(err, identity.ErrRefused):
		return DeadLetter(Refused, err.Error()), nil
	default:
		return Retry(0, Unavailable, err.Error()), nil
	}
}

// Retry delays when nothing tells how long to wait: they double from first to last.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 15 * time.Minute
)

func backoff(attempt int) time.Duration {
	d := firstRetry
	for range attempt {
		if d *= 2; d >= lastRetry {
			return lastRetry
		}
	}
	return d
}
