package stack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/console"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/stack"
)

// crowd is who the stuck events are about: new people with a manager, every fourth of
// whom does not start after all, and a few whom only two operators may touch.
const (
	crowd     = 1000
	protected = 20
)

// stuck is a stack whose worker was refused by the directory, and 1,000 events that are
// dead letters for it.
type stuck struct {
	*testing.T
	*stack.Stack
	lines  *seen
	people []string // object ids
	runs   int      // that are over
}

func withdrawn(i int) bool { return i%4 == 3 }

func newStuck(t *testing.T) *stuck {
	t.Helper()
	// Who is killed leaves a lock behind, which the next one has to wait for.
	s, lines := startWith(t, stack.Options{Lock: 10 * time.Second}, "MFAFLOW_LOCK_DURATION=10s", "MFAFLOW_SESSIONS=16", "MFAFLOW_BREAKER_COUNT=1500", "MFAFLOW_BREAKER_IMMEDIATE_COUNT=1500", "MFAFLOW_BREAKER_PERCENT=0",
		"MFAFLOW_BREAKER_IMMEDIATE_PERCENT=0", "MFAFLOW_NOTIFICATION_URL=", "MFAFLOW_SWEEP_INTERVAL=24h")
	w := &stuck{T: t, Stack: s, lines: lines}
	s.Graph.Mutate(func(tenant *simgraph.Tenant) {
		model := tenant.Users[slices.IndexFunc(tenant.Users, func(u *simgraph.User) bool { return u.EmployeeID == stack.ModelJoiner })]
		for i := range crowd {
			u := *model
			u.ID, u.EmployeeID = fmt.Sprintf("50000000-0000-4000-8000-%012d", i), fmt.Sprintf("S%04d", i)
			u.UserPrincipalName = strings.ToLower(u.EmployeeID) + "@contoso.example"
			u.Mail, u.ProxyAddresses, u.OtherMails = u.UserPrincipalName, nil, nil
			tenant.Users = append(tenant.Users, &u)
			w.people = append(w.people, u.ID)
			for _, g := range tenant.Groups {
				if slices.Contains(g.Members, model.ID) {
					g.Members = append(g.Members, u.ID)
				}
			}
			if i < protected {
				like := tenant.RoleAssignments[0]
				tenant.RoleAssignments = append(tenant.RoleAssignments, &simgraph.RoleAssignment{
					ID: "stuck-" + u.EmployeeID, PrincipalID: u.ID, RoleDefinitionID: like.RoleDefinitionID,
				})
			}
		}
	})
	fault, err := s.Graph.AddFault(simgraph.Fault{App: "identity-worker", Path: "users/**", Kind: simgraph.FaultStatus, Status: http.StatusForbidden, Count: -1})
	w.must(err)
	tomorrow, err := s.Tomorrow()
	w.must(err)
	for i := range crowd {
		body, err := stack.JoinerEvent(fmt.Sprintf("S%04d", i), tomorrow)
		w.must(err)
		w.post(body)
	}
	for i := range crowd {
		if withdrawn(i) {
			w.post([]byte(fmt.Sprintf(`{"specversion":"1.0","id":"off-%d","source":"https://hr.contoso.example","type":"employee.cancelled","subject":"S%04d","time":%q,
				"data":{"person":{"employeeId":"S%04d"},"cancels":"joiner"}}`, i, i, time.Now().Format(time.RFC3339Nano), i)))
		}
	}
	w.until("all are dead letters", func() bool { c, _ := s.Bus.Counts("lanes"); return c.DeadLetter == crowd && c.Active == 0 })
	s.Graph.RemoveFault(fault)
	return w
}

func (w *stuck) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *stuck) post(body []byte) {
	w.Helper()
	answer, err := w.Post(w.Context(), stack.Source, body)
	if err != nil || answer.Status != http.StatusAccepted {
		w.Fatalf("%v, %+v", err, answer)
	}
}

