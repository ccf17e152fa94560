package graph

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Pass is a Temporary Access Pass of a user. Its value is readable only in the answer
// that created it; the simulator compares with it in SignInWithPass.
type Pass struct {
	ID         string
	Created    time.Time
	Start      time.Time
	Lifetime   time.Duration
	UsableOnce bool
	Used       bool
	value      string
}

// End is the instant from which the pass is expired.
func (p Pass) End() time.Time { return p.Start.Add(p.Lifetime) }

// PassPolicy is the temporaryAccessPassAuthenticationMethodConfiguration. Times are minutes.
type PassPolicy struct {
	State           string   `json:"state"` // enabled or disabled
	DefaultLifetime int      `json:"defaultLifetimeInMinutes"`
	MinimumLifetime int      `json:"minimumLifetimeInMinutes"`
	MaximumLifetime int      `json:"maximumLifetimeInMinutes"`
	DefaultLength   int      `json:"defaultLength"`
	UsableOnce      bool     `json:"isUsableOnce"`
	IncludeTargets  []Target `json:"includeTargets"`
	ExcludeTargets  []Target `json:"excludeTargets"`
}

// Target is a user or group a policy includes or excludes; the id "all_users" is everybody.
type Target struct {
	TargetType             string `json:"targetType"`
	ID                     string `json:"id"`
	IsRegistrationRequired bool   `json:"isRegistrationRequired"`
}

const (
	allUsers = "all_users"

	shortestLifetime = 10    // minutes, of any pass
	longestLifetime  = 43200 // 30 days
	shortestPass     = 8
	longestPass      = 48
)

// defaultPassPolicy is what a new tenant has and what DELETE reverts to.
func defaultPassPolicy() PassPolicy {
	p := PassPolicy{State: "disabled", IncludeTargets: []Target{{TargetType: "group", ID: allUsers}}}
	p.fillDefaults()
	return p
}

func (p *PassPolicy) fillDefaults() {
	if p.State == "" {
		p.State = "disabled"
	}
	for _, f := range []struct {
		field *int
		value int
	}{{&p.DefaultLifetime, 60}, {&p.MinimumLifetime, 60}, {&p.MaximumLifetime, 480}, {&p.DefaultLength, 8}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
}

func (p PassPolicy) validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New("temporaryAccessPass: "+text))
		}
	}
	check(p.State == "enabled" || p.State == "disabled", "state must be enabled or disabled")
	check(p.MinimumLifetime >= shortestLifetime && p.MaximumLifetime <= longestLifetime, "lifetimes must be between 10 and 43200 minutes")
	check(p.MinimumLifetime <= p.DefaultLifetime && p.DefaultLifetime <= p.MaximumLifetime, "the default lifetime must lie between minimum and maximum")
	check(p.DefaultLength >= shortestPass && p.DefaultLength <= longestPass, "defaultLength must be between 8 and 48")
	for _, t := range append(append([]Target{}, p.IncludeTargets...), p.ExcludeTargets...) {
		check(t.TargetType == "user" || t.TargetType == "group", "targetType must be user or group")
	}
	return errors.Join(errs...)
}

// Why a pass cannot be used; the texts are Graph's methodUsabilityReason.
const (
	reasonEnabled     = "EnabledByPolicy"
	reasonDisabled    = "DisabledByPolicy"
	reasonExpired     = "Expired"
	reasonNotYetValid = "NotYetValid"
	reasonUsed        = "OneTimeUsed"
)

// allowsPass reports whether the policy lets u sign in with a pass.
func (d *directory) allowsPass(u *User) bool { return d.allows(u, passConfigurationID) }

// passReason is the methodUsabilityReason of u's pass at an instant. The order among
// reasons that hold together is assumed.
func (d *directory) passReason(u *User, now time.Time) string {
	p := u.pass
	switch {
	case !now.Before(p.End()):
		return reasonExpired
	case p.UsableOnce && p.Used:
		return reasonUsed
	case !d.allowsPass(u), d.Policies.TemporaryAccessPass.UsableOnce && !p.UsableOnce:
		return reasonDisabled
	case now.Before(p.Start):
		return reasonNotYetValid
	}
	return reasonEnabled
}

func (s *Server) renderPass(u *User, now time.Time, withValue bool) map[string]any {
	p := u.pass
	reason := s.dir.passReason(u, now)
	out := map[string]any{
		"@odata.type":           "#microsoft.graph.temporaryAccessPassAuthenticationMethod",
		"id":                    p.ID,
		"temporaryAccessPass":   nil,
		"createdDateTime":       p.Created,
		"startDateTime":         p.Start,
		"lifetimeInMinutes":     int(p.Lifetime / time.Minute),
		"isUsableOnce":          p.UsableOnce,
		"isUsable":              reason == reasonEnabled,
		"methodUsabilityReason": reason,
	}
	if withValue {
		out["temporaryAccessPass"] = p.value
	}
	return out
}

func (s *Server) listPasses(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var value []map[string]any
	if u.pass != nil {
		value = append(value, s.renderPass(u, r.now, false))
	}
	return list(r, methodContext(u, "temporaryAccessPassMethods"), value), nil
}

