package stack

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	simgraph "mfaflow/pkg/sim/graph"
	simhr "mfaflow/pkg/sim/hr"
)

// Story is one event on its way from a signed webhook, or from what happens in the
// tenant, to its effect on the tenant.
type Story struct {
	Type event.Type
	// Becomes is the type that an employee.ref comes to; empty for all others.
	Becomes event.Type
	// Title says in plain words what is reported of whom.
	Title string
	// Person is an employee id or a user principal name: whom the event is about, or, when
	// it is about the tenant, who asks for it.
	Person string
	// Data is what the event says beside the person.
	Data map[string]any
	// Source is who reports it; empty is the demo source of the type's family.
	Source string
	// Payload is the case of the catalogue (hr/<source>/<case>.json) that is sent in place
	// of a CloudEvent, and Replace what is put in place of its ids and times: old and new
	// texts in turn.
	Payload string
	Replace []string
	// Effects must all show, in any order.
	Effects []Effect

	// before sets the scene.
	before func(*Stack, simgraph.User) error
	// happens is what Microsoft Graph tells, or is asked about; nobody posts an event then.
	happens func(*Stack, simgraph.User) error
	// deliver takes the place of a post by the source.
	deliver func(context.Context, *Stack, simgraph.User) (Answer, error)
}

// Effect is something that a person, or somebody near them, can see.
type Effect struct {
	Title string
	seen  func(*Stack, simgraph.User, time.Time) bool
}

// StorySettings are the settings of the functions that the stories are written for.
// Most stories are destructive and the tenant is small, so the breaker must not cut
// its counts to a share of it.
func StorySettings() []string {
	return []string{
		"MFAFLOW_BREAKER_PERCENT=0", "MFAFLOW_BREAKER_IMMEDIATE_PERCENT=0", "MFAFLOW_BREAKER_COUNT=100",
		"MFAFLOW_UNBLOCK_RETURNING=true", "MFAFLOW_ON_MOVE=flag", "MFAFLOW_ON_RISKY_SIGN_IN=revoke",
		"MFAFLOW_ON_SESSION_REVOKED=revoke", "MFAFLOW_ON_CREDENTIAL_CHANGED=reregister",
		"MFAFLOW_POLL=risky-users,detections,sign-ins,employment", "MFAFLOW_SWEEP_INTERVAL=1s",
		"MFAFLOW_METHOD_POLICY=true",
		`MFAFLOW_REQUIREMENTS={"phishing-resistant": {"group": "` + payments + `", "methods": ["fido2", "windowsHelloForBusiness"]}}`,
	}
}

// payments is the group of the sample tenant of which a policy requires phishing-resistant
// methods.
const payments = "20000000-0000-4000-8000-000000000014"

// ErrNoEffect: the effects of a story do not all show.
var ErrNoEffect = errors.New("no effect")

// Play delivers the event of a story as its source does and waits until every effect
// shows, looking again whenever something happens. Titles of what is missing
// when ctx ends are in the error.
func (s *Stack) Play(ctx context.Context, story Story) (Answer, error) {
	person, ok := s.Find(story.Person)
	if !ok {
		return Answer{}, fmt.Errorf("the sample tenant has no %s", story.Person)
	}
	began := s.clock.Now()
	if story.before != nil {
		if err := story.before(s, person); err != nil {
			return Answer{}, err
		}
	}
	answer, err := s.tell(ctx, story, person)
	if err != nil {
		return answer, err
	}
	for {
		changed := s.nextCall()
		missing := story.missing(s, person, began)
		if len(missing) == 0 {
			return answer, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return answer, fmt.Errorf("%s: %w: %s: %w", story.Type, ErrNoEffect, strings.Join(missing, "; "), context.Cause(ctx))
		}
	}
}

