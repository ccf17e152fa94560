package infratest_test

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/wiring"
)

// rule is what every deployment keeps. Its check says what breaks it.
type rule struct {
	name  string
	check func(tree) breaches
}

// breaches collects what breaks a rule.
type breaches []string

func (l *breaches) add(where fmt.Stringer, format string, args ...any) {
	*l = append(*l, where.String()+": "+fmt.Sprintf(format, args...))
}

// want expects an argument to be written as one of the texts.
func (l *breaches) want(b block, name string, texts ...string) {
	if got := b.attr(name); !slices.Contains(texts, got) {
		l.add(b, "%s is %q, want %s", name, got, strings.Join(texts, " or "))
	}
}

// some expects resources of the types: a rule over none holds for nothing.
func (l *breaches) some(t tree, types ...string) []block {
	list := t.resources(types...)
	if len(list) == 0 {
		*l = append(*l, "there is no "+strings.Join(types, " or "))
	}
	return list
}

var action = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z]*\*`)

func policies() []rule {
	return []rule{
		{"no shared access signatures", func(t tree) (l breaches) {
			for _, b := range l.some(t, "azurerm_servicebus_namespace") {
				l.want(b, "local_auth_enabled", "false")
			}
			for _, b := range t.resources("azurerm_servicebus_namespace_authorization_rule", "azurerm_servicebus_queue_authorization_rule") {
				l.add(b, "a key opens queues to whoever has it")
			}
			for _, b := range t.blocks {
				if text := string(b.Range().SliceBytes(b.src)); strings.Contains(text, "primary_connection_string") || strings.Contains(text, "primary_key") {
					l.add(b, "uses a key of the namespace")
				}
			}
			return l
		}},
		{"no wildcard actions", func(t tree) (l breaches) {
			for _, b := range t.blocks {
				for _, text := range b.texts() {
					if action.MatchString(text) && !strings.HasPrefix(text, "arn:") {
						l.add(b, "%s allows what is not known yet", text)
					}
				}
				for _, o := range b.objects() {
					if o["NotAction"] != "" || o["NotResource"] != "" || strings.Trim(o["Action"], `[]" `) == "*" {
						l.add(b, "a statement allows everything but a few things")
					}
				}
			}
			return l
		}},
		{"resources are named", func(t tree) (l breaches) {
			for _, b := range l.some(t, "aws_iam_role_policy", "aws_sns_topic_policy", "aws_sqs_queue_policy", "aws_cloudwatch_event_bus_policy") {
				for _, o := range b.objects() {
					// sts:GetWebIdentityToken knows no resources.
					if o["Resource"] == `"*"` && o["Action"] != `"sts:GetWebIdentityToken"` {
						l.add(b, "%s is allowed on everything", o["Action"])
					}
				}
			}
			return l
		}},
		{"tokens are for Entra", func(t tree) (l breaches) {
			found := false
			for _, b := range t.resources("aws_iam_role_policy") {
				for _, o := range b.objects() {
					if strings.Contains(o["Action"], "sts:GetWebIdentityToken") {
						found = true
						condition := strings.Join(strings.Fields(o["Condition"]), " ")
						for _, want := range []string{`"sts:IdentityTokenAudience" = "api://AzureADTokenExchange"`, `"sts:SigningAlgorithm" = "RS256"`, `"sts:DurationSeconds" = "300"`} {
							if !strings.Contains(condition, want) {
								l.add(b, "the condition %s is missing", want)
							}
						}
					}
				}
			}
			if !found {
				l = append(l, "no role may ask for a token")
			}
			return l
		}},
		{"nobody is everybody", func(t tree) (l breaches) {
			for _, b := range t.blocks {
				for _, o := range b.objects() {
					if o["Effect"] == `"Allow"` && (o["Principal"] == `"*"` || strings.Contains(o["Principal"], `= "*"`)) {
						l.add(b, "anybody may %s", o["Action"])
					}
				}
			}
			for _, b := range l.some(t, "aws_lambda_function_url") {
				l.want(b, "authorization_type", `"AWS_IAM"`)
			}
			for _, b := range l.some(t, "aws_lambda_permission") {
				if b.attr("source_arn") == "" {
					l.add(b, "any account's service may invoke the function: source_arn is missing")
				}
			}
			return l
		}},
		{"the bucket is private", func(t tree) (l breaches) {
			buckets := len(l.some(t, "aws_s3_bucket"))
			blocks := t.resources("aws_s3_bucket_public_access_block")
			if len(blocks) != buckets {
				l = append(l, "a bucket has no aws_s3_bucket_public_access_block")
			}
			for _, b := range blocks {
				for _, name := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
					l.want(b, name, "true")
				}
			}
			for _, b := range l.some(t, "aws_s3_bucket_ownership_controls") {
				if got := b.nested("rule", "object_ownership"); got != `"BucketOwnerEnforced"` {
					l.add(b, "object_ownership is %s: access lists would count", got)
				}
			}
			for _, b := range l.some(t, "aws_s3_bucket_versioning") {
				if b.nested("versioning_configuration", "status") != `"Enabled"` {
					l.add(b, "what is overwritten is gone")
				}
			}
			for _, b := range l.some(t, "aws_s3_bucket_policy") {
				if !strings.Contains(b.attr("policy"), `"aws:SecureTransport" = "false"`) {
					l.add(b, "plain HTTP is not denied")
				}
			}
			for _, b := range t.resources("aws_s3_bucket_acl", "aws_s3_bucket_website_configuration") {
				l.add(b, "makes a bucket public")
			}
			return l
		}},
		{"encrypted at rest", func(t tree) (l breaches) {
			key := []string{"var.key_arn", "aws_kms_key.this.arn"}
			for typ, name := range map[string]string{"aws_cloudwatch_log_group": "kms_key_id", "aws_secretsmanager_secret": "kms_key_id", "aws_sns_topic": "kms_master_key_id"} {
				for _, b := range l.some(t, typ) {
					l.want(b, name, key...)
				}
			}
			for _, b := range l.some(t, "aws_sqs_queue") {
				l.want(b, "sqs_managed_sse_enabled", "true")
			}
			for _, b := range l.some(t, "aws_s3_bucket_server_side_encryption_configuration") {
				inner := b.child("rule")
				if inner == nil || inner.nested("apply_server_side_encryption_by_default", "sse_algorithm") != `"aws:kms"` ||
					!slices.Contains(key, inner.nested("apply_server_side_encryption_by_default", "kms_master_key_id")) {
					l.add(b, "the bucket is not encrypted with our key")
				}
			}
			for _, b := range l.some(t, "aws_kms_key") {
				l.want(b, "enable_key_rotation", "true")
			}
			return l
		}},
		{"logs are kept", func(t tree) (l breaches) {
			for _, b := range l.some(t, "aws_cloudwatch_log_group") {
				l.want(b, "retention_in_days", "var.log_days")
			}
			for _, b := range l.some(t, "aws_lambda_function") {
				// In the JSON format Lambda drops lines by their level; the audit trail is a chain.
				if b.nested("logging_config", "log_format") != `"Text"` {
					l.add(b, "log_format is not Text")
				}
				if b.nested("logging_config", "log_group") != "aws_cloudwatch_log_group.this.name" {
					l.add(b, "logs go to a group that Lambda makes, and that has no end")
				}
			}
			return l
		}},
		{"failures are kept", func(t tree) (l breaches) {
			for _, b := range l.some(t, "aws_lambda_function_event_invoke_config") {
				if d := b.child("destination_config"); d == nil || d.nested("on_failure", "destination") != "aws_sqs_queue.failures.arn" {
					l.add(b, "an invocation that failed leaves nothing")
				}
			}
			for _, b := range l.some(t, "aws_scheduler_schedule") {
				if target := b.child("target"); target == nil || target.nested("dead_letter_config", "arn") != "aws_sqs_queue.failures.arn" {
					l.add(b, "dead_letter_config is missing")
				}
			}
			for _, b := range l.some(t, "aws_cloudwatch_event_target") {
				if b.nested("dead_letter_config", "arn") != "aws_sqs_queue.failures.arn" {
					l.add(b, "dead_letter_config is missing: HR's event is gone")
				}
			}
			for _, b := range l.some(t, "aws_sqs_queue") {
				l.want(b, "message_retention_seconds", "1209600")
			}
			return l
		}},
		{"queues keep events", func(t tree) (l breaches) {
			for _, b := range l.some(t, "azurerm_servicebus_queue") {
				l.want(b, "requires_duplicate_detection", "true")
				l.want(b, "duplicate_detection_history_time_window", `"P7D"`)
				l.want(b, "requires_session", "each.value.sessions")
				l.want(b, "lock_duration", `"PT1M"`)
				l.want(b, "dead_lettering_on_message_expiration", "true")
				l.want(b, "max_delivery_count", "50")
				for _, ends := range []string{"default_message_ttl", "auto_delete_on_idle"} {
					if b.attr(ends) != "" {
						l.add(b, "%s: a deferred event that expires is a leaver who is never blocked", ends)
					}
				}
			}
			for _, b := range l.some(t, "azurerm_management_lock") {
				l.want(b, "lock_level", `"CanNotDelete"`)
				l.want(b, "scope", "azurerm_servicebus_namespace.this.id")
			}
			return l
		}},
		{"the namespace can do what lanes need", func(t tree) (l breaches) {
			for _, b := range l.some(t, "azurerm_servicebus_namespace") {
				l.want(b, "sku", `"Standard"`, `"Premium"`) // Basic has no sessions and no duplicate detection
				l.want(b, "minimum_tls_version", `"1.2"`)
			}
			return l
		}},
		{"functions run on what is built", func(t tree) (l breaches) {
			for _, b := range l.some(t, "aws_lambda_function") {
				l.want(b, "runtime", `"provided.al2023"`)
				l.want(b, "handler", `"bootstrap"`)
				l.want(b, "architectures", "[var.architecture]")
				l.want(b, "reserved_concurrent_executions", "var.concurrency")
				if !strings.Contains(b.attr("source_code_hash"), "filebase64sha256(var.package)") {
					l.add(b, "source_code_hash does not follow the package: a new build is not deployed")
				}
			}
			return l
		}},
		{"webhooks are bounded", func(t tree) (l breaches) {
			for _, b := range l.some(t, "aws_apigatewayv2_stage") {
				for _, name := range []string{"throttling_rate_limit", "throttling_burst_limit"} {
					if b.nested("default_route_settings", name) == "" {
						l.add(b, "%s is missing", name)
					}
				}
				if b.child("access_log_settings") == nil {
					l.add(b, "nobody sees who asks")
				}
			}
			for _, b := range l.some(t, "aws_apigatewayv2_api") {
				l.want(b, "protocol_type", `"HTTP"`)
				if b.child("cors_configuration") != nil {
					l.add(b, "browsers have no business here: cors_configuration")
				}
			}
			return l
		}},
		{"a session is a person", func(t tree) (l breaches) {
			found := 0
			for _, b := range l.some(t, "aws_iam_role") {
				for _, o := range b.objects() {
					if o["Action"] != `"sts:AssumeRoleWithWebIdentity"` {
						continue
					}
					found++
					for _, want := range []string{`"${local.host}:aud" = var.client_id`, `"sts:RoleSessionName" = "$${${local.host}:sub}"`} {
						if !strings.Contains(strings.Join(strings.Fields(o["Condition"]), " "), want) {
							l.add(b, "the condition %s is missing: two operators could be one", want)
						}
					}
				}
			}
			if found != 1 {
				l = append(l, fmt.Sprintf("%d roles are assumed with a token of an issuer, want that of operators", found))
			}
			for _, b := range t.resources("aws_iam_role_policy") {
				for _, o := range b.objects() {
					if strings.HasSuffix(b.DefRange().Filename, "operators/main.tf") && strings.Contains(o["Action"], "lambda:") &&
						!strings.Contains(o["Condition"], "lambda:FunctionUrlAuthType") && !strings.Contains(o["Condition"], "lambda:InvokedViaFunctionUrl") {
						l.add(b, "%s past the URL: the caller could claim to be anybody", o["Action"])
					}
				}
			}
			return l
		}},
		{"apps are federated", func(t tree) (l breaches) {
			for _, b := range l.some(t, "azuread_application_federated_identity_credential") {
				l.want(b, "audiences", `["api://AzureADTokenExchange"]`)
				l.want(b, "subject", "var.subject")
				l.want(b, "issuer", "var.issuer")
			}
			for _, b := range l.some(t, "azuread_application") {
				l.want(b, "sign_in_audience", `"AzureADMyOrg"`)
			}
			return l
		}},
		{"no secret is in the state", func(t tree) (l breaches) {
			for _, b := range t.resources("aws_secretsmanager_secret_version", "aws_ssm_parameter", "azuread_application_password",
				"azuread_service_principal_password", "random_*", "tls_*", "aws_iam_access_key") {
				l.add(b, "its value lies in the state")
			}
			return l
		}},
		{"consent is a root of its own", func(t tree) (l breaches) {
			for _, b := range l.some(t, "azuread_app_role_assignment") {
				if filepath.Dir(b.DefRange().Filename) != "consent" {
					l.add(b, "whoever deploys could let programs into the tenant")
				}
			}
			return l
		}},
		{"alarms are heard", func(t tree) (l breaches) {
			text, err := os.ReadFile(filepath.Join(t.dir, "README.md"))
			if err != nil {
				return breaches{err.Error()}
			}
			anchors := headings(string(text))
			for _, b := range l.some(t, "aws_cloudwatch_metric_alarm") {
				l.want(b, "alarm_actions", "[aws_sns_topic.alarms.arn]")
				if b.attr("treat_missing_data") == "" {
					l.add(b, "treat_missing_data is missing")
				}
				if !strings.Contains(b.attr("alarm_description"), "${local.runbook}") {
					l.add(b, "no runbook")
				}
			}
			for _, b := range l.some(t, "azurerm_monitor_metric_alert") {
				if b.child("action") == nil {
					l.add(b, "nobody is told")
				}
			}
			named := regexp.MustCompile(`(?:local\.runbook\}|anchor\s*= "|infra/README\.md#)([a-z0-9-]+)`)
			for _, b := range t.blocks {
				for _, m := range named.FindAllStringSubmatch(string(b.Range().SliceBytes(b.src)), -1) {
					if !slices.Contains(anchors, m[1]) {
						l.add(b, "infra/README.md has no heading %s", m[1])
					}
				}
			}
			// A row of a table is an alarm, since what the clouds count is in tables.
			for module, metrics := range map[string][]string{
				"modules/observability": {"Errors", "Throttles", "ApproximateNumberOfMessagesVisible", "Invocations", "5xx"},
				"modules/servicebus":    {"DeadletteredMessages", "ActiveMessages", "ThrottledRequests"},
			} {
				var rows []string
				for _, b := range t.blocks {
					if b.Type == "locals" && filepath.Dir(b.DefRange().Filename) == module {
						for _, row := range b.objects() {
							rows = append(rows, strings.Trim(row["metric"], `"`))
						}
					}
				}
				for _, want := range metrics {
					if !slices.Contains(rows, want) {
						l = append(l, "no alarm in "+module+" is of "+want)
					}
				}
			}
			for _, want := range []string{"IncomingMessages", "OutgoingMessages"} {
				if !slices.ContainsFunc(t.resources("azurerm_monitor_metric_alert"), func(b block) bool {
					return b.Labels[1] == "untaken" && strings.Contains(string(b.Range().SliceBytes(b.src)), want+" = {")
				}) {
					l = append(l, "no alarm of events that nobody takes is of "+want)
				}
			}
			for _, want := range []string{"counted", "lines", "measured"} {
				if !slices.ContainsFunc(t.resources("aws_cloudwatch_metric_alarm"), func(b block) bool { return b.Labels[1] == want }) {
					l = append(l, "the alarms "+want+" are missing")
				}
			}
			return l
		}},
		{"alarms are of what functions say", func(t tree) (l breaches) {
			said, err := source()
			if err != nil {
				return breaches{err.Error()}
			}
			query := regexp.MustCompile(`SELECT (?:SUM|AVG|MIN|MAX|COUNT)\(\\"(\w+)\\"\) FROM \\"(\w+)\\"((?: (?:WHERE|AND) \w+ = '[^']*')*)(?: GROUP BY \\"(\w+)\\")?"`)
			where := regexp.MustCompile(`(\w+) = '`)
			values := regexp.MustCompile(`\$\.\w+ = \\"([\w-]+)\\"`)
			found := 0
			for _, b := range t.blocks {
				text := string(b.Range().SliceBytes(b.src))
				queries := query.FindAllStringSubmatch(text, -1)
				if len(queries) != strings.Count(text, "SELECT ") {
					l.add(b, "a query that cannot be judged")
				}
				for _, m := range queries {
					found++
					definitions := telemetry.Definitions()
					i := slices.IndexFunc(definitions, func(d telemetry.Definition) bool { return d.Name == m[1] })
					if i < 0 || m[2] != wiring.Namespace {
						l.add(b, "no function measures %s of %s", m[1], m[2])
						continue
					}
					split := where.FindAllStringSubmatch(m[3], -1)
					if m[4] != "" {
						split = append(split, []string{"", m[4]})
					}
					for _, d := range split {
						if d[1] != telemetry.KeyFunction && !slices.Contains(definitions[i].Dimensions, d[1]) {
							l.add(b, "%s is not split by %s", m[1], d[1])
						}
					}
				}
				for _, m := range values.FindAllStringSubmatch(text, -1) {
					found++
					if !strings.Contains(said, `"`+m[1]+`"`) {
						l.add(b, "no function logs %s", m[1])
					}
				}
			}
			if found == 0 {
				l = append(l, "no alarm is of anything that functions say")
			}
			return l
		}},
		{"providers are pinned", func(t tree) (l breaches) {
			pinned := 0
			for _, b := range t.blocks {
				if b.Type != "terraform" || b.child("required_providers") == nil {
					continue
				}
				// Modules take the version of their root.
				if strings.HasPrefix(b.DefRange().Filename, "modules/") {
					continue
				}
				p := b.child("required_providers")
				for name := range p.Body.Attributes {
					if !regexp.MustCompile(`version = "~> [0-9]+\.[0-9]+"`).MatchString(p.attr(name)) {
						l.add(p, "%s has no version ~> x.y", name)
					}
					pinned++
				}
			}
			if pinned == 0 {
				l = append(l, "no root requires a provider")
			}
			return l
		}},
		{"variables say what they are", func(t tree) (l breaches) {
			for _, b := range t.blocks {
				if b.Type == "variable" && b.attr("type") == "" {
					l.add(b, "type is missing")
				}
				if b.Type == "variable" && !strings.HasPrefix(b.DefRange().Filename, "modules/") && b.attr("description") == "" {
					l.add(b, "description is missing")
				}
			}
			return l
		}},
	}
}

// source is the text of what functions are made of, tests and simulators left out.
var source = sync.OnceValues(func() (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "pkg"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "sim" {
			return cmp.Or(err, fs.SkipDir)
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		b.Write(text)
		return err
	})
	return b.String(), err
})

// headings are the anchors that GitHub gives to the headings of a page.
func headings(page string) (list []string) {
	for line := range strings.Lines(page) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			anchor := strings.ToLower(strings.TrimSpace(title))
			anchor = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(anchor, "")
			list = append(list, strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	return list
}

func TestPolicies(t *testing.T) {
	infra := parse(t, filepath.Join(root, "infra"))
	for _, p := range policies() {
		for _, breach := range p.check(infra) {
			t.Errorf("%s: %s", p.name, breach)
		}
	}
}
