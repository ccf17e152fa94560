package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestTrailLines(t *testing.T) {
	const user = "10000000-0000-4000-8000-000000000004"
	now := time.Unix(0, 0)
	for name, c := range map[string]struct{ from, line, want string }{
		"delivery": {
			"hr-events", `{"level":"INFO","msg":"delivery","source":"demo-hr","outcome":"accepted","status":202,"key":"demo-hr/1","type":"employee.joiner","reason":"","duration_ms":2.5}`,
			"     2 ms  hr-events        202 accepted employee.joiner demo-hr/1\n",
		},
		"event": {
			"identity-router", `{"level":"INFO","msg":"event","queue":"inbound","lane":"demo-hr/e1004","key":"k","type":"employee.joiner","outcome":"done","reason":"","detail":""}`,
			"    12 ms  identity-router  employee.joiner -> done (lane demo-hr/e1004)\n",
		},
		"call": {
			"graph", `{"level":"DEBUG","msg":"graph call","app":"identity-worker","method":"GET","path":"/v1.0/users/` + user + `/manager","status":200,"note":""}`,
			"    12 ms  graph            200 GET /v1.0/users/{lena.hofmann}/manager by identity-worker\n",
		},
		"audit": {
			"identity-worker", `{"audit":{"writer":"w","sequence":1,"previous":""},"key":"k","actor":"system","action":"decide","decision":"issue","reason":"due","outcome":"","hash":"h"}`,
			"    12 ms  identity-worker  audit: decide -> issue [due]\n",
		},
		"warning": {
			"identity-worker", `{"level":"WARN","msg":"dead-lettered","reason":"forbidden","detail":"a role is missing"}`,
			"    12 ms  identity-worker  warn: dead-lettered [forbidden] a role is missing\n",
		},
		"flag told": {
			"flag-notifier", `{"level":"INFO","msg":"notification","flag":1,"cause":"held","user":"` + user + `","channel":"mail","outcome":"told","attempt":1}`,
			"    12 ms  flag-notifier    flag: held {lena.hofmann} -> mail told\n",
		},
		"flag not told": {
			"flag-notifier", `{"level":"WARN","msg":"notification","flag":1,"cause":"breaker-tripped","user":"","channel":"slack","outcome":"retry","err":"answered 503"}`,
			"    12 ms  flag-notifier    flag: breaker-tripped -> slack retry answered 503\n",
		},
		"of no interest": {"identity-worker", `{"level":"INFO","msg":"ready"}`, ""},
		"metrics":        {"identity-worker", `{"_aws":{},"Events":1,"type":"employee.joiner","outcome":"done"}`, ""},
		"no JSON":        {"identity-worker", "panic: boom", "    12 ms  identity-worker  panic: boom\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tr := newTrail(&out, func() time.Time { return now })
			tr.meet(func(id string) string {
				if id == user {
					return "{lena.hofmann}"
				}
				return id
			})
			now = now.Add(12 * time.Millisecond)
			tr.show(c.from, []byte(c.line))
			if out.String() != c.want {
				t.Errorf("got  %qwant %q", out.String(), c.want)
			}
		})
	}
}
