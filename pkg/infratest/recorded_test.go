package infratest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

// spare is what functions.json grants and the recorded run does not need, and why it is
// granted. What the run does need is deleted here: the test says so.
var spare = map[string]string{
	"hr-events: Send quarantine":        "a signed payload that no mapping understands",
	"risk-signals: Send quarantine":     "the same, of a risk system",
	"tenant-sweep: Send quarantine":     "the same, of a stream that is polled",
	"graph-notifications: Send control": "Graph says that it lost something, or that a subscription ends",
	"identity-router: Send quarantine":  "several accounts match one event",
	"identity-router: Send flags":       "a lane of inbound is stuck",
	"event-replay: Send inbound":        "a dead letter of inbound is replayed",
	"event-replay: Send lanes":          "a hold is decided, a dead letter of lanes is replayed, somebody is let in",
	"event-replay: Send flags":          "a flag is resolved, or told again",
}

// The stories run with the permissions that functions.json grants, no more, since the
// sample tenant has the same ones; and all that is granted was needed, or is spare for a
// reason.
func TestRecordedRun(t *testing.T) {
	doc := catalogue(t, filepath.Join(root, "infra"))
	s := play(t)

	var granted, needed breaches
	for _, name := range known(doc) {
		f := doc.Functions[name]
		for _, p := range slices.Concat(f.Graph, f.MethodPolicy.Graph, f.Exchange) {
			granted = append(granted, name+": "+p)
		}
		for _, q := range f.Reads {
			granted = append(granted, name+": Listen "+q)
		}
		for _, q := range f.Writes {
			granted = append(granted, name+": Send "+q)
		}
	}
	for _, u := range s.Bus.Uses() {
		if u.KeyName != "RootManageSharedAccessKey" { // that is the stack itself
			needed = append(needed, u.KeyName+": "+u.Right+" "+u.Queue)
		}
	}
	for name, checks := range s.checked {
		f := doc.Functions[name]
		has := slices.Concat(f.Graph, f.MethodPolicy.Graph, f.Exchange)
		for check, path := range checks {
			if !satisfies(has, check) {
				t.Errorf("%s: %s needs %s, and functions.json grants %v", name, path, check, has)
			}
		}
		for _, p := range has {
			without := slices.DeleteFunc(slices.Clone(has), func(x string) bool { return x == p })
			for check := range checks {
				if !satisfies(without, check) {
					needed = append(needed, name+": "+p)
					break
				}
			}
		}
	}
	for _, x := range needed {
		if !slices.Contains(granted, x) {
			t.Errorf("%s was needed and is not in functions.json", x)
		}
		if why := spare[x]; why != "" {
			t.Errorf("%s was needed: delete it from spare", x)
		}
	}
	for _, x := range granted {
		if !slices.Contains(needed, x) && spare[x] == "" {
			t.Errorf("%s is in functions.json and was not needed: take it away, or tell a story that needs it", x)
		}
	}
	for x := range spare {
		if !slices.Contains(granted, x) {
			t.Errorf("%s is spare and not granted", x)
		}
	}
}

// satisfies reports whether permissions hold one of the alternatives "A|B+C".
func satisfies(has []string, check string) bool {
	return slices.ContainsFunc(strings.Split(check, "|"), func(alternative string) bool {
		return !slices.ContainsFunc(strings.Split(alternative, "+"), func(p string) bool { return !slices.Contains(has, p) })
	})
}

// The sample tenant's apps have the permissions of the deployment, so that every test on the
// stack runs with them.
func TestSampleTenantGrantsTheSame(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "events", "tenant", "sample.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tenant struct {
		Apps []struct {
			Name        string
			Permissions []string
		}
	}
	if err := json.Unmarshal(text, &tenant); err != nil {
		t.Fatal(err)
	}
	doc := catalogue(t, filepath.Join(root, "infra"))
	var l breaches
	found := 0
	for _, app := range tenant.Apps {
		f, ok := doc.Functions[app.Name]
		if !ok || slices.Contains(landing.functions, app.Name) {
			continue
		}
		found++
		l.differ(app.Name, "functions.json", slices.Concat(f.Graph, f.MethodPolicy.Graph, f.Exchange), "events/tenant/sample.json", app.Permissions)
	}
	if found != len(known(doc)) {
		t.Errorf("%d of %d functions have an app in the sample tenant", found, len(known(doc)))
	}
	for _, breach := range l {
		t.Error(breach)
	}
}

// recorded is a stack on which everything was played, and what Graph asked of each app:
// the checks with a path that was asked for.
type recorded struct {
	*stack.Stack
	checked map[string]map[string]string
}

func play(t *testing.T) recorded {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "dist"))
	if err != nil {
		t.Fatal(err)
	}
	// As make build does: when nothing has changed the go command only looks.
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", bin+"/", "./functions/...")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := stack.Start(ctx, stack.Options{Bin: bin, Environment: os.Environ(), Settings: stack.StorySettings()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	// Whose MFA counts of a federated domain is asked of tenants that have one.
	s.Graph.Mutate(func(t *simgraph.Tenant) {
		t.Domains = append(t.Domains, "works."+t.Domains[0])
		t.Policies.Federations = []simgraph.Federation{{Domain: "works." + t.Domains[0]}}
	})
	stories, err := stack.Stories()
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range stories {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := s.Play(ctx, story); err != nil {
			t.Errorf("%s: %v", story.Title, err)
		}
		cancel()
	}
	operateOn(t, s, stories)

	r := recorded{s, map[string]map[string]string{}}
	for _, call := range s.Graph.Requests() {
		if call.App == "" || call.Status >= http.StatusBadRequest && call.Status != http.StatusForbidden {
			continue
		}
		if r.checked[call.App] == nil {
			r.checked[call.App] = map[string]string{}
		}
		for _, check := range call.Permissions {
			r.checked[call.App][check] = call.Method + " " + call.Path
		}
	}
	if len(r.checked) < 4 {
		t.Fatalf("Graph was asked by %v only", keys(r.checked))
	}
	return r
}

// operateOn does what operators do: look at people, plan what is stuck, act.
func operateOn(t *testing.T, s *stack.Stack, stories []stack.Story) {
	t.Helper()
	token, err := operateapi.ReadToken(s.TokenFile())
	if err != nil {
		t.Fatal(err)
	}
	desk, err := operateapi.New(s.OperationsURL(), operateapi.Bearer(token, http.DefaultTransport))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := desk.Overview(ctx); err != nil {
		t.Error(err)
	}
	for _, story := range stories {
		if _, err := desk.Person(ctx, story.Person, false); err != nil && !errors.Is(err, operate.ErrNotFound) {
			t.Errorf("person %s: %v", story.Person, err)
		}
	}
}
