package bootstrap_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	graphsim "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/sim/lambda"
	sbsim "mfaflow/pkg/sim/servicebus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// binaries is dist, holding the functions as they are now and built with the flags of
// the Makefile: when nothing has changed the go command only looks.
var binaries = sync.OnceValues(func() (string, error) {
	bin, err := filepath.Abs("../../dist")
	if err != nil {
		return "", err
	}
	c := exec.Command("go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w",
		"-o", bin+"/", "./functions/hr-events", "./functions/identity-router", "./functions/identity-worker")
	c.Dir = "../.."
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// binary is the path of a function's bootstrap.
func binary(t *testing.T, name string) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, name)
	if _, err := os.Stat(path); err != nil { // tells the test cache that the verdict rests on this file
		t.Fatal(err)
	}
	return path
}

// People of the sample tenant.
const (
	amara  = "amara.diallo@contoso.example" // manager of the joiners
	lena   = "lena.hofmann@contoso.example"
	lenaID = "10000000-0000-4000-8000-000000000004"
	chloe  = "chloe.barnes@contoso.example"
)

const (
	hrKey = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	// patience bounds what must happen soon.
	patience = 20 * time.Second
)

// world is what the functions of one deployment meet.
type world struct {
	t      *testing.T
	broker *sbsim.Server
	tenant *graphsim.Server
	graph  *tap // between the functions and the tenant
	caFile string
	// zone is where it is late morning now, so that a pass for today is open.
	zone  string
	today string
}

// newWorld has the queues with a lock duration, and further joiners in the tenant.
func newWorld(t *testing.T, lock time.Duration, joiners int) *world {
	t.Helper()
	tenant, err := graphsim.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	for i := range joiners {
		addJoiner(tenant, i)
	}
	return openWorld(t, lock, graphsim.Options{Tenant: tenant})
}

