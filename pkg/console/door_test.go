package console_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/console"
	"mfaflow/pkg/operate"
)

const origin = "https://console.contoso.example"

// keeper is a provider that lets in whoever brings a code of the list.
type keeper struct {
	at    string // empty is https://idp.example
	mu    sync.Mutex
	codes map[string]console.Admission
	asked []console.Attempt
}

func (k *keeper) URL(a console.Attempt) string {
	return cmp.Or(k.at, "https://idp.example") + "/authorize?" + url.Values{"state": {a.State}, "nonce": {a.Nonce}}.Encode()
}

func (k *keeper) LogoutURL() string { return "https://idp.example/logout" }

func (k *keeper) Admit(_ context.Context, a console.Attempt, with console.Answer) (console.Admission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, a)
	if with.Error != "" {
		return console.Admission{}, errors.New("refused: " + with.Error + " " + with.Description)
	}
	in, ok := k.codes[with.Code]
	if !ok {
		return console.Admission{}, &console.NotAdmittedError{Why: errors.New("nobody knows <you>"), Next: "Ask whoever runs it."}
	}
	return in, nil
}

// exposed is a console whose operators have rights of their own.
func exposed(t testing.TB, now func() time.Time, operators ...operate.Operator) (*place, map[operate.Operator]*desk) {
	t.Helper()
	k, desks := &keeper{codes: map[string]console.Admission{}}, map[operate.Operator]*desk{}
	for _, name := range operators {
		desks[name] = newDesk(3)
		k.codes[string(name)] = console.Admission{Operator: name, Operations: desks[name], Ends: now().Add(time.Hour)}
	}
	p := open(t, nil, func(c *console.Config) { c.Operations, c.Door, c.Origin, c.Hosts, c.Now = nil, k, origin, nil, now })
	return p, desks
}

// wanderer is a browser that keeps cookies.
type wanderer struct {
	browser
	cookies map[string]string
}

func wander(t testing.TB, p *place) *wanderer {
	return &wanderer{browser{t: t, at: p}, map[string]string{}}
}

func (w *wanderer) ask(method, target string, form url.Values, change ...func(*http.Request)) answer {
	w.t.Helper()
	a := w.send(method, target, form, func(r *http.Request) {
		r.Host = "console.contoso.example"
		for name, value := range w.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		for _, c := range change {
			c(r)
		}
	})
	for _, line := range a.header.Values("Set-Cookie") {
		set, err := http.ParseSetCookie(line)
		if err != nil {
			w.t.Fatal(err)
		}
		if !strings.HasPrefix(set.Name, "__Host-") || !set.Secure || !set.HttpOnly || set.Path != "/" || set.Domain != "" || set.SameSite != http.SameSiteLaxMode {
			w.t.Errorf("cookie is open to others: %s", line)
		}
		if set.MaxAge < 0 {
			delete(w.cookies, set.Name)
		} else {
			w.cookies[set.Name] = set.Value
		}
	}
	return a
}

// knock asks for a page and returns the state with which the browser is sent away.
func (w *wanderer) knock(target string) (state string) {
	w.t.Helper()
	a := w.ask(http.MethodGet, target, nil)
	if a.status == http.StatusSeeOther && strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		a = w.ask(http.MethodGet, a.header.Get("Location"), nil)
	}
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || to.Host != "idp.example" {
		w.t.Fatalf("%s: %d to %s: %s", target, a.status, a.header.Get("Location"), a.words())
	}
	return to.Query().Get("state")
}

func (w *wanderer) back(state, code string) answer {
	w.t.Helper()
	return w.ask(http.MethodGet, "/signed-in?"+url.Values{"state": {state}, "code": {code}}.Encode(), nil)
}

// field is a hidden field of a page.
func field(t testing.TB, page, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("the page has no field %s: %s", name, page)
	}
	return m[1]
}

func steady() time.Time { return noon }