// tell lets the story begin.
func (s *Stack) tell(ctx context.Context, story Story, person simgraph.User) (Answer, error) {
	if story.happens != nil {
		return Answer{}, story.happens(s, person)
	}
	deliver := story.deliver
	if deliver == nil {
		deliver = story.post
	}
	answer, err := deliver(ctx, s, person)
	if err == nil && answer.Status != http.StatusAccepted {
		err = fmt.Errorf("the event was refused with %d: %s", answer.Status, answer.Body)
	}
	return answer, err
}

func (x Story) missing(s *Stack, person simgraph.User, began time.Time) (titles []string) {
	for _, e := range x.Effects {
		if !e.seen(s, person, began) {
			titles = append(titles, e.Title)
		}
	}
	return titles
}

// Find is the person with an employee id or a user principal name.
func (s *Stack) Find(who string) (simgraph.User, bool) {
	if u, ok := s.Person(who); ok {
		return u, true
	}
	return s.Graph.User(who)
}

// source is who reports the event.
func (x Story) source() string {
	switch {
	case x.Source != "":
		return x.Source
	case x.Type.IsTenantWide():
		return Operations
	}
	switch family, _, _ := strings.Cut(string(x.Type), "."); family {
	case "employee":
		return Source
	case "mfa":
		return HelpDesk
	default:
		return RiskSystem
	}
}

func (x Story) post(ctx context.Context, s *Stack, person simgraph.User) (Answer, error) {
	body, err := x.body(person, s.Graph.TenantID())
	if err != nil {
		return Answer{}, err
	}
	return s.Post(ctx, x.source(), body)
}

// body is what the source sends.
func (x Story) body(person simgraph.User, tenant string) ([]byte, error) {
	if x.Payload != "" {
		return payload(x.Source, x.Payload, x.Replace...)
	}
	who := map[string]any{"userPrincipalName": person.UserPrincipalName}
	if x.source() == Source {
		who = map[string]any{"employeeId": person.EmployeeID}
	}
	data, subject := map[string]any{"person": who}, person.UserPrincipalName
	if x.Type.IsTenantWide() {
		data, subject = map[string]any{}, tenant
	}
	for name, v := range x.Data {
		data[name] = v
	}
	return json.Marshal(map[string]any{
		"specversion": "1.0", "id": "story-" + rand.Text()[:8], "source": "https://" + x.source() + ".contoso.example",
		"type": x.Type, "subject": subject, "time": time.Now().Format(time.RFC3339Nano), "data": data,
	})
}