// openWorld has the queues with a lock duration and the tenant as given.
func openWorld(t *testing.T, lock time.Duration, tenant graphsim.Options) *world {
	t.Helper()
	w := &world{t: t, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	const week = 7 * 24 * time.Hour
	var err error
	w.broker, err = sbsim.Start(t.Context(), sbsim.Options{Queues: []sbsim.QueueConfig{
		{Name: "inbound", RequiresSession: true, LockDuration: lock, DuplicateDetection: week, MaxDeliveryCount: 50},
		{Name: "lanes", RequiresSession: true, LockDuration: lock, DuplicateDetection: week, MaxDeliveryCount: 50},
		{Name: "flags", DuplicateDetection: week},
		{Name: "quarantine", DuplicateDetection: week},
		{Name: "control", RequiresSession: true, LockDuration: lock, DuplicateDetection: week},
	}})
	w.must(err)
	tenant.CAFile = w.caFile
	w.tenant, err = graphsim.Start(t.Context(), tenant)
	w.must(err)
	w.graph = newTap(t, strings.TrimPrefix(w.tenant.TLSURL(), "https://"))
	t.Cleanup(func() {
		w.must(w.broker.Close())
		w.must(w.tenant.Close())
	})
	now := time.Now().UTC()
	east := (10 - now.Hour() + 24) % 24
	if east > 14 {
		east -= 24
	}
	w.zone = fmt.Sprintf("Etc/GMT%+d", -east) // the names count westward
	zone, err := time.LoadLocation(w.zone)
	w.must(err)
	w.today = now.In(zone).Format(time.DateOnly)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// addJoiner adds a twin of the model joiner, E2000 and following.
func addJoiner(tenant *graphsim.Tenant, i int) {
	u := twin(tenant, lenaID, fmt.Sprintf("20000000-0000-4000-8000-%012d", i), fmt.Sprintf("E2%03d", i), joinerNumber(i))
	tenant.Users = append(tenant.Users, u)
}

// twin is like somebody of the tenant, and in the same groups. It is not in the
// directory yet.
func twin(tenant *graphsim.Tenant, model, id, employeeID, name string) *graphsim.User {
	u := *tenant.User(model)
	u.ID, u.EmployeeID, u.UserPrincipalName = id, employeeID, name
	u.Mail, u.ProxyAddresses = name, []string{"SMTP:" + name}
	u.Methods = nil
	for _, m := range tenant.User(model).Methods {
		own := *m
		u.Methods = append(u.Methods, &own)
	}
	for _, g := range tenant.Groups {
		if slices.Contains(g.Members, model) {
			g.Members = append(g.Members, id)
		}
	}
	return &u
}

func joinerNumber(i int) string { return fmt.Sprintf("joiner%d@contoso.example", i) }

// environment is a function's configuration.
func (w *world) environment(name string, more ...string) map[string]string {
	clientID, secret := w.tenant.App(name)
	env := map[string]string{
		"SSL_CERT_FILE":                        w.caFile,
		"MFAFLOW_SERVICEBUS_CONNECTION_STRING": w.broker.ConnectionString(),
		"MFAFLOW_TENANT_ID":                    w.tenant.TenantID(),
		"MFAFLOW_CLIENT_ID":                    clientID,
		"MFAFLOW_CLIENT_SECRET":                secret,
		"MFAFLOW_AUTHORITY_URL":                w.tenant.AuthorityURL(),
		"MFAFLOW_GRAPH_URL":                    w.graph.url(),
		"MFAFLOW_GRAPH_BUDGET":                 "none",
		"MFAFLOW_LISTEN":                       "127.0.0.1:0",
		"MFAFLOW_SOURCES": `[
			{"name": "hr", "format": "cloudevents", "types": ["employee.*"], "verify": {"preset": "standard-webhooks"}},
			{"name": "bus", "format": "cloudevents", "types": ["employee.*"], "eventBridge": {"source": "hr.contoso", "detailType": "Joiner"}}]`,
		"MFAFLOW_SOURCE_KEYS":          `{"hr": ["` + hrKey + `"]}`,
		"MFAFLOW_SOURCE_SCOPES":        `{"hr": ["employee.*"], "bus": ["employee.*"]}`,
		"MFAFLOW_DEFAULT_TIME_ZONE":    "Europe/Berlin",
		"MFAFLOW_MAIL_SENDER":          "onboarding@contoso.example",
		"MFAFLOW_PROTECTED_ACCOUNTS":   "10000000-0000-4000-8000-000000000018,10000000-0000-4000-8000-000000000019",
		"MFAFLOW_IDLE_EXIT":            "100ms",
		"MFAFLOW_DEADLINE_RESERVE":     "3s",
		"MFAFLOW_SERVICEBUS_NAMESPACE": "",
	}
	for _, pair := range more {
		k, v, _ := strings.Cut(pair, "=")
		env[k] = v
	}
	return env
}

// deploy starts a function under the Lambda runtime.
func (w *world) deploy(name string, timeout time.Duration, more ...string) *lambda.Function {
	w.t.Helper()
	f, err := lambda.Start(w.t.Context(), lambda.Config{
		Bootstrap: binary(w.t, name), Name: name, Env: w.environment(name, more...), Timeout: timeout,
	})
	w.must(err)
	w.t.Cleanup(func() {
		w.must(f.Close())
		// Killed as Lambda kills a function that registers no extension: nothing is
		// pending between invocations. Anything else is an end of its own making.
		if got := f.Ended(); got != "signal: killed" {
			w.t.Errorf("%s ended with %s", name, got)
		}
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s%s", name, f.Stdout(), f.Stderr())
		}
		for _, value := range w.tenant.IssuedPassValues() {
			if strings.Contains(f.Stdout()+f.Stderr(), value) {
				w.t.Errorf("%s printed a pass value", name)
			}
		}
	})
	return f
}

// drain invokes a function as its schedule does.
func (w *world) drain(f *lambda.Function) {
	w.t.Helper()
	if _, err := f.Invoke(w.t.Context(), scheduled); err != nil {
		w.t.Fatal(err)
	}
}

// scheduled is what EventBridge Scheduler invokes a drain with.
var scheduled = []byte(`{"version":"0","detail-type":"Scheduled Event","source":"aws.scheduler","detail":{}}`)

// joiner is a statement by HR about somebody who starts today, somewhere where it is
// late morning.
func (w *world) joiner(id, employeeID string) []byte {
	w.t.Helper()
	b, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "https://hr.contoso.example", "type": "employee.joiner", "subject": employeeID,
		"time": time.Now().UTC().Format(time.RFC3339Nano), "datacontenttype": "application/json",
		"data": map[string]any{"person": map[string]any{"employeeId": employeeID}, "startDate": w.today, "timeZone": w.zone},
	})
	w.must(err)
	return b
}

// front is what stands before the function and makes events of requests.
type front struct {
	domain string
	base64 bool
}

var (
	gateway     = front{domain: "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"}
	functionURL = front{domain: "abcdefghijklmnopqrstuvwxyz.lambda-url.eu-central-1.on.aws", base64: true}
)

