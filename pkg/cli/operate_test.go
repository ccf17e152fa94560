package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/cli"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
)

const lena identity.UserID = "10000000-0000-4000-8000-000000000004"

var morning = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// shelf is an Operations that keeps its entries and flags in memory.
type shelf struct {
	mu      sync.Mutex
	entries []operate.Entry
	flags   []operate.OpenFlag
	said    []string
	// before is called with each part of a replay, outside the lock.
	before func(operate.Replay) error
	lists  int
}

func newShelf(n int) *shelf {
	s := &shelf{}
	for i := range n {
		s.entries = append(s.entries, operate.Entry{
			ID: operate.ID{Place: operate.Lanes, Sequence: int64(i + 1)}, Key: fmt.Sprintf("hr:%d", i+1), Type: "employee.leaver", Source: "hr",
			Reason: "forbidden", Detail: "grant the app a role", Lane: string(lena), EnqueuedAt: morning.Add(time.Duration(i) * time.Hour), Deliveries: 1,
		})
	}
	s.flags = []operate.OpenFlag{
		{Number: 7, Flag: flag.Flag{User: lena, Cause: flag.Held, Reason: "protected-person", Key: "hr:9", Type: "employee.leaver", At: morning}, Needs: 2, Approvals: []string{"ada"}},
		{Number: 8, Flag: flag.Flag{User: lena, Cause: flag.SmartLockout, At: morning, Detail: "\x1b[2Jgone\u202etxt"}},
	}
	return s
}

func (s *shelf) Overview(context.Context) (operate.Overview, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	o := operate.Overview{At: morning, Breaker: &operate.Breaker{Window: time.Hour, Ordinary: 3, OrdinaryLimit: 25, ImmediateLimit: 100},
		OpenFlags: []operate.CauseCount{{Cause: flag.Held, N: 1, Oldest: morning}}}
	if len(s.entries) > 0 {
		o.Entries = []operate.Count{{Place: operate.Lanes, Reason: "forbidden", Type: "employee.leaver", N: len(s.entries), Oldest: s.entries[0].EnqueuedAt}}
	}
	return o, nil
}

func (s *shelf) List(_ context.Context, f operate.Filter, cursor string, limit int) (operate.Page[operate.Entry], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	from, _ := strconv.Atoi(cursor)
	page := operate.Page[operate.Entry]{Items: []operate.Entry{}}
	for i := from; i < len(s.entries); i++ {
		if len(page.Items) == min(limit, 3) { // small pages, so that cursors are used
			page.Next = strconv.Itoa(i)
			break
		}
		e := s.entries[i]
		if slices.Contains(f.Places, e.Place) && (f.Lane == "" || f.Lane == e.Lane) && (f.Reason == "" || f.Reason == e.Reason) && strings.Contains(e.Key, f.Text) &&
			(f.Since.IsZero() || !e.EnqueuedAt.Before(f.Since)) && (f.Until.IsZero() || e.EnqueuedAt.Before(f.Until)) {
			page.Items = append(page.Items, e)
		}
	}
	return page, nil
}

func (s *shelf) find(id operate.ID) int {
	return slices.IndexFunc(s.entries, func(e operate.Entry) bool { return e.ID == id })
}

func (s *shelf) Show(_ context.Context, id operate.ID, reveal bool) (operate.Detail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(id)
	if i < 0 {
		return operate.Detail{}, operate.ErrNotFound
	}
	body := `{"data":{"person":"*****"}}`
	if reveal {
		body = `{"data":{"person":"Lena"}}`
	}
	return operate.Detail{Entry: s.entries[i], Body: body, LaneBusy: true, Would: &operate.Decision{Decision: "act", Detail: "blocks", Steps: []string{"block-sign-in"}}}, nil
}

func (s *shelf) Flags(_ context.Context, f operate.FlagFilter, _ string, _ int) (operate.Page[operate.OpenFlag], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := operate.Page[operate.OpenFlag]{}
	for _, o := range s.flags {
		if (!f.Holds || o.Cause == flag.Held) && (f.Cause == "" || f.Cause == o.Cause) && (f.User == "" || f.User == o.User) {
			page.Items = append(page.Items, o)
		}
	}
	return page, nil
}