// Stories are at least one for each event type, in the order of the catalogue, and one
// for each HR system that posts to us. They build on one another: a pass that is replaced
// must have been issued.
func Stories() ([]Story, error) {
	zone, err := event.ParseTimeZone(TimeZone)
	if err != nil {
		return nil, err
	}
	day := func(n int) string { return time.Now().In(zone).AddDate(0, 0, n).Format(time.DateOnly) }
	starts := func(n int) map[string]any { return map[string]any{"startDate": day(n), "timeZone": TimeZone} }
	ends := func(n int) map[string]any { return map[string]any{"lastDay": day(n), "timeZone": TimeZone} }
	asked := func(data map[string]any) map[string]any { data["requestedBy"] = Operator; return data }
	methods := func(refs ...map[string]any) map[string]any { return asked(map[string]any{"methods": refs}) }

	list := []Story{
		{
			Type: event.Joiner, Title: "Lena Hofmann starts tomorrow", Person: ModelJoiner, Data: starts(1),
			Effects: []Effect{passMailed(1), passOpens(day(1), zone)},
		},
		{
			Type: event.StartDateChanged, Title: "Lena Hofmann starts a day later", Person: ModelJoiner, Data: starts(2),
			Effects: []Effect{passMailed(2), passOpens(day(2), zone)},
		},
		{
			Type: event.Mover, Title: "Tomas Berg changes role (settings: flag)", Person: "E1002",
			Data:    map[string]any{"role": "Treasurer"},
			Effects: []Effect{flagged(flag.Moved)},
		},
		{
			Type: event.Leaver, Title: "Victor Almeida leaves at once", Person: "E1027", Data: map[string]any{"immediate": true},
			Effects: []Effect{blocked(), sessionsRevoked(), methodsLeft(3)},
		},
		{
			Type: event.Leaver, Title: "Kofi Mensah leaves in a month", Person: "E1008", Data: ends(30),
			Effects: []Effect{{"an event waits for its day", func(s *Stack, u simgraph.User, _ time.Time) bool {
				c, _ := s.Bus.Counts("lanes")
				return c.Scheduled > 0 && u.AccountEnabled
			}}},
		},
		{
			Type: event.LastDayChanged, Title: "Kofi Mensah left yesterday", Person: "E1008", Data: ends(-1),
			Effects: []Effect{blocked(), sessionsRevoked()},
		},
		{
			Type: event.Cancelled, Title: "Lena Hofmann does not start after all", Person: ModelJoiner, Data: map[string]any{"cancels": "joiner"},
			Effects: []Effect{noPass()},
		},
		{
			Type: event.Rehire, Title: "Ruth Okafor comes back tomorrow", Person: "E1028", Data: starts(1),
			Effects: []Effect{enabled(), passMailed(1), passOpens(day(1), zone)},
		},
		{
			Type: event.Ref, Becomes: event.Leaver, Title: "Noah Fischer's record changed; the HR system says that he left", Person: "E1005",
			Data: map[string]any{"change": "updated"},
			before: func(s *Stack, u simgraph.User) error {
				s.HR.Set(simhr.Record{EmployeeID: u.EmployeeID, Status: "terminated"})
				return nil
			},
			Effects: []Effect{blocked(), sessionsRevoked()},
		},
		{
			Type: event.DeviceLost, Title: "Priya Nair lost her Mac", Person: "E1013",
			Data:    methods(map[string]any{"kind": "platformCredential"}),
			Effects: []Effect{passMailed(1), methodsLeft(4), sessionsRevoked()},
		},
		{
			Type: event.DeviceStolen, Title: "Anna Keller's phone was stolen", Person: "anna.keller@contoso.example", Data: asked(map[string]any{}),
			Effects: []Effect{blocked(), sessionsRevoked(), methodsLeft(0), passwordChange(), flagged(flag.DeviceStolen)},
		},
		{
			Type: event.AccessLost, Title: "Oliver Grant gave back his office phone", Person: "E1012",
			Data:    methods(map[string]any{"id": "e37fc753-ff3b-4958-9484-eaa9425c82bc", "kind": "phone"}),
			Effects: []Effect{methodsLeft(2)},
		},
		{
			Type: event.CodesUnrequested, Title: "Sara Lindgren gets a code that she did not ask for", Person: "E1009",
			Data: map[string]any{"channel": "push"}, before: registers("fido2"),
			Effects: []Effect{flagged(flag.CodesUnrequested), methodsLeft(1)},
		},
		{
			Type: event.CodesUnrequested, Title: "Sara Lindgren gets another", Person: "E1009",
			Data:    map[string]any{"channel": "push", "repeated": true},
			Effects: []Effect{blocked(), sessionsRevoked(), methodsLeft(0), passwordChange()},
		},
		{
			Type: event.CodesNotReceived, Title: "Oliver Grant's codes do not arrive", Person: "E1012", Data: map[string]any{"channel": "sms"},
			Effects: []Effect{flagged(flag.CodesNotReceived)},
		},
		{
			Type: event.TemporarilyBlocked, Title: "Jonas Weber is asked to try another method; the help desk asks for a pass", Person: "E1014",
			Data:    asked(map[string]any{"passRequested": true}),
			Effects: []Effect{passMailed(1), flagged(flag.TemporarilyBlocked)},
		},
		{
			Type: event.Reregister, Title: "Mei Tanaka must register all her methods anew", Person: "E1011", Data: asked(map[string]any{"mode": event.ReregisterFull}),
			Effects: []Effect{passMailed(1), methodsLeft(0), sessionsRevoked()},
		},
		{
			Type: event.RequirementSet, Title: "Tomas Berg, who has a security key, may make payments and must use it", Person: "E1002",
			Data: asked(map[string]any{"requirement": "phishing-resistant"}), before: registers("fido2"),
			Effects: []Effect{inGroup(payments)},
		},
		{
			Type: event.MethodPolicy, Title: "everybody may use certificates and QR codes", Person: Operator,
			Data: asked(map[string]any{"ticket": "CHG-1234", "policy": map[string]any{
				"breakGlass": map[string]any{"accounts": breakGlass}, "methods": map[string]any{
					"x509Certificate": map[string]any{"state": "enabled", "include": map[string]any{"all": true}}, "qrCodePin": map[string]any{"state": "enabled"},
				},
			}}),
			before:  reported,
			Effects: []Effect{methodEnabled("X509Certificate"), methodEnabled("QRCodePin")},
		},
		{
			Type: event.MethodPolicy, Title: "text messages and calls are to go, and some people have nothing else", Person: Operator,
			Data: asked(map[string]any{"policy": map[string]any{
				"breakGlass": map[string]any{"accounts": breakGlass},
				"methods":    map[string]any{"sms": map[string]any{"state": "disabled"}, "voice": map[string]any{"state": "disabled"}},
			}}),
			before:  reported,
			Effects: []Effect{held("two people must release it", "policy-approval"), methodEnabled("Sms")},
		},
		{
			Type: event.RiskUser, Title: "Peter Novak's risk rises; the directory says high", Person: "E1020", Data: map[string]any{"level": "medium"},
			before: func(s *Stack, u simgraph.User) error { return s.Graph.SetRisk(u.ID, "high", "atRisk") },
			Effects: []Effect{
				blocked(), sessionsRevoked(), methodsLeft(0), flagged(flag.Compromised), flagged(flag.DisableOnPremises),
			},
		},
		{
			Type: event.RiskSignIn, Title: "Grace Winther signed in from a strange address (settings: revoke)", Person: "E1001",
			Data: map[string]any{"level": "medium"}, Effects: []Effect{sessionsRevoked(), flagged(flag.RiskySignIn)},
		},
		{
			Type: event.AccountLocked, Title: "Grace Winther is locked out", Person: "E1001",
			Data:    map[string]any{"cause": event.LockSmartLockout, "unlockAt": time.Now().Add(time.Hour).Format(time.RFC3339)},
			Effects: []Effect{flagged(flag.SmartLockout)},
		},
		{
			Type: event.AccountChanged, Title: "somebody disabled Jonas Weber, who has a pass", Person: "E1014", Data: map[string]any{"change": "updated"},
			before: func(s *Stack, u simgraph.User) error {
				s.Graph.Mutate(func(t *simgraph.Tenant) { t.User(u.ID).AccountEnabled = false })
				return nil
			},
			Effects: []Effect{noPass(), flagged(flag.AccountDisabled)},
		},
		{
			Type: event.AccountChanged, Title: "Microsoft Graph notifies of Victor Almeida, who has left: somebody enabled the account", Person: "E1027",
			happens: func(s *Stack, u simgraph.User) error {
				s.Graph.Mutate(func(t *simgraph.Tenant) { t.User(u.ID).AccountEnabled = true })
				return nil
			},
			Effects: []Effect{flagged(flag.BlockUndone)},
		},
		{
			Type: event.RiskUser, Title: "the sweep finds that the risk of Yusuf Demir is high", Person: "E1010", before: registers("fido2"),
			happens: func(s *Stack, u simgraph.User) error { return s.Graph.SetRisk(u.ID, "high", "atRisk") },
			Effects: []Effect{blocked(), sessionsRevoked(), methodsLeft(0), passwordChange(), flagged(flag.Compromised)},
		},
		{
			Type: event.AccountLocked, Title: "the sweep finds that Marek Nowak is locked out: somebody tried ten passwords", Person: "E1016",
			happens: func(s *Stack, u simgraph.User) error {
				for range 11 {
					if err := s.Graph.SignInWithPassword(u.UserPrincipalName, false); err == nil {
						return errors.New("a wrong password opens the account")
					}
				}
				return nil
			},
			Effects: []Effect{flagged(flag.SmartLockout)},
		},
		{
			Type: event.RiskSignIn, Title: "the sweep finds a sign-in of Oliver Grant from an anonymous address (settings: revoke)", Person: "E1012",
			happens: func(s *Stack, u simgraph.User) error {
				_, err := s.Graph.AddDetection(simgraph.Detection{User: u.ID, Kind: "anonymizedIPAddress", Activity: "signin", Level: "medium", State: "atRisk"})
				return err
			},
			Effects: []Effect{sessionsRevoked(), flagged(flag.RiskySignIn)},
		},
		{
			Type: event.Joiner, Title: "the sweep finds that Lena Hofmann starts tomorrow after all: the date is in the directory", Person: ModelJoiner,
			happens: func(s *Stack, u simgraph.User) error {
				tomorrow, err := s.Tomorrow()
				date := tomorrow.At(0, 0, time.UTC)
				s.Graph.Mutate(func(t *simgraph.Tenant) { t.User(u.ID).EmployeeHireDate = &date })
				return err
			},
			Effects: []Effect{passMailed(3), passOpens(day(1), zone)},
		},
		{
			Type: event.SessionRevoked, Title: "another system ended Oliver Grant's sessions (settings: revoke)", Person: "E1012",
			Effects: []Effect{sessionsRevoked(), flagged(flag.SessionRevoked)},
		},
		{
			Type: event.CredentialChanged, Title: "another system saw Chloe Barnes's password change (settings: reregister)", Person: "X2001",
			Data: map[string]any{"credential": "password", "change": "update"}, before: registers("microsoftAuthenticator"),
			Effects: []Effect{passMailed(1), methodsLeft(0), sessionsRevoked()},
		},
	}
	return slices.Concat(list, riskStories(), vendorStories(day, zone)), nil
}

