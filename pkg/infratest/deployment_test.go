package infratest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mfaflow/pkg/config"
	"mfaflow/pkg/identity"
)

// deploymentRule holds what Terraform makes of infra/ against the catalogue and the code.
type deploymentRule struct {
	name  string
	check func(*testing.T, document, state) breaches
}

// instance is the function that a resource of a module belongs to.
func (r resource) instance() string {
	_, rest, ok := strings.Cut(r.Address, `["`)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, `"]`)
	return name
}

func (r resource) text(name string) string {
	s, _ := r.Values[name].(string)
	return s
}

// texts is a list or set of strings.
func (r resource) texts(name string) (list []string) {
	values, _ := r.Values[name].([]any)
	for _, v := range values {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// byFunction are the resources of a type and name, one for each function.
func (s state) byFunction(typ, name string) map[string]resource {
	found := map[string]resource{}
	for _, r := range s.of(typ) {
		if r.Name == name {
			found[r.instance()] = r
		}
	}
	return found
}

// statement is one of an IAM policy, whose lists of one element may be bare.
type statement struct {
	Effect           string
	Action, Resource oneOrMore
	NotAction        oneOrMore
	NotResource      oneOrMore
	Principal        any
	Condition        map[string]map[string]oneOrMore
}

type oneOrMore []string

func (l *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

func statements(policy string) ([]statement, error) {
	var doc struct{ Statement []statement }
	err := json.Unmarshal([]byte(policy), &doc)
	return doc.Statement, err
}

// secrets stand in for what is filled in by hand, as it would lie in Secrets Manager.
var secrets = map[string]json.RawMessage{
	"MFAFLOW_SOURCE_KEYS":       json.RawMessage(`{"workday": ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="], "helpdesk": ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]}`),
	"MFAFLOW_CLIENT_STATE_KEYS": json.RawMessage(`"2026-11:` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"`),
}

func deploymentRules() []deploymentRule {
	return []deploymentRule{
		{"functions start with their settings", func(t *testing.T, doc document, s state) (l breaches) {
			lambdas := s.byFunction("aws_lambda_function", "this")
			refused := map[string]bool{}
			for _, name := range known(doc) {
				r, ok := lambdas[name]
				if !ok {
					l.addf("%s is not deployed", name)
					continue
				}
				l = append(l, starts(t, name, r, doc.Functions[name], refused)...)
			}
			for _, name := range landing.settings {
				if !refused[name] {
					l.addf("%s is no longer refused: delete it from landing", name)
				}
			}
			return l
		}},
		{"functions are as in the catalogue", func(_ *testing.T, doc document, s state) (l breaches) {
			lambdas := s.byFunction("aws_lambda_function", "this")
			l.differ("functions", "functions.json", keys(doc.Functions), "the deployment", keys(lambdas))
			for name, r := range lambdas {
				f := doc.Functions[name]
				got := fmt.Sprintf("%v MB, %v s, %v at once", r.Values["memory_size"], r.Values["timeout"], r.Values["reserved_concurrent_executions"])
				if want := fmt.Sprintf("%d MB, %d s, %d at once", f.Memory, f.Timeout, f.Concurrency); got != want {
					l.add(r, "%s, want %s", got, want)
				}
			}
			return l
		}},
		{"each app trusts its own role", func(_ *testing.T, doc document, s state) (l breaches) {
			roles, issuers := s.byFunction("aws_iam_role", "function"), s.of("aws_iam_outbound_web_identity_federation")
			credentials, lambdas := s.byFunction("azuread_application_federated_identity_credential", "this"), s.byFunction("aws_lambda_function", "this")
			l.differ("federated credentials", "functions.json", keys(doc.Functions), "the deployment", keys(credentials))
			if len(issuers) != 1 {
				return append(l, fmt.Sprintf("%d issuers", len(issuers)))
			}
			for name, c := range credentials {
				if c.text("subject") != roles[name].text("arn") || c.text("subject") == "" {
					l.add(c, "trusts %s, the role of %s is %s", c.text("subject"), name, roles[name].text("arn"))
				}
				if c.text("issuer") != issuers[0].text("issuer_identifier") {
					l.add(c, "trusts the issuer %s", c.text("issuer"))
				}
				if got := c.texts("audiences"); !slices.Equal(got, []string{"api://AzureADTokenExchange"}) {
					l.add(c, "audiences %v", got)
				}
				if lambdas[name].text("role") != roles[name].text("arn") {
					l.add(lambdas[name], "runs as %s", lambdas[name].text("role"))
				}
				statements, err := statements(roles[name].text("assume_role_policy"))
				if err != nil || len(statements) != 1 || !slices.Equal(statements[0].Action, []string{"sts:AssumeRole"}) ||
					fmt.Sprint(statements[0].Principal) != "map[Service:lambda.amazonaws.com]" {
					l.add(roles[name], "may be assumed by more than Lambda (%v)", err)
				}
			}
			return l
		}},
		{"each app asks for its permissions", func(_ *testing.T, doc document, s state) (l breaches) {
			apps := s.byFunction("azuread_application", "this")
			l.differ("app registrations", "functions.json", keys(doc.Functions), "the deployment", keys(apps))
			for name, app := range apps {
				var asked []string
				access, _ := app.Values["required_resource_access"].([]any)
				for _, a := range access {
					list, _ := a.(map[string]any)["resource_access"].([]any)
					for _, p := range list {
						asked = append(asked, fmt.Sprint(p.(map[string]any)["id"])) // a mocked id is the name
					}
				}
				l.differ(name, "functions.json", doc.Functions[name].Graph, "its app registration", asked)
			}
			return l
		}},
		{"each app has its queues", func(_ *testing.T, doc document, s state) (l breaches) {
			principals := map[string]string{}
			for name, r := range s.byFunction("azuread_service_principal", "this") {
				principals[r.text("object_id")] = name
			}
			var got, want []string
			for _, r := range s.of("azurerm_role_assignment") {
				role := strings.TrimPrefix(r.text("role_definition_name"), "Azure Service Bus ")
				if !strings.Contains(r.text("scope"), "/queues/") {
					l.add(r, "is for more than a queue: %s", r.text("scope"))
				}
				got = append(got, principals[r.text("principal_id")]+": "+role+" on "+path.Base(r.text("scope")))
			}
			for name, f := range doc.Functions {
				for _, q := range f.Reads {
					want = append(want, name+": Data Receiver on "+q)
				}
				for _, q := range f.Writes {
					want = append(want, name+": Data Sender on "+q)
				}
			}
			l.differ("role assignments", "functions.json", want, "the deployment", got)
			return l
		}},
		{"queues are as in the catalogue", func(_ *testing.T, doc document, s state) (l breaches) {
			var names []string
			for _, q := range s.of("azurerm_servicebus_queue") {
				name := q.text("name")
				names = append(names, name)
				if q.Values["requires_session"] != doc.Queues[name].Sessions {
					l.add(q, "requires_session is %v", q.Values["requires_session"])
				}
			}
			l.differ("queues", "functions.json", keys(doc.Queues), "the deployment", names)
			for _, n := range s.of("azurerm_servicebus_namespace") {
				if n.text("sku") != "Standard" && n.text("sku") != "Premium" {
					l.add(n, "sku %q has no sessions", n.text("sku"))
				}
			}
			return l
		}},
		{"policies allow little", func(_ *testing.T, _ document, s state) (l breaches) {
			seen := 0
			for _, r := range s.resources {
				for _, name := range []string{"policy", "assume_role_policy"} {
					text := r.text(name)
					// Elsewhere a policy is what the provider would tell, and made up here.
					if text == "" || !strings.HasSuffix(r.Type, "_policy") && r.Type != "aws_iam_role" && r.Type != "aws_kms_key" {
						continue
					}
					list, err := statements(text)
					if err != nil || len(list) == 0 {
						l.add(r, "%s cannot be read: %v", name, err)
					}
					for _, st := range list {
						seen++
						l = append(l, tooMuch(r, st)...)
					}
				}
			}
			if seen == 0 {
				l.addf("there are no policies")
			}
			return l
		}},
		{"an operator's session is the operator", func(_ *testing.T, _ document, s state) (l breaches) {
			const issuer = "login.microsoftonline.com/aaaabbbb-0000-4ccc-8ddd-eeeeffff0000/v2.0"
			for _, r := range s.of("aws_iam_role") {
				if !strings.HasPrefix(r.Address, "module.operators") {
					continue
				}
				list, err := statements(r.text("assume_role_policy"))
				if err != nil || len(list) != 1 {
					return breaches{fmt.Sprintf("%s: %d statements, %v", r, len(list), err)}
				}
				equals := list[0].Condition["StringEquals"]
				for key, want := range map[string]string{
					"sts:RoleSessionName": "${" + issuer + ":sub}", issuer + ":aud": "dddd1111-3333-4fff-8000-111122223333",
				} {
					if !slices.Equal(equals[key], []string{want}) {
						l.add(r, "StringEquals %s is %v, want %s", key, equals[key], want)
					}
				}
				if len(equals[issuer+":sub"]) != 2 {
					l.add(r, "lets in subjects %v, want the two operators", equals[issuer+":sub"])
				}
				var named map[string]map[string]string
				env := environment(s.byFunction("aws_lambda_function", "this")["event-replay"])
				if err := json.Unmarshal([]byte(env["MFAFLOW_NAMED_OPERATORS"]), &named); err != nil || len(named) != 1 || named[r.text("arn")]["AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"] != "ada@contoso.com" {
					l.add(r, "event-replay knows %v (%v)", named, err)
				}
				return l
			}
			return breaches{"there is no role of operators"}
		}},
		{"every schedule has its dead letters", func(_ *testing.T, doc document, s state) (l breaches) {
			count := map[string]int{}
			for _, r := range s.of("aws_scheduler_schedule") {
				count[r.instance()]++
				if r.text("schedule_expression") != doc.Functions[r.instance()].Trigger.Schedule {
					l.add(r, "runs at %s", r.text("schedule_expression"))
				}
			}
			for name, f := range doc.Functions {
				if f.Trigger.Schedule != "" && count[name] != f.Concurrency {
					l.addf("%s has %d schedules, want one for each of %d sandboxes", name, count[name], f.Concurrency)
				}
			}
			return l
		}},
		{"the costs are of what is made", func(_ *testing.T, doc document, s state) (l breaches) {
			text, err := os.ReadFile(filepath.Join(doc.dir, "README.md"))
			if err != nil {
				return breaches{err.Error()}
			}
			_, section, _ := strings.Cut(string(text), "\n## What it costs\n")
			section, _, _ = strings.Cut(section, "\n## ")
			for what, typ := range map[string]string{
				"alarms": "aws_cloudwatch_metric_alarm", "secrets": "aws_secretsmanager_secret", "alerts": "azurerm_monitor_metric_alert",
			} {
				if want := fmt.Sprintf(" %d %s at $", len(s.of(typ)), what); !strings.Contains(section, want) {
					l.addf("README.md says nothing of%s", want)
				}
			}
			return l
		}},
		{"every function is watched", func(_ *testing.T, doc document, s state) (l breaches) {
			for _, what := range []string{"fails", "is throttled", "left something undone"} {
				var watched []string
				for _, r := range s.of("aws_cloudwatch_metric_alarm") {
					if name, ok := strings.CutSuffix(fmt.Sprint(r.Index), " "+what); ok {
						watched = append(watched, name)
					}
				}
				l.differ("the alarm that one "+what, "functions.json", keys(doc.Functions), "the deployment", watched)
			}
			return l
		}},
	}
}

// tooMuch says what a statement allows beyond what it should.
func tooMuch(r resource, st statement) (l breaches) {
	if len(st.NotAction)+len(st.NotResource) > 0 {
		l.add(r, "allows everything but a few things")
	}
	for _, a := range st.Action {
		if strings.Contains(a, "*") {
			l.add(r, "action %s", a)
		}
	}
	if st.Effect != "Allow" {
		return l
	}
	if principal := fmt.Sprint(st.Principal); principal == "*" || strings.Contains(principal, ":*]") {
		l.add(r, "anybody may %v", st.Action)
	}
	for _, on := range st.Resource {
		// The policy of a key is about that key; a token has no resource.
		if on == "*" && r.Type != "aws_kms_key" && !slices.Equal(st.Action, []string{"sts:GetWebIdentityToken"}) {
			l.add(r, "%v on everything", st.Action)
		}
	}
	return l
}

// environment is that of a Lambda function.
func environment(r resource) map[string]string {
	env := map[string]string{}
	blocks, _ := r.Values["environment"].([]any)
	for _, b := range blocks {
		variables, _ := b.(map[string]any)["variables"].(map[string]any)
		for name, v := range variables {
			env[name] = fmt.Sprint(v)
		}
	}
	return env
}

// starts loads the settings as the function would, with secrets filled in. What is landing
// is expected to be refused, and noted.
func starts(t *testing.T, name string, r resource, f function, refused map[string]bool) (l breaches) {
	env := environment(r)
	settings, err := config.New(name)
	if err != nil {
		return breaches{err.Error()}
	}
	t.Run(name, func(t *testing.T) {
		for variable, value := range env {
			t.Setenv(variable, value)
		}
		filled := map[string]json.RawMessage{}
		for _, variable := range f.Secrets {
			if secrets[variable] != nil {
				filled[variable] = secrets[variable]
				t.Setenv(variable, "") // is restored
				if err := os.Unsetenv(variable); err != nil {
					t.Fatal(err)
				}
			}
		}
		text, e := json.Marshal(filled)
		if e != nil {
			t.Fatal(e)
		}
		if err = config.Add(identity.NewSecret(string(text))); err == nil {
			err = config.Load(settings)
		}
	})
	problems := config.SettingsError{}
	if err != nil && !errors.As(err, &problems) {
		return breaches{err.Error()}
	}
	for _, p := range problems {
		if slices.Contains(landing.settings, p.Variable) {
			refused[p.Variable] = true
			continue
		}
		l.addf("%s: %s %s", name, p.Variable, p.What)
	}
	// What no setting of this function is called would be ignored.
	read, err := config.Describe(name)
	if err != nil {
		return append(l, err.Error())
	}
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		reads := func(s config.Setting) bool { return s.Variable == variable }
		shared := slices.Contains([]string{"GOMEMLIMIT", config.SettingsSecret}, variable)
		if !slices.ContainsFunc(read, reads) && !shared && !common(variable) {
			l.addf("%s is given %s and does not read it", name, variable)
		}
		if slices.Contains(f.Secrets, variable) || slices.Contains(never, variable) {
			l.addf("%s: %s is a secret and in the configuration of the function", name, variable)
		}
	}
	return l
}

// common are settings of example.tfvars that go to all functions.
func common(variable string) bool {
	return slices.Contains([]string{"MFAFLOW_DEFAULT_TIME_ZONE", "MFAFLOW_SOURCE_SCOPES", "MFAFLOW_MAIL_SENDER", "MFAFLOW_REPORT_ONLY", "MFAFLOW_PROTECTED_ACCOUNTS"}, variable)
}

func TestDeployment(t *testing.T) {
	w := newWorkspace(t)
	doc := catalogue(t, w.dir)
	s, err := w.deploy()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range deploymentRules() {
		for _, breach := range r.check(t, doc, s) {
			t.Errorf("%s: %s", r.name, breach)
		}
	}
}
