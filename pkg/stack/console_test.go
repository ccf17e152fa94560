package stack_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	simaws "mfaflow/pkg/sim/aws"
	"mfaflow/pkg/sim/certificate"
	"mfaflow/pkg/sim/oidc"
)

const consoleRole = "arn:aws:iam::123456789012:role/mfaflow-console"

// office is an exposed console as it is deployed: the tool's own process, served with a
// certificate, the identity provider of its operators, and AWS between it and event-replay.
type office struct {
	*testing.T
	origin string
	idp    *oidc.Provider
	aws    *simaws.Account
	roots  *x509.CertPool
	log    *bytes.Buffer
	end    func()
}

// openOffice exposes a console for the function that invoke runs.
func openOffice(t *testing.T, invoke simaws.Invoke, people ...oidc.Person) *office {
	t.Helper()
	dir := t.TempDir()
	o := &office{T: t, roots: x509.NewCertPool(), log: &bytes.Buffer{}}
	// A port that nobody has, for an origin that is known beforehand.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.origin = "https://" + address
	o.idp, err = oidc.Start(t.Context(), oidc.Options{People: people, Clients: []oidc.Client{{ID: "console", Secret: "s3cret", RedirectURIs: []string{o.origin + "/signed-in"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.idp.Close() })
	o.roots.AppendCertsFromPEM(o.idp.CAPEM())
	provider := strings.TrimPrefix(o.idp.Issuer(), "https://")
	o.aws, err = simaws.Start(t.Context(), simaws.Options{
		Account: "123456789012", Region: "eu-west-1", Function: invoke, Providers: map[string][]string{o.idp.Issuer(): {"console"}},
		Keys: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.roots.Clone()}}},
		Roles: []simaws.Role{{ARN: consoleRole, Trust: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
			"Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/` + provider + `"},
			"Condition": {"StringEquals": {"` + provider + `:aud": "console", "sts:RoleSessionName": "${` + provider + `:sub}"}}}]}`}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.aws.Close() })
	ca, config, err := certificate.New("console")
	if err != nil {
		t.Fatal(err)
	}
	o.roots.AppendCertsFromPEM(ca)
	key, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bundle := write("ca.pem", append(o.idp.CAPEM(), o.aws.CAPEM()...))
	ctx, stop := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, filepath.Join(build(t), "mfaflow"), "console", "--listen", address, "--origin", o.origin, "--issuer", o.idp.Issuer(), "--client-id", "console",
		"--client-secret-file", write("secret", []byte("s3cret\n")), "--role", consoleRole, "--region", "eu-west-1", "--url", o.aws.FunctionURL(),
		"--certificate", write("tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]})),
		"--key", write("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	c.Env = []string{"SSL_CERT_FILE=" + bundle, "AWS_CA_BUNDLE=" + bundle, "AWS_ENDPOINT_URL_STS=" + o.aws.STSURL(), "AWS_EC2_METADATA_DISABLED=true", "HOME=" + dir}
	c.Cancel, c.WaitDelay = func() error { return c.Process.Signal(syscall.SIGTERM) }, 10*time.Second
	c.Stderr = o.log
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	o.end = func() {
		if !ended {
			ended = true
			stop()
			_ = c.Wait() // it was told to end
		}
	}
	t.Cleanup(o.end)
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(said, o.origin) {
		o.end()
		t.Fatalf("%q, %v: %s", said, err, o.log)
	}
	return o
}

// clerk is one person's browser.
type clerk struct {
	*office
	http *http.Client
}

// enter opens a page as somebody and follows wherever that leads.
func (o *office) enter(subject, path string) (*clerk, screen) {
	o.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		o.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.roots}}
	o.Cleanup(transport.CloseIdleConnections)
	c := &clerk{o, &http.Client{Jar: jar, Transport: transport}}
	c.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if "https://"+r.URL.Host == o.idp.Issuer() {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := c.http.Get(o.origin + path)
	if err != nil {
		o.Fatal(err)
	}
	resp.Body.Close()
	back, err := oidc.Visit(o.Context(), &http.Client{Transport: transport}, resp.Header.Get("Location"), subject)
	if err != nil {
		o.Fatal(err)
	}
	return c, c.read(c.http.Get(back.String()))
}

// screen is a page as a person and as a browser reads it.
type screen struct {
	status        int
	words, source string
}

func (c *clerk) read(resp *http.Response, err error) screen {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	plain := regexp.MustCompile(`(?s)<[^>]*>`).ReplaceAllString(string(body), " ")
	return screen{resp.StatusCode, strings.Join(strings.Fields(html.UnescapeString(plain)), " "), string(body)}
}

// release releases the hold that a page shows.
func (c *clerk) release(path string, page screen) screen {
	c.Helper()
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page.source)
	if csrf == nil {
		c.Fatalf("the page has no form: %s", page.words)
	}
	return c.read(c.http.PostForm(c.origin+path, url.Values{"csrf": {csrf[1]}, "decision": {"release"}, "why": {"asked the manager"}}))
}

// Two people of the exposed console release what takes two; nobody else does, and nobody
// twice, by whatever way they come.
func TestTwoOperatorsOfAnExposedConsole(t *testing.T) {
	h := holdLeaver(t)
	s, worker, protected := h.Stack, h.worker, h.who
	desk := deploy(t, s, "event-replay", "MFAFLOW_OPERATOR_TOKEN_FILE=", "MFAFLOW_NAMED_OPERATORS="+fmt.Sprintf(
		`{%q: {"sub-ada": "ada@contoso.example", "sub-ada-admin": "Ada@contoso.example", "sub-ben": "ben@contoso.example", "sub-self": %q}}`, consoleRole, protected.UserPrincipalName))
	o := openOffice(t, desk.Invoke, oidc.Person{Subject: "sub-ada", Name: "Ada"}, oidc.Person{Subject: "sub-ada-admin", Name: "Ada, as administrator"},
		oidc.Person{Subject: "sub-ben", Name: "Ben"}, oidc.Person{Subject: "sub-self", Name: "Self"}, oidc.Person{Subject: "sub-eve", PreferredUsername: "eve@contoso.example"})

	// Somebody of the tenant who is no operator reads what would make them one.
	_, eve := o.enter("sub-eve", "/")
	for _, want := range []string{"You are eve@contoso.example", "MFAFLOW_NAMED_OPERATORS", "sub-eve"} {
		if eve.status != http.StatusForbidden || !strings.Contains(eve.words, want) {
			t.Errorf("eve does not read %s: %d %s", want, eve.status, eve.words)
		}
	}
	if _, page := o.enter("", "/"); page.status != http.StatusForbidden || !strings.Contains(page.words, "access_denied") {
		t.Errorf("who cancels: %d %s", page.status, page.words)
	}
	ada, holds := o.enter("sub-ada", "/holds")
	hold := regexp.MustCompile(`/holds/\d+`).FindString(holds.source)
	if holds.status != http.StatusOK || !strings.Contains(holds.words, "Operator ada@contoso.example") || !strings.Contains(holds.words, "0 of 2") || hold == "" {
		t.Fatalf("ada: %d %s\n%s", holds.status, holds.words, o.log)
	}
	for _, step := range []struct {
		subject string
		says    string
		enabled bool
	}{
		{"sub-self", "neither whom the event is about nor who asked for it may decide", true},
		{"sub-ada", "approved: 1 of 2", true},
		{"sub-ada-admin", "approved already", true},
		{"sub-ben", "approved: 2 of 2", false},
	} {
		c, page := o.enter(step.subject, hold)
		if answer := c.release(hold, page); !strings.Contains(answer.words, step.says) {
			t.Errorf("%s reads: %s", step.subject, answer.words)
		}
		invoke(t, worker, scheduled)
		if now, _ := s.Find("E1005"); now.AccountEnabled != step.enabled {
			t.Errorf("after %s the account is enabled: %v\n%s", step.subject, now.AccountEnabled, worker.Stdout())
		}
	}
	// When the provider is out of order nobody is let in, and those who are in work on.
	o.idp.Fail(http.StatusServiceUnavailable)
	if page := ada.read(ada.http.Get(o.origin + "/flags")); page.status != http.StatusOK || !strings.Contains(page.words, "ada@contoso.example") {
		t.Errorf("without the provider: %d %s", page.status, page.words)
	}
	o.idp.Fail(0)
	o.end()
	log := o.log.String()
	for _, never := range []string{"eyJ", "s3cret", "ASIA", "level=ERROR"} {
		if strings.Contains(log, never) {
			t.Errorf("the console's log has %s:\n%s", never, log)
		}
	}
	for _, want := range []string{`"operator":"ben@contoso.example","did":"decide on hold"`, `"did":"refuse to sign in"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the console's log lacks %s:\n%s", want, log)
		}
	}
	if replay := desk.Stdout(); !strings.Contains(replay, `"operator":"ben@contoso.example"`) || strings.Contains(replay, `"level":"ERROR"`) {
		t.Error(replay)
	}
}
