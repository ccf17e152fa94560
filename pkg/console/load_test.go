package console_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/console"
	"mfaflow/pkg/operate"
)

var replaying = flag.Int("replaying", 500, "how many entries are replayed while pages are read")

// Pages answer while a replay runs, and what they say of it is true. It prints how long
// they took: pkg/bench reads that.
func TestPagesWhileAReplayRuns(t *testing.T) {
	// 63 of 108 are of a lane.
	d := newDesk(*replaying * 108 / 63)
	// A request of event-replay takes its time; meanwhile others are answered.
	d.before = func(operate.Replay) error {
		<-time.After(20 * time.Millisecond)
		return nil
	}
	s := serve(t, d, func(c *console.Config) { c.Now = time.Now })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	connections := &http.Transport{MaxIdleConnsPerHost: 4}
	defer connections.CloseIdleConnections()
	browser := &http.Client{Jar: jar, Transport: connections}
	read := func(r *http.Response, err error) (string, *url.URL) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v: %s", r.Request.URL, r.StatusCode, err, body)
		}
		return string(body), r.Request.URL
	}
	field := func(page, name string) string {
		return regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)[1]
	}
	page, home := read(browser.Get(s.Link("ana")))
	at := func(path string) string { return home.ResolveReference(&url.URL{Path: path}).String() }
	form := url.Values{"csrf": {field(page, "csrf")}, "all": {"1"}, "place": {"lanes"}}
	some, shown := 0, ""
	for _, e := range d.entries {
		if e.Place == operate.Lanes {
			some++
		} else {
			shown = fmt.Sprintf("/entries/%s/%d", e.Place, e.Sequence)
		}
	}
	began := time.Now()
	page, _ = read(browser.PostForm(at("/plans"), form))
	if !strings.Contains(page, `name="digest"`) {
		t.Fatalf("no plan: %s", page)
	}
	planned := time.Since(began)
	began = time.Now()
	_, replay := read(browser.PostForm(at("/replays"), url.Values{
		"csrf": form["csrf"], "plan": {field(page, "plan")}, "digest": {field(page, "digest")}, "rate": {"0"}, "why": {"while others look"},
	}))
	paths := []string{"/", "/entries", shown, "/flags", "/holds", "/holds/600", "/person/" + person(4), "/replays", replay.Path}
	var took []time.Duration
	var ended time.Duration
	for i := 0; ended == 0; i++ {
		asked := time.Now()
		page, _ := read(browser.Get(at(paths[i%len(paths)])))
		took = append(took, time.Since(asked))
		if i%len(paths) == len(paths)-1 && strings.Contains(page, "finished") {
			ended = time.Since(began)
		}
		if strings.Contains(page, "paused") && paths[i%len(paths)] == replay.Path {
			t.Fatal(page)
		}
	}
	d.mu.Lock()
	done := len(d.replayed)
	d.mu.Unlock()
	if done != some {
		t.Errorf("%d were replayed, want %d", done, some)
	}
	slices.Sort(took)
	milliseconds := func(d time.Duration) string {
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64)
	}
	t.Attr("entries", strconv.Itoa(done))
	t.Attr("plan", milliseconds(planned))
	t.Attr("replay", milliseconds(ended))
	t.Attr("pages", strconv.Itoa(len(took)))
	t.Attr("median", milliseconds(took[len(took)/2]))
	t.Attr("p99", milliseconds(took[len(took)*99/100]))
}
