package operateapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mirror is an Operations that says what it was asked and answers what it was told to.
type mirror struct {
	asked  []any
	answer any
	err    error
	id     string
}

func reply[T any](ctx context.Context, m *mirror, asked ...any) (T, error) {
	m.asked, m.id = asked, correlation.ID(ctx)
	out, _ := m.answer.(T)
	return out, m.err
}

func (m *mirror) Overview(ctx context.Context) (operate.Overview, error) {
	return reply[operate.Overview](ctx, m)
}
func (m *mirror) List(ctx context.Context, f operate.Filter, cursor string, limit int) (operate.Page[operate.Entry], error) {
	return reply[operate.Page[operate.Entry]](ctx, m, f, cursor, limit)
}
func (m *mirror) Show(ctx context.Context, id operate.ID, reveal bool) (operate.Detail, error) {
	return reply[operate.Detail](ctx, m, id, reveal)
}
func (m *mirror) Flags(ctx context.Context, f operate.FlagFilter, cursor string, limit int) (operate.Page[operate.OpenFlag], error) {
	return reply[operate.Page[operate.OpenFlag]](ctx, m, f, cursor, limit)
}
func (m *mirror) Person(ctx context.Context, who string, reveal bool) (operate.PersonView, error) {
	return reply[operate.PersonView](ctx, m, who, reveal)
}
func (m *mirror) Plan(ctx context.Context, s operate.Selection) (operate.Plan, error) {
	return reply[operate.Plan](ctx, m, s)
}
func (m *mirror) Replay(ctx context.Context, by operate.Operator, r operate.Replay) ([]operate.Outcome, error) {
	return reply[[]operate.Outcome](ctx, m, by, r)
}
func (m *mirror) Discard(ctx context.Context, by operate.Operator, ids []operate.ID, reason string) ([]operate.Outcome, error) {
	return reply[[]operate.Outcome](ctx, m, by, ids, reason)
}
func (m *mirror) Decide(ctx context.Context, by operate.Operator, w operate.Word) (operate.Outcome, error) {
	return reply[operate.Outcome](ctx, m, by, w)
}
func (m *mirror) Resolve(ctx context.Context, by operate.Operator, flags []int64, reason string) ([]operate.Outcome, error) {
	return reply[[]operate.Outcome](ctx, m, by, flags, reason)
}
func (m *mirror) LetIn(ctx context.Context, by operate.Operator, user identity.UserID, reason string) (operate.Outcome, error) {
	return reply[operate.Outcome](ctx, m, by, user, reason)
}

const ada operate.Operator = "ada@contoso.example"

func always(by operate.Operator) operateapi.Authenticator {
	return func(*http.Request) (operate.Operator, error) { return by, nil }
}

func serve(t *testing.T, to operate.Operations, who operateapi.Authenticator) (client *operateapi.Client, url string, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	server := httptest.NewServer(operateapi.Handler(to, who, slog.New(slog.NewJSONHandler(log, nil))))
	transport := &http.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	client, err := operateapi.New(server.URL, transport)
	if err != nil {
		t.Fatal(err)
	}
	return client, server.URL, log
}

// random fills a value: every field, so that one that does not travel shows.
func random(r *rand.Rand, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC()))
		return
	case json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(fmt.Sprintf(`{"a":%d}`, r.IntN(100)))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("é\"<%d>\n", r.IntN(1000)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 3))
		for i := range v.Len() {
			random(r, v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		random(r, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			random(r, v.Field(i))
		}
	default:
		panic("cannot fill " + v.Type().String())
	}
}

