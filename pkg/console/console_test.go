package console_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/console"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
)

const host = "127.0.0.1:8088"

// place is a console over a desk, without a network.
type place struct {
	*console.Console
	desk *desk
	log  *logged
}

type logged struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func open(t testing.TB, d *desk, change ...func(*console.Config)) *place {
	t.Helper()
	log := &logged{}
	cfg := console.Config{Operations: d, Hosts: []string{host}, Log: slog.New(slog.NewJSONHandler(log, nil)), Now: func() time.Time { return noon }}
	for _, c := range change {
		c(&cfg)
	}
	c, err := console.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &place{c, d, log}
}

// browser is one operator's; it keeps the cookie and the token of its forms.
type browser struct {
	t      testing.TB
	at     *place
	cookie string
	csrf   string
}

// answer is a page as a test reads it.
type answer struct {
	status int
	header http.Header
	body   string
}

// words is the page without markup.
func (a answer) words() string {
	plain := regexp.MustCompile(`(?s)<[^>]*>`).ReplaceAllString(a.body, " ")
	return strings.Join(strings.Fields(html.UnescapeString(plain)), " ")
}

func (a answer) has(t testing.TB, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(a.words(), want) {
			t.Errorf("the page (%d) does not say %q; it says: %s", a.status, want, a.words())
		}
	}
}

func (p *place) enter(t testing.TB, operator operate.Operator) *browser {
	t.Helper()
	b := &browser{t: t, at: p}
	a := b.send(http.MethodGet, p.Invite(operator), nil, nil)
	if a.status != http.StatusSeeOther {
		t.Fatalf("enter: %d %s", a.status, a.body)
	}
	set, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Path != "/" {
		t.Errorf("cookie is open to scripts or other sites: %s", a.header.Get("Set-Cookie"))
	}
	b.cookie = set.Name + "=" + set.Value
	m := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(b.get("/help").body)
	if m == nil {
		t.Fatal("a page has no form token")
	}
	b.csrf = m[1]
	return b
}

func (b *browser) send(method, target string, form url.Values, change func(*http.Request)) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Host = host
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.cookie != "" {
		r.Header.Set("Cookie", b.cookie)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	b.at.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	return answer{w.Code, w.Header(), string(body)}
}

func (b *browser) get(target string) answer {
	b.t.Helper()
	return b.send(http.MethodGet, target, nil, nil)
}

// post sends a form and follows where it leads.
func (b *browser) post(target string, pairs ...string) (answer, string) {
	b.t.Helper()
	form := url.Values{"csrf": {b.csrf}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	a := b.send(http.MethodPost, target, form, nil)
	if a.status == http.StatusSeeOther {
		target = a.header.Get("Location")
		return b.get(target), target
	}
	return a, target
}

func TestAccess(t *testing.T) {
	p := open(t, newDesk(3))
	stranger := &browser{t: t, at: p}
	t.Run("ErrNoSession", func(t *testing.T) {
		for _, target := range []string{"/", "/entries", "/help", "/entries/lanes/1000"} {
			if a := stranger.get(target); a.status != http.StatusUnauthorized || strings.Contains(a.body, "forbidden") {
				t.Errorf("%s: %d", target, a.status)
			}
		}
	})
	t.Run("ErrTokenTwice", func(t *testing.T) {
		link := p.Invite("ana")
		if a := stranger.send(http.MethodHead, link, nil, nil); a.header.Get("Set-Cookie") != "" {
			t.Error("a preview of the link lets in")
		}
		if a := stranger.get(link); a.status != http.StatusSeeOther {
			t.Fatalf("first use: %d", a.status)
		}
		if a := stranger.get(link); a.status != http.StatusUnauthorized || a.header.Get("Set-Cookie") != "" {
			t.Errorf("second use: %d", a.status)
		}
	})
	t.Run("ErrOtherHost", func(t *testing.T) {
		b := p.enter(t, "ana")
		for _, name := range []string{"evil.example", "evil.example:8088", "127.0.0.1", "127.0.0.1:80"} {
			a := b.send(http.MethodGet, "/", nil, func(r *http.Request) { r.Host = name })
			if a.status != http.StatusMisdirectedRequest {
				t.Errorf("%s: %d", name, a.status)
			}
		}
	})
	t.Run("ErrForgedForm", func(t *testing.T) {
		b := p.enter(t, "ana")
		form := func(csrf string) url.Values { return url.Values{"csrf": {csrf}, "number": {"500"}, "why": {"because"}} }
		other := p.enter(t, "ben")
		for name, a := range map[string]answer{
			"no token":        b.send(http.MethodPost, "/flags/resolve", form(""), nil),
			"wrong token":     b.send(http.MethodPost, "/flags/resolve", form("x"), nil),
			"another's token": b.send(http.MethodPost, "/flags/resolve", form(other.csrf), nil),
			"another site": b.send(http.MethodPost, "/flags/resolve", form(b.csrf), func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			}),
			"another origin": b.send(http.MethodPost, "/flags/resolve", form(b.csrf), func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }),
		} {
			if a.status != http.StatusForbidden {
				t.Errorf("%s: %d", name, a.status)
			}
		}
		if len(p.desk.done()) > 0 {
			t.Errorf("something was done: %v", p.desk.done())
		}
	})
	t.Run("Leave", func(t *testing.T) {
		b := p.enter(t, "ana")
		b.post("/leave")
		if a := b.get("/"); a.status != http.StatusUnauthorized {
			t.Errorf("after signing out: %d", a.status)
		}
	})
	t.Run("Headers", func(t *testing.T) {
		h := p.enter(t, "ana").get("/").header
		for name, want := range map[string]string{
			"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		} {
			if !strings.Contains(h.Get(name), want) {
				t.Errorf("%s is %q", name, h.Get(name))
			}
		}
		if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Error("the policy allows inline code")
		}
	})
}

