package simulation

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"mfaflow/pkg/event"
)

// Verb is what an Action does. The zero value is invalid.
type Verb string

// The verbs.
const (
	Send     Verb = "send"     // an event comes in
	Again    Verb = "again"    // an event comes in once more: the sender repeats it
	Replay   Verb = "replay"   // an operator replays an event under a new message id
	Advance  Verb = "advance"  // time passes and the workers run
	Sleep    Verb = "sleep"    // time passes and nobody works
	Decide   Verb = "decide"   // an operator releases or drops a hold
	LetIn    Verb = "let-in"   // an operator lets a compromised person in
	Happen   Verb = "happen"   // something changes in the tenant past mfaflow
	Fail     Verb = "fail"     // a worker fails at a step to come
	Graph    Verb = "graph"    // Graph fails at a call to come
	Broker   Verb = "broker"   // the broker fails at an operation to come
	CutAMQP  Verb = "cut"      // every AMQP connection is cut
	Postpone Verb = "postpone" // what was sent waits until the next action, so that several events come at once
)

// Action is one entry of a history. Which fields count depends on the verb.
type Action struct {
	Verb   Verb           `json:"do"`
	Person int            `json:"person,omitempty"`
	ID     string         `json:"id,omitempty"`
	Type   event.Type     `json:"type,omitempty"`
	Data   map[string]any `json:"data,omitempty"`
	// Age is how long before it is sent an event was made.
	Age time.Duration `json:"age,omitempty"`
	// Days from now are the date of a statement.
	Days int `json:"days,omitempty"`
	// For is how long time passes.
	For time.Duration `json:"for,omitempty"`
	// What names the change, the decision, or the way to fail; By who decides.
	What string `json:"what,omitempty"`
	By   string `json:"by,omitempty"`
	// At is the step, request or operation that fails, after Skip others.
	At   string `json:"at,omitempty"`
	Skip int    `json:"skip,omitempty"`
	// Late lets it take effect all the same.
	Late   bool `json:"late,omitempty"`
	Status int  `json:"status,omitempty"`
}

// String is the action as JSON.
func (a Action) String() string {
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Sprintf("%+v", struct{ Action }{a})
	}
	return string(b)
}

// Format is a history, one action to a line.
func Format(history []Action) string {
	var b strings.Builder
	for i, a := range history {
		fmt.Fprintf(&b, "%3d %s\n", i, a)
	}
	return b.String()
}

// Parse reads what Format wrote.
func Parse(text string) (history []Action, err error) {
	for line := range strings.Lines(text) {
		_, object, found := strings.Cut(line, "{")
		if !found {
			continue
		}
		var a Action
		if err := json.Unmarshal([]byte("{"+object), &a); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		history = append(history, a)
	}
	return history, nil
}

// History is the random history of a seed. Everything random is drawn here: an action
// is complete, so that leaving some out leaves the others as they are.
func History(seed uint64) []Action {
	g := generator{r: rand.New(rand.NewPCG(seed, 2))}
	// A few people who meet many events find more than many who meet one each.
	for range 1 + g.r.IntN(3) {
		g.cast = append(g.cast, 2+g.r.IntN(people-2))
	}
	for range 6 + g.r.IntN(14) {
		g.next()
	}
	return g.out
}

type generator struct {
	r    *rand.Rand
	cast []int
	sent []Action
	out  []Action
	n    int
}

func pick[T any](g *generator, list ...T) T { return list[g.r.IntN(len(list))] }

func (g *generator) next() {
	switch n := g.r.IntN(100); {
	case n < 38:
		g.event()
	case n < 52:
		g.add(Action{Verb: pick(g, Advance, Advance, Sleep), For: g.span()})
	case n < 72:
		g.fault()
	case n < 79:
		g.repeat()
	case n < 89:
		what := pick(g, "release", "release", "drop")
		by := []string{"olga", "piotr"}
		person := pick(g, g.cast...)
		g.add(Action{Verb: Decide, Person: person, What: what, By: by[0]})
		if g.r.IntN(2) == 0 {
			g.add(Action{Verb: Decide, Person: person, What: what, By: pick(g, by...)})
		}
	case n < 92:
		g.add(Action{Verb: LetIn, Person: pick(g, g.cast...), ID: g.id()})
	case n < 97:
		what := pick(g, "enable", "disable", "pass", "risk-high", "risk-none", "risk-medium", "register", "policy-off", "policy-on", "provision", "no-manager", "manager")
		g.add(Action{Verb: Happen, Person: pick(g, g.cast...), What: what})
	default:
		g.add(Action{Verb: Postpone})
	}
}

func (g *generator) add(a Action) { g.out = append(g.out, a) }

func (g *generator) id() string {
	g.n++
	return fmt.Sprintf("m%d", g.n)
}

// span is a stretch of time: minutes, hours or days.
func (g *generator) span() time.Duration {
	switch g.r.IntN(4) {
	case 0:
		return time.Duration(1+g.r.IntN(59)) * time.Minute
	case 1:
		return time.Duration(1+g.r.IntN(23)) * time.Hour
	default:
		return time.Duration(1+g.r.IntN(8*24)) * time.Hour
	}
}