// Who opens a page is sent to the provider, comes back to that page, and acts with rights
// of their own.
func TestDoor(t *testing.T) {
	p, desks := exposed(t, steady, "ada@contoso.example", "ben@contoso.example")
	ada, ben := wander(t, p), wander(t, p)
	a := ada.back(ada.knock("/entries?place=lanes"), "ada@contoso.example")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/entries?place=lanes" || len(ada.cookies) != 1 {
		t.Fatalf("%d to %s with %v", a.status, a.header.Get("Location"), ada.cookies)
	}
	ben.back(ben.knock("/"), "ben@contoso.example")
	for name, w := range map[operate.Operator]*wanderer{"ada@contoso.example": ada, "ben@contoso.example": ben} {
		page := w.ask(http.MethodGet, "/flags", nil)
		page.has(t, "Operator "+string(name))
		if h := page.header.Get("Strict-Transport-Security"); h == "" {
			t.Error("browsers may come without TLS")
		}
		w.csrf = field(t, page.body, "csrf")
		done := w.ask(http.MethodPost, "/flags/resolve", url.Values{"csrf": {w.csrf}, "number": {"500"}, "why": {"because"}})
		if done.status != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", name, done.status, done.words())
		}
		if got := desks[name].done(); len(got) != 1 || !strings.Contains(got[0], string(name)) {
			t.Errorf("%s did %v", name, got)
		}
	}
	if a := ada.ask(http.MethodGet, "/enter?token=x", nil); a.status != http.StatusSeeOther && a.status != http.StatusNotFound {
		t.Errorf("links of one's own machine: %d", a.status)
	}
	// Signing out ends the session here and says that the provider has one, too.
	out := ada.ask(http.MethodPost, "/leave", url.Values{"csrf": {ada.csrf}})
	ada.ask(http.MethodGet, out.header.Get("Location"), nil).has(t, "You are signed out", "Sign out at the identity provider")
	ada.knock("/")
	if a := ben.ask(http.MethodGet, "/", nil); a.status != http.StatusOK {
		t.Errorf("the other operator: %d", a.status)
	}
}

// A way back is taken once it is this browser's own, and soon.
func TestWaysBackOfOthers(t *testing.T) {
	now := noon
	p, _ := exposed(t, func() time.Time { return now }, "ada")
	w, other := wander(t, p), wander(t, p)
	state := w.knock("/")
	for name, a := range map[string]answer{
		"another browser": other.back(state, "ada"),
		"another state":   w.back(state[:8]+"X", "ada"),
		"no state":        w.back("", "ada"),
		"no attempt":      other.back("x", "ada"),
	} {
		if a.status != http.StatusBadRequest || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	for name := range w.cookies { // what another console sealed, or somebody made up
		w.cookies[name] = w.cookies[name][:20] + "AAAA"
	}
	if a := w.back(state, "ada"); a.status != http.StatusBadRequest {
		t.Errorf("tampered: %d", a.status)
	}
	state = w.knock("/")
	now = now.Add(10 * time.Minute)
	if a := w.back(state, "ada"); a.status != http.StatusBadRequest {
		t.Errorf("after ten minutes: %d", a.status)
	}
	// Two tabs are two attempts.
	one, two := w.knock("/flags"), w.knock("/holds")
	if a, b := w.back(one, "ada"), w.back(two, "ada"); a.header.Get("Location") != "/flags" || b.header.Get("Location") != "/holds" {
		t.Errorf("%s, %s", a.header.Get("Location"), b.header.Get("Location"))
	}
}

// Who is not let in reads why, and what helps; what the provider says is text.
func TestNotAdmitted(t *testing.T) {
	p, _ := exposed(t, steady)
	w := wander(t, p)
	a := w.back(w.knock("/"), "eve")
	a.has(t, "You are not let in", "nobody knows <you>", "Ask whoever runs it.", "Sign in again")
	if a.status != http.StatusForbidden || strings.Contains(a.body, "<you>") || len(w.cookies) != 0 {
		t.Errorf("%d %v", a.status, w.cookies)
	}
	a = w.ask(http.MethodGet, "/signed-in?"+url.Values{"state": {w.knock("/")}, "error": {"access_denied"}, "error_description": {"<script>alert(1)</script>"}}.Encode(), nil)
	a.has(t, "access_denied <script>")
	wellFormed(t, strings.ReplaceAll(a.body, "https://idp.example/logout", ""))
	if !strings.Contains(p.log.String(), "refuse to sign in") {
		t.Error("nobody can see that somebody was refused")
	}
}

// A session ends with the rights that were given, and what is sent after that is not done.
func TestSessionEndsWithItsRights(t *testing.T) {
	now := noon
	p, desks := exposed(t, func() time.Time { return now }, "ada")
	w := wander(t, p)
	w.back(w.knock("/"), "ada")
	csrf := field(t, w.ask(http.MethodGet, "/flags", nil).body, "csrf")
	now = now.Add(time.Hour)
	a := w.ask(http.MethodPost, "/flags/resolve", url.Values{"csrf": {csrf}, "number": {"500"}, "why": {"because"}})
	a.has(t, "What you sent was not done")
	if a.status != http.StatusUnauthorized || len(desks["ada"].done()) != 0 {
		t.Errorf("%d, %v", a.status, desks["ada"].done())
	}
	// A script that asks for progress is not sent to another site.
	if a := w.ask(http.MethodGet, "/replays/x?part=progress", nil, func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "cors") }); a.status != http.StatusUnauthorized {
		t.Errorf("a script: %d", a.status)
	}
}

