package infratest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutation breaks infra/ in one place. The check that is named must catch it: that another
// one does as well is luck.
type mutation struct {
	name     string
	file     string
	old, new string
	check    string
}

const (
	fn         = "modules/function/main.tf"
	bus        = "modules/servicebus/main.tf"
	entra      = "modules/entra/main.tf"
	operators  = "modules/operators/main.tf"
	deployment = "main.tf"
)

var mutations = []mutation{
	// What rules over the text catch.
	{"shared access signatures are on", bus, "local_auth_enabled = false", "local_auth_enabled = true", "no shared access signatures"},
	{"a key of the namespace is told", bus, `value       = "${azurerm_servicebus_namespace.this.name}.servicebus.windows.net"`,
		"value       = azurerm_servicebus_namespace.this.default_primary_connection_string", "no shared access signatures"},
	{"a wildcard action", fn, `Action   = "sqs:SendMessage"`, `Action   = "sqs:*"`, "no wildcard actions"},
	{"a wildcard in a list", fn, `"s3:GetObject", "s3:PutObject"`, `"s3:Get*", "s3:PutObject"`, "no wildcard actions"},
	{"everything is allowed", fn, `Action   = "sqs:SendMessage"`, `Action   = "*"`, "no wildcard actions"},
	{"everything but one action", fn, `Action   = "sqs:SendMessage"`, `NotAction = "iam:CreateUser"`, "no wildcard actions"},
	{"a role on every secret", fn, "Resource = aws_secretsmanager_secret.settings[0].arn", `Resource = "*"`, "resources are named"},
	{"tokens for any audience", fn, `"ForAllValues:StringEquals" = { "sts:IdentityTokenAudience" = "api://AzureADTokenExchange" }`, "", "tokens are for Entra"},
	{"a function URL for everybody", "modules/function/http.tf", `authorization_type = "AWS_IAM"`, `authorization_type = "NONE"`, "nobody is everybody"},
	{"a bus for everybody", "modules/function/events.tf", "Principal = { AWS = var.bus.accounts }", `Principal = "*"`, "nobody is everybody"},
	{"any gateway may invoke", "modules/function/http.tf", `source_arn    = "${var.api.execution_arn}/*"`, "", "nobody is everybody"},
	{"a public bucket", "files.tf", "restrict_public_buckets = true", "restrict_public_buckets = false", "the bucket is private"},
	{"a bucket without versions", "files.tf", `status = "Enabled"`, `status = "Suspended"`, "the bucket is private"},
	{"plain HTTP", "files.tf", `"aws:SecureTransport" = "false"`, `"aws:SecureTransport" = "true"`, "the bucket is private"},
	{"a queue of failures in plain text", fn, "sqs_managed_sse_enabled   = true", "sqs_managed_sse_enabled   = false", "encrypted at rest"},
	{"logs in plain text", fn, "  kms_key_id        = var.key_arn\n", "", "encrypted at rest"},
	{"a bucket under a key of AWS", "files.tf", `sse_algorithm     = "aws:kms"`, `sse_algorithm     = "AES256"`, "encrypted at rest"},
	{"logs without an end", fn, "  retention_in_days = var.log_days\n", "", "logs are kept"},
	{"lines dropped by their level", fn, `log_format = "Text"`, `log_format = "JSON"`, "logs are kept"},
	{"no destination of failures", fn, "      destination = aws_sqs_queue.failures.arn\n", "", "failures are kept"},
	{"a schedule without dead letters", "modules/function/schedule.tf", "    dead_letter_config {\n      arn = aws_sqs_queue.failures.arn\n    }\n", "", "failures are kept"},
	{"a bus without dead letters", "modules/function/events.tf", "  dead_letter_config {\n    arn = aws_sqs_queue.failures.arn\n  }\n", "", "failures are kept"},
	{"lanes that expire", bus, `lock_duration         = "PT1M"`, "lock_duration         = \"PT1M\"\n  default_message_ttl   = \"P14D\"", "queues keep events"},
	{"duplicates after an hour", bus, `"P7D"`, `"PT1H"`, "queues keep events"},
	{"queues without sessions", bus, "each.value.sessions", "false", "queues keep events"},
	{"queues that can be deleted", bus, `lock_level = "CanNotDelete"`, `lock_level = "ReadOnly"`, "queues keep events"},
	{"the basic SKU", bus, `sku                 = "Standard"`, `sku                 = "Basic"`, "the namespace can do what lanes need"},
	{"old TLS", bus, `"1.2"`, `"1.0"`, "the namespace can do what lanes need"},
	{"a runtime that does not exist", fn, "provided.al2023", "provided.al2077", "functions run on what is built"},
	{"concurrency without a bound", fn, "  reserved_concurrent_executions = var.concurrency\n", "", "functions run on what is built"},
	{"webhooks without a bound", "modules/function/http.tf", "    throttling_rate_limit  = var.concurrency * 20\n", "", "webhooks are bounded"},
	{"webhooks for browsers", deployment, `protocol_type = "HTTP"`, "protocol_type = \"HTTP\"\n  cors_configuration {\n    allow_origins = [\"*\"]\n  }", "webhooks are bounded"},
	{"a session name of one's own choice", operators, `          "sts:RoleSessionName" = "$${${local.host}:sub}"` + "\n", "", "a session is a person"},
	{"tokens of any app of the issuer", operators, `          "${local.host}:aud"   = var.client_id` + "\n", "", "a session is a person"},
	{"operators past the URL", operators, `        Condition = { Bool = { "lambda:InvokedViaFunctionUrl" = "true" } }` + "\n", "", "a session is a person"},
	{"tokens for another audience", entra, "api://AzureADTokenExchange", "api://anything", "apps are federated"},
	{"apps for every tenant", entra, `"AzureADMyOrg"`, `"AzureADMultipleOrgs"`, "apps are federated"},
	{"a secret in the state", entra, `resource "azuread_application_certificate" "this"`, `resource "azuread_application_password" "this"`, "no secret is in the state"},
	{"consent by whoever deploys", entra, `resource "azuread_service_principal" "this" {`,
		"resource \"azuread_app_role_assignment\" \"this\" {\n}\n\nresource \"azuread_service_principal\" \"this\" {", "consent is a root of its own"},
	{"an alarm that nobody hears", "modules/observability/main.tf", "  alarm_actions       = [aws_sns_topic.alarms.arn]\n", "", "alarms are heard"},
	{"an alarm without a page", "modules/observability/main.tf", `anchor = "a-function-fails"`, `anchor = "a-function-falls"`, "alarms are heard"},
	{"an alarm of what nobody measures", "modules/observability/main.tf", `SELECT MIN(\"SubscriptionLeft\")`, `SELECT MIN(\"SubscriptionLefts\")`, "alarms are of what functions say"},
	{"a graph split by what is no dimension", "modules/observability/main.tf", `GROUP BY \"queue\"`, `GROUP BY \"lane\"`, "alarms are of what functions say"},
	{"a graph of another's metrics", "modules/observability/main.tf", `SELECT MAX(\"Age\") FROM \"mfaflow\"`, `SELECT MAX(\"Age\") FROM \"mfaflows\"`, "alarms are of what functions say"},
	{"a query that nobody understands", "modules/observability/main.tf", `SELECT MAX(\"Age\")`, `SELECT LAST(\"Age\")`, "alarms are of what functions say"},
	{"an alarm of what nobody logs", "modules/observability/main.tf", `= \"breaker-tripped\"`, `= \"breaker-open\"`, "alarms are of what functions say"},
	{"no alarm for dead letters", bus, `metric = "DeadletteredMessages"`, `metric = "Messages"`, "alarms are heard"},
	{"an alarm of a queue that nobody measures", "modules/observability/main.tf", `SELECT MAX(\"Waited\")`, `SELECT MAX(\"Waiting\")`, "alarms are of what functions say"},
	{"an alarm that forgets who takes", bus, "OutgoingMessages = {", "SuccessfulRequests = {", "alarms are heard"},
	{"an alarm of the quarantine without a page", bus, `anchor = "something-lies-in-quarantine"`, `anchor = "quarantine"`, "alarms are heard"},
	{"a variable of any type", "variables.tf", `  type        = string
  default     = "mfaflow"`, `  default     = "mfaflow"`, "variables say what they are"},
	{"any version of a provider", "versions.tf", `version = "~> 5.2"`, `version = ">= 5.2"`, "providers are pinned"},

	// What the comparison of functions.json with the code catches.
	{"a function that is not built", "functions.json", `"hr-events": {`, `"hr-event": {`, "the functions are those of functions/"},
	{"a secret that is forgotten", "functions.json", `"secrets": ["MFAFLOW_HANDOVER_KEY"]`, `"secrets": []`, "secrets are those of the settings"},
	{"a queue that no setting names", "functions.json", `"reads": ["lanes", "control"]`, `"reads": ["lanes", "control", "inbound"]`, "queues are those of the settings"},
	{"lanes without order", "functions.json", `"lanes": {"sessions": true}`, `"lanes": {"sessions": false}`, "queues are those of the stack"},
	{"webhooks with Graph", "functions.json", `"graph": [], "exchange": []`, `"graph": ["User.Read.All"], "exchange": []`, "who faces the internet has no Graph"},
	{"mail of every mailbox", "functions.json", `"graph": ["User.Read.All"], "exchange"`, `"graph": ["User.Read.All", "Mail.Send"], "exchange"`, "mail is Exchange's"},
	{"a route to nowhere", "functions.json", "POST /graph/lifecycle", "POST /graph/life", "routes are those that functions serve"},
	{"runs that overlap", "functions.json", `"timeout": 55`, `"timeout": 90`, "numbers are such as Lambda takes"},

	// What Terraform catches by itself.
	{"not as terraform fmt writes", deployment, "  name      = var.name\n", "  name = var.name\n", "terraform fmt"},
	{"an argument that does not exist", entra, "subject        = var.subject", "subjects       = var.subject", "terraform validate"},
	{"an argument that is missing", entra, "  issuer         = var.issuer\n", "", "terraform validate"},
	{"an attribute that does not exist", "outputs.tf", "module.servicebus.host", "module.servicebus.hostname", "terraform validate"},
	{"a word for a number", fn, "message_retention_seconds = 1209600", `message_retention_seconds = "a fortnight"`, "terraform validate"},
	{"a type that does not exist", "consent/main.tf", `resource "azuread_app_role_assignment"`, `resource "azuread_approle_assignment"`, "terraform validate"},
	{"a permission that does not exist", "functions.json", `"IdentityRiskEvent.Read.All"`, `"IdentityRiskEvents.Read.All"`, "terraform test: deployment"},
	{"secrets that may be settings", "variables.tf", "flatten([for f in values(jsondecode(file(\"${path.module}/functions.json\")).functions) : f.secrets]),", "", "terraform test: variables"},
	{"operators of one name", operators, "length(distinct(values(var.people))) == length(var.people) && ", "", "terraform test: variables"},
	{"packages that nobody built", "variables.tf", "fileexists(", "can(", "terraform test: variables"},
	{"settings beyond 4 KiB", fn, "< 3900", "< 390000", "terraform test: variables"},
	{"mail granted for every mailbox", "consent/main.tf", "for p in f.graph :", "for p in concat(f.graph, f.exchange) :", "terraform test: consent"},
	{"the switch of the account is taken", deployment, "count = var.federation_exists ? 0 : 1", "count = 1", "terraform test: variations"},

	// What is seen in what Terraform would make.
	{"an app that trusts another role", deployment, "subject     = aws_iam_role.function[each.key].arn", `subject     = aws_iam_role.function["hr-events"].arn`, "each app trusts its own role"},
	{"an app that trusts another issuer", deployment, "issuer      = local.issuer", `issuer      = "https://idp.example"`, "each app trusts its own role"},
	{"a role that anybody's function takes on", deployment, `Principal = { Service = "lambda.amazonaws.com" }`, `Principal = { Service = ["lambda.amazonaws.com", "ec2.amazonaws.com"] }`, "each app trusts its own role"},
	{"an app with all permissions", deployment, "graph       = each.value.graph", "graph       = flatten([for f in local.functions : f.graph])", "each app asks for its permissions"},
	{"receivers on the whole namespace", bus, "scope                            = azurerm_servicebus_queue.this[each.value.queue].id", "scope                            = azurerm_servicebus_namespace.this.id", "each app has its queues"},
	{"senders that receive", bus, `role = "Azure Service Bus Data Sender"`, `role = "Azure Service Bus Data Owner"`, "each app has its queues"},
	{"readers and writers exchanged", deployment, "name => f.reads }", "name => f.writes }", "each app has its queues"},
	{"a setting that is misspelled", deployment, "MFAFLOW_GRAPH_WORKERS =", "MFAFLOW_GRAPH_WORKER =", "functions start with their settings"},
	{"a setting that is forgotten", deployment, "        MFAFLOW_TENANT_ID            = var.tenant_id\n", "", "functions start with their settings"},
	{"an example that nobody can start", "example.tfvars", "    MFAFLOW_DEFAULT_TIME_ZONE = \"Europe/Berlin\"\n", "", "functions start with their settings"},
	{"sandboxes without the catalogue", deployment, "concurrency  = local.concurrency[each.key]", "concurrency  = 7", "functions are as in the catalogue"},
	{"a policy that is put together", "encryption.tf", `"kms:CancelKeyDeletion", "kms:CreateAlias"`, `join(":", ["kms", "*"]), "kms:CreateAlias"`, "policies allow little"},
	{"another claim for the session's name", operators, `"$${${local.host}:sub}"`, `"$${${local.host}:oid}"`, "an operator's session is the operator"},
	{"one schedule for all workers", "modules/function/schedule.tf", "var.function.trigger.schedule == null ? 0 : var.concurrency", "var.function.trigger.schedule == null ? 0 : 2", "every schedule has its dead letters"},
	{"a namespace without sessions", "modules/servicebus/main.tf", `sku                 = "Standard"`, `sku                 = join("", ["Bas", "ic"])`, "queues are as in the catalogue"},
	{"costs of what was made once", "README.md", "7 secrets at", "6 secrets at", "the costs are of what is made"},
	{"alarms for some", "modules/observability/main.tf", "of       = local.lambdas", "of       = local.frequent", "every function is watched"},
}

