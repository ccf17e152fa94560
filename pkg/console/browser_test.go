package console_test

import (
	"context"
	"flag"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"mfaflow/pkg/console"
	"mfaflow/pkg/operate"
	simbrowser "mfaflow/pkg/sim/browser"
	"mfaflow/pkg/sim/certificate"
)

var screenshots = flag.String("screenshots", "", "folder to write screenshots to")

// patience bounds a test in a browser: whatever it waits for has come by then, or never
// will.
const patience = 4 * time.Minute

// chromium starts a browser that ends with the test.
func chromium(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	binary, err := simbrowser.Find()
	if err != nil && simbrowser.Required() {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.NoSandbox, chromedp.WindowSize(1280, 900), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(60*time.Second))
	options = append(options, more...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, shut := chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(shut)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return ctx
}

// another is a second browser of the same kind with cookies of its own.
func another(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	ctx, shut := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(shut)
	return ctx
}

func serve(t *testing.T, d *desk, change ...func(*console.Config)) *console.Server {
	t.Helper()
	cfg := console.Config{Operations: d, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
	for _, c := range change {
		c(&cfg)
	}
	s, err := console.Start(context.Background(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// step is something done in a browser.
type step = chromedp.Action[chromedp.Void]

func do(t *testing.T, ctx context.Context, steps ...step) {
	t.Helper()
	for i, s := range steps {
		if err := chromedp.Do(ctx, s); err != nil {
			where, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 600)`))
			t.Fatalf("step %d: %v, at %s", i+1, err, where)
		}
	}
}

// value is what an expression is on the page.
func value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until looks at the page, and at those that it leads to, until an expression is true.
func until(expression string) step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("never true: %s", expression))
		defer cancel()
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for {
			// Between two pages there is none to look at.
			if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && (`+expression+`)`)); err == nil && ok {
				return nil
			}
			select {
			case <-look.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}

// says waits until a part of the page has a text.
func says(selector, text string) step {
	return until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some((e) => e.innerText.includes(%q))`, selector, text))
}

// visit goes to another page as the console's own links do.
func visit(path string) step {
	return chromedp.Steps(
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void (window.left = true, location.href = %q)`, path)),
		until(fmt.Sprintf(`!window.left && location.pathname + location.search === %q`, path)))
}

func fill(selector, text string) step     { return chromedp.SendKeys(chromedp.CSS(selector), text) }
func choose(selector, option string) step { return chromedp.SetValue(chromedp.CSS(selector), option) }
func click(selector string) step          { return chromedp.Click(chromedp.CSS(selector)) }

func TestBrowserReplaysADeadLetter(t *testing.T) {
	d := newDesk(1200)
	s := serve(t, d, func(c *console.Config) { c.Now = time.Now })
	ctx := chromium(t)
	do(t, ctx,
		chromedp.Navigate(s.Link("ana")), says("h1", "Overview"),
		click(`nav a[data-go=entries]`), says("h1", "Dead letters and quarantine"),
		fill(`input[name=reason]`, "forbidden"+kb.Enter), says("table", "forbidden"),
		click(`tbody tr:nth-child(2) td.tick input`), click(`form#chosen button.primary`),
		says("h1", "Plan of 1 entry"), says("section", "What a replay would do"),
		fill(`input[name=why]`, "the role is granted"),
		click(`main form button.primary`),
		says("h1", "Replay of 1 entry"), says("#progress .pill", "finished"), says("dl.sums", "replayed"),
	)
	if left := d.left(); left != 1199 {
		t.Errorf("%d are left", left)
	}
	// All that are left, watched, paused and resumed.
	do(t, ctx,
		visit("/entries"), click(`button[name=all]`), says("h1", "Plan of"),
		choose(`select[name=rate]`, "20"), fill(`input[name=why]`, "all the rest"), click(`main form button.primary`),
		says("#progress .pill", "running"), until(`document.querySelector("progress").value > 0`),
		click(`#steer`), says("#progress .pill", "paused"), says("#steer", "Resume"),
		click(`#steer`), says("#progress .pill", "running"),
		click(`#cancel`), says("#progress .pill", "cancelled"), says("#progress button", "again"),
	)
	if left := d.left(); left == 0 || left == 1199 {
		t.Errorf("%d are left after a replay that was cancelled", left)
	}
}

func TestBrowserHoldNeedsTwoPeople(t *testing.T) {
	d := newDesk(1)
	s := serve(t, d)
	ana := chromium(t)
	release := func(why string) []step {
		return []step{
			click(`nav a[data-go=holds]`), says("table", "protected-person"), chromedp.Click(`//a[contains(., "protected-person")]`), says("h1", "protected-person"),
			fill(`input[name=why]`, why), click(`button[value=release]`), says(".notice", "Sent."),
		}
	}
	do(t, ana, chromedp.Navigate(s.Link("ana")), says(".me", "ana"))
	do(t, ana, release("asked for by phone")...)
	do(t, ana, says("table", "1 of 2"), chromedp.Click(`//a[contains(., "protected-person")]`), says("main", "You have approved"), chromedp.WaitVisible(chromedp.CSS(`button[value=release]:disabled`)))
	ben := another(t, ana)
	do(t, ben, chromedp.Navigate(s.Link("ben")), says(".me", "ben"))
	do(t, ben, release("checked as well")...)
	if did := strings.Join(d.done(), "; "); did != "ana release asked for by phone; ben release checked as well" {
		t.Error(did)
	}
	do(t, ben, until(`!document.body.innerText.includes("protected-person")`))
}

func TestBrowserShowsHostileTextAsText(t *testing.T) {
	d := newDesk(1)
	d.injure()
	s := serve(t, d)
	ctx := chromium(t)
	do(t, ctx, chromedp.Navigate(s.Link(operate.Operator(hostile))), says("h1", "Overview"))
	for _, path := range []string{"/", "/entries", "/entries/quarantine/1", "/holds", "/holds/499"} {
		do(t, ctx, visit(path), says("body", hostile[:40]))
		title := value[string](t, ctx, `document.title`)
		images, scripts := value[int](t, ctx, `document.images.length`), value[int](t, ctx, `document.scripts.length`)
		if strings.Contains(title, "owned") || images != 0 || scripts != 1 {
			t.Errorf("%s: title %q, %d images, %d scripts", path, title, images, scripts)
		}
	}
}

func TestBrowserByKeyboardAlone(t *testing.T) {
	s := serve(t, newDesk(60))
	ctx := chromium(t)
	do(t, ctx, chromedp.Navigate(s.Link("ana")), says("h1", "Overview"), chromedp.KeyEvent(kb.Tab))
	if text := value[string](t, ctx, `document.activeElement.innerText`); text != "Skip to content" {
		t.Errorf("the first stop is %q", text)
	}
	if !value[bool](t, ctx, `document.activeElement.getBoundingClientRect().top >= 0`) {
		t.Error("the link to the content is not to be seen when it has the focus")
	}
	do(t, ctx, chromedp.KeyEvent(kb.Enter), until(`document.activeElement.id === "main"`))
	do(t, ctx,
		chromedp.KeyEvent("g"), chromedp.KeyEvent("d"), says("h1", "Dead letters and quarantine"),
		chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("x"), until(`document.querySelectorAll("td.tick input:checked").length === 1`),
	)
	if value[string](t, ctx, `getComputedStyle(document.activeElement).outlineStyle`) == "none" {
		t.Error("the focus is not to be seen")
	}
	do(t, ctx,
		chromedp.KeyEvent(kb.Enter), until(`location.pathname.startsWith("/entries/")`), says("h2", "What to do"),
		chromedp.KeyEvent("p"), says("h1", "Plan of 1 entry"),
		chromedp.KeyEvent("g"), chromedp.KeyEvent("f"), says("h1", "Flags"),
		chromedp.KeyEvent("/"), until(`document.activeElement.name === "text"`), chromedp.KeyEvent("gd"),
		until(`document.activeElement.value.endsWith("gd") && location.pathname === "/flags"`),
	)
}

// paths are all kinds of pages.
func paths(d *desk) []string {
	e := d.entries[0]
	return []string{"/", "/entries", fmt.Sprintf("/entries/%s/%d", e.Place, e.Sequence), "/flags", "/holds", "/holds/600", "/replays", "/person", "/person/" + person(4), "/audit", "/help"}
}

func TestBrowserOnAPhone(t *testing.T) {
	d := newDesk(300)
	d.injure()
	s := serve(t, d)
	ctx := chromium(t)
	do(t, ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile), chromedp.Navigate(s.Link("ana")), says("h1", "Overview"))
	measure := func(path string) {
		t.Helper()
		if wide := value[int](t, ctx, `Math.max(innerWidth, document.documentElement.scrollWidth)`); wide > 360 {
			t.Errorf("%s is %d wide: %s", path, wide,
				value[string](t, ctx, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 361 || e.scrollWidth > 361).map((e) => e.outerHTML.slice(0, 200)).join("\n")`))
		}
	}
	for _, path := range paths(d) {
		do(t, ctx, visit(path))
		measure(path)
	}
	do(t, ctx, visit("/entries"), click(`button[name=all]`), says("h1", "Plan of"))
	measure("a plan")
}

// Cookies, redirects and the content policy of an exposed console, as a browser takes them.
func TestBrowserSignsInAtAProvider(t *testing.T) {
	k := &keeper{codes: map[string]console.Admission{"ada": {Operator: "ada@contoso.example", Operations: newDesk(3), Ends: noon.Add(time.Hour)}}}
	back := ""
	idp := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><h1>Provider</h1><form method="get" action="%s/signed-in"><input type="hidden" name="state" value="%s"><input type="hidden" name="code" value="ada"><button>Ada</button></form>`,
			back, html.EscapeString(r.URL.Query().Get("state")))
	}))
	defer idp.Close()
	k.at = idp.URL
	_, certificates, err := certificate.New("console")
	if err != nil {
		t.Fatal(err)
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.Addr().String()
	port.Close()
	back = "https://" + address
	s, err := console.Start(context.Background(), address, console.Config{Door: k, Origin: back, TLS: certificates, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx := chromium(t, chromedp.Flag("ignore-certificate-errors", true))
	do(t, ctx,
		chromedp.Navigate(back+"/flags?cause=smart-lockout"), says("h1", "Provider"), click(`button`),
		says("h1", "Flags"), says(".me", "ada@contoso.example"), until(`location.search === "?cause=smart-lockout"`),
		fill(`input[name=why]`, "phone was replaced"), click(`tbody input[type=checkbox]`), click(`form button.primary`), says(".notice", "Resolved"),
		click(`.me button`), says("h1", "You are signed out"),
		chromedp.Navigate(back+"/"), says("h1", "Provider"),
	)
}

// TestScreenshots writes pictures of the pages; make screenshots asks for them.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("no folder was asked for with -screenshots")
	}
	d, began := newDesk(1846), time.Now()
	s := serve(t, d, func(c *console.Config) { c.Now = func() time.Time { return noon.Add(time.Since(began)) } })
	ctx := chromium(t)
	scheme := func(name string) step {
		return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
			return err
		})
	}
	save := func(name string) {
		t.Helper()
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(path, heading string) {
		t.Helper()
		do(t, ctx, visit(path), says("h1", heading))
	}
	do(t, ctx, chromedp.EmulateViewport(1120, 900), scheme("light"), chromedp.Navigate(s.Link("ana")), says("h1", "Overview"), says("h2", "When they came"), chromedp.WaitVisible(chromedp.CSS(".history")))
	save("overview")
	do(t, ctx, scheme("dark"))
	save("overview-dark")
	do(t, ctx, scheme("light"))
	open("/entries?place=lanes", "Dead letters")
	save("entries")
	do(t, ctx, click(`button[name=all]`), says("h1", "Plan of"))
	save("plan")
	do(t, ctx, choose(`select[name=rate]`, "100"), fill(`input[name=why]`, "the role is granted"), click(`main form button.primary`),
		until(`document.querySelector("progress").value > 200`))
	save("replay")
	for name, at := range map[string][2]string{
		"hold": {"/holds/600", "protected-person"}, "person": {"/person/" + person(4), "Why"}, "flags": {"/flags", "Flags"}, "audit": {"/audit", "Audit"}, "help": {"/help", "Help"},
		"entry": {fmt.Sprintf("/entries/%s/%d", d.entries[0].Place, d.entries[0].Sequence), ""},
	} {
		open(at[0], at[1])
		save(name)
	}
	do(t, ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	open("/", "Overview")
	save("phone")
	open("/entries", "Dead letters and quarantine")
	save("phone-entries")
}