func (s *Server) getPass(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	if u.pass == nil || !strings.EqualFold(u.pass.ID, r.params["method"]) {
		return response{}, errMethodNotFound()
	}
	return ok(withContext(r, u, "temporaryAccessPassMethods/$entity", s.renderPass(u, r.now, false))), nil
}

func (s *Server) deletePass(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	if u.pass == nil || !strings.EqualFold(u.pass.ID, r.params["method"]) {
		return response{}, errMethodNotFound()
	}
	u.pass = nil
	return noContent(), nil
}

// createPass issues a pass; a pass that exists is replaced, valid or not. The value is
// in this answer and nowhere else.
func (s *Server) createPass(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var body struct {
		Type       *string `json:"@odata.type"`
		Start      *string `json:"startDateTime"`
		Lifetime   *int    `json:"lifetimeInMinutes"`
		UsableOnce *bool   `json:"isUsableOnce"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if u.external() {
		return response{}, errMethod("Temporary Access Pass cannot be added to an external guest user.")
	}
	policy := s.dir.Policies.TemporaryAccessPass
	if policy.State != "enabled" || !s.dir.allowsPass(u) && s.dir.Behaviour.PassOutsidePolicy == PassRejected {
		return response{}, errMethod("Converged UserCredentialPolicy does not allow creating or updating this authentication method. AuthMethodType [TemporaryAccessPass].")
	}
	p := &Pass{ID: s.newID(), Created: r.now, Start: r.now, Lifetime: time.Duration(policy.DefaultLifetime) * time.Minute, UsableOnce: policy.UsableOnce}
	if body.Start != nil {
		start, err := time.Parse(time.RFC3339Nano, *body.Start)
		if err != nil {
			return response{}, errBadRequest("Cannot convert the literal '%s' to the expected type 'Edm.DateTimeOffset'.", *body.Start)
		}
		if start.Before(r.now) { // observed: msgraph-sdk-dotnet#2724
			return response{}, errMethod("Invalid StartDateTime specified. It can not be a time in the past.")
		}
		p.Start = start.UTC()
	}
	if body.Lifetime != nil {
		if *body.Lifetime < policy.MinimumLifetime || *body.Lifetime > policy.MaximumLifetime { // observed: microsoft-graph-docs#12187
			return response{}, errMethod("Invalid LifetimeInMinutes specified. The valid range between %d and %d.", policy.MinimumLifetime, policy.MaximumLifetime)
		}
		p.Lifetime = time.Duration(*body.Lifetime) * time.Minute
	}
	if body.UsableOnce != nil {
		if policy.UsableOnce && !*body.UsableOnce { // text assumed
			return response{}, errMethod("Invalid IsUsableOnce specified. The policy allows one-time passes only.")
		}
		p.UsableOnce = *body.UsableOnce
	}
	p.value = s.newPassValue(policy.DefaultLength)
	u.pass = p
	s.dir.passValues = append(s.dir.passValues, p.value)
	return created(withContext(r, u, "temporaryAccessPassMethods/$entity", s.renderPass(u, r.now, true))), nil
}

// newPassValue draws from letters, digits and symbols, as Graph's examples show, without
// characters that are easily confused.
func (s *Server) newPassValue(length int) string {
	const alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789+*^%&!#@$="
	var b strings.Builder
	for b.Len() < length {
		b.WriteByte(alphabet[s.randomBytes(1)[0]%byte(len(alphabet))])
	}
	return b.String()
}

// Reasons why SignInWithPass refuses.
var (
	ErrNoSuchUser      = errors.New("no such user")
	ErrAccountDisabled = errors.New("the account is disabled")
	ErrWrongPass       = errors.New("wrong Temporary Access Pass, or the user has none")
	ErrPassPolicy      = errors.New("Temporary Access Pass sign in was blocked due to User Credential Policy")
	ErrPassExpired     = errors.New("the Temporary Access Pass has expired")
	ErrPassNotYetValid = errors.New("the Temporary Access Pass is not valid yet")
)

// SignInWithPass tries to sign the user (object id or userPrincipalName) in with a pass
// now, as Entra would: nil means the person is in, and a one-time pass is then used up.
// Each attempt is in the sign-in log.
func (s *Server) SignInWithPass(user, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now().UTC()
	u := s.dir.user(user)
	refuse := func(code int, err error) error {
		s.logSignIn(&SignIn{User: user, Time: &now, Code: code, App: "My Sign-Ins"})
		return fmt.Errorf("sign in %s: %w", user, err)
	}
	switch {
	case u == nil:
		return refuse(codeWrong, ErrNoSuchUser)
	case !u.AccountEnabled:
		return refuse(codeDisabled, ErrAccountDisabled)
	case u.pass == nil || u.pass.value != value:
		return refuse(codePassRefused, ErrWrongPass)
	}
	switch s.dir.passReason(u, now) {
	case reasonDisabled, reasonUsed:
		return refuse(codePassPolicy, ErrPassPolicy)
	case reasonExpired:
		return refuse(codePassRefused, ErrPassExpired)
	case reasonNotYetValid:
		return refuse(codePassRefused, ErrPassNotYetValid)
	}
	u.pass.Used = true
	s.signedIn(u, now)
	return nil
}