// vendorStories are told by the HR systems of the catalogue, each in its own payload and
// under its own signature. What carries ids only is completed from the simulated API of
// that vendor.
func vendorStories(day func(int) string, zone *time.Location) []Story {
	// A time of whole seconds may lie before what was said a moment ago; one ahead counts
	// as the receipt.
	soon := time.Now().Add(time.Hour).UTC()
	hasRecord := func(r simhr.Record) func(*Stack, simgraph.User) error {
		return func(s *Stack, u simgraph.User) error {
			r.EmployeeID = u.EmployeeID
			s.HR.Set(r)
			return nil
		}
	}
	left := hasRecord(simhr.Record{Status: "terminated", StartDate: "2019-03-01", LastDay: day(-1)})
	out := []Effect{blocked(), sessionsRevoked()}
	return []Story{
		{
			Type: event.Ref, Becomes: event.Leaver, Title: "Yusuf Demir was terminated in BambooHR", Person: "E1010", Source: "bamboohr",
			Payload: "terminated", Replace: []string{"67890", "E1010", "2026-11-23T13:04:00", soon.Format("2006-01-02T15:04:05")},
			before: left, Effects: out,
		},
		{
			Type: event.Ref, Becomes: event.Joiner, Title: "Lena Hofmann starts tomorrow after all, says the lifecycle table of HiBob", Person: ModelJoiner, Source: "hibob",
			Payload: "lifecycle-entry", Replace: []string{"3332883854254932743", ModelJoiner},
			before:  hasRecord(simhr.Record{Status: "prehire", StartDate: day(1)}),
			Effects: []Effect{passMailed(3), passOpens(day(1), zone)},
		},
		{
			Type: event.Ref, Becomes: event.Leaver, Title: "Oliver Grant's employment ended in Personio", Person: "E1012", Source: "personio",
			Payload: "employment-terminated", Replace: []string{"5005", "E1012", "2026-11-23T13:00:00Z", soon.Format(time.RFC3339)},
			before: left, Effects: out,
		},
		{
			Type: event.Ref, Becomes: event.Leaver, Title: "Mei Tanaka was terminated in Gusto", Person: "E1011", Source: "gusto",
			Payload: "terminated", Replace: []string{"bcfc9744-0ab3-4ef3-ab0d-e728255d659c", "E1011", "1795438800", fmt.Sprint(soon.Unix())},
			before: left, Effects: out,
		},
		{
			Type: event.Ref, Becomes: event.Cancelled, Title: "Gusto cancels Mei Tanaka's termination", Person: "E1011", Source: "gusto",
			Payload: "termination-cancelled", Replace: []string{
				"bcfc9744-0ab3-4ef3-ab0d-e728255d659c", "E1011", "1795438800", fmt.Sprint(soon.Unix()), "5c1f0a6d-26d2", "5c1f0a6d-26d3",
			},
			before: hasRecord(simhr.Record{Status: "active", StartDate: "2019-03-01"}), Effects: []Effect{enabled()},
		},
		{
			Type: event.Ref, Becomes: event.Leaver, Title: "Chloe Barnes's contract ended in Deel", Person: "X2001", Source: "deel",
			Payload: "terminated", Replace: []string{"3w4zdd9", "X2001"}, before: left, Effects: append(out, noPass()),
		},
		{
			Type: event.Leaver, Title: "Priya Nair was terminated in Humi", Person: "E1013", Source: "humi",
			Payload: "terminated", Replace: []string{
				"3c1d5b0e-9a44-4f5b-8f55-2a7c1e0d1017", "E1013", "2026-11-30", day(-1), "1795443000", fmt.Sprint(soon.Unix()),
			},
			Effects: append(out, noPass()),
		},
		{
			Type: event.Leaver, Title: "a SCIM bulk request says that Tomas Berg is no longer active", Person: "E1002", Source: "scim",
			Payload: "joiners-and-leavers", Replace: []string{"521194", "E1002"}, Effects: out,
		},
		{
			Type: event.Rehire, Title: "Kofi Mensah is hired again in Workday, and still has his methods", Person: "E1008", Source: "workday",
			Payload: "rehire", Replace: []string{"21508", "E1008", "2026-12-01", day(1), "2026-11-23T05:12:44.120-08:00", soon.Format(time.RFC3339)},
			Effects: []Effect{enabled(), methodsLeft(2)},
		},
		{
			Type: event.Leaver, Title: "Ruth Okafor's last day was yesterday, says SuccessFactors", Person: "E1028", Source: "successfactors",
			Payload: "termination", Replace: []string{"80412", "E1028", "2026-12-31", day(-1), "2026-11-23T09:12:44Z", soon.Format(time.RFC3339)},
			Effects: append(out, noPass()),
		},
		{
			Type: event.Leaver, Title: "a tool that posts flat JSON says that Piet van Dam leaves at once", Person: "E1007", Source: "generic",
			Payload: "leaver-immediate", Replace: []string{"E1014", "E1007"}, Effects: out,
		},
	}
}

