package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/doctor"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/sweep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The list is closed: ids are names, each there once, and each check says what it is
// about and what to do.
func TestChecks(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range doctor.Checks() {
		if seen[c.ID] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(c.ID) || c.Title == "" || c.Fix == "" {
			t.Errorf("%+v", c)
		}
		seen[c.ID] = true
	}
}

// Who is told nothing says of nothing that it is in order.
func TestNothingToLookAtIsSkipped(t *testing.T) {
	for name, d := range map[string]doctor.Deployment{
		"nothing": {Now: time.Now},
		"functions without ports": {Now: time.Now, Functions: []doctor.Function{
			{Name: "identity-worker", Unread: "a part lies elsewhere"}, {Name: "tenant-sweep", Unread: "a part lies elsewhere"},
		}},
	} {
		for _, r := range doctor.Examine(t.Context(), d) {
			if r.Status != doctor.Skipped || r.Detail == "" && name != "nothing" && r.Check == "settings" {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// stuck never answers, and an examination does not wait for it.
type stuck struct{ doctor.App }

func wait[T any](ctx context.Context) (none T, err error) {
	<-ctx.Done()
	return none, ctx.Err()
}

func (stuck) Permissions(ctx context.Context) ([]string, error) { return wait[[]string](ctx) }
func (stuck) Queue(ctx context.Context, _ string) (doctor.Queue, error) {
	return wait[doctor.Queue](ctx)
}
func (stuck) Do(ctx context.Context, _, _ string) (doctor.Answer, error) {
	return wait[doctor.Answer](ctx)
}
func (stuck) Resolve(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
func (stuck) WhoAmI(ctx context.Context) (operate.Operator, error) {
	return wait[operate.Operator](ctx)
}
func (stuck) Overview(ctx context.Context) (doctor.Overview, error) {
	return wait[doctor.Overview](ctx)
}
func (stuck) PassPolicy(ctx context.Context) (p identity.PassPolicy, err error) {
	return wait[identity.PassPolicy](ctx)
}
func (stuck) Subscriptions(ctx context.Context) ([]sweep.Subscription, error) {
	return wait[[]sweep.Subscription](ctx)
}

func TestExaminationIsBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []doctor.Result)
	go func() {
		f := doctor.Function{Name: "identity-worker", App: stuck{}, Queues: map[doctor.Purpose]string{doctor.Lanes: "lanes"}, URL: "http://x", Sender: "a@b.example",
			Channels: map[string]string{"Teams": "x.example"}, Protected: []identity.UserID{"u"}}
		hr := doctor.Function{Name: "hr-events", URL: "http://x"}
		done <- doctor.Examine(ctx, doctor.Deployment{Functions: []doctor.Function{f, hr}, Broker: stuck{}, Web: stuck{}, Desk: stuck{}, Clocks: []doctor.Clock{{Name: "Graph", URL: "http://x"}}, Now: time.Now})
	}()
	cancel()
	for _, r := range <-done {
		if r.Status == doctor.OK && !slices.Contains([]string{"settings", "agreement", "source-scopes"}, r.Check) {
			t.Errorf("%+v", r)
		}
	}
}

// denied is a broker that lets nobody look, as for an app with Data roles only.
type denied struct{}

func (denied) Queue(context.Context, string) (doctor.Queue, error) {
	return doctor.Queue{}, doctor.ErrDenied
}

func TestQueuesThatMayNotBeReadAreSkipped(t *testing.T) {
	d := doctor.Deployment{Broker: denied{}, Now: time.Now, Functions: []doctor.Function{{Name: "identity-worker", Queues: map[doctor.Purpose]string{doctor.Lanes: "lanes", doctor.Flags: "flags"}}}}
	for _, r := range doctor.Examine(t.Context(), d) {
		if strings.HasPrefix(r.Check, "queue") && (r.Status != doctor.Skipped || !strings.Contains(r.Detail, "Azure Service Bus Data Owner") || strings.Count(r.Detail, "Data Owner") != 1) {
			t.Errorf("%+v", r)
		}
	}
}

// granting is an app with these permissions.
type granting struct {
	stuck
	list []string
}

func (g granting) Permissions(context.Context) ([]string, error) { return g.list, nil }

// The table of permissions is that of the deployment. An optional one is needed when the
// settings ask for what takes it, and in excess never.
func TestPermissionsAreThoseOfTheDeployment(t *testing.T) {
	text, err := os.ReadFile("../../infra/functions.json")
	if err != nil {
		t.Fatal(err)
	}
	var deployed struct {
		Functions map[string]struct {
			Graph, Exchange []string
			MethodPolicy    struct{ Graph []string }
		}
	}
	if err := json.Unmarshal(text, &deployed); err != nil {
		t.Fatal(err)
	}
	for name, f := range deployed.Functions {
		f.Graph = append(f.Graph, f.MethodPolicy.Graph...)
		for i := -1; i < len(f.Graph); i++ {
			granted := slices.Clone(f.Graph)
			if i >= 0 {
				granted = slices.Delete(granted, i, i+1)
			}
			fn := doctor.Function{Name: name, Requires: true, MethodPolicy: true, App: granting{list: granted}, Polls: []sweep.Poll{sweep.PollDetections, sweep.PollEmployment, sweep.PollRiskyUsers, sweep.PollSignIns}}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for _, r := range doctor.Examine(ctx, doctor.Deployment{Functions: []doctor.Function{fn}, Now: time.Now}) {
				switch r.Check {
				case "permissions":
					if (r.Status == doctor.Fail) != (i >= 0) {
						t.Errorf("%s without %d of %v: %+v", name, i, f.Graph, r)
					}
				case "excess-permissions":
					if r.Status != doctor.OK {
						t.Errorf("%s: %+v", name, r)
					}
				}
			}
		}
	}
}

// told is what came of one check.
func told(t *testing.T, d doctor.Deployment, check string) doctor.Result {
	t.Helper()
	if d.Now == nil {
		d.Now = time.Now
	}
	results := doctor.Examine(t.Context(), d)
	i := slices.IndexFunc(results, func(r doctor.Result) bool { return r.Check == check })
	if i < 0 {
		t.Fatalf("there is no check %s", check)
	}
	return results[i]
}

// refusing is a server that takes nothing unsigned and has one path; it tells that as a
// content type.
type refusing struct{ path, contentType string }

func (s refusing) Do(_ context.Context, _, url string) (doctor.Answer, error) {
	status := 404
	if strings.HasSuffix(url, s.path) {
		status = 401
	}
	return doctor.Answer{Status: status, ContentType: s.contentType}, nil
}
func (refusing) Resolve(context.Context, string) error { return nil }

// That something refuses a delivery does not make it one of our functions.
func TestWebhooksElsewhere(t *testing.T) {
	for contentType, want := range map[string]doctor.Status{
		"application/problem+json": doctor.OK,
		"application/json":         doctor.Fail, // API Gateway: {"message":"Not Found"}
		"":                         doctor.Fail,
	} {
		d := doctor.Deployment{
			Web:       refusing{"/hr/workday", contentType},
			Functions: []doctor.Function{{Name: "hr-events", URL: "https://mistyped.example", Posters: []string{"workday"}}},
		}
		if r := told(t, d, "webhooks"); r.Status != want || (want == doctor.Fail) != strings.Contains(r.Detail, "hr-events leads elsewhere: it answers 404") {
			t.Errorf("%q: %+v", contentType, r)
		}
	}
}

// logs are given as they are written.
func logs(text string) []doctor.Log {
	return []doctor.Log{{Name: "l", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}}
}

const longAgo = `{"time":"2020-01-01T00:00:00Z","msg":"x"}` + "\n"

// What a check had nothing to look at for is not in order.
func TestACheckWithNothingToLookAtIsSkipped(t *testing.T) {
	unread := doctor.Function{Name: "hr-events", Unread: "a part lies in Secrets Manager"}
	worker := doctor.Function{Name: "identity-worker", Tenant: "t", Scopes: map[string]event.Scope{"workday": {"*"}}}
	sweep := doctor.Function{Name: "tenant-sweep", Sources: map[string]event.Scope{"graph": {"*"}}}
	for check, d := range map[string]doctor.Deployment{
		"agreement":     {Functions: []doctor.Function{worker, unread, {Name: "event-replay", Unread: "no file"}, {Name: "flag-notifier"}}},
		"source-scopes": {Functions: []doctor.Function{worker, unread}},
		"signals":       {Functions: []doctor.Function{worker, unread, sweep}, Logs: logs(longAgo)},
	} {
		if r := told(t, d, check); r.Status != doctor.Skipped || !strings.Contains(r.Detail, "no settings of") {
			t.Errorf("%+v", r)
		}
	}
}

// tearing is a log that ends before its end.
type tearing struct{ io.Reader }

func (tearing) Close() error { return nil }

// A line that is longer than ours are hides nothing of what comes behind it, and a log that
// is not read to its end says nothing about who is silent.
func TestSignalsInStrangeLogs(t *testing.T) {
	heard := fmt.Sprintf(`{"time":%q,"source":"workday","outcome":"accepted"}`, time.Now().UTC().Format(time.RFC3339))
	torn := func() (io.ReadCloser, error) {
		return tearing{io.MultiReader(strings.NewReader(longAgo), iotest.ErrReader(io.ErrUnexpectedEOF))}, nil
	}
	for name, c := range map[string]struct {
		logs []doctor.Log
		want doctor.Status
	}{
		"a long line":     {logs(longAgo + strings.Repeat("x", 3<<20) + "\n" + heard), doctor.OK},
		"silence":         {logs(longAgo), doctor.Warn},
		"a torn log":      {[]doctor.Log{{Name: "l", Open: torn}}, doctor.Skipped},
		"a log not there": {append(logs(longAgo), doctor.Log{Name: "m", Open: func() (io.ReadCloser, error) { return nil, fs.ErrNotExist }}), doctor.Skipped},
	} {
		d := doctor.Deployment{Functions: []doctor.Function{{Name: "hr-events", Sources: map[string]event.Scope{"workday": {"*"}}}}, Logs: c.logs}
		if r := told(t, d, "signals"); r.Status != c.want {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