// A call through client and handler is the call: what was asked, what was answered, and
// what went wrong, with the operator of the transport in the place of the argument.
func TestACallIsTheCall(t *testing.T) {
	m := &mirror{}
	client, _, _ := serve(t, m, always(ada))
	r := rand.New(rand.NewPCG(1, 2))
	wrong := []error{
		nil, nil, nil, fmt.Errorf("entry 7: %w", operate.ErrNotFound), operate.ErrStale, fmt.Errorf("%w: ada is whom it is about", operate.ErrRefused),
	}
	methods := reflect.TypeFor[operate.Operations]()
	for i := range methods.NumMethod() {
		method := methods.Method(i)
		t.Run(method.Name, func(t *testing.T) {
			call := reflect.ValueOf(client).MethodByName(method.Name)
			for range 60 {
				id := correlation.New()
				in := []reflect.Value{reflect.ValueOf(correlation.With(t.Context(), id))}
				want := []any{}
				for p := 1; p < method.Type.NumIn(); p++ {
					v := reflect.New(method.Type.In(p)).Elem()
					random(r, v)
					in = append(in, v)
					if v.Type() == reflect.TypeFor[operate.Operator]() {
						want = append(want, ada)
					} else {
						want = append(want, v.Interface())
					}
				}
				answer := reflect.New(method.Type.Out(0)).Elem()
				random(r, answer)
				m.answer, m.err = answer.Interface(), wrong[r.IntN(len(wrong))]
				out := call.Call(in)
				if diff := cmp.Diff(want, m.asked, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("asked (-want +got):\n%s", diff)
				}
				if m.id != id {
					t.Errorf("correlation id %q, want %q", m.id, id)
				}
				err, _ := out[1].Interface().(error)
				if m.err == nil && err != nil || m.err != nil && (err == nil || err.Error() != m.err.Error()) {
					t.Fatalf("error %v, want %v", err, m.err)
				}
				for _, kind := range []error{operate.ErrNotFound, operate.ErrStale, operate.ErrRefused} {
					if errors.Is(err, kind) != errors.Is(m.err, kind) {
						t.Errorf("%v is %v: %v", err, kind, errors.Is(err, kind))
					}
				}
				// What was done before an error is told with it.
				if _, outcomes := m.answer.([]operate.Outcome); m.err == nil || outcomes {
					if diff := cmp.Diff(m.answer, out[0].Interface()); diff != "" {
						t.Fatalf("answered (-want +got):\n%s", diff)
					}
				}
			}
		})
	}
}

// Who asks is told who they are taken for, and that they are nobody.
func TestWhoAmI(t *testing.T) {
	client, _, _ := serve(t, &mirror{}, always(ada))
	if is, err := client.WhoAmI(t.Context()); err != nil || is != ada {
		t.Errorf("%q, %v", is, err)
	}
	client, _, _ = serve(t, &mirror{}, always(""))
	if is, err := client.WhoAmI(t.Context()); !errors.Is(err, operateapi.ErrNobody) || is != "" {
		t.Errorf("nobody: %q, %v", is, err)
	}
}