// apply changes one place of the copy in dir.
func (m mutation) apply(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), m.old) {
		t.Fatalf("%s does not hold %q any more", m.file, m.old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every mutation is caught by the check that it names; without it, the check is content,
// as the other tests show.
func TestMutations(t *testing.T) {
	caughtBy := map[string]bool{}
	for _, m := range mutations {
		caughtBy[m.check] = true
		t.Run(m.name, func(t *testing.T) {
			for _, p := range policies() {
				if p.name == m.check {
					dir := filepath.Join(t.TempDir(), "infra")
					if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "infra"))); err != nil {
						t.Fatal(err)
					}
					m.apply(t, dir)
					caught(t, m, p.check(parse(t, dir)))
					return
				}
			}
			for _, r := range catalogueRules() {
				if r.name == m.check {
					dir := filepath.Join(t.TempDir(), "infra")
					if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "infra"))); err != nil {
						t.Fatal(err)
					}
					m.apply(t, dir)
					caught(t, m, r.check(catalogue(t, dir)))
					return
				}
			}
			w := newWorkspace(t)
			m.apply(t, w.dir)
			if run := stages[m.check]; run != nil {
				caught(t, m, run(t, w))
				return
			}
			for _, r := range deploymentRules() {
				if r.name == m.check {
					s, err := w.deploy()
					if err != nil {
						t.Fatalf("something else caught it: %v", err)
					}
					caught(t, m, r.check(t, catalogue(t, w.dir), s))
					return
				}
			}
			t.Fatalf("there is no check %q", m.check)
		})
	}
	// A check that nothing breaks may be one that cannot fail.
	for _, name := range checks() {
		if !caughtBy[name] {
			t.Errorf("no mutation is caught by %q", name)
		}
	}
}

func caught(t *testing.T, m mutation, l breaches) {
	t.Helper()
	if len(l) == 0 {
		t.Errorf("%q did not notice", m.check)
		return
	}
	first, _, _ := strings.Cut(l[0], "\n")
	t.Logf("%s: %s", m.check, first)
}

func checks() (names []string) {
	for _, p := range policies() {
		names = append(names, p.name)
	}
	for _, r := range catalogueRules() {
		names = append(names, r.name)
	}
	for _, r := range deploymentRules() {
		names = append(names, r.name)
	}
	return append(names, keys(stages)...)
}
