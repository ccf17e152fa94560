package graph

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Users are copies of all people, in order of id.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]User, 0, len(s.dir.Users))
	for _, u := range s.dir.Users {
		out = append(out, *u.clone())
	}
	return out
}

// User is a copy of one person, by object id or userPrincipalName.
func (s *Server) User(key string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil {
		return User{}, false
	}
	return *u.clone(), true
}

// Methods are the registered methods of a person, without the password and the pass.
func (s *Server) Methods(key string) []Method {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil {
		return nil
	}
	out := make([]Method, 0, len(u.Methods))
	for _, m := range u.Methods {
		out = append(out, *m.clone())
	}
	return out
}

// Passes are the passes of a person: none or one, valid or not.
func (s *Server) Passes(key string) []Pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil || u.pass == nil {
		return nil
	}
	p := *u.pass
	p.value = ""
	return []Pass{p}
}

// PassReason is the methodUsabilityReason of the person's pass now; empty without a pass.
func (s *Server) PassReason(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil || u.pass == nil {
		return ""
	}
	return s.dir.passReason(u, s.clock.Now())
}

// IssuedPassValues are the values of all passes ever issued, for a test that searches
// for leaks.
func (s *Server) IssuedPassValues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dir.passValues)
}

// Mailbox are the messages of an address, oldest first: inbox and sent items.
func (s *Server) Mailbox(address string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(address)
	if u := s.dir.byAddress[key]; u != nil {
		key = strings.ToLower(u.Mail)
	}
	return slices.Clone(s.dir.mailboxes[key])
}

// Mailboxes are the addresses that hold mail.
func (s *Server) Mailboxes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for a := range s.dir.mailboxes {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// Mutate changes the tenant in one step, e.g. as an administrator or a directory sync
// would between two calls. The function must not call the server.
func (s *Server) Mutate(change func(*Tenant)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changedBy(func() {
		change(s.dir.Tenant)
		s.dir.reindex()
	})
}

// User finds a person inside Mutate, by object id or userPrincipalName; nil if absent.
func (t *Tenant) User(key string) *User {
	for _, u := range t.Users {
		if strings.EqualFold(u.ID, key) || strings.EqualFold(u.UserPrincipalName, key) {
			return u
		}
	}
	return nil
}

// Provision creates the account of someone who is in notYetProvisioned, as HR-driven
// provisioning would, and returns it.
func (s *Server) Provision(employeeID string) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, u := range s.dir.NotYetProvisioned {
		if u.EmployeeID != employeeID {
			continue
		}
		now := s.clock.Now().UTC().Truncate(time.Second)
		u.CreatedDateTime = &now
		s.dir.NotYetProvisioned = slices.Delete(s.dir.NotYetProvisioned, i, i+1)
		s.dir.Users = append(s.dir.Users, u)
		s.dir.reindex()
		s.changed(u.ID, userCreated)
		return *u.clone(), nil
	}
	return User{}, fmt.Errorf("provision %s: nobody with this employee id waits for an account", employeeID)
}

// RegisterMethod adds a method as if the person had registered it now. The first one
// that can serve as a second factor becomes the default. A per-user MFA state of enabled
// becomes enforced by it (Entra, "Enable per-user multifactor authentication", states).
func (s *Server) RegisterMethod(key string, m Method) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil {
		return fmt.Errorf("register method for %s: %w", key, ErrNoSuchUser)
	}
	if m.ID == "" {
		m.ID = s.newID()
	}
	if m.CreatedDateTime == nil {
		now := s.clock.Now().UTC()
		m.CreatedDateTime = &now
	}
	u.Methods = append(u.Methods, m.clone())
	if u.DefaultMethod == "" && secondFactor(m.Kind) {
		u.DefaultMethod = m.ID
	}
	if u.PerUserMFA == "enabled" && strong(&m) {
		u.PerUserMFA = "enforced"
	}
	return nil
}

// secondFactor reports whether a kind can be the default second factor.
func secondFactor(kind string) bool {
	switch kind {
	case "phone", "microsoftAuthenticator", "softwareOath", "hardwareOath":
		return true
	}
	return false
}

// SetThrottle replaces the throttling settings and forgets what was used so far.
func (s *Server) SetThrottle(t Throttle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle = throttle{config: t, used: make(map[string]*window)}
}

// SetLatency delays every answer by d of the server's clock; a $batch by d per step of
// its longest dependsOn chain.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// ExpireTokens makes every access token issued so far invalid.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokenKey = s.randomBytes(32)
}

// App returns the credentials of an app registration named in the tenant file; empty
// strings if there is none of that name.
func (s *Server) App(name string) (clientID, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.dir.Apps {
		if a.Name == name {
			return a.ClientID, a.ClientSecret
		}
	}
	return "", ""
}
