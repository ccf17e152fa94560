package post_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/post"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// token is the part of the address that nobody may see.
const token = "T000-B000-XXXXXX"

func newClient(t *testing.T, address string) *post.Client {
	t.Helper()
	c, err := post.New(identity.NewSecret(address), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		header  string
		body    string
		refused bool
		after   time.Duration
		want    string
	}{
		"200":                     {status: 200, body: "ok"},
		"202":                     {status: 202},
		"204":                     {status: 204},
		"304":                     {status: 304, refused: true, want: "answered 304"},
		"400":                     {status: 400, body: "invalid_payload", refused: true, want: "answered 400 invalid_payload"},
		"401":                     {status: 401, refused: true, want: "answered 401"},
		"403":                     {status: 403, body: "action_prohibited\n", refused: true, want: "answered 403 action_prohibited"},
		"404":                     {status: 404, body: `{"error":{"code":"WorkflowNotFound","message":"` + token + `"}}`, refused: true, want: "answered 404"},
		"410":                     {status: 410, body: "channel_is_archived", refused: true, want: "answered 410 channel_is_archived"},
		"413":                     {status: 413, refused: true, want: "answered 413"},
		"408":                     {status: 408, want: "answered 408"},
		"429":                     {status: 429, want: "answered 429"},
		"429 with seconds":        {status: 429, header: "30", after: 30 * time.Second, want: "answered 429"},
		"429 with a date":         {status: 429, header: now.Add(time.Minute).Format(http.TimeFormat), after: time.Minute, want: "answered 429"},
		"429 with a past date":    {status: 429, header: now.Add(-time.Minute).Format(http.TimeFormat), want: "answered 429"},
		"429 with nonsense":       {status: 429, header: "-5", want: "answered 429"},
		"429 with a huge number":  {status: 429, header: "99999999999999999999", want: "answered 429"},
		"500":                     {status: 500, want: "answered 500"},
		"503 with seconds":        {status: 503, header: "5", after: 5 * time.Second, want: "answered 503"},
		"an endless answer":       {status: 500, body: strings.Repeat("x", 1<<20), want: "answered 500"},
		"an answer like an order": {status: 500, body: "rollup_error <b>", want: "answered 500"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got = fmt.Sprintln(r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.Header.Get("X-More"), r.ContentLength, string(b))
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer s.Close()
			header := http.Header{"X-More": {"yes"}}
			err := newClient(t, s.URL+"/services/"+token+"?sig="+token).JSON(t.Context(), header, []byte(`{"a":1}`))
			if want := "POST /services/" + token + "?sig=" + token + " application/json yes 7 {\"a\":1}\n"; got != want {
				t.Errorf("asked %q, want %q", got, want)
			}
			if len(header) != 1 {
				t.Error("the caller's header was changed")
			}
			check(t, err, c.refused, c.want)
			var retry *notify.RetryError
			if errors.As(err, &retry) && retry.After != c.after {
				t.Errorf("wait %s, want %s", retry.After, c.after)
			}
		})
	}
}

// check wants an error of the kind, or none for an empty text.
func check(t *testing.T, err error, refused bool, want string) {
	t.Helper()
	var retry *notify.RetryError
	switch {
	case want == "":
		if err != nil {
			t.Errorf("got %v", err)
		}
		return
	case err == nil:
		t.Error("no error")
		return
	case errors.Is(err, notify.ErrRefused) != refused, errors.As(err, &retry) == refused, !strings.HasPrefix(err.Error(), want):
		t.Errorf("got %v, want %q, refused %v", err, want, refused)
	}
	if s := err.Error() + fmt.Sprintf("%+v %#v", err, err); strings.Contains(s, token) {
		t.Errorf("the address shows in %s", s)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		followed := false
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
		s := httptest.NewServer(http.RedirectHandler(other.URL+"/"+token, status))
		check(t, newClient(t, s.URL).JSON(t.Context(), nil, []byte("{}")), true, fmt.Sprint("answered ", status))
		if followed {
			t.Errorf("%d was followed", status)
		}
		s.Close()
		other.Close()
	}
}

func TestNoAnswer(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	hangs := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-hangs }))
	defer silent.Close()
	defer close(hangs)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	garbage, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	go func() {
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "I know your address: "+token+"\r\n\r\n")
			_ = conn.Close()
		}
	}()
	for name, c := range map[string]struct{ address, want string }{
		"nobody listens":  {"http://" + closed, "connection failed: "},
		"silence":         {silent.URL, "no answer in time"},
		"cut":             {cut.URL, "connection failed"},
		"bad certificate": {secure.URL, "certificate not trusted"},
		"no HTTP":         {"http://" + garbage.Addr().String(), "connection failed"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if name == "silence" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			check(t, newClient(t, c.address+"/"+token+"?sig="+token).JSON(ctx, nil, []byte("{}")), false, c.want)
		})
	}
}

func TestBadAddresses(t *testing.T) {
	for _, address := range []string{"", token, "ftp://" + token, "https://", "/" + token, "https://a b/" + token, "https://x/%zz" + token} {
		if _, err := post.New(identity.NewSecret(address), time.Now); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