func TestSessionsEnd(t *testing.T) {
	now := noon
	p := open(t, newDesk(1), func(c *console.Config) { c.Now = func() time.Time { return now } })
	b, link := p.enter(t, "ana"), p.Invite("ben")
	now = now.Add(2 * time.Hour)
	if a := (&browser{t: t, at: p}).get(link); a.status != http.StatusUnauthorized {
		t.Errorf("a link of two hours ago: %d", a.status)
	}
	if a := b.get("/"); a.status != http.StatusOK {
		t.Errorf("session of two hours: %d", a.status)
	}
	now = now.Add(11 * time.Hour)
	if a := b.get("/"); a.status != http.StatusUnauthorized {
		t.Errorf("session of thirteen hours: %d", a.status)
	}
}

func TestPages(t *testing.T) {
	d := newDesk(4000)
	trail := &console.Trail{}
	var line bytes.Buffer
	err := audit.NewWriter(&line, "event-replay").Write(t.Context(), audit.Record{
		Key: "workday:msg-00004", Type: "employee.joiner", User: identity.UserID(person(14)), Actor: "ana", Action: "replay", Outcome: "sent", Started: noon.Add(-10 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	trail.Add(line.Bytes())
	trail.Add(bytes.Replace(line.Bytes(), []byte("ana"), []byte("eve"), 1))
	trail.Add([]byte(`{"msg":"no audit line"}`))
	p := open(t, d, func(c *console.Config) { c.Audit = trail })
	b := p.enter(t, "ana")
	tests := []struct {
		target string
		status int
		texts  []string
	}{
		{"/", 200, []string{"Overview", "Dead letters", "forbidden", "Destructive changes 41 of 50", "More than three quarters", "Risk has risen", "When they came", "Done in the last hour"}},
		{"/entries", 200, []string{"Dead letters and quarantine", "Plan a replay", "Next page"}},
		{"/entries?place=quarantine", 200, []string{"Quarantine", "mapping-failed"}},
		{"/entries?reason=FORBIDDEN&type=employee.joiner&since=2026-11-20T00:00&until=2026-11-24", 200, []string{"forbidden"}},
		{"/entries?reason=nonsense", 200, []string{"Nothing matches", "Clear the filter"}},
		{"/entries?place=moon", 400, []string{"place must be one of"}},
		{"/entries?since=yesterday", 400, []string{"since must be a time"}},
		{"/entries?since=2026-11-24&until=2026-11-23", 400, []string{"until must not be before since"}},
		{"/entries/lanes/999999", 404, []string{"Not here any more"}},
		{"/entries/moon/1", 400, nil},
		{"/flags", 200, []string{"Risk has risen", "Pass could not be delivered", "Resolve the chosen"}},
		{"/flags?cause=smart-lockout", 200, []string{"Locked after wrong passwords"}},
		{"/flags?cause=boredom", 400, []string{"cause is not one of the list"}},
		{"/holds", 200, []string{"protected-person", "0 of 2"}},
		{"/holds/600", 200, []string{"two operators release", "2 different operators", "an operator's word is missing"}},
		{"/holds/500", 404, nil},
		{"/person", 200, []string{"Why can't they sign in?"}},
		{"/person/" + person(4), 200, []string{"We blocked the account", "Next step", "Let this person in again", "disabled"}},
		{"/person/nobody", 404, nil},
		{"/audit", 200, []string{"replay", "sent", "ana"}},
		{"/audit?actor=eve", 200, []string{"Nothing matches"}},
		{"/replays", 200, []string{"No replay has been started"}},
		{"/replays/x", 404, nil},
		{"/plans/x", 404, nil},
		{"/help", 200, []string{"Keys"}},
		{"/nowhere", 404, nil},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			a := b.get(tt.target)
			if a.status != tt.status {
				t.Fatalf("%d: %s", a.status, a.words())
			}
			a.has(t, tt.texts...)
			wellFormed(t, a.body)
		})
	}
	if other := open(t, d).enter(t, "ana").get("/audit"); !strings.Contains(other.words(), "mfaflow audit verify") {
		t.Errorf("without a trail the page does not say where it is: %s", other.words())
	}
	if a := open(t, newDesk(0)).enter(t, "ana").get("/"); !strings.Contains(a.words(), "Nothing is stuck") {
		t.Errorf("nothing stuck: %s", a.words())
	}
}

// wellFormed holds a page to what a browser would forgive: one main, no
// inline script or style, labels for all fields, one h1.
func wellFormed(t testing.TB, page string) {
	t.Helper()
	for part, want := range map[string]int{"<main ": 1, "<h1>": 1, "<script ": 1} {
		if n := strings.Count(page, part); n != want {
			t.Errorf("%d times %s, want %d", n, part, want)
		}
	}
	for _, never := range []string{"<script>", "<style", "ZgotmplZ", "<no value>", "http://", "https://", "%!"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %s", never)
		}
	}
	if inline := regexp.MustCompile(`<[a-z]+(\s+[a-z-]+(="[^"]*")?)*\s+(style|on[a-z]+)=`).FindString(page); inline != "" {
		t.Errorf("inline code: %s", inline)
	}
	open := map[string]int{}
	for _, tag := range regexp.MustCompile(`</?(div|section|table|tr|td|form|dl|dd|ol|ul|li|details|figure|svg|p|a|button|label)\b`).FindAllString(page, -1) {
		if strings.HasPrefix(tag, "</") {
			open[tag[2:]]--
		} else {
			open[tag[1:]]++
		}
	}
	for tag, n := range open {
		if n != 0 {
			t.Errorf("%d <%s> are not closed", n, tag)
		}
	}
}