func registers(kind string) func(*Stack, simgraph.User) error {
	return func(s *Stack, u simgraph.User) error {
		return s.Graph.RegisterMethod(u.ID, simgraph.Method{Kind: kind})
	}
}

// reported has readiness-report look at the tenant, if it has not lately.
func reported(s *Stack, _ simgraph.User) error { return s.Report() }

func methodEnabled(id string) Effect {
	return Effect{"the tenant allows the method " + id, func(s *Stack, _ simgraph.User, _ time.Time) bool {
		enabled := false
		s.Graph.Mutate(func(t *simgraph.Tenant) {
			for _, m := range t.Policies.MethodConfigurations {
				enabled = enabled || m["id"] == id && m["state"] == "enabled"
			}
		})
		return enabled
	}}
}

// held wants the service desk to have been told of a hold for the reason.
func held(title, reason string) Effect {
	return Effect{title, func(s *Stack, _ simgraph.User, _ time.Time) bool {
		return slices.ContainsFunc(s.Graph.Mailbox(Operator), func(m simgraph.Message) bool {
			return strings.HasSuffix(m.Subject, flag.Held.Title()) && strings.Contains(m.Body, reason)
		})
	}}
}

// now is an effect on the account as it is now.
func now(title string, seen func(simgraph.User) bool) Effect {
	return Effect{title, func(s *Stack, u simgraph.User, _ time.Time) bool {
		u, ok := s.Graph.User(u.ID)
		return ok && seen(u)
	}}
}