// request is the event of a webhook delivery, signed by the reference library of
// Standard Webhooks.
func (w *world) request(f front, id string, body []byte) []byte {
	w.t.Helper()
	signer, err := standardwebhooks.NewWebhook(hrKey)
	w.must(err)
	now := time.Now()
	signature, err := signer.Sign(id, now, body)
	w.must(err)
	text := string(body)
	if f.base64 {
		text = base64.StdEncoding.EncodeToString(body)
	}
	const path = "/hr/hr"
	b, err := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
		"headers": map[string]string{
			"content-type": "application/cloudevents+json", "content-length": fmt.Sprint(len(body)), "host": f.domain,
			"webhook-id": id, "webhook-timestamp": fmt.Sprint(now.Unix()), "webhook-signature": signature,
			"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https",
		},
		"requestContext": map[string]any{
			"accountId": "000000000000", "apiId": "a1b2c3d4e5", "domainName": f.domain, "requestId": id, "routeKey": "$default", "stage": "$default",
			"time": now.UTC().Format("02/Jan/2006:15:04:05 -0700"), "timeEpoch": now.UnixMilli(),
			"http": map[string]string{"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "hr/1.0"},
		},
		"body": text, "isBase64Encoded": f.base64,
	})
	w.must(err)
	return b
}

type answer struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
}

func (w *world) post(hr *lambda.Function, f front, id string, body []byte) answer {
	w.t.Helper()
	out, err := hr.Invoke(w.t.Context(), w.request(f, id, body))
	w.must(err)
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		w.t.Fatalf("%s: %v", out, err)
	}
	return a
}

// deliver posts as a sender does who tries again when told to, and wants a 202.
func (w *world) deliver(hr *lambda.Function, f front, id string, body []byte) {
	w.t.Helper()
	a := w.post(hr, f, id, body)
	if a.StatusCode == 503 && a.Headers["Retry-After"] != "" {
		a = w.post(hr, f, id, body)
	}
	if a.StatusCode != 202 {
		w.t.Fatalf("answered %+v", a)
	}
}

var passLine = regexp.MustCompile(`(?m)^Sign-in name:\s+(\S+)\nPass:\s+(\S+)$`)

// delivered are the passes mailed to the manager, oldest first, by who they are for.
func (w *world) delivered() map[string][]string {
	passes := map[string][]string{}
	for _, m := range w.tenant.Mailbox(amara) {
		if match := passLine.FindStringSubmatch(m.Body); match != nil {
			passes[match[1]] = append(passes[match[1]], match[2])
		}
	}
	return passes
}

// wantPass wants that one pass was delivered for the person, and that it is open.
func (w *world) wantPass(user string) {
	w.t.Helper()
	passes := w.delivered()[user]
	if len(passes) != 1 {
		w.t.Fatalf("%d passes were delivered for %s", len(passes), user)
	}
	if err := w.tenant.SignInWithPass(user, passes[0]); err != nil {
		w.t.Errorf("the pass of %s: %v", user, err)
	}
}

func (w *world) counts(name string) sbsim.Counts {
	w.t.Helper()
	c, ok := w.broker.Counts(name)
	if !ok {
		w.t.Fatalf("no queue %s", name)
	}
	return c
}

// wantNothingLeft wants every queue empty.
func (w *world) wantNothingLeft() {
	w.t.Helper()
	for _, name := range []string{"inbound", "lanes", "flags", "quarantine"} {
		if got := w.counts(name); got != (sbsim.Counts{}) {
			w.t.Errorf("queue %s: %+v", name, got)
		}
	}
}

// eventually polls what another process brings about.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s did not happen", what)
		}
	}
}

// wantConnections wants so many AMQP connections and none to Graph. The functions are
// frozen, so what they did not close stays open.
func (w *world) wantConnections(amqp int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d connections to the broker, none to Graph", amqp), func() bool {
		return w.broker.Connections() == amqp && w.graph.open() == 0
	})
}

// tap carries TCP connections, counts them and cuts them.
type tap struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]net.Conn
}

func newTap(t *testing.T, target string) *tap {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: l, target: target, conns: map[net.Conn]net.Conn{}}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *tap) url() string { return "https://" + p.listener.Addr().String() }

func (p *tap) serve() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.target) //nolint:noctx // a loopback address of this process
		if err != nil {
			_ = from.Close()
			continue
		}
		p.mu.Lock()
		p.conns[from] = to
		p.mu.Unlock()
		p.work.Go(func() { p.carry(from, to, from) })
		p.work.Go(func() { p.carry(to, from, from) })
	}
}

func (p *tap) carry(from, to, key net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = from.Close(), to.Close()
	p.mu.Lock()
	delete(p.conns, key)
	p.mu.Unlock()
}

func (p *tap) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *tap) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for from, to := range p.conns {
		_, _ = from.Close(), to.Close()
	}
}