func TestPagesOfAList(t *testing.T) {
	p := open(t, newDesk(130))
	b := p.enter(t, "ana")
	seen, pages := map[string]bool{}, 0
	for target := "/entries"; target != ""; pages++ {
		a := b.get(target)
		for _, m := range regexp.MustCompile(`name="id" value="([^"]+)"`).FindAllStringSubmatch(a.body, -1) {
			seen[m[1]] = true
		}
		m := regexp.MustCompile(`href="([^"]+)" rel="next"`).FindStringSubmatch(a.body)
		if target = ""; m != nil {
			target = html.UnescapeString(m[1])
		}
	}
	if len(seen) != 130 || pages != 3 {
		t.Errorf("%d entries on %d pages", len(seen), pages)
	}
}

func TestHostileTextIsText(t *testing.T) {
	d := newDesk(2)
	d.injure()
	p := open(t, d)
	b := p.enter(t, operate.Operator(hostile))
	_, plan := b.post("/plans", "all", "1")
	for _, target := range []string{
		"/", "/entries", "/entries/quarantine/1", "/flags", "/holds", "/holds/499", plan, "/entries?" + url.Values{"text": {hostile}}.Encode(), "/audit?" + url.Values{"key": {hostile}}.Encode(),
	} {
		t.Run(target, func(t *testing.T) {
			a := b.get(target)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.words())
			}
			for _, raw := range []string{"<script>document", "<img", `' onfocus='`, `" onerror="`} {
				if strings.Contains(a.body, raw) {
					t.Errorf("%s came through as markup", raw)
				}
			}
			wellFormed(t, a.body)
		})
	}
}

