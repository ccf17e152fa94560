package notify_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	flags "mfaflow/pkg/flag"
	"mfaflow/pkg/notify"
	"mfaflow/pkg/notify/mail"
	"mfaflow/pkg/notify/slack"
	"mfaflow/pkg/notify/teams"
	"mfaflow/pkg/notify/webhook"
	"mfaflow/pkg/queue"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const link = "https://console.contoso.example/flags/{flag}"

var raised = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// hostile is what other parties may have put into a text of a flag.
const hostile = "<script>alert(1)</script> *bold* _it_ ~s~ `c` **b** [click](https://evil.example) <https://evil.example|bank> <!channel> <@U1> @everyone " +
	"<at>all</at> {{DATE(2026-11-23T08:00:00Z)}} {{{x}}} &lt;b&gt; \u202etxt.exe\u200b\x00\r\nSubject: x # head"

func example() flags.Flag {
	return flags.Flag{
		User: anna, Cause: flags.SmartLockout, Reason: "ids-locked", Detail: "50053 at 07:58, 12 attempts", Key: "entra:1", Type: "account.locked",
		Source: "entra", Queue: "lanes", Lane: anna, Sequence: 3, At: raised, UnlocksAt: raised.Add(10 * time.Minute),
	}
}

// renderings are the bodies of the four channels, each indented to be read.
func renderings(t *testing.T, n notify.Notice) map[string][]byte {
	t.Helper()
	bodies := map[string][]byte{}
	for name, render := range map[string]func(notify.Notice) ([]byte, error){
		"teams.json": teams.Render, "slack.json": slack.Render, "webhook.json": webhook.Render,
	} {
		b, err := render(n)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			t.Fatal(err)
		}
		bodies[name] = append(out.Bytes(), '\n')
	}
	m := mail.Render(n, "from@contoso.example", "to@contoso.example")
	bodies["mail.txt"] = fmt.Appendf(nil, "From: %s\nTo: %s\nSubject: %s\n\n%s", m.From, m.To, m.Subject, m.Text.Reveal())
	return bodies
}

func TestRenderings(t *testing.T) {
	hold := flags.Flag{Cause: flags.Held, Reason: "protected-person", Key: "hr:7", Lane: "hr:e1004", At: raised}
	bad := example()
	bad.Detail, bad.Reason, bad.Key, bad.Source = hostile, "<!here>", "<k>&", "*src*"
	for name, c := range map[string]struct {
		flag flags.Flag
		link string
	}{
		"locked":  {example(), link},
		"hold":    {hold, ""},
		"hostile": {bad, link},
	} {
		for file, got := range renderings(t, notify.NewNotice(queue.Received{Message: queue.Message{ID: "flag~1"}, Sequence: 17}, c.flag, c.link)) {
			path := filepath.Join("testdata", name+"."+file)
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", path, d)
			}
		}
	}
}

// What is markup in each format is not in what it gets, whatever a flag says. A
// person may be called *bold*.
func TestHostileTextsStayText(t *testing.T) {
	f := example()
	f.User, f.Reason, f.Detail, f.Key, f.Type, f.Source = hostile, hostile, hostile, hostile, hostile, hostile
	got := renderings(t, notify.NewNotice(queue.Received{Sequence: 17}, f, link))

	// Teams: every text is a TextRun, which knows no Markdown.
	walk(t, got["teams.json"], func(o map[string]any) {
		if text, ok := o["text"].(string); ok && (o["type"] != "TextRun" || strings.Contains(text, "{{")) {
			t.Errorf("teams: %v", o)
		}
		if o["type"] == "mention" || o["entities"] != nil {
			t.Errorf("teams: a mention: %v", o)
		}
	})
	// Slack: whatever holds a word of the flag is plain text, and has no control character.
	walk(t, got["slack.json"], func(o map[string]any) {
		text, ok := o["text"].(string)
		if !ok {
			return
		}
		if o["type"] == "mrkdwn" {
			if text != "<https://console.contoso.example/flags/17|Open>" {
				t.Errorf("slack: mrkdwn %q", text)
			}
			return
		}
		if strings.ContainsAny(text, "<>") {
			t.Errorf("slack: %q", text)
		}
		if o["blocks"] != nil && text != flags.SmartLockout.Title() { // the top-level text is mrkdwn as well
			t.Errorf("slack: the top-level text is %q", text)
		}
		if len(text) > 3000 {
			t.Errorf("slack: %d characters", len(text))
		}
	})
	// Mail: one line stays one line.
	if body := string(got["mail.txt"]); strings.Contains(body, "\nSubject: x") || strings.ContainsAny(body, "\r\x00\u202e\u200b") {
		t.Errorf("mail: %q", body)
	}
	for file, b := range got {
		if strings.ContainsAny(string(b), "\u202e\u200b") {
			t.Errorf("%s: the direction of the text can be turned", file)
		}
	}
}

// walk visits every object of a JSON text.
func walk(t *testing.T, text []byte, visit func(map[string]any)) {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	var down func(any)
	down = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			visit(v)
			for _, x := range v {
				down(x)
			}
		case []any:
			for _, x := range v {
				down(x)
			}
		}
	}
	down(value)
}

// No cause and no length makes a message that a channel would not take.
func TestLimitsOfTheChannels(t *testing.T) {
	for _, c := range flags.Causes() {
		f := example()
		f.Cause = c
		f.Reason, f.Detail, f.Key, f.Type, f.Source = long, long, long, long, long
		n := notify.NewNotice(queue.Received{Sequence: 1 << 62}, f, link)
		if len(n.Title) > 150 {
			t.Errorf("%s: a title of %d characters does not fit a header of Slack", c, len(n.Title))
		}
		got := renderings(t, n)
		// A message in Teams has at most 28 KB
		// (learn.microsoft.com/microsoftteams/limits-specifications-teams).
		if len(got["teams.json"]) > 28<<10 {
			t.Errorf("%s: a card of %d bytes", c, len(got["teams.json"]))
		}
		walk(t, got["slack.json"], func(o map[string]any) {
			fields, _ := o["fields"].([]any)
			if len(fields) > 10 {
				t.Errorf("%s: %d fields", c, len(fields))
			}
			for _, f := range fields {
				if n := len(f.(map[string]any)["text"].(string)); n > 2000 {
					t.Errorf("%s: a field of %d characters", c, n)
				}
			}
			if text, ok := o["text"].(string); ok && (text == "" || len(text) > 3000) {
				t.Errorf("%s: a text of %d characters", c, len(text))
			}
		})
	}
}

var long = strings.Repeat("&<", 5000)

// The same flag told again is the same notice; another flag is another.
func TestNoticeID(t *testing.T) {
	m := queue.Received{Message: queue.Message{ID: "flag~hr.eu~held~2026-11-23"}, Sequence: 17}
	a, b := notify.NewNotice(m, example(), ""), notify.NewNotice(m, example(), "")
	m.Sequence++
	if c := notify.NewNotice(m, example(), ""); a.ID != b.ID || a.ID == c.ID || strings.Contains(a.ID, ".") {
		t.Errorf("got %s, %s, %s", a.ID, b.ID, c.ID)
	}
}