// until asks again and again: what it waits for happens in other processes.
func (w *stuck) until(what string, yet func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !yet(); {
		if time.Now().After(end) {
			c, _ := w.Bus.Counts("lanes")
			w.Fatalf("not in time: %s; lanes %+v", what, c)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (w *stuck) dead() int {
	c, _ := w.Bus.Counts("lanes")
	return c.DeadLetter
}

// rest waits until the lanes have worked off what was replayed.
func (w *stuck) rest() {
	w.Helper()
	w.until("the lanes are at rest", func() bool { c, _ := w.Bus.Counts("lanes"); return c.Active == 0 })
}

// client talks to an event-replay.
func (w *stuck) client(base string) *operateapi.Client {
	w.Helper()
	token, err := operateapi.ReadToken(w.TokenFile())
	w.must(err)
	c, err := operateapi.New(base, operateapi.Bearer(token, http.DefaultTransport))
	w.must(err)
	return c
}

// third are the entries of one run.
func (w *stuck) third(n int) (ids []operate.ID) {
	w.Helper()
	c := w.client(w.OperationsURL())
	var all []operate.Entry
	for cursor := ""; ; {
		page, err := c.List(w.Context(), operate.Filter{Places: []operate.Place{operate.Lanes}}, cursor, 500)
		w.must(err)
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for _, e := range all {
		// All of one person go together: those of the earlier runs are gone.
		if i := slices.Index(w.people, e.Lane); i%3 == n {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// byCommandLine plans and replays as an operator does at a terminal, who loses it once.
func (w *stuck) byCommandLine(ids []operate.ID) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "plan")
	mfaflow := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(w.Context(), filepath.Join(build(w.T), "mfaflow"), append(args, "--url", w.OperationsURL(), "--token-file", w.TokenFile())...)
		c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+w.TempDir())
		return c
	}
	args := []string{"dead", "plan", "-o", file}
	for _, id := range ids {
		args = append(args, fmt.Sprintf("%s/%d", id.Place, id.Sequence))
	}
	if out, err := mfaflow(args...).CombinedOutput(); err != nil {
		w.Fatalf("%v\n%.2000s", err, out)
	}
	before := w.dead()
	first := mfaflow("dead", "replay", file, "--reason", "the app has its permission back", "--rate", "0", "--yes")
	w.must(first.Start())
	w.until("some are replayed", func() bool { return w.dead() <= before-20 })
	w.must(first.Process.Kill())
	_ = first.Wait()
	if w.dead() == before-len(ids) {
		w.Log("the first process had finished before it was killed")
	}
	w.until("the second process is through", func() bool { // which it is not while the first one's last entry is locked
		return mfaflow("dead", "replay", file, "--reason", "the app has its permission back", "--rate", "0", "--yes").Run() == nil
	})
}

// byFunction calls an event-replay of its own that is killed on the way, and its successor.
func (w *stuck) byFunction(ids []operate.ID) {
	w.Helper()
	process, base := w.function()
	c := w.client(base)
	plan, err := c.Plan(w.Context(), operate.Selection{IDs: ids})
	w.must(err)
	r := operate.Replay{Plan: plan.Digest, Settings: plan.Settings, Reason: "the app has its permission back"}
	for _, e := range plan.Entries {
		r.Digests = append(r.Digests, e.Digest)
	}
	before := w.dead()
	go func() {
		r := r
		r.Entries = plan.Entries
		_, _ = c.Replay(w.Context(), "", r) // it is killed under our hands
	}()
	w.until("some are replayed", func() bool { return w.dead() <= before-20 })
	w.must(process.Process.Kill())
	_ = process.Wait()
	_, base = w.function()
	c = w.client(base)
	w.until("the second process is through", func() bool {
		failed := 0
		for chunk := range slices.Chunk(plan.Entries, 50) {
			r.Entries = chunk
			outcomes, err := c.Replay(w.Context(), "", r)
			w.must(err)
			for _, o := range outcomes {
				if o.Outcome != "replayed" && o.Outcome != "gone" {
					failed++
				}
			}
		}
		return failed == 0
	})
}

// function starts an event-replay beside that of the stack.
func (w *stuck) function() (*exec.Cmd, string) {
	w.Helper()
	env, err := w.Environment("event-replay")
	w.must(err)
	c := exec.CommandContext(w.Context(), filepath.Join(build(w.T), "event-replay"))
	c.Env = env
	out, err := c.StdoutPipe()
	w.must(err)
	w.must(c.Start())
	w.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		var l struct {
			Message string `json:"msg"`
			Addr    string `json:"addr"`
		}
		if json.Unmarshal(scanner.Bytes(), &l) == nil && l.Message == "listening" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return c, "http://" + l.Addr
		}
	}
	w.Fatal("event-replay does not serve")
	return nil, ""
}

// byConsole chooses, plans and replays in the pages of a console that ends on the way,
// and finishes in another one.
func (w *stuck) byConsole(ids []operate.ID) {
	w.Helper()
	before := w.dead()
	first := w.browse()
	first.replay(ids)
	w.until("some are replayed", func() bool { return w.dead() <= before-20 })
	w.must(first.console.Close())
	rest := w.third(2)
	if len(rest) == 0 {
		w.Log("the first console had finished before it ended")
		return
	}
	second := w.browse()
	second.replay(rest)
	w.until("the second console is through", func() bool { return w.dead() == before-len(ids) })
	w.must(second.console.Close())
}

type browser struct {
	*stuck
	console *console.Server
	http    *http.Client
	base    string
	csrf    string
}

func (w *stuck) browse() *browser {
	w.Helper()
	served, err := console.Start(w.Context(), "127.0.0.1:0", console.Config{Operations: w.client(w.OperationsURL()), Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	jar, err := cookiejar.New(nil)
	w.must(err)
	link := served.Link("olga")
	u, err := url.Parse(link)
	w.must(err)
	b := &browser{stuck: w, console: served, http: &http.Client{Jar: jar}, base: "http://" + u.Host}
	b.get(link)
	b.csrf = b.find(b.get(b.base+"/help"), `name="csrf" value="([^"]+)"`)
	return b
}

func (b *browser) get(address string) string {
	b.Helper()
	r, err := b.http.Get(address)
	b.must(err)
	return b.read(r)
}

func (b *browser) read(r *http.Response) string {
	b.Helper()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	b.must(err)
	if r.StatusCode != http.StatusOK {
		b.Fatalf("%s: %d\n%s", r.Request.URL, r.StatusCode, text)
	}
	return string(text)
}

func (b *browser) find(page, pattern string) string {
	b.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(page)
	if m == nil {
		b.Fatalf("no %s in %s", pattern, page)
	}
	return m[1]
}

// replay fills in the forms: the entries are chosen, planned and replayed.
func (b *browser) replay(ids []operate.ID) {
	b.Helper()
	form := url.Values{"csrf": {b.csrf}}
	for _, id := range ids {
		form.Add("id", fmt.Sprintf("%s:%d", id.Place, id.Sequence))
	}
	r, err := b.http.PostForm(b.base+"/plans", form)
	b.must(err)
	at := r.Request.URL.String()
	page := b.read(r)
	b.until("the plan is made", func() bool {
		if !strings.Contains(page, `name="plan"`) {
			page = b.get(at)
		}
		return strings.Contains(page, `name="plan"`)
	})
	r, err = b.http.PostForm(b.base+"/replays", url.Values{
		"csrf": {b.csrf}, "plan": {b.find(page, `name="plan" value="([^"]+)"`)}, "digest": {b.find(page, `name="digest" value="([^"]+)"`)}, "why": {"the app has its permission back"}, "rate": {"100"},
	})
	b.must(err)
	b.read(r)
}

// fates are the last words of the worker about every event.
func (w *stuck) fates() map[string]string {
	fates := map[string]string{}
	for line := range strings.Lines(w.lines.of("identity-worker")) {
		var l struct {
			Message string `json:"msg"`
			Queue   string `json:"queue"`
			Key     string `json:"key"`
			Type    string `json:"type"`
			Outcome string `json:"outcome"`
			Reason  string `json:"reason"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Message == "event" && l.Queue == "lanes" && strings.HasPrefix(l.Type, "employee.") && l.Outcome != "duplicate" {
			fates[l.Key] = strings.TrimSpace(l.Outcome + " " + l.Reason)
		}
	}
	return fates
}

// judge wants every event to have come to an end that an operator can answer for, and no
// effect twice.
func (w *stuck) judge() {
	w.Helper()
	w.rest()
	count := map[string]int{}
	for _, fate := range w.fates() {
		count[fate]++
	}
	w.Logf("%d dead letters left; the others: %v", w.dead(), count)
	issued := map[string]int{}
	for _, r := range w.Graph.Requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/temporaryAccessPassMethods") && r.Status == http.StatusCreated {
			issued[strings.Split(r.Path, "/")[3]]++
		}
	}
	for id, n := range issued {
		if n > 1 {
			w.Errorf("%d passes were issued for %s", n, id)
		}
	}
	for i, id := range w.people {
		if n := len(w.Graph.Passes(id)); i < protected && n > 0 {
			w.Errorf("a protected person has %d passes and nobody approved", n)
		} else if withdrawn(i) && n > 0 && w.gone(i) {
			w.Errorf("person %d does not start and has a pass", i)
		}
	}
}

// gone reports whether the run of a person is over.
func (w *stuck) gone(i int) bool { return w.runs > i%3 }

// A thousand dead letters are planned and replayed by three faces, each killed on the way,
// and everything holds that holds without a replay.
func TestThousandDeadLetters(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute")
	}
	w := newStuck(t)
	for _, run := range []func([]operate.ID){w.byCommandLine, w.byFunction, w.byConsole} {
		before := w.dead()
		ids := w.third(w.runs)
		run(ids)
		w.runs++
		w.rest()
		if got := before - w.dead(); got != len(ids) {
			t.Errorf("run %d: %d of %d left the dead letters", w.runs, got, len(ids))
		}
		w.judge()
	}
	if w.dead() != 0 {
		t.Errorf("%d are left", w.dead())
	}
	for key, fate := range w.fates() {
		switch fate {
		case "done", "obsolete", "waiting: held protected-person", "waiting: behind behind-another-event":
		default:
			t.Errorf("%s ended as %q", key, fate)
		}
	}
	flags, err := w.client(w.OperationsURL()).Flags(t.Context(), operate.FlagFilter{Holds: true}, "", 500)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if want := protected - protected/4; len(flags.Items) != want { // the others are obsolete
		t.Errorf("%d holds are open, want %d", len(flags.Items), want)
	}
}