// A plan of many entries comes whole, and what is too long for one answer is refused.
func TestLongAnswers(t *testing.T) {
	plan := operate.Plan{}
	for i := range int64(30_000) {
		plan.Entries = append(plan.Entries, operate.PlannedEntry{ID: operate.ID{Place: operate.Lanes, Sequence: i}, Digest: strings.Repeat("0123456789abcdef", 4),
			Decision: operate.Decision{Decision: "act", Steps: []string{"block-sign-in", "revoke-sessions", "remove-methods"}}})
	}
	m := &mirror{answer: plan}
	client, url, _ := serve(t, m, always(ada))
	got, err := client.Plan(t.Context(), operate.Selection{})
	if err != nil || !cmp.Equal(got, plan) {
		t.Fatalf("%d entries, %v", len(got.Entries), err)
	}
	// Without compression the same answer is too long.
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/plan", strings.NewReader("{}"))
	response, err := (&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != 422 || !strings.Contains(string(body), "select fewer") {
		t.Errorf("%d with %d bytes", response.StatusCode, len(body))
	}
	if _, err := client.Discard(t.Context(), "", nil, strings.Repeat("x", 6<<20)); !errors.Is(err, operate.ErrRefused) {
		t.Errorf("a request of 6 MiB: %v", err)
	}
}

func post(t *testing.T, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w
}

// What is not the protocol is refused before anything is asked.
func TestRequestsThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"another method":     {"GET", "/v1/overview", "{}", 400},
		"another path":       {"POST", "/v1/delete", "{}", 400},
		"no version":         {"POST", "/overview", "{}", 400},
		"no body":            {"POST", "/v1/overview", "", 400},
		"two values":         {"POST", "/v1/overview", "{}{}", 400},
		"unknown member":     {"POST", "/v1/discard", `{"ids":[],"reason":"r","operator":"eve"}`, 400},
		"a name twice":       {"POST", "/v1/discard", `{"reason":"a","reason":"b"}`, 400},
		"a name in two ways": {"POST", "/v1/discard", `{"reason":"a","Reason":"b"}`, 400},
		"wrong kind":         {"POST", "/v1/resolve", `{"flags":["1"]}`, 400},
		"too long":           {"POST", "/v1/discard", `{"reason":"` + strings.Repeat("x", 5<<20) + `"}`, 422},
	} {
		t.Run(name, func(t *testing.T) {
			m := &mirror{}
			w := post(t, operateapi.Handler(m, always(ada), slog.New(slog.DiscardHandler)), c.method, c.path, c.body)
			var p struct{ Type, Title string }
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" || p.Type == "" || p.Title == "" {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if m.asked != nil {
				t.Errorf("asked %v", m.asked)
			}
		})
	}
}

// hanging acts until it is let go, and notes whether it was stopped.
type hanging struct {
	mirror
	entered, release chan struct{}
	stopped          chan error
}

func (h *hanging) Replay(ctx context.Context, _ operate.Operator, _ operate.Replay) ([]operate.Outcome, error) {
	close(h.entered)
	<-h.release
	h.stopped <- ctx.Err()
	return nil, nil
}

// Who asks may go; what is being done is done to its end.
func TestActingOutlivesWhoAsked(t *testing.T) {
	h := &hanging{entered: make(chan struct{}), release: make(chan struct{}), stopped: make(chan error, 1)}
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-h.entered; leave(); close(h.release) }()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/replay", strings.NewReader(`{"plan":"","settings":"","digests":[],"entries":[],"reason":""}`))
	operateapi.Handler(h, always(ada), slog.New(slog.DiscardHandler)).ServeHTTP(httptest.NewRecorder(), r)
	if err := <-h.stopped; err != nil {
		t.Errorf("it was stopped: %v", err)
	}
}

