package graph_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

// budgeted is a client with a budget whose transport is w. It must be made inside the
// bubble of synctest whose time it goes by.
func budgeted(t *testing.T, b graph.Budget, w wire) *graph.Client {
	t.Helper()
	c, err := graph.New(graph.Options{Credential: staticToken{}, BaseURL: "http://127.0.0.1:9", Transport: w, Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBudgetRefusesWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		c := budgeted(t, graph.Budget{Methods: graph.Limit{Requests: 4, Window: time.Minute}}, func(r *http.Request) (*http.Response, error) {
			sent++
			switch {
			case strings.HasSuffix(r.URL.Path, "$batch"):
				return says(200, `{"responses":[{"id":"0","status":204},{"id":"1","status":204},{"id":"2","status":204},{"id":"3","status":204}]}`), nil
			default:
				return says(404, odata), nil
			}
		})
		ctx, calls := correlation.Collect(t.Context())
		keys := make([]identity.Method, 10)
		for i := range keys {
			keys[i] = identity.Method{Kind: identity.MethodFIDO2, ID: fmt.Sprint("key-", i)}
		}
		results, err := c.DeleteMethods(ctx, someone, keys, false)
		// Four fit at once; the rest would wait a minute.
		checkClass(t, err, outcome{after: time.Minute}, true)
		var got []identity.MethodOutcome
		for _, r := range results {
			got = append(got, r.Outcome)
			if r.Unknown || r.Outcome == identity.MethodThrottled && r.After != time.Minute {
				t.Errorf("%+v", r)
			}
		}
		want := slices.Concat(slices.Repeat([]identity.MethodOutcome{identity.MethodDeleted}, 4),
			slices.Repeat([]identity.MethodOutcome{identity.MethodThrottled}, 4), slices.Repeat([]identity.MethodOutcome{identity.MethodUntried}, 2))
		if !slices.Equal(got, want) {
			t.Errorf("outcomes %v", got)
		}
		if sent != 1 || len(calls.List()) != 5 {
			t.Errorf("%d requests, %d calls in the trail", sent, len(calls.List()))
		}
		for _, op := range operations {
			methods := slices.Contains([]string{"Methods", "Passes", "IssuePass", "DeletePass", "MethodsAndDefault", "AllMethods", "DeleteMethods", "DeleteMethods of one", "SetDefaultMethod", "FailedSignIns"}, op.name)
			var retry *identity.RetryError
			if err := op.run(identity.Urgent(t.Context()), c); (errors.As(err, &retry) && retry.After == time.Minute && !retry.Unknown) != methods {
				t.Errorf("%s: %v", op.name, err)
			}
		}
	})
}

