package policy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

const clearing = "breakGlass: {none: lab}\nperUserMfa: [{state: disabled, for: {all: true}}]\n"

// crowd is a tenant of 1,405 people with per-user MFA, which it does not tell in bulk. Every
// question for one of them takes two seconds.
func crowd(t *testing.T) (d *desk, asked *int) {
	t.Helper()
	s := contoso()
	for i := range 1400 {
		s.People = append(s.People, person(fmt.Sprintf("30000000-0000-4000-8000-%012d", i), posture.AuthenticatorPush))
	}
	for i := range s.People {
		s.People[i].PerUserMFA = posture.PerUserEnforced
	}
	d, asked = newDesk(s), new(int)
	d.blind = true
	d.asking = func(users []identity.UserID) error {
		*asked += len(users)
		d.now = d.now.Add(time.Duration(len(users)) * 2 * time.Second)
		return nil
	}
	d.reads = &policy.Reads{
		Store: d.store, Now: func() time.Time { return d.now }, Pace: 2 * time.Second,
		Sleep: func(_ context.Context, w time.Duration) error { d.slept = append(d.slept, w); return nil },
	}
	return d, asked
}

// Nobody waits for hours without having said so, and everybody is told how to say so.
func TestManyReadsAreAskedFor(t *testing.T) {
	d, asked := crowd(t)
	p, err := d.plan(clearing)
	if err != nil || len(p.Refusals) != 1 || p.Refusals[0].Code != policy.RefuseFact || *asked > 0 {
		t.Fatal(p.Refusals, *asked, err)
	}
	if want := "to read it of 1405 people one by one takes about 47m by Microsoft's limits: mfaflow policy plan --per-user-reads"; !strings.Contains(p.Refusals[0].Detail, want) {
		t.Errorf("%s, want %s", p.Refusals[0].Detail, want)
	}
	d.reads.Many = true
	var last time.Duration
	tells := 0
	d.reads.Progress = func(done, all int, left time.Duration) {
		if tells++; all != 1405 || left != time.Duration(all-done)*2*time.Second {
			t.Errorf("%d of %d, %s left", done, all, left)
		}
		last = left
	}
	p, err = d.plan(clearing)
	if err != nil || len(p.Refusals) > 0 || p.Empty() || *asked != 1405 || tells != 71 || last != 10*time.Second {
		t.Fatal(p.Refusals, *asked, tells, last, err)
	}
	// Without having been asked to it knows what was read, and reads what it writes.
	d.reads.Many = false
	*asked = 0
	out, err := d.apply(p)
	if err != nil || !out.Done() || *asked != 1405 {
		t.Error(out, *asked, err)
	}
	for i := range d.People {
		if d.People[i].PerUserMFA != posture.PerUserDisabled {
			t.Fatal(d.People[i].ID)
		}
	}
}

// What was read before an end is not read again, for as long as it is good.
func TestReadsGoOn(t *testing.T) {
	d, asked := crowd(t)
	d.reads.Many = true
	before := d.asking
	d.asking = func(users []identity.UserID) error {
		if *asked >= 700 {
			return errKilled
		}
		return before(users)
	}
	if _, err := d.plan(clearing); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	d.asking = before
	*asked = 0
	p, err := d.plan(clearing)
	if err != nil || len(p.Refusals) > 0 || *asked != 705 {
		t.Fatal(p.Refusals, *asked, err)
	}
	*asked = 0
	if _, err := d.plan(clearing); err != nil || *asked != 0 {
		t.Error(*asked, err)
	}
	d.now = d.now.Add(73 * time.Hour)
	if _, err := d.plan(clearing); err != nil || *asked != 1405 {
		t.Error(*asked, err)
	}
	// Another tenant's states are nobody's here.
	d.Tenant.ID, *asked = "fabrikam", 0
	if _, err := d.plan(clearing); err != nil || *asked != 1405 {
		t.Error(*asked, err)
	}
}

// The directory's wish to wait is granted, not for ever.
func TestReadsWait(t *testing.T) {
	d, _ := crowd(t)
	d.reads.Many = true
	busy := 3
	before := d.asking
	d.asking = func(users []identity.UserID) error {
		if busy--; busy >= 0 {
			return &identity.RetryError{After: 9 * time.Second, Err: errors.New("429")}
		}
		return before(users)
	}
	if p, err := d.plan(clearing); err != nil || len(p.Refusals) > 0 || len(d.slept) != 3 || d.slept[0] != 9*time.Second {
		t.Error(p.Refusals, d.slept, err)
	}
	d, _ = crowd(t)
	d.reads.Many = true
	d.asking = func([]identity.UserID) error { return &identity.RetryError{Err: errors.New("503")} }
	if _, err := d.plan(clearing); !errors.As(err, new(*identity.RetryError)) || len(d.slept) != 8 {
		t.Error(err, d.slept)
	}
}

// Whom somebody else has changed since they were read ends the run before they are written.
func TestReadsAreNotTheLastWord(t *testing.T) {
	d, _ := crowd(t)
	d.reads.Many = true
	p, err := d.plan(clearing)
	if err != nil || len(p.Refusals) > 0 {
		t.Fatal(p.Refusals, err)
	}
	d.People = append(d.People, person("40000000-0000-4000-8000-000000000001", posture.MobilePhone)) // who came since
	d.People[700].PerUserMFA = posture.PerUserEnabled
	if _, err := d.apply(p); !errors.Is(err, policy.ErrChanged) {
		t.Error(err)
	}
}