func TestPersonalDataIsRevealedOnDemand(t *testing.T) {
	p := open(t, newDesk(20))
	b := p.enter(t, "ana")
	for _, target := range []string{"/person/" + person(4), "/entries/lanes/1000"} {
		if target != "/person/"+person(4) {
			target = regexp.MustCompile(`/entries/lanes/\d+`).FindString(b.get("/entries?place=lanes").body)
		}
		if a := b.get(target); strings.Contains(a.body, "lena.hofmann") {
			t.Errorf("%s shows a name", target)
		}
		if strings.Contains(p.log.String(), "reveal") {
			t.Error("logged before it was done")
		}
		a, _ := b.post(target)
		a.has(t, "lena.hofmann@contoso.example", "personal data shown, logged")
		if log := p.log.String(); !strings.Contains(log, "reveal personal data") || !strings.Contains(log, `"operator":"ana"`) || strings.Contains(log, "lena") {
			t.Errorf("log: %s", log)
		}
		p.log.out.Reset()
	}
}

func TestLookUp(t *testing.T) {
	b := open(t, newDesk(1)).enter(t, "ana")
	_, target := b.post("/person", "who", "lena.hofmann@contoso.example")
	if target != "/person/"+person(4) {
		t.Errorf("the address is %s", target)
	}
	if a, _ := b.post("/person", "who", "nobody@contoso.example"); a.status != http.StatusNotFound {
		t.Errorf("nobody: %d", a.status)
	}
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(1000)
		p := open(t, d, func(c *console.Config) { c.Now = time.Now })
		b := p.enter(t, "ana")
		a, plan := b.post("/plans", "all", "1", "place", "lanes")
		a.has(t, "passes", "already done", "Graph requests", "Blast radius", "would act")
		wellFormed(t, a.body)
		digest := regexp.MustCompile(`name="digest" value="([^"]+)"`).FindStringSubmatch(a.body)[1]
		planned, others := 0, 0
		for _, e := range d.entries {
			if e.Place == operate.Lanes {
				planned++
			} else {
				others++
			}
		}
		start := func(pairs ...string) (answer, string) {
			return b.post("/replays", append([]string{"plan", strings.TrimPrefix(plan, "/plans/")}, pairs...)...)
		}
		for name, pairs := range map[string][]string{
			"no reason":     {"digest", digest, "rate", "100"},
			"another plan":  {"digest", "x", "rate", "100", "why", "the role is granted"},
			"made-up rate":  {"digest", digest, "rate", "7", "why", "the role is granted"},
			"negative rate": {"digest", digest, "rate", "-1", "why", "the role is granted"},
		} {
			if a, _ := start(pairs...); a.status < 400 {
				t.Errorf("%s: %d", name, a.status)
			}
		}
		if len(d.done()) > 0 {
			t.Fatalf("replayed all the same: %v", d.done())
		}

		began := time.Now()
		a, replay := start("digest", digest, "rate", "100", "why", "the role is granted")
		a.has(t, "running", "the role is granted", "By ana")
		time.Sleep(2 * time.Second) // of the bubble
		b.post(replay + "/pause")
		synctest.Wait()
		at := d.left()
		if sent := planned + others - at; sent < 150 || sent > 250 {
			t.Errorf("after two seconds at 100 a second %d were sent", sent)
		}
		time.Sleep(time.Hour)
		if d.left() != at {
			t.Error("a paused replay goes on")
		}
		b.get(replay).has(t, "paused", "Resume")
		if a, _ := b.post(replay + "/pause"); a.status != 200 {
			t.Errorf("pause twice: %d", a.status)
		} else {
			a.has(t, "cannot pause now")
		}
		b.post(replay + "/resume")
		time.Sleep(time.Duration(planned/100+2) * time.Second)
		synctest.Wait()
		a = b.get(replay)
		a.has(t, "finished", "100 %", "replayed")
		if d.left() != others {
			t.Errorf("%d are left, want %d", d.left(), others)
		}
		if took := time.Since(began) - time.Hour; took < time.Duration(planned/100-1)*time.Second {
			t.Errorf("%d at 100 a second took %s", planned, took)
		}
		for _, did := range d.done() {
			if did != "ana replay the role is granted" {
				t.Errorf("done: %s", did)
			}
		}
		b.get("/replays").has(t, "finished", "ana")
	})
}

func TestReplayCancelledAndPlannedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(600)
		stale := d.entries[0].ID
		d.stale[stale] = true
		p := open(t, d, func(c *console.Config) { c.Now = time.Now })
		b := p.enter(t, "ana")
		a, plan := b.post("/plans", "all", "1")
		digest := regexp.MustCompile(`name="digest" value="([^"]+)"`).FindStringSubmatch(a.body)[1]
		_, replay := b.post("/replays", "plan", strings.TrimPrefix(plan, "/plans/"), "digest", digest, "rate", "20", "why", "all of them")
		time.Sleep(3 * time.Second)
		b.post(replay + "/cancel")
		synctest.Wait()
		left := d.left()
		a = b.get(replay)
		a.has(t, "cancelled", "stale", "the lane has moved on", "again")
		time.Sleep(time.Minute)
		if d.left() != left {
			t.Error("a cancelled replay goes on")
		}
		delete(d.stale, stale)
		a, _ = b.post("/plans", "again", strings.TrimPrefix(replay, "/replays/"))
		a.has(t, "What a replay would do")
		plannable := regexp.MustCompile(`All ([0-9\x{202f}]+) that can be replayed`).FindStringSubmatch(a.words())
		if plannable == nil || plannable[1] == "600" {
			t.Errorf("planned again: %v", plannable)
		}
	})
}

func TestReplayThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(500)
		broken := true
		d.before = func(operate.Replay) error {
			if broken {
				return errors.New("the broker does not answer")
			}
			return nil
		}
		p := open(t, d, func(c *console.Config) { c.Now = time.Now })
		b := p.enter(t, "ana")
		a, plan := b.post("/plans", "all", "1", "reason", "forbidden")
		digest := regexp.MustCompile(`name="digest" value="([^"]+)"`).FindStringSubmatch(a.body)[1]
		_, replay := b.post("/replays", "plan", strings.TrimPrefix(plan, "/plans/"), "digest", digest, "rate", "0", "only", "act", "why", "granted now")
		synctest.Wait()
		b.get(replay).has(t, "paused", "the broker does not answer", "Resume")
		broken = false
		p.enter(t, "ben").post(replay + "/resume") // whoever resumes it carries it on
		synctest.Wait()
		b.get(replay).has(t, "finished", "By ben")
		if did := d.done(); len(did) == 0 || strings.Contains(strings.Join(did, ";"), "ana replay") {
			t.Errorf("resumed by ben: %v", did)
		}

		d.before = func(operate.Replay) error { return fmt.Errorf("%w: the settings changed", operate.ErrStale) }
		_, plan = b.post("/plans", "all", "1")
		digest = regexp.MustCompile(`name="digest" value="([^"]+)"`).FindStringSubmatch(b.get(plan).body)[1]
		_, replay = b.post("/replays", "plan", strings.TrimPrefix(plan, "/plans/"), "digest", digest, "rate", "0", "why", "granted now")
		synctest.Wait()
		b.get(replay).has(t, "stopped", "the settings changed", "again")
	})
}