func (s *shelf) Person(_ context.Context, who string, reveal bool) (operate.PersonView, error) {
	if who != "E1004" && who != string(lena) && who != "lena.hofmann@contoso.example" {
		return operate.PersonView{}, fmt.Errorf("%w: nobody has this identifier", operate.ErrNotFound)
	}
	name := "*****"
	if reveal {
		name = "Lena Hofmann"
	}
	return operate.PersonView{
		Tenant: operate.TenantState{UserID: lena, DisplayName: name, UserPrincipalName: name, Enabled: true, Synced: true, Methods: []string{"password", "phone"}, RiskLevel: "high", RiskState: "atRisk",
			Passes: []operate.PassState{{StartsAt: morning, EndsAt: morning.Add(8 * time.Hour), Usable: true, Delivered: true, Channel: "manager"}}},
		Lane: &operate.LaneState{Generation: 4, Statement: "employee.joiner 2026-11-24", Handled: []operate.Handled{{Key: "hr:3", Outcome: "done"}},
			Waiting: []operate.Waiting{{Key: "hr:9", Type: "employee.leaver", Kind: "held", Reason: "protected-person", Attempt: 1, Needs: 2, Approvals: []string{"ada"}}}},
		Flags: s.flags[:1], Cause: "Sign-in is risky.", NextStep: "Read the risk.",
	}, nil
}

func digest(e operate.Entry) string { return "d" + e.Key }

func (s *shelf) Plan(_ context.Context, sel operate.Selection) (operate.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := operate.Plan{Settings: "s", At: morning, Entries: []operate.PlannedEntry{}}
	for _, e := range s.entries {
		if sel.Filter == nil && !slices.Contains(sel.IDs, e.ID) {
			continue
		}
		planned := operate.PlannedEntry{ID: e.ID, Key: e.Key, Type: e.Type, Lane: e.Lane, Digest: digest(e),
			Decision: operate.Decision{Decision: "act", Steps: []string{"block-sign-in", "revoke-sessions"}, Methods: 2}}
		for _, edit := range sel.Edits {
			if edit.ID == e.ID {
				planned.Patch, planned.Diff = edit.Patch, []string{"- a", "+ b"}
			}
		}
		p.Entries, p.Digest = append(p.Entries, planned), p.Digest+planned.Digest
		p.Summary.Blocks++
	}
	p.Summary.Radius, p.Summary.RadiusLimit, p.Summary.Calls = p.Summary.Blocks, 25, 3*p.Summary.Blocks
	return p, nil
}

func (s *shelf) take(outcome, what string, ids []operate.ID) (out []operate.Outcome) {
	for _, id := range ids {
		o := operate.Outcome{ID: id, Outcome: outcome}
		if i := s.find(id); i < 0 {
			o.Outcome = "gone"
		} else {
			o.Key = s.entries[i].Key
			s.entries = slices.Delete(s.entries, i, i+1)
			s.said = append(s.said, what+" "+o.Key)
		}
		out = append(out, o)
	}
	return out
}

func (s *shelf) Replay(_ context.Context, by operate.Operator, r operate.Replay) ([]operate.Outcome, error) {
	if s.before != nil {
		if err := s.before(r); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(r.Digests, "") != r.Plan || r.Settings != "s" {
		return nil, fmt.Errorf("%w: the digests are not those of the plan", operate.ErrStale)
	}
	var ids []operate.ID
	for _, e := range r.Entries {
		ids = append(ids, e.ID)
	}
	return s.take("replayed", fmt.Sprintf("%s, %s: replay", by, r.Reason), ids), nil
}

func (s *shelf) Discard(_ context.Context, by operate.Operator, ids []operate.ID, reason string) ([]operate.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take("discarded", fmt.Sprintf("%s, %s: discard", by, reason), ids), nil
}

func (s *shelf) Decide(_ context.Context, by operate.Operator, w operate.Word) (operate.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Flag == 9 {
		return operate.Outcome{}, fmt.Errorf("%w: you are whom it is about", operate.ErrRefused)
	}
	s.said = append(s.said, fmt.Sprintf("%s, %s: %s %d", by, w.Reason, w.Decision, w.Flag))
	return operate.Outcome{ID: operate.ID{Sequence: w.Flag}, Outcome: "sent"}, nil
}

func (s *shelf) Resolve(_ context.Context, by operate.Operator, flags []int64, reason string) ([]operate.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf("%s, %s: resolve %v", by, reason, flags))
	return []operate.Outcome{{ID: operate.ID{Sequence: flags[0]}, Outcome: "resolved"}}, nil
}