// What a console cannot be.
func TestExposure(t *testing.T) {
	k := &keeper{}
	for name, c := range map[string]console.Config{
		"nothing":          {Hosts: []string{host}},
		"both":             {Operations: newDesk(0), Door: k, Origin: origin},
		"no origin":        {Door: k},
		"origin in clear":  {Door: k, Origin: "http://console.contoso.example"},
		"origin with path": {Door: k, Origin: "https://console.contoso.example/mfaflow"},
	} {
		c.Log = slog.New(slog.DiscardHandler)
		if _, err := console.New(t.Context(), c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, c := range map[string]struct {
		cfg  console.Config
		want error
	}{
		"no door":        {console.Config{Operations: newDesk(0)}, console.ErrExposed},
		"no certificate": {console.Config{Door: k, Origin: origin}, console.ErrPlain},
	} {
		c.cfg.Log = slog.New(slog.DiscardHandler)
		for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
			if s, err := console.Start(t.Context(), address, c.cfg); !errors.Is(err, c.want) {
				t.Errorf("%s at %s: %v", name, address, err)
				_ = s.Close()
			}
		}
	}
	p, _ := exposed(t, steady, "ada")
	w := wander(t, p)
	for _, name := range []string{"evil.example", "console.contoso.example:8443", host} {
		if a := w.ask(http.MethodGet, "/", nil, func(r *http.Request) { r.Host = name }); a.status != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d", name, a.status)
		}
	}
}

// Whatever a link says, it leads to a page of this console.
func FuzzWhereALinkLeads(f *testing.F) {
	p, _ := exposed(f, steady, "ada")
	for _, to := range []string{"/flags?cause=held", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/%2f/evil.example", "\t//evil.example", "/\t/evil.example", "", "?x", "/a:b"} {
		f.Add(to)
	}
	f.Fuzz(func(t *testing.T, to string) {
		w := wander(t, p)
		at := w.back(w.knock("/sign-in?"+url.Values{"to": {to}}.Encode()), "ada").header.Get("Location")
		// As a browser reads it (WHATWG URL): tabs and line ends vanish, backslashes are slashes.
		read := strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(at)
		base, _ := url.Parse(origin)
		u, err := base.Parse(read)
		if err != nil || u.Scheme != "https" || u.Host != base.Host || !strings.HasPrefix(read, "/") || strings.HasPrefix(read, "//") {
			t.Errorf("%q leads to %q", to, at)
		}
	})
}