func TestThrottlingPausesTheClass(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) *http.Response{
		"a request": func(*http.Request) *http.Response { return says(429, odata, "Retry-After", "8") },
		"an item": func(*http.Request) *http.Response {
			return says(200, `{"responses":[{"id":"0","status":200,"body":{"value":[]}},{"id":"1","status":429,"headers":{"Retry-After":"8"}}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				throttled := false
				c := budgeted(t, graph.DocumentedBudget(), func(r *http.Request) (*http.Response, error) {
					if !throttled {
						throttled = true
						return answer(r), nil
					}
					return says(404, odata), nil
				})
				_, err := c.MethodsAndDefault(t.Context(), someone)
				var retry *identity.RetryError
				if name == "a request" && (!errors.As(err, &retry) || retry.After != 8*time.Second) {
					t.Errorf("error %v", err)
				}
				begin := time.Now()
				_, _ = c.Account(t.Context(), someone)
				if waited := time.Since(begin); waited != 0 {
					t.Errorf("another class waits %s", waited)
				}
				_, _ = c.AllMethods(t.Context(), someone)
				if waited := time.Since(begin); waited != 8*time.Second {
					t.Errorf("the class waits %s", waited)
				}
			})
		})
	}
}

// A read that is repeated takes a second turn.
func TestRepetitionCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := budgeted(t, graph.Budget{Protection: graph.Limit{Requests: 1, Window: time.Second}}, func(*http.Request) (*http.Response, error) {
			return says(503, odata), nil
		})
		begin := time.Now()
		_, err := c.Risk(t.Context(), someone)
		checkClass(t, err, outcome{}, false)
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("repeated after %s", waited)
		}
	})
}

// handClock is a clock whose sleepers move it.
type handClock struct {
	now   time.Time
	slept time.Duration
}

func (h *handClock) Now() time.Time { return h.now }

func (h *handClock) Sleep(_ context.Context, d time.Duration) error {
	h.now = h.now.Add(d)
	h.slept += d
	return nil
}

func TestBudgetGoesByItsClock(t *testing.T) {
	clock := &handClock{now: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}
	c, err := graph.New(graph.Options{Credential: staticToken{}, BaseURL: "http://127.0.0.1:9", Budget: graph.DocumentedBudget(), Clock: clock,
		Transport: wire(func(*http.Request) (*http.Response, error) { return says(404, odata), nil })})
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, err := c.AllMethods(t.Context(), someone); !errors.Is(err, identity.ErrNotFound) {
			t.Error(err)
		}
	}
	if clock.slept != 10*time.Second {
		t.Errorf("six requests waited %s", clock.slept)
	}
}

func TestImpossibleBudget(t *testing.T) {
	for _, b := range []graph.Budget{
		{Methods: graph.Limit{Requests: 5}}, {Writes: graph.Limit{Window: time.Second}}, {Directory: graph.Limit{Requests: -1, Window: time.Second}},
		{Workers: -1}, {Patience: -time.Second},
	} {
		if _, err := graph.New(graph.Options{Credential: staticToken{}, Budget: b}); err == nil {
			t.Errorf("accepted %+v", b)
		}
	}
}

// realToken is a token that the simulator issued.
type realToken string

func (r realToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(r), ExpiresOn: time.Now().Add(24 * time.Hour)}, nil
}

// budgetResets is set by make bench, which reads the attributes of the test.
var budgetResets = flag.Int("resets", 2000, "resets that meet a budget")

// Many resets meet a budget of 100 requests a second: at least 90 % of it is used and
// fewer than 2 % of the requests are refused. Time is that of the bubble, so that the
// quarter of an hour this takes is over soon; the simulator answers in process and
// counts for itself.
func TestResetsAgainstABudget(t *testing.T) {
	const latency = 50 * time.Millisecond
	for name, tc := range map[string]struct {
		workers  int // that hold a lane at the same time
		patience time.Duration
		resets   int
	}{
		"32 lanes, all wait":            {32, 20 * time.Second, *budgetResets},
		"200 lanes, some come again":    {200, 3 * time.Second, *budgetResets},
		"a client alone, one at a time": {1, 20 * time.Second, 30},
	} {
		t.Run(name, func(t *testing.T) {
			s := tenant(t)
			var people []identity.UserID
			s.Mutate(func(d *sim.Tenant) {
				for i := range tc.resets {
					id := fmt.Sprintf("cccccccc-0000-4000-8000-%012d", i)
					u := &sim.User{ID: id, UserPrincipalName: fmt.Sprintf("p%d@contoso.example", i), UserType: "Member", DefaultMethod: "app-9"}
					for _, m := range append(slices.Clone(everyKind[2:7]), everyKind[0]) {
						c := *m
						u.Methods = append(u.Methods, &c)
					}
					d.Users = append(d.Users, u)
					people = append(people, identity.UserID(id))
				}
			})
			s.SetThrottle(sim.Throttle{Factor: 200}) // 1000 requests in 10 s
			clientID, secret := s.App("worker")
			credential, transport := credentialOf(t, s, clientID, secret)
			issued, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graph.DefaultBaseURL + "/.default"}})
			if err != nil {
				t.Fatal(err)
			}
			transport.CloseIdleConnections()

			synctest.Test(t, func(t *testing.T) {
				c, err := graph.New(graph.Options{Credential: realToken(issued.Token), BaseURL: "http://127.0.0.1:9",
					Budget: graph.Budget{Methods: graph.Limit{Requests: 1000, Window: 10 * time.Second}, Patience: tc.patience},
					Transport: wire(func(r *http.Request) (*http.Response, error) {
						time.Sleep(latency / 2)
						if r.Body == nil {
							r.Body = http.NoBody // as a server has it
						}
						w := httptest.NewRecorder()
						s.ServeHTTP(w, r)
						time.Sleep(latency / 2)
						return w.Result(), nil
					})})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				lanes := make(chan struct{}, tc.workers)
				var wg sync.WaitGroup
				var again, accepted, refused atomic.Int64
				count := func() { // often, because the simulator forgets
					for _, r := range s.TakeRequests() {
						switch {
						case strings.HasSuffix(r.Path, "$batch"):
						case r.Status == http.StatusTooManyRequests:
							refused.Add(1)
						default:
							accepted.Add(1)
						}
					}
				}
				for _, id := range people {
					wg.Go(func() {
						for {
							lanes <- struct{}{}
							after := resetOnce(t, c, id)
							count()
							<-lanes
							if after == 0 {
								return
							}
							again.Add(1)
							time.Sleep(after)
						}
					})
				}
				wg.Wait()
				took := time.Since(begin)

				used := float64(accepted.Load()) / (100 * took.Seconds())
				t.Logf("%d resets in %s: %d requests, %.1f %% of the budget, %d refused, %d came again", len(people), took, accepted.Load(), 100*used, refused.Load(), again.Load())
				share := float64(refused.Load()) / float64(accepted.Load()+refused.Load())
				t.Attr("resets", fmt.Sprint(len(people)))
				t.Attr("seconds", fmt.Sprint(took.Seconds()))
				t.Attr("used", fmt.Sprint(used))
				t.Attr("refused", fmt.Sprint(share))
				if share >= 0.02 {
					t.Errorf("%.1f %% of the requests were refused", 100*share)
				}
				if tc.workers > 1 && used < 0.9 {
					t.Errorf("%.1f %% of the budget was used", 100*used)
				}
				for _, id := range people {
					if left := s.Methods(string(id)); len(left) != 0 {
						t.Fatalf("%s keeps %d methods", id, len(left))
					}
				}
			})
		})
	}
}

// resetOnce goes through a reset as far as it gets, and returns when to come again.
func resetOnce(t *testing.T, c *graph.Client, id identity.UserID) time.Duration {
	r, err := c.MethodsAndDefault(t.Context(), id)
	for range 3 {
		if err != nil {
			break
		}
		likely, _ := r.LikelyDefault()
		todo := slices.DeleteFunc(r.Methods, func(m identity.Method) bool { return !m.Kind.Deletable() })
		if len(todo) > 1 {
			todo = slices.DeleteFunc(todo, func(m identity.Method) bool { return m == likely })
		}
		if len(todo) == 0 {
			return 0
		}
		var results []identity.MethodResult
		if results, err = c.DeleteMethods(t.Context(), id, todo, false); err != nil {
			break
		}
		for _, r := range results {
			if r.Outcome != identity.MethodDeleted && r.Outcome != identity.MethodGone {
				return max(time.Second, r.After)
			}
		}
		r.Methods = []identity.Method{likely}
		if slices.Contains(todo, likely) {
			r.Methods, err = c.AllMethods(t.Context(), id)
		}
	}
	var retry *identity.RetryError
	if !errors.As(err, &retry) {
		t.Errorf("%s: %v", id, err)
		return 0
	}
	return max(time.Millisecond, retry.After)
}

// The list of subscriptions is the tightest of all, and holds up nothing else.
func TestSubscriptionListsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := budgeted(t, graph.DocumentedBudget(), func(*http.Request) (*http.Response, error) { return says(200, `{"value":[]}`), nil })
		begin := time.Now()
		for range 25 {
			if _, err := c.Subscriptions(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Unsubscribe(t.Context(), "cccccccc-0000-4000-8000-000000000001"); err != nil || time.Since(begin) != 0 {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if _, err := c.Subscriptions(t.Context()); err != nil || time.Since(begin) < 20*time.Second {
			t.Errorf("the 26th goes after %s: %v", time.Since(begin), err)
		}
	})
}