// What a request did before it failed is done, and told as done.
func TestReplayThatFailsHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(500)
		d.breaks = 3
		p := open(t, d, func(c *console.Config) { c.Now = time.Now })
		b := p.enter(t, "ana")
		a, plan := b.post("/plans", "all", "1", "reason", "forbidden")
		digest := regexp.MustCompile(`name="digest" value="([^"]+)"`).FindStringSubmatch(a.body)[1]
		_, replay := b.post("/replays", "plan", strings.TrimPrefix(plan, "/plans/"), "digest", digest, "rate", "0", "only", "act", "why", "granted now")
		synctest.Wait()
		b.get(replay).has(t, "paused", "the broker does not answer", "3 of 137")
		b.post(replay + "/resume")
		synctest.Wait()
		a = b.get(replay)
		a.has(t, "finished", "100 %", "replayed")
		if strings.Contains(a.words(), "gone") {
			t.Errorf("what this replay replayed is told as gone:\n%s", a.words())
		}
	})
}

func TestHoldNeedsTwo(t *testing.T) {
	d := newDesk(1)
	p := open(t, d)
	ana, ben := p.enter(t, "ana"), p.enter(t, "ben")
	ana.post("/holds/600", "decision", "release", "why", "asked for by phone", "operator", "ben")
	a := ana.get("/holds/600")
	a.has(t, "ana approved the release", "You have approved", "an operator's word is missing")
	if a, _ := ana.post("/holds/600", "decision", "release", "why", "once more"); a.status != http.StatusForbidden {
		t.Errorf("the same operator twice: %d", a.status)
	}
	ben.get("/holds/600").has(t, "ana approved the release")
	if a, target := ben.post("/holds/600", "decision", "release", "why", "checked as well"); target != "/holds" || !strings.Contains(a.words(), "Sent.") {
		t.Errorf("%s: %s", target, a.words())
	}
	if a := ben.get("/holds/600"); a.status != http.StatusNotFound {
		t.Errorf("the hold is still there: %d", a.status)
	}
	if a, _ := ben.post("/holds/601", "decision", "maybe", "why", "who knows"); a.status != http.StatusBadRequest {
		t.Errorf("a decision that is none: %d", a.status)
	}
}

func TestOtherActs(t *testing.T) {
	d := newDesk(30)
	b := open(t, d).enter(t, "ana")
	id := fmt.Sprintf("%s:%d", d.entries[0].Place, d.entries[0].Sequence)
	if a, _ := b.post("/discard", "id", id); !strings.Contains(a.words(), "removed for good") || d.left() != 30 {
		t.Errorf("discarded without a word: %s", a.words())
	}
	if a, _ := b.post("/discard", "id", id, "sure", "1"); a.status != http.StatusBadRequest || d.left() != 30 {
		t.Errorf("discarded without reason: %d", a.status)
	}
	if a, _ := b.post("/discard", "id", id, "sure", "1", "why", "a test event"); d.left() != 29 {
		t.Errorf("not discarded: %s", a.words())
	} else {
		a.has(t, "Discarded.")
	}
	a, _ := b.post("/flags/resolve", "number", "500", "number", "501", "why", "looked at")
	a.has(t, "resolved: 2.")
	b.post("/person/"+person(4)+"/let-in", "why", "showed a passport")
	if a := b.get("/person/" + person(4)); strings.Contains(a.words(), "We blocked") {
		t.Error("still blocked")
	}
	for name, pairs := range map[string][]string{"nothing chosen": nil, "nonsense": {"id", "lanes:x"}, "no JSON": {"id", id, "patch", "{"}, "no object": {"id", id, "patch", "[]"}} {
		if a, _ := b.post("/plans", pairs...); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	e := d.entries[3]
	a, _ = b.post("/plans", "id", fmt.Sprintf("%s:%d", e.Place, e.Sequence), "patch", `{"startDate": "2026-12-07"}`)
	a.has(t, `+ "startDate": "2026-12-07"`)
}

func TestContextEndsReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(300)
		p := open(t, d, func(c *console.Config) { c.Now = time.Now })
		b := p.enter(t, "ana")
		a, plan := b.post("/plans", "all", "1")
		digest := regexp.MustCompile(`name="digest" value="([^"]+)"`).FindStringSubmatch(a.body)[1]
		_, replay := b.post("/replays", "plan", strings.TrimPrefix(plan, "/plans/"), "digest", digest, "rate", "1", "why", "slowly now")
		synctest.Wait()
		p.Close()
		b.get(replay).has(t, "stopped", "The console ended")
	})
}
