package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"mfaflow/pkg/cli"
)

// The console of the command line, over the client and the handler of event-replay: a
// dead letter is planned and replayed by who runs the command.
func TestConsole(t *testing.T) {
	clear(t)
	s := newShelf(3)
	env := announced(t, s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	var log bytes.Buffer
	code := make(chan int)
	go func() {
		code <- cli.Run(ctx, []string{"console"}, nil, in, &log, env)
		in.Close()
	}()
	first := make([]byte, 512)
	n, err := out.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/enter\?token=\S+`).FindString(string(first[:n]))
	if link == "" {
		t.Fatalf("no link: %s", first[:n])
	}

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	connections := &http.Transport{}
	defer connections.CloseIdleConnections()
	browser := &http.Client{Jar: jar, Transport: connections}
	read := func(r *http.Response, err error) (page, path string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%d %v: %s", r.StatusCode, err, body)
		}
		return string(body), r.Request.URL.Path
	}
	field := func(page, name string) string {
		t.Helper()
		m := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("no field %s in %s", name, page)
		}
		return m[1]
	}
	page, _ := read(browser.Get(link))
	if !strings.Contains(page, "forbidden") || !strings.Contains(page, me(t)) {
		t.Errorf("overview: %s", page)
	}
	origin := strings.TrimSuffix(link, link[strings.Index(link, "/enter"):])
	csrf := field(page, "csrf")
	page, _ = read(browser.PostForm(origin+"/plans", url.Values{"csrf": {csrf}, "id": {"lanes:1", "lanes:3"}}))
	_, replay := read(browser.PostForm(origin+"/replays", url.Values{
		"csrf": {csrf}, "plan": {field(page, "plan")}, "digest": {field(page, "digest")}, "rate": {"0"}, "why": {"granted"},
	}))
	for !strings.Contains(page, "finished") {
		if page, _ = read(browser.Get(origin + replay)); strings.Contains(page, "paused") || strings.Contains(page, "stopped") || t.Context().Err() != nil {
			t.Fatal(page)
		}
	}
	want := []string{me(t) + ", granted: replay hr:1", me(t) + ", granted: replay hr:3"}
	s.mu.Lock()
	if strings.Join(s.said, "; ") != strings.Join(want, "; ") {
		t.Errorf("said %q, want %q", s.said, want)
	}
	s.mu.Unlock()
	stop()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	if !strings.Contains(log.String(), `"did":"start replay"`) || strings.Contains(log.String(), "token=") {
		t.Errorf("log: %s", log.String())
	}
}

func TestConsoleIsNotExposed(t *testing.T) {
	clear(t)
	env := announced(t, newShelf(0))
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "example.com:0"} {
		got := run(t, "", env, "console", "--listen", address)
		if got.code != 2 || !strings.Contains(got.stderr, "listens on loopback only") {
			t.Errorf("%s: %d %s", address, got.code, got.stderr)
		}
	}
}