// What goes wrong inside is for the log, under the correlation id that the operator sees.
func TestFailuresStayInside(t *testing.T) {
	const inside = "amqp: link to sb.example detached"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"anything":            {errors.New(inside), "with 500 Internal Server Error; "},
		"the broker is down":  {fmt.Errorf("%s: %w", inside, queue.ErrUnavailable), "with 503 Service Unavailable: the broker does not answer; "},
		"the directory busy":  {fmt.Errorf("%s: %w", inside, &identity.RetryError{}), "with 503 Service Unavailable: the directory does not answer, or has had enough for now; "},
		"a permission misses": {fmt.Errorf("%s: %w", inside, identity.ErrForbidden), "with 500 Internal Server Error: the directory refuses our app; "},
		"out of time":         {fmt.Errorf("%s: %w", inside, context.DeadlineExceeded), "with 503 Service Unavailable: it took too long; "},
	} {
		t.Run(name, func(t *testing.T) {
			client, _, log := serve(t, &mirror{err: c.err}, always(ada))
			id := correlation.New()
			_, err := client.Overview(correlation.With(t.Context(), id))
			if !errors.Is(err, operateapi.ErrFailed) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), id) || strings.Contains(err.Error(), "amqp") {
				t.Errorf("got %v", err)
			}
			if !strings.Contains(log.String(), inside) || !strings.Contains(log.String(), string(ada)) || !strings.Contains(log.String(), `"level":"ERROR"`) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestAnswersOfStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		typ    string
		body   string
		want   error
	}{
		"a gateway's error":  {502, "text/html", "<h1>Bad Gateway</h1>", operateapi.ErrFailed},
		"Lambda's refusal":   {403, "application/json", `{"Message":"Forbidden"}`, operateapi.ErrDenied},
		"a login page":       {401, "text/html", "<html>", operateapi.ErrDenied},
		"another site":       {200, "text/html", "<html>", operateapi.ErrFailed},
		"a redirect":         {302, "", "", operateapi.ErrFailed},
		"an unknown problem": {500, "application/problem+json", `{"type":"urn:x","title":"t","status":500,"correlationId":"c"}`, operateapi.ErrFailed},
		"a newer version":    {200, "application/json", `{"at":"2026-11-23T08:00:00Z","entries":null,"openFlags":null,"more":1}`, operateapi.ErrFailed},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Content-Type", c.typ)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer server.Close()
			client, err := operateapi.New(server.URL, &http.Transport{DisableKeepAlives: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Overview(t.Context()); !errors.Is(err, c.want) || asked != 1 {
				t.Errorf("got %v after %d requests, want %v", err, asked, c.want)
			}
		})
	}
	client, _ := operateapi.New("http://127.0.0.1:1", http.DefaultTransport)
	if _, err := client.Overview(t.Context()); !errors.Is(err, operateapi.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	for _, url := range []string{"", "nowhere", "ftp://a", "https://u:p@a", "https://a/path", "https://a?q"} {
		if _, err := operateapi.New(url, nil); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}

// Whatever the bytes, a request is refused as malformed or asked with what they say: what
// was asked, said again, asks the same.
func FuzzRequest(f *testing.F) {
	f.Add("discard", []byte(`{"ids":[{"place":"lanes","sequence":1}],"reason":"r"}`))
	f.Add("plan", []byte(`{"filter":{"places":["inbound"],"since":"2026-11-23T08:00:00Z"},"edits":[{"place":"lanes","sequence":1,"patch":{"a":1}}]}`))
	f.Add("replay", []byte(`{"plan":"d","settings":"s","digests":["a"],"entries":[{"place":"lanes","sequence":1,"digest":"a","decision":"act"}],"reason":"r"}`))
	f.Add("decide", []byte(`{"flag":1,"decision":"release","reason":"r"}`))
	f.Add("list", []byte(`{"filter":{},"cursor":"c","limit":-1}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if strings.ContainsAny(name, "?#% \t\r\n/") || strings.ToValidUTF8(name, "") != name {
			return
		}
		m := &mirror{}
		h := operateapi.Handler(m, always(ada), slog.New(slog.DiscardHandler))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/x", bytes.NewReader(body))
		r.URL.Path = "/v1/" + name
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if (w.Code == 200) != (m.id != "") || w.Code != 200 && w.Code != 400 {
			t.Fatalf("%d %s, asked %v", w.Code, w.Body, m.asked)
		}
		if w.Code != 200 {
			return
		}
		first, err := json.Marshal(m.asked)
		if err != nil {
			t.Fatal(err)
		}
		client, err := operateapi.New("http://x.example", through{h})
		if err != nil {
			t.Fatal(err)
		}
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for _, v := range m.asked {
			in = append(in, reflect.ValueOf(v))
		}
		reflect.ValueOf(client).MethodByName(nameOf(name)).Call(in)
		if again, err := json.Marshal(m.asked); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("asked %s, then %s (%v)", first, again, err)
		}
	})
}

func nameOf(path string) string {
	if path == "let-in" {
		return "LetIn"
	}
	return strings.ToUpper(path[:1]) + path[1:]
}

// through is a transport without a network.
type through struct{ h http.Handler }

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r)
	return w.Result(), nil
}
