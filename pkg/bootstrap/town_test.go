package bootstrap_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/lane"
	"mfaflow/pkg/plan"
	graphsim "mfaflow/pkg/sim/graph"
)

const (
	// meiID is of the person with six methods, Authenticator being the default.
	meiID = "10000000-0000-4000-8000-000000000011"
	// amaraID is of a manager with Authenticator and a phone.
	amaraID = "10000000-0000-4000-8000-000000000003"
)

// story is what the sources say about a person, and what must be true of the person
// once everything has been heard and nothing is under way.
type story struct {
	name string
	// model is whose twin the person is; nobody when empty.
	model string
	// late: the account comes to be after everything was said.
	late bool
	// risk is what the directory thinks of the person.
	risk string
	says []statement
	want ending
}

// statement is one event, as its source posts it.
type statement struct {
	origin string
	typ    event.Type
	data   map[string]any
	// ago is how much older than the others it is.
	ago time.Duration

	id    string
	at    time.Time
	twice bool // the source sends it again
}

// ending is how a story ends. The zero value is an account that is as it was.
type ending struct {
	shutOut bool
	// pass: one was delivered, the last one is the person's and it works.
	pass bool
	// noMethods: of those registered none is left.
	noMethods bool
	// removed are the kinds that are gone; nothing else is.
	removed []string
	held    []string
	flags   []flag.Cause
	// dead is why the events end as dead letters; they reach no lane.
	dead lane.Reason
}

// stories are told of equally many people each. Every plan that changes a tenant is
// in them, and every way to end.
func (w *world) stories() []story {
	today, err := time.Parse(time.DateOnly, w.today)
	w.must(err)
	day := func(days int) string { return today.AddDate(0, 0, days).Format(time.DateOnly) }
	start := func(typ event.Type, days int) statement {
		return statement{origin: "hr", typ: typ, data: map[string]any{"startDate": day(days), "timeZone": w.zone}}
	}
	joiner := func(days int) statement { return start(event.Joiner, days) }
	cancelled := func(what string) statement {
		return statement{origin: "hr", typ: event.Cancelled, data: map[string]any{"cancels": what}}
	}
	leaver := func(immediate bool) statement {
		if immediate {
			return statement{origin: "hr", typ: event.Leaver, data: map[string]any{"immediate": true}}
		}
		return statement{origin: "hr", typ: event.Leaver, data: map[string]any{"lastDay": day(-1), "timeZone": w.zone}}
	}
	helpdesk := func(typ event.Type, pairs ...any) statement {
		s := statement{origin: "helpdesk", typ: typ, data: map[string]any{"requestedBy": amara}}
		for i := 0; i < len(pairs); i += 2 {
			s.data[pairs[i].(string)] = pairs[i+1]
		}
		return s
	}
	kind := func(k identity.MethodKind) []map[string]any { return []map[string]any{{"kind": k}} }
	risk := statement{origin: "risk", typ: event.RiskUser, data: map[string]any{"level": "high", "state": "atRisk"}}
	outOfDate := joiner(0)
	outOfDate.ago = 24 * time.Hour

	out := ending{shutOut: true, noMethods: true}
	compromised := func(cause flag.Cause) ending {
		return ending{shutOut: true, noMethods: true, flags: []flag.Cause{cause}}
	}
	return []story{
		{name: "starts today", model: lenaID, says: []statement{joiner(0)}, want: ending{pass: true}},
		{name: "starts next week", model: lenaID, says: []statement{joiner(7)}, want: ending{pass: true}},
		{name: "is brought forward", model: lenaID, says: []statement{joiner(7), start(event.StartDateChanged, 0)}, want: ending{pass: true}},
		{name: "is put off and called off", model: lenaID, says: []statement{joiner(0), start(event.StartDateChanged, 30), cancelled("joiner")}},
		{name: "is called off in time", model: lenaID, says: []statement{joiner(30), cancelled("joiner")}},
		{name: "is called off at once", model: lenaID, says: []statement{joiner(0), cancelled("joiner")}},
		{name: "is provisioned late", model: lenaID, late: true, says: []statement{joiner(0)}, want: ending{pass: true}},
		{name: "is here already", model: amaraID, says: []statement{joiner(0)}, want: ending{held: []string{string(plan.AlreadyRegistered)}}},
		{name: "is unknown", says: []statement{leaver(true)}, want: ending{dead: lane.UnknownPerson}},

		{name: "leaves at once", model: meiID, says: []statement{leaver(true)}, want: out},
		{name: "has left yesterday", model: amaraID, says: []statement{leaver(false)}, want: out},
		{name: "starts and leaves", model: lenaID, says: []statement{joiner(0), leaver(true)}, want: out},
		{name: "leaves, then old news", model: amaraID, says: []statement{leaver(true), outOfDate}, want: out},
		{name: "leaves too soon", model: amaraID, says: []statement{leaver(false), cancelled("leaver")},
			want: ending{shutOut: true, noMethods: true, held: []string{string(plan.StillBlocked)}}},

		{name: "is reset", model: meiID, says: []statement{helpdesk(event.Reregister, "mode", "full")}, want: ending{pass: true, noMethods: true}},
		{name: "is reset twice", model: amaraID, says: []statement{helpdesk(event.Reregister, "mode", "full"), helpdesk(event.Reregister, "mode", "full")},
			want: ending{pass: true, noMethods: true}},
		{name: "loses an app", model: meiID, says: []statement{helpdesk(event.AccessLost, "methods", kind(identity.MethodSoftwareOATH))},
			want: ending{removed: []string{"softwareOath"}}},
		{name: "loses a key", model: meiID, says: []statement{helpdesk(event.DeviceLost, "methods", kind(identity.MethodFIDO2))},
			want: ending{pass: true, removed: []string{"fido2"}}},
		{name: "is robbed", model: meiID, says: []statement{helpdesk(event.DeviceStolen)}, want: compromised(flag.DeviceStolen)},
		{name: "is reset, then robbed", model: amaraID, says: []statement{helpdesk(event.Reregister, "mode", "full"), helpdesk(event.DeviceStolen)},
			want: compromised(flag.DeviceStolen)},
		{name: "is at risk", model: amaraID, risk: "high", says: []statement{risk}, want: compromised(flag.Compromised)},
		{name: "gets too many codes and none", model: amaraID,
			says: []statement{helpdesk(event.CodesUnrequested, "channel", "sms"), helpdesk(event.CodesNotReceived, "channel", "sms")},
			want: ending{flags: []flag.Cause{flag.CodesUnrequested, flag.CodesNotReceived}}},
	}
}

