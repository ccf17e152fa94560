package operate

import (
	"fmt"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/ledger"
	"mfaflow/pkg/plan"
)

// laneState is what operators see of a ledger; nil for none, and for one that was never
// written.
func laneState(l *ledger.Ledger) *LaneState {
	if l == nil || l.Generation == 0 {
		return nil
	}
	s := &LaneState{Generation: l.Generation, Floor: l.Floor, Statement: statement(l.Statement), Applied: statement(l.Applied)}
	for _, h := range l.Handled {
		s.Handled = append(s.Handled, Handled{h.Key, string(h.Outcome)})
	}
	for _, w := range l.Waiting {
		s.Waiting = append(s.Waiting, Waiting{
			Key: w.Key, Type: string(w.Type), Kind: string(w.Kind), Reason: w.Reason, Until: w.Until, Sequence: w.Sequence,
			Attempt: w.Attempt, Approvals: w.Approvals, Needs: w.Needs,
		})
	}
	if l.Block != nil {
		s.BlockedFor, s.BlockedAt = string(l.Block.For), l.Block.At
	}
	if p := l.Pass; p != nil {
		s.Pass = &PassState{StartsAt: p.StartsAt, EndsAt: p.EndsAt, Delivered: p.Delivered, Channel: p.Channel}
	}
	return s
}

func statement(s *ledger.Statement) string {
	if s == nil {
		return ""
	}
	text := string(s.Type)
	switch {
	case s.Immediate:
		text += ", at once"
	case !s.StartDate.IsZero():
		text += " " + s.StartDate.String()
	case !s.LastDay.IsZero():
		text += " " + s.LastDay.String()
	}
	return text
}

// tenantState is what operators see of a person in the directory; nil when there is no
// such account.
func tenantState(user identity.UserID, t *plan.Tenant, reveal bool) *TenantState {
	if t == nil || t.Account == nil {
		return nil
	}
	a := t.Account
	s := &TenantState{
		UserID: user, DisplayName: hide(a.DisplayName, reveal), UserPrincipalName: hide(a.UserPrincipalName, reveal),
		EmployeeID: hide(a.EmployeeID, reveal), Enabled: a.Enabled, Synced: a.Synced, Guest: a.Guest, LastSignIn: a.LastSignIn,
		Methods: []string{}, PassPolicy: policy(user, t),
	}
	for _, m := range t.Methods {
		s.Methods = append(s.Methods, string(m.Kind))
	}
	for _, p := range t.Passes {
		s.Passes = append(s.Passes, PassState{StartsAt: p.StartsAt, EndsAt: p.EndsAt(), Usable: p.Usable})
	}
	s.Roles = append(s.Roles, t.ActiveRoles...)
	for _, r := range t.EligibleRoles {
		s.Roles = append(s.Roles, r+" (eligible)")
	}
	if t.Risk != nil {
		s.RiskLevel, s.RiskState = string(t.Risk.Level), string(t.Risk.State)
	}
	return s
}

// policy says in plain words what the pass policy means for the person.
func policy(user identity.UserID, t *plan.Tenant) string {
	p := t.Policy
	switch {
	case !p.Enabled:
		return "Temporary Access Passes are disabled in the authentication methods policy."
	case t.Account.External:
		return "The account belongs to another tenant and can have no Temporary Access Pass here."
	case !p.Covers(user, t.Membership.Groups):
		return "The pass policy does not cover this person."
	}
	text := fmt.Sprintf("The pass policy covers this person; passes last %s to %s", span(p.MinLifetime), span(p.MaxLifetime))
	if p.OneTime {
		text += " and work once"
	}
	return text + "."
}

// span is a duration without what is zero of it: 8h, 10m.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
