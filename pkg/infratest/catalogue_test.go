package infratest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/change"
	"mfaflow/pkg/config"
	"mfaflow/pkg/stack"
)

// document is functions.json.
type document struct {
	dir string // that it was read from

	Functions map[string]function `json:"functions"`
	Queues    map[string]struct {
		Sessions bool `json:"sessions"`
	} `json:"queues"`
}

type function struct {
	Trigger struct {
		HTTP     []string `json:"http"`
		Schedule string   `json:"schedule"`
		Events   bool     `json:"events"`
		URL      bool     `json:"url"`
	} `json:"trigger"`
	Memory      int      `json:"memory"`
	Timeout     int      `json:"timeout"`
	Concurrency int      `json:"concurrency"`
	Reads       []string `json:"reads"`
	Writes      []string `json:"writes"`
	Files       bool     `json:"files"`
	Secrets     []string `json:"secrets"`
	Graph       []string `json:"graph"`
	Exchange    []string `json:"exchange"`
}

// landing is what Terraform knows and the code does not yet: functions, and settings that
// functions refuse. What has landed is deleted here: TestCatalogue and TestDeployment say so.
var landing = struct{ functions, settings []string }{}

func catalogue(t *testing.T, infra string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(infra, "functions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("functions.json: %v", err)
	}
	doc.dir = infra
	return doc
}

// catalogueRule holds functions.json against the code.
type catalogueRule struct {
	name  string
	check func(document) breaches
}

func (l *breaches) addf(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

// differ says of two sets what is only in one.
func (l *breaches) differ(what, here string, a []string, there string, b []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			l.addf("%s: %s is in %s and not in %s", what, x, here, there)
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			l.addf("%s: %s is in %s and not in %s", what, x, there, here)
		}
	}
}

// never are secrets that no deployment has: keys of the namespace and of apps.
var never = []string{"MFAFLOW_SERVICEBUS_CONNECTION_STRING", "MFAFLOW_CLIENT_SECRET", "MFAFLOW_CLIENT_CERTIFICATE"}

func catalogueRules() []catalogueRule {
	return []catalogueRule{
		{"the functions are those of functions/", func(doc document) (l breaches) {
			folders, err := filepath.Glob(filepath.Join(root, "functions", "*"))
			if err != nil {
				return breaches{err.Error()}
			}
			built := []string{}
			for _, folder := range folders {
				built = append(built, filepath.Base(folder))
			}
			for _, name := range landing.functions {
				if slices.Contains(built, name) {
					l.addf("%s has landed: delete it from landing", name)
				}
				built = append(built, name)
			}
			l.differ("functions", "infra/functions.json", keys(doc.Functions), "functions/", built)
			return l
		}},
		{"secrets are those of the settings", func(doc document) (l breaches) {
			for _, name := range known(doc) {
				settings, err := config.Describe(name)
				if err != nil {
					return breaches{err.Error()}
				}
				var secret []string
				for _, s := range settings {
					if strings.HasPrefix(s.Meaning, "Secret.") && !slices.Contains(never, s.Variable) {
						secret = append(secret, s.Variable)
					}
				}
				l.differ(name, "secrets of functions.json", doc.Functions[name].Secrets, "pkg/config", secret)
			}
			return l
		}},
		{"queues are those of the settings", func(doc document) (l breaches) {
			for _, name := range known(doc) {
				settings, err := config.Describe(name)
				if err != nil {
					return breaches{err.Error()}
				}
				var knows, uses []string
				for _, s := range settings {
					if q, ok := strings.CutSuffix(s.Variable, "_QUEUE"); ok {
						knows = append(knows, strings.ToLower(strings.TrimPrefix(q, "MFAFLOW_")))
					}
				}
				f := doc.Functions[name]
				for _, q := range slices.Concat(f.Reads, f.Writes) {
					if !slices.Contains(uses, q) {
						uses = append(uses, q)
					}
				}
				l.differ(name, "reads and writes of functions.json", uses, "pkg/config", knows)
			}
			return l
		}},
		{"queues are those of the stack", func(doc document) (l breaches) {
			var names []string
			for _, q := range stack.Queues() {
				names = append(names, q.Name)
				if here, ok := doc.Queues[q.Name]; ok && here.Sessions != q.RequiresSession {
					l.addf("%s: sessions are %v in functions.json and %v in pkg/stack", q.Name, here.Sessions, q.RequiresSession)
				}
			}
			l.differ("queues", "functions.json", keys(doc.Queues), "pkg/stack", names)
			return l
		}},
		{"who faces the internet has no Graph", func(doc document) (l breaches) {
			for name, f := range doc.Functions {
				if f.Trigger.HTTP != nil && len(f.Graph)+len(f.Exchange)+len(f.Reads) > 0 {
					l.addf("%s takes webhooks and may use %v %v and read %v", name, f.Graph, f.Exchange, f.Reads)
				}
			}
			return l
		}},
		{"mail is Exchange's", func(doc document) (l breaches) {
			for name, f := range doc.Functions {
				for _, p := range f.Graph {
					if strings.HasPrefix(p, "Mail.") {
						l.addf("%s: %s in graph is for every mailbox; exchange scopes it to one", name, p)
					}
				}
			}
			return l
		}},
		{"routes are those that functions serve", func(doc document) (l breaches) {
			l.differ("graph-notifications", "functions.json", doc.Functions["graph-notifications"].Trigger.HTTP,
				"pkg/change", []string{"POST " + change.NotificationPath, "POST " + change.LifecyclePath})
			for name, want := range map[string]string{"hr-events": "/hr/{source}", "risk-signals": "/risk/{source}"} {
				for _, r := range doc.Functions[name].Trigger.HTTP {
					if _, path, _ := strings.Cut(r, " "); path != want {
						l.addf("%s: route %s, want %s", name, r, want)
					}
				}
			}
			return l
		}},
		{"numbers are such as Lambda takes", func(doc document) (l breaches) {
			for name, f := range doc.Functions {
				// docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
				if f.Memory < 128 || f.Memory > 10240 || f.Timeout < 1 || f.Timeout > 900 || f.Concurrency < 1 {
					l.addf("%s: memory %d MB, timeout %d s, concurrency %d", name, f.Memory, f.Timeout, f.Concurrency)
				}
				// docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html: 30 s
				if f.Trigger.HTTP != nil && f.Timeout > 29 {
					l.addf("%s: the gateway gives up after 30 s, the timeout is %d s", name, f.Timeout)
				}
				if f.Trigger.Schedule == "rate(1 minute)" && f.Timeout >= 60 {
					l.addf("%s: a run of %d s is still there when the next one starts", name, f.Timeout)
				}
			}
			return l
		}},
	}
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// known are the functions of doc that have settings in the code.
func known(doc document) (list []string) {
	for _, name := range keys(doc.Functions) {
		if slices.Contains(config.Functions(), name) {
			list = append(list, name)
		}
	}
	return list
}

func TestCatalogue(t *testing.T) {
	doc := catalogue(t, filepath.Join(root, "infra"))
	for _, r := range catalogueRules() {
		for _, breach := range r.check(doc) {
			t.Errorf("%s: %s", r.name, breach)
		}
	}
}