// person is one who a story is told about.
type person struct {
	story
	id, employeeID, name string
	before               []graphsim.Method
}

// populate makes people for so many events. It returns them in a random order, with
// what is said about each in its own.
func (w *world) populate(tenant *graphsim.Tenant, events int, r *rand.Rand) (people []*person) {
	stories := w.stories()
	base := time.Now().Add(-time.Hour).UTC()
	for said := 0; said < events; {
		i := len(people)
		p := &person{story: stories[i%len(stories)], employeeID: fmt.Sprintf("T%04d", i)}
		p.id, p.name = fmt.Sprintf("30000000-0000-4000-8000-%012d", i), fmt.Sprintf("t%04d@contoso.example", i)
		if p.model != "" {
			u := twin(tenant, p.model, p.id, p.employeeID, p.name)
			u.Manager = amaraID // passes go there
			for _, m := range u.Methods {
				p.before = append(p.before, *m)
			}
			if p.risk != "" {
				u.Risk = &graphsim.Risk{Level: p.risk, State: "atRisk", Detail: "none", LastUpdatedDateTime: &base}
			}
			if p.late {
				tenant.NotYetProvisioned = append(tenant.NotYetProvisioned, u)
			} else {
				tenant.Users = append(tenant.Users, u)
			}
		}
		p.says = slices.Clone(p.says)
		for k := range p.says {
			s := &p.says[k]
			s.id, s.at = fmt.Sprintf("%s-%d", p.employeeID, k), base.Add(time.Duration(k)*time.Second-s.ago)
			s.twice = r.IntN(10) == 0
			s.data = maps.Clone(s.data)
			s.data["person"] = map[string]any{"employeeId": p.employeeID}
		}
		said += len(p.says)
		people = append(people, p)
	}
	r.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
	return people
}

// body is the event in CloudEvents' structured mode.
func (s statement) body(p *person) ([]byte, error) {
	return json.Marshal(map[string]any{
		"specversion": "1.0", "id": s.id, "source": "https://" + s.origin + ".contoso.example", "type": s.typ, "subject": p.employeeID,
		"time": s.at.Format(time.RFC3339Nano), "datacontenttype": "application/json", "data": s.data,
	})
}

func (s statement) key() string { return event.NewKey(s.origin, s.id) }