func blocked() Effect {
	return now("sign-in is blocked", func(u simgraph.User) bool { return !u.AccountEnabled })
}
func enabled() Effect {
	return now("the account is enabled", func(u simgraph.User) bool { return u.AccountEnabled })
}
func inGroup(id string) Effect {
	return Effect{"the person is in the group of which it is required", func(s *Stack, u simgraph.User, _ time.Time) bool {
		in := false
		s.Graph.Mutate(func(t *simgraph.Tenant) {
			for _, g := range t.Groups {
				in = in || g.ID == id && slices.Contains(g.Members, u.ID)
			}
		})
		return in
	}}
}
func passwordChange() Effect {
	return now("the password must be changed", func(u simgraph.User) bool { return u.ForceChangePassword })
}

func methodsLeft(n int) Effect {
	return now(fmt.Sprintf("%d authentication methods are left", n), func(u simgraph.User) bool { return len(u.Methods) == n })
}

func sessionsRevoked() Effect {
	return Effect{"all sessions are revoked", func(s *Stack, u simgraph.User, began time.Time) bool {
		u, _ = s.Graph.User(u.ID)
		at := u.SignInSessionsValidFromDateTime
		return at != nil && !at.Before(began.Truncate(time.Second))
	}}
}

func acknowledged() Effect {
	return Effect{"the token is acknowledged", func(s *Stack, _ simgraph.User, _ time.Time) bool { return len(s.IDP.Waiting()) == 0 }}
}