func (s *shelf) LetIn(_ context.Context, by operate.Operator, who identity.UserID, reason string) (operate.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf("%s, %s: let in %s", by, reason, who))
	return operate.Outcome{Outcome: "sent"}, nil
}

// announced serves the operations as a stack on this machine would, and returns the
// environment in which the commands find it.
func announced(t *testing.T, to operate.Operations) []string {
	t.Helper()
	dir := t.TempDir()
	here := operateapi.Local{TokenFile: filepath.Join(dir, "token")}
	if err := os.WriteFile(here.TokenFile, []byte("abcdefghijklmnopqrstuvwxyz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	who, err := operateapi.Token(here.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(operateapi.Handler(to, who, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	here.URL = server.URL
	if err := operateapi.Announce(filepath.Join(dir, "mfaflow", "operations.json"), here); err != nil {
		t.Fatal(err)
	}
	return []string{"XDG_RUNTIME_DIR=" + dir}
}

func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// Who refuses without a word of ours, as Lambda does, is not event-replay.
func TestRefusedOnTheWay(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"Message":"Forbidden"}`)
	}))
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("abcdefghijklmnopqrstuvwxyz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	there := []string{"--url", server.URL, "--token-file", token}
	if got := run(t, "", nil, append([]string{"queue"}, there...)...); got.code != 1 || !strings.Contains(got.stderr, "lambda:InvokeFunctionUrl") || !strings.Contains(got.stderr, "Try: sign in again") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	got := run(t, "", nil, append([]string{"doctor", "--settings", filepath.Dir(token)}, there...)...)
	operations := regexp.MustCompile(`(?m)^fail +operations .*lambda:InvokeFunctionUrl`)
	if !operations.MatchString(got.stdout) || regexp.MustCompile(`(?m)^fail +operator `).MatchString(got.stdout) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// What the commands print, and that without --yes nothing is changed.
func TestOperating(t *testing.T) {
	for name, c := range map[string]struct {
		args           []string
		env            []string
		code           int
		stdout, stderr string
		said           []string // what was done, by whom
	}{
		"queue": {args: []string{"queue"}, stdout: `Dead letters and quarantine
PLACE  REASON     TYPE             NUMBER  OLDEST
lanes  forbidden  employee.leaver  5       2026-11-23 08:00Z

Open flags, holds among them
CAUSE  NUMBER  OLDEST
held   1       2026-11-23 08:00Z

Breaker, within 1h: 3 of 25 changes, 0 of 100 with immediate leavers
`},
		"dead list": {args: []string{"dead", "list", "--limit", "2"}, stdout: `ENTRY    SINCE              TYPE             REASON     LANE                                  KEY   DETAIL
lanes/1  2026-11-23 08:00Z  employee.leaver  forbidden  10000000-0000-4000-8000-000000000004  hr:1  grant the app a role
lanes/2  2026-11-23 09:00Z  employee.leaver  forbidden  10000000-0000-4000-8000-000000000004  hr:2  grant the app a role
`, stderr: "There are more than these 2: --limit 0 lists all, a filter fewer.\n"},
		"dead list on a narrow terminal": {args: []string{"dead", "list", "--limit", "1", "--place", "lanes", "--until", "2026-11-23T08:30:00Z"}, env: []string{"COLUMNS=80"}, stdout: `ENTRY    SINCE         TYPE          REASON     LANE          KEY   DETAIL
lanes/1  2026-11-23 …  employee.le…  forbidden  10000000-00…  hr:1  grant the a…
`, stderr: "There are more than these 1"},
		"dead list of a person":    {args: []string{"dead", "list", "--user", "E1004", "--text", "hr:5", "--json"}, stdout: `"key": "hr:5"`},
		"dead list of nobody":      {args: []string{"dead", "list", "--user", "E9"}, code: 1, stderr: "Error: there is no such thing: nobody has this identifier\nTry: "},
		"dead list elsewhere":      {args: []string{"dead", "list", "--place", "inbound,flags"}, stdout: "There are none.\n"},
		"dead list nowhere":        {args: []string{"dead", "list", "--place", "quarantine"}, code: 2, stderr: `--place "quarantine" is none of inbound, lanes, flags, control`},
		"dead list at no time":     {args: []string{"dead", "list", "--since", "noon"}, code: 2, stderr: "--since is neither a time such as"},
		"dead list of nothing":     {args: []string{"dead", "list", "--reason-is", "poison", "--json"}, stdout: "[]\n"},
		"dead count":               {args: []string{"dead", "count"}, stdout: "lanes  forbidden  employee.leaver  5       2026-11-23 08:00Z\n"},
		"dead count, filtered":     {args: []string{"dead", "count", "--since", "2026-11-23T10:30:00Z"}, stdout: "lanes  forbidden  employee.leaver  2       2026-11-23 11:00Z\n"},
		"dead count of nothing":    {args: []string{"dead", "count", "--reason-is", "poison", "--json"}, stdout: "[]\n"},
		"quarantine":               {args: []string{"quarantine", "list"}, stdout: "There are none.\n"},
		"dead show":                {args: []string{"dead", "show", "lanes/1"}, stdout: "a replay      act blocks\nits steps     block-sign-in\nlane          a worker has it right now; look again\nmessage\n  {\n    \"data\": {\n      \"person\": \"*****\"\n"},
		"dead show, what to do":    {args: []string{"dead", "show", "lanes/1"}, stdout: "what to do    Grant the permission or role that the description names"},
		"dead show, revealed":      {args: []string{"dead", "show", "lanes/1", "--reveal"}, stdout: `"person": "Lena"`},
		"dead show of none":        {args: []string{"dead", "show", "lanes/99"}, code: 1, stderr: "Error: there is no such thing\nTry: mfaflow dead list"},
		"dead show of what":        {args: []string{"dead", "show", "17"}, code: 2, stderr: `"17" is no entry, such as inbound/17`},
		"quarantine show of none":  {args: []string{"quarantine", "show", "17"}, code: 1, stderr: "there is no such thing"},
		"plan":                     {args: []string{"dead", "plan", "lanes/1", "lanes/2"}, stdout: "lanes/2  employee.leaver  act               block-sign-in, revoke-sessions  about 2\n\n2 entries: 2 blocks; 6 Graph calls; 2 of 25 that the breaker lets through\n"},
		"plan of nothing selected": {args: []string{"dead", "plan"}, code: 2, stderr: "nothing is selected: name entries, pick them with flags, or say --all"},
		"plan of both":             {args: []string{"dead", "plan", "lanes/1", "--all"}, code: 2, stderr: "not both"},
		"replay of no plan":        {args: []string{"dead", "replay", "/nowhere"}, code: 1, stderr: "Try: mfaflow dead plan -o /nowhere\n"},
		"discard, dry": {args: []string{"dead", "discard", "lanes/1", "--reason", "test"},
			stdout: "lanes/1  2026-11-23 08:00Z  employee.leaver  forbidden  10000000-0000-4000-8000-000000000004  hr:1  grant the app a role\n\nNothing was changed. --yes discards these 1 for good.\n"},
		"discard without a reason": {args: []string{"dead", "discard", "lanes/1", "--yes"}, code: 2, stderr: "--reason says why, for the audit trail, and is missing"},
		"discard of everything":    {args: []string{"dead", "discard", "--reason", "test", "--yes"}, code: 2, stderr: "name entries, or pick them with flags; one of both"},
		"discard": {args: []string{"dead", "discard", "lanes/1", "lanes/99", "--reason", "test", "--yes"},
			stdout: "ENTRY     KEY   OUTCOME    DETAIL\nlanes/1   hr:1  discarded\nlanes/99        gone\n", said: []string{"ME, test: discard hr:1"}},
		"discard by filter": {args: []string{"dead", "discard", "--until", "2026-11-23T09:30:00Z", "--reason", "test", "--yes", "--json"},
			stdout: `"outcome": "discarded"`, said: []string{"ME, test: discard hr:1", "ME, test: discard hr:2"}},
		"who I am":          {args: []string{"whoami"}, stdout: me(t) + "\n"},
		"holds":             {args: []string{"hold", "list"}, stdout: "7     2026-11-23 08:00Z  held   protected-person  10000000-0000-4000-8000-000000000004  employee.leaver  1 of 2 ada\n"},
		"release, dry":      {args: []string{"hold", "release", "7", "--reason", "proven"}, stdout: "\nNothing was changed. --yes releases 1 held events.\n"},
		"release":           {args: []string{"hold", "release", "7", "--reason", "proven", "--yes"}, stdout: "7           sent\n", said: []string{"ME, proven: release 7"}},
		"drop":              {args: []string{"hold", "drop", "7", "--reason", "mistake", "--yes"}, stdout: "7           sent\n", said: []string{"ME, mistake: drop 7"}},
		"release of a flag": {args: []string{"hold", "release", "8", "--reason", "r"}, code: 1, stderr: "flag 8: there is no such thing"},
		"release, refused":  {args: []string{"hold", "release", "9", "--reason", "r", "--yes"}, code: 1, stderr: "Error: flag 9: refused: you are whom it is about\n", stdout: "ENTRY"},
		"release of what":   {args: []string{"hold", "release", "x", "--reason", "r"}, code: 2, stderr: `"x" is not the number of a flag`},
		"flags":             {args: []string{"flag", "list", "--cause", "smart-lockout"}, stdout: "\uFFFD[2Jgone\uFFFDtxt\n"},
		"flags of no cause": {args: []string{"flag", "list", "--cause", "x"}, code: 2, stderr: `--cause "x" is no cause`},
		"resolve, dry":      {args: []string{"flag", "resolve", "8", "--reason", "r"}, stdout: "\nNothing was changed. --yes resolves 1 flags.\n"},
		"resolve":           {args: []string{"flag", "resolve", "8", "--reason", "r", "--yes"}, stdout: "8           resolved\n", said: []string{"ME, r: resolve [8]"}},
		"user": {args: []string{"user", "show", "E1004"}, stdout: `person        ***** [*****]
object id     10000000-0000-4000-8000-000000000004
account       enabled, synced from Active Directory
methods       password, phone
pass          usable, 2026-11-23 08:00Z to 2026-11-23 16:00Z, delivered by manager
risk          high [atRisk]
HR says       employee.joiner 2026-11-24
last events   hr:3 done

Waiting
TYPE             KIND  REASON            UNTIL  ATTEMPT  APPROVED    KEY
employee.leaver  held  protected-person         1        1 of 2 ada  hr:9

Open flags
FLAG  SINCE              CAUSE  REASON            USER                                  TYPE             APPROVED    DETAIL
7     2026-11-23 08:00Z  held   protected-person  10000000-0000-4000-8000-000000000004  employee.leaver  1 of 2 ada

Cause         Sign-in is risky.
Next step     Read the risk.
`},
		"user, revealed":   {args: []string{"user", "show", "E1004", "--reveal"}, stdout: "person        Lena Hofmann [Lena Hofmann]\n"},
		"user, unknown":    {args: []string{"user", "show", "E9"}, code: 1, stderr: "Try: look the person up by object id, user principal name, mail or employee id\n"},
		"let in, dry":      {args: []string{"user", "let-in", "E1004", "--reason", "badge"}, stdout: "\nNothing was changed. --yes lets this person in.\n"},
		"let in":           {args: []string{"user", "let-in", "E1004", "--reason", "badge", "--yes"}, stdout: "sent", said: []string{"ME, badge: let in " + string(lena)}},
		"another stack":    {args: []string{"queue", "--url", "http://127.0.0.1:1"}, code: 2, stderr: "--token-file is missing"},
		"no place":         {args: []string{"queue", "--url", "nowhere"}, code: 2, stderr: "--token-file is missing"},
		"no stack at all":  {args: []string{"queue"}, env: []string{"XDG_RUNTIME_DIR=/nowhere"}, code: 1, stderr: "Try: set MFAFLOW_OPERATIONS_URL or --url to its function URL, or start a stack with make run\n"},
		"token of nobody":  {args: []string{"queue", "--url", "http://127.0.0.1:1", "--token-file", "/nowhere"}, code: 1, stderr: "Try: is the stack still running?"},
		"watch of nothing": {args: []string{"queue", "--watch=now"}, code: 2, stderr: "--watch is not a duration such as 2s"},
		"complete place":   {args: []string{"__complete", "dead", "list", "--place", ""}, stdout: "inbound\nlanes\nflags\ncontrol\n", stderr: "Completion ended"},
		"complete reason":  {args: []string{"__complete", "dead", "list", "--reason-is", ""}, stdout: "forbidden\n", stderr: "Completion ended"},
		"complete type":    {args: []string{"__complete", "dead", "plan", "--type", ""}, stdout: "employee.leaver\n", stderr: "Completion ended"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(5)
			got := run(t, "", append(announced(t, s), c.env...), c.args...)
			if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) || c.stderr == "" && got.stderr != "" {
				t.Errorf("exit code %d\n--- stdout\n%s--- stderr\n%s", got.code, got.stdout, got.stderr)
			}
			var want []string
			for _, line := range c.said {
				want = append(want, strings.Replace(line, "ME", me(t), 1))
			}
			if diff := cmp.Diff(want, s.said); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
		})
	}
}

// A plan is replayed from its file, whole and once, and only the entries it names.
func TestReplayOfAPlan(t *testing.T) {
	s := newShelf(250)
	env, file := announced(t, s), filepath.Join(t.TempDir(), "a.plan")
	if got := run(t, "", env, "dead", "plan", "--all", "-o", file); got.code != 0 || !strings.Contains(got.stdout, "... and 210 more\n") ||
		!strings.HasSuffix(got.stdout, "Nothing was changed. To do it: mfaflow dead replay "+file+" --reason WHY --yes\n") {
		t.Fatalf("plan: %+v", got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if got := run(t, "", env, "dead", "replay", file); got.code != 0 || !strings.HasSuffix(got.stdout, "Nothing was changed. --yes replays 250 of them.\n") {
		t.Errorf("dry: %+v", got)
	}
	if got := run(t, "", env, "dead", "replay", file, "--yes"); got.code != 2 || len(s.said) != 0 {
		t.Errorf("without a reason: %+v", got)
	}
	got := run(t, "", env, "dead", "replay", file, "--yes", "--reason", "fixed", "--rate", "0")
	if got.code != 0 || got.stdout != "250 replayed\n" || len(s.said) != 250 || s.said[0] != me(t)+", fixed: replay hr:1" {
		t.Errorf("%+v, %d done", got, len(s.said))
	}
	if got := run(t, "", env, "dead", "replay", file, "--yes", "--reason", "fixed", "--rate", "0", "--json"); got.code != 0 || strings.Count(got.stdout, `"gone"`) != 250 || len(s.said) != 250 {
		t.Errorf("again: code %d, %d done", got.code, len(s.said))
	}
	// A file that is no plan, or another plan, changes nothing.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte(`"digest": "dhr:1"`), []byte(`"digest": "dhr:2"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "", env, "dead", "replay", file, "--yes", "--reason", "r"); got.code != 1 || !strings.Contains(got.stderr, "Try: mfaflow dead plan again") {
		t.Errorf("a forged plan: %+v", got)
	}
	if err := os.WriteFile(file, []byte(`{"plan":{},"more":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "", env, "dead", "replay", file, "--yes", "--reason", "r"); got.code != 1 || !strings.Contains(got.stderr, "is not a plan\nTry: mfaflow dead plan --all -o FILE ") {
		t.Errorf("no plan: %+v", got)
	}
}

// An edit goes into the plan and, from its file, into the replay.
func TestEditedEntry(t *testing.T) {
	s := newShelf(2)
	dir := t.TempDir()
	env, file, patch := announced(t, s), filepath.Join(dir, "a.plan"), filepath.Join(dir, "patch.json")
	if err := os.WriteFile(patch, []byte(`{"lastDay": "2026-12-01"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "", env, "dead", "plan", "lanes/1", "--edit", "lanes/1="+patch, "-o", file); got.code != 0 || !strings.Contains(got.stdout, "lanes/1 is corrected:\n  - a\n  + b\n") {
		t.Fatalf("%+v", got)
	}
	var sent json.RawMessage
	s.before = func(r operate.Replay) error { sent = r.Entries[0].Patch; return nil }
	if got := run(t, "", env, "dead", "replay", file, "--yes", "--reason", "r", "--only", "act"); got.code != 0 || string(sent) != `{"lastDay":"2026-12-01"}` {
		t.Errorf("%+v, patch %s", got, sent)
	}
	if got := run(t, "", env, "dead", "replay", file, "--yes", "--reason", "r", "--only", "flag"); got.code != 0 || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}

// Ctrl-C pauses after the part that has begun; the same command goes on from there.
func TestPausedReplay(t *testing.T) {
	s := newShelf(250)
	env, file := announced(t, s), filepath.Join(t.TempDir(), "a.plan")
	run(t, "", env, "dead", "plan", "--all", "-o", file)
	args := []string{"dead", "replay", file, "--yes", "--reason", "r", "--rate", "0"}

	ctx, interrupt := context.WithCancel(t.Context())
	s.before = func(operate.Replay) error { interrupt(); return nil }
	var out, problems bytes.Buffer
	code := cli.Run(ctx, args, strings.NewReader(""), &out, &problems, env)
	if code != 1 || out.String() != "100 replayed\n" || problems.String() != "Error: paused after 100 of 250\nTry: the same command again to go on, or leave it at that\n" || len(s.said) != 100 {
		t.Errorf("code %d, %d done\n%s%s", code, len(s.said), &out, &problems)
	}
	// A replayer that fails on the way has told what it did.
	parts := 0
	s.before = func(operate.Replay) error {
		if parts++; parts > 2 {
			return errors.New("broker down")
		}
		return nil
	}
	got := run(t, "", env, args...)
	if got.code != 1 || got.stdout != "100 replayed, 100 gone\n" || !strings.Contains(got.stderr, "after 200 of 250: event-replay failed") || !strings.Contains(got.stderr, "Try: the same command again: what was done is not done twice\n") {
		t.Errorf("%+v", got)
	}
	s.before = nil
	if got := run(t, "", env, args...); got.code != 0 || got.stdout != "50 replayed, 200 gone\n" || len(s.said) != 250 {
		t.Errorf("%+v, %d done", got, len(s.said))
	}
}

// --watch shows it again until Ctrl-C, which is no failure.
func TestWatch(t *testing.T) {
	s := newShelf(1)
	env := announced(t, s)
	ctx, interrupt := context.WithTimeout(t.Context(), 20*time.Second)
	defer interrupt()
	out := &counter{want: 3, done: interrupt}
	if code := cli.Run(ctx, []string{"dead", "count", "--watch=100ms"}, strings.NewReader(""), out, out, env); code != 0 || out.seen < 3 {
		t.Errorf("code %d after %d", code, out.seen)
	}
}

// counter counts tables.
type counter struct {
	seen, want int
	done       func()
}

func (c *counter) Write(p []byte) (int, error) {
	if c.seen += bytes.Count(p, []byte("PLACE")); c.seen == c.want {
		c.done()
	}
	return len(p), nil
}

// Every command that the README shows runs.
func TestOperatingInTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Operating\n")
	if !ok {
		t.Fatal("README.md has no section Operating")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	env := announced(t, newShelf(20))
	t.Chdir(t.TempDir())
	if err := os.WriteFile("event-replay.log", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shown := 0
	for line := range strings.Lines(section) {
		line, isCode := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		line, _, _ = strings.Cut(strings.TrimPrefix(line, "$ "), " #")
		command, ours := strings.CutPrefix(strings.TrimSpace(line), "mfaflow ")
		if !isCode || !ours {
			continue
		}
		shown++
		var args []string
		for i, part := range strings.Split(command, "'") {
			if i%2 == 1 {
				args = append(args, part) // in quotes
			} else {
				args = append(args, strings.Fields(part)...)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		stdout := io.Writer(&out)
		if slices.Contains(args, "--watch") {
			stdout = &counter{want: 1, done: cancel}
		}
		if code := cli.Run(ctx, args, strings.NewReader(""), stdout, &out, env); code != 0 {
			t.Errorf("mfaflow %q: exit code %d\n%s", args, code, &out)
		}
		cancel()
	}
	if shown < 10 {
		t.Errorf("%d commands", shown)
	}
}

func TestAuditSearch(t *testing.T) {
	var log bytes.Buffer
	w := audit.NewWriter(&log, "event-replay")
	for i, r := range []audit.Record{
		{Key: "hr:1", User: lena, Actor: "system", Action: "block-sign-in", Outcome: "done"},
		{Key: "hr:2", Lane: string(lena), Actor: "ada", Action: "replay", Reason: "fixed", Outcome: "replayed"},
		{Key: "hr:3", User: "other", Actor: "ada", Action: "discard", Outcome: "discarded"},
	} {
		r.Started = morning.Add(time.Duration(i) * time.Hour)
		if err := w.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, append([]byte(`{"msg":"ready"}`+"\n"), log.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		keys   []string
		stderr string
	}{
		"all":         {nil, []string{"hr:1", "hr:2", "hr:3"}, ""},
		"a person":    {[]string{"--user", strings.ToUpper(string(lena))}, []string{"hr:1", "hr:2"}, ""},
		"an operator": {[]string{"--operator", "Ada"}, []string{"hr:2", "hr:3"}, ""},
		"an event":    {[]string{"--event", "hr:3"}, []string{"hr:3"}, ""},
		"a time":      {[]string{"--since", "2026-11-23T08:30:00Z", "--until", "2026-11-23T09:30:00Z"}, []string{"hr:2"}, ""},
		"an action":   {[]string{"--action", "discard", "--operator", "system"}, nil, "None of 3 records fits.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, "", nil, append([]string{"audit", "search", file}, c.args...)...)
			var keys []string
			for i, line := range strings.Split(strings.TrimSpace(got.stdout), "\n") {
				if i > 0 {
					keys = append(keys, line[strings.LastIndex(line, " ")+1:])
				}
			}
			if diff := cmp.Diff(c.keys, keys); diff != "" || got.code != 0 || got.stderr != c.stderr {
				t.Errorf("%+v\n%s", got, diff)
			}
			// What is printed as JSON is the records as they were.
			again := run(t, log.String(), nil, append([]string{"audit", "search", "--json"}, c.args...)...)
			for line := range strings.Lines(again.stdout) {
				if !strings.Contains(log.String(), line) {
					t.Errorf("not as written: %s", line)
				}
			}
			if n := strings.Count(again.stdout, "\n"); n != len(c.keys) {
				t.Errorf("%d lines", n)
			}
		})
	}
	if got := run(t, `{"msg":"ready"}`, nil, "audit", "search"); got.code != 0 || !strings.Contains(got.stderr, "no audit records in that") {
		t.Errorf("a log without records: %+v", got)
	}
	if got := run(t, strings.Replace(log.String(), `"ada"`, `"eve"`, 1), nil, "audit", "search", "--event", "hr:"); got.code != 1 || strings.Contains(got.stdout, "eve") || !strings.Contains(got.stderr, "line 2: the record was changed") {
		t.Errorf("%+v", got)
	}
}