func (g *generator) send(a Action) {
	a.Verb, a.ID = Send, g.id()
	g.sent = append(g.sent, a)
	g.add(a)
}

// event is an event by HR, the help desk or a risk system.
func (g *generator) event() {
	a := Action{Person: pick(g, g.cast...), Data: map[string]any{}}
	if g.r.IntN(4) == 0 {
		a.Age = g.span() // a late or reordered message
	}
	switch g.r.IntN(60) {
	case 0:
		a.Data["poison"] = true // the worker panics
	case 1:
		a.What = "conflict" // the identifiers belong to two people
	case 2, 3:
		a.By = "risk" // which may send signals only
	case 4, 5, 6:
		a.Age = 240 * time.Hour
	}
	if g.r.IntN(6) == 0 {
		a.Data["deliverTo"], a.Data["personalMail"] = thief, thief
	}
	switch n := g.r.IntN(100); {
	case n < 3:
		a.Type = event.RequirementSet
		a.Data["requirement"] = pick(g, requirement, requirement, requirement, "of-nobody")
		a.Data["requestedBy"] = pick(g, "olga", "leo")
	case n < 22:
		a.Type, a.Days = pick(g, event.Joiner, event.Joiner, event.StartDateChanged), g.r.IntN(10)-1
	case n < 42:
		a.Type = event.Leaver
		if g.r.IntN(2) == 0 {
			a.Data["immediate"] = true
		} else {
			a.Days = g.r.IntN(6) - 1
		}
	case n < 47:
		a.Type, a.Days = event.LastDayChanged, g.r.IntN(8)-1
	case n < 54:
		a.Type = event.Cancelled
		a.Data["cancels"] = pick(g, "joiner", "leaver", "leaver")
	case n < 60:
		a.Type, a.Days = event.Rehire, g.r.IntN(8)-1
	case n < 72:
		a.Type = event.Reregister
		a.Data["mode"] = pick(g, "full", "full", "surgical", "named")
		a.Data["methods"] = []any{map[string]any{"kind": pick(g, "phone", "softwareOath", "microsoftAuthenticator", "fido2")}}
		a.Data["requestedBy"] = pick(g, "olga", "leo")
	case n < 77:
		a.Type = pick(g, event.DeviceLost, event.AccessLost)
		a.Data["methods"] = []any{map[string]any{"kind": pick(g, "phone", "softwareOath", "microsoftAuthenticator", "fido2")}}
	case n < 81:
		a.Type = event.DeviceStolen
	case n < 91:
		a.Type = pick(g, event.RiskUser, event.RiskUser, event.RiskSignIn)
		a.Data["level"] = "high"
		if g.r.IntN(4) > 0 {
			g.add(Action{Verb: Happen, Person: a.Person, What: pick(g, "risk-high", "risk-high", "risk-none")})
		}
	case n < 94:
		a.Type = event.CodesUnrequested
		a.Data["repeated"] = g.r.IntN(2) == 0
	case n < 96:
		a.Type = event.TemporarilyBlocked
		a.Data["passRequested"] = true
	case n < 98:
		a.Type = event.AccountLocked
		a.Data["cause"] = "smartLockout"
	default:
		a.Type = event.AccountChanged
		a.Data["change"] = "updated"
	}
	g.send(a)
	if roles[a.Person] == synced && g.r.IntN(3) == 0 {
		g.add(Action{Verb: Happen, Person: a.Person, What: "enable"}) // the synchronisation
	}
}

// repeat brings an event back: by its sender, or as a replay.
func (g *generator) repeat() {
	if len(g.sent) == 0 {
		return
	}
	g.add(Action{Verb: pick(g, Again, Replay), ID: pick(g, g.sent...).ID, Skip: g.r.IntN(1000)})
}

// fault is something that goes wrong soon.
func (g *generator) fault() {
	switch n := g.r.IntN(20); {
	case n < 11:
		g.add(Action{
			Verb: Fail, At: pick(g, steps[:]...), Skip: g.r.IntN(4), What: pick(g, "die", "die", "stall"), Late: g.r.IntN(2) == 0,
		})
	case n < 13:
		g.add(Action{Verb: Fail, At: anyStep, Skip: g.r.IntN(40), What: pick(g, "die", "stall"), Late: g.r.IntN(2) == 0})
	case n < 18:
		c := pick(g, calls[:]...)
		g.add(Action{
			Verb: Graph, At: c, Skip: g.r.IntN(3), Status: pick(g, 0, 503, 504, 429, 429, 500), Late: g.r.IntN(2) == 0, Days: 1 + g.r.IntN(3),
			By: pick(g, "", "30", "400"),
		})
	case n < 19:
		g.add(Action{Verb: Broker, At: pick(g, operations[:]...), Skip: g.r.IntN(2), Late: g.r.IntN(2) == 0})
	default:
		g.add(Action{Verb: CutAMQP})
	}
}
