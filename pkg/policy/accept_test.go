package policy_test

import (
	"errors"
	"testing"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
)

const onlySales = "breakGlass: {accounts: [glass@contoso.example]}\nmethods: {sms: {state: disabled}}\n"

// What an operator took upon themselves is about the people whom they were shown.
func TestAcceptanceIsOfThePeopleShown(t *testing.T) {
	d := newDesk(contoso())
	p, err := d.plan(onlySales, "only-method")
	if err != nil || len(p.Refusals) > 0 {
		t.Fatal(p.Refusals, err)
	}
	d.People[2].Registration.Methods = []posture.Method{posture.MobilePhone} // ada, since the plan was made
	if _, err := d.apply(p); !errors.Is(err, policy.ErrRefused) || d.writes > 0 {
		t.Errorf("somebody who was not shown is accepted: %v, %d writes", err, d.writes)
	}
}

// A refusal is not taken out of a plan by taking it out of the file.
func TestRefusalsAreSealed(t *testing.T) {
	d := newDesk(contoso())
	p, err := d.plan("breakGlass: {none: lab}\nmethods: {voice: {state: enabled}}\nrollout: {stop: {openFlags: 0}}\n")
	if err != nil || len(p.Refusals) != 1 {
		t.Fatal(p.Refusals, err)
	}
	p.Refusals = nil
	if _, err := d.apply(p); !errors.Is(err, policy.ErrNotThisPlan) {
		t.Error(err)
	}
	p, err = d.plan(onlySales, "bob")
	if err != nil || len(p.Accepted) != 1 {
		t.Fatal(p.Accepted, err)
	}
	p.Accepted[0].People = []identity.UserID{"ada", "bob"}
	if _, err := d.apply(p); !errors.Is(err, policy.ErrNotThisPlan) {
		t.Error(err)
	}
}

// A tenant that does not tell states in bulk can be migrated all the same.
func TestStatesThatAreNotToldInBulk(t *testing.T) {
	s := contoso()
	for i := range s.People {
		s.People[i].PerUserMFA = posture.PerUserEnforced
	}
	for _, file := range []string{rollout, "breakGlass: {none: lab}\nperUserMfa: [{state: disabled, for: {groups: [IT]}}]\n"} {
		d := newDesk(clone(s))
		d.blind = true
		p, err := d.plan(file)
		if err != nil || len(p.Refusals) > 0 || p.Empty() {
			t.Fatal(p.Refusals, err)
		}
		if out, err := d.apply(p); err != nil || !out.Done() {
			t.Fatal(out, err)
		}
		if again, err := d.plan(file); err != nil || !again.Empty() {
			t.Error(titles(again), err)
		}
	}
}

// What is accepted must be somebody, or a code that may be.
func TestAcceptanceIsOfSomething(t *testing.T) {
	d := newDesk(contoso())
	for _, accept := range []string{"bobb@contoso.example", "only-methods", "break-glass", ""} {
		if _, err := d.plan(onlySales, accept); !errors.Is(err, policy.ErrAccept) {
			t.Errorf("%q: %v", accept, err)
		}
	}
}