func noPass() Effect {
	return Effect{"the pass is gone", func(s *Stack, u simgraph.User, _ time.Time) bool { return len(s.Graph.Passes(u.ID)) == 0 }}
}

// passMailed wants the n-th pass of the person in the manager's mailbox.
func passMailed(n int) Effect {
	return Effect{"a pass is in the manager's mailbox", func(s *Stack, u simgraph.User, _ time.Time) bool {
		manager, _ := s.Graph.User(u.Manager)
		values, mails := s.Graph.IssuedPassValues(), 0
		for _, m := range s.Graph.Mailbox(manager.Mail) {
			if strings.Contains(m.Body, u.UserPrincipalName) && slices.ContainsFunc(values, func(v string) bool { return strings.Contains(m.Body, v) }) {
				mails++
			}
		}
		return mails == n && len(s.Graph.Passes(u.ID)) == 1
	}}
}

func passOpens(day string, zone *time.Location) Effect {
	return Effect{"it opens on the morning of the start date", func(s *Stack, u simgraph.User, _ time.Time) bool {
		passes := s.Graph.Passes(u.ID)
		return len(passes) == 1 && passes[0].Start.In(zone).Format(time.DateTime) == day+" 07:30:00"
	}}
}

// flagged wants the service desk to have been told of the person.
func flagged(c flag.Cause) Effect {
	return Effect{fmt.Sprintf("the service desk is told: %s", c.Title()), func(s *Stack, u simgraph.User, _ time.Time) bool {
		return slices.ContainsFunc(s.Graph.Mailbox(Operator), func(m simgraph.Message) bool {
			return strings.HasSuffix(m.Subject, c.Title()) && strings.Contains(m.Body, u.ID)
		})
	}}
}
