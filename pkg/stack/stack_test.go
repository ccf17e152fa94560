package stack_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/audit"
	"mfaflow/pkg/config"
	simgraph "mfaflow/pkg/sim/graph"
	"mfaflow/pkg/sim/lambda"
	"mfaflow/pkg/stack"
)

// binaries is dist, holding the functions as they are now and built with the flags
// of the Makefile: when nothing has changed the go command only looks.
var binaries = sync.OnceValues(func() (string, error) {
	bin, err := filepath.Abs("../../dist")
	if err != nil {
		return "", err
	}
	c := exec.Command("go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w",
		"-o", bin+"/", "./functions/...", "./pkg/cmd/mfaflow")
	c.Dir = "../.."
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// deployable is what a function is deployed as.
func deployable(t *testing.T, name string) lambda.Config {
	t.Helper()
	if c, ok := stack.Zip(t, name); ok {
		return c
	}
	return lambda.Config{Name: name, Bootstrap: filepath.Join(build(t), name)}
}

func build(t *testing.T) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Functions() {
		// Stat tells the test cache that the verdict rests on this file.
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// seen collects the lines of each part of the stack.
type seen struct {
	mu   sync.Mutex
	from map[string]*strings.Builder
}

func (s *seen) each(from string, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == nil {
		s.from = map[string]*strings.Builder{}
	}
	if s.from[from] == nil {
		s.from[from] = &strings.Builder{}
	}
	s.from[from].Write(line)
	s.from[from].WriteByte('\n')
}

func (s *seen) of(from string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from[from] == nil {
		return ""
	}
	return s.from[from].String()
}

func (s *seen) all() string {
	var all strings.Builder
	for _, from := range append(config.Functions(), "graph") {
		all.WriteString(s.of(from))
	}
	return all.String()
}

func start(t *testing.T, settings ...string) (*stack.Stack, *seen) {
	t.Helper()
	return startWith(t, stack.Options{}, settings...)
}

func startWith(t *testing.T, o stack.Options, settings ...string) (*stack.Stack, *seen) {
	t.Helper()
	lines := &seen{}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o.Bin, o.Each, o.Environment, o.Settings = build(t), lines.each, os.Environ(), settings
	s, err := stack.Start(ctx, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, lines.all())
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, lines
}

func statement(t *testing.T, s *stack.Stack, employeeID string) []byte {
	t.Helper()
	date, err := s.Tomorrow()
	if err != nil {
		t.Fatal(err)
	}
	body, err := stack.JoinerEvent(employeeID, date)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func delivered(t *testing.T, s *stack.Stack, lines *seen, employeeID string) stack.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := s.Delivered(ctx, employeeID)
	if err != nil {
		t.Fatalf("%v\n%s", err, lines.all())
	}
	return d
}

func TestJoinerEndsInAUsablePass(t *testing.T) {
	s, lines := start(t)
	answer, err := s.Post(t.Context(), stack.Source, statement(t, s, stack.ModelJoiner))
	if err != nil || answer.Status != http.StatusAccepted {
		t.Fatalf("got %+v, %v", answer, err)
	}
	d := delivered(t, s, lines, stack.ModelJoiner)
	if d.To != "amara.diallo@contoso.example" || d.Mail.From != "onboarding@contoso.example" {
		t.Errorf("mail from %s to %s", d.Mail.From, d.To)
	}
	if n := len(s.Graph.IssuedPassValues()); n != 1 {
		t.Errorf("%d passes were issued", n)
	}
	if err := s.SignIn(stack.ModelJoiner, d, time.Now()); !errors.Is(err, simgraph.ErrPassNotYetValid) {
		t.Errorf("the day before: got %v", err)
	}
	if err := s.SignIn(stack.ModelJoiner, d, d.Pass.Start.Add(time.Minute)); err != nil {
		t.Errorf("on the morning of the start date: %v", err)
	}

	// The functions end before the trail is judged, so that it is whole.
	values := s.Graph.IssuedPassValues()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	chains, err := audit.Verify(strings.NewReader(lines.of("identity-worker")))
	if err != nil || len(chains) != 1 || chains[0].Last < 3 {
		t.Errorf("audit trail: %+v, %v", chains, err)
	}
	for _, value := range values {
		if strings.Contains(lines.all(), value) || strings.Contains(d.Masked(), value) {
			t.Errorf("the pass shows in:\n%s", lines.all())
		}
	}
}

// No secret of the stack is in what the functions say, even at their most talkative.
func TestSecretsStayOutOfTheLogs(t *testing.T) {
	s, lines := start(t, "MFAFLOW_LOG_LEVEL=DEBUG")
	key, err := os.ReadFile(s.KeyFile(stack.Source))
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{strings.TrimSpace(string(key)), "SharedAccessKey="}
	for _, app := range config.Functions() {
		_, secret := s.Graph.App(app)
		secrets = append(secrets, secret)
	}
	if _, err := s.Post(t.Context(), stack.Source, statement(t, s, stack.ModelJoiner)); err != nil {
		t.Fatal(err)
	}
	d := delivered(t, s, lines, stack.ModelJoiner)
	secrets = append(secrets, s.Graph.IssuedPassValues()...)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, secret := range secrets {
		if secret == "" || strings.Contains(lines.all(), secret) {
			t.Errorf("%q shows in the logs, or there is none", secret)
		}
	}
	if strings.Contains(d.Masked(), secrets[len(secrets)-1]) {
		t.Error("masking does not mask")
	}
}

// HR knows a person before the directory does: the event waits and goes on.
func TestJoinerWaitsForTheAccount(t *testing.T) {
	s, lines := start(t, "MFAFLOW_PROVISION_RETRY=1s")
	if _, err := s.Post(t.Context(), stack.Source, statement(t, s, stack.LateJoiner)); err != nil {
		t.Fatal(err)
	}
	waiting := func() bool { return strings.Contains(lines.of("identity-router"), "not-provisioned") }
	for deadline := time.Now().Add(20 * time.Second); !waiting(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the router does not wait:\n%s", lines.all())
		}
	}
	if _, err := s.Graph.Provision(stack.LateJoiner); err != nil {
		t.Fatal(err)
	}
	delivered(t, s, lines, stack.LateJoiner)
}

// A joiner who has methods already is held, and the service desk is told so by mail;
// the flag stays open.
func TestHeldJoinerIsFlagged(t *testing.T) {
	s, lines := start(t)
	if _, err := s.Post(t.Context(), stack.Source, statement(t, s, "E1008")); err != nil {
		t.Fatal(err)
	}
	counts := func() (open int) {
		c, _ := s.Bus.Counts("flags")
		return c.Deferred
	}
	for deadline := time.Now().Add(20 * time.Second); len(s.Graph.Mailbox(stack.Operator)) == 0 || counts() != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody was told:\n%s", lines.all())
		}
	}
	mail := s.Graph.Mailbox(stack.Operator)[0]
	if !strings.Contains(mail.Body, "already-registered") || !strings.Contains(mail.Body, "mfaflow flag show ") || mail.From != "onboarding@contoso.example" {
		t.Errorf("mail %+v", mail)
	}
}

// The signature is that of the reference implementation, not of our own signer.
func TestJoinerSignedByTheReferenceImplementation(t *testing.T) {
	s, lines := start(t)
	key, err := os.ReadFile(s.KeyFile(stack.Source))
	if err != nil {
		t.Fatal(err)
	}
	reference, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(key)))
	if err != nil {
		t.Fatal(err)
	}
	body := statement(t, s, stack.ModelJoiner)
	post := func(signed []byte) int {
		at := time.Now()
		signature, err := reference.Sign("msg_reference", at, signed)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.HREventsURL(), strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/cloudevents+json")
		r.Header.Set("Webhook-Id", "msg_reference")
		r.Header.Set("Webhook-Timestamp", unix(at))
		r.Header.Set("Webhook-Signature", signature)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if status := post([]byte("another body")); status != http.StatusUnauthorized {
		t.Errorf("a signature over another body is answered with %d", status)
	}
	if status := post(body); status != http.StatusAccepted {
		t.Fatalf("a true signature is answered with %d\n%s", status, lines.all())
	}
	if status := post(body); status != http.StatusAccepted {
		t.Errorf("the same delivery again is answered with %d", status)
	}
	delivered(t, s, lines, stack.ModelJoiner)
	if n := len(s.Graph.IssuedPassValues()); n != 1 {
		t.Errorf("%d passes were issued", n)
	}
}

func TestFunctionThatRefusesItsSettings(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := stack.Start(ctx, stack.Options{Bin: build(t), Settings: []string{"MFAFLOW_PROVISION_RETRY=soon"}})
	if err == nil || !strings.Contains(err.Error(), "identity-router ended by itself") || !strings.Contains(err.Error(), "MFAFLOW_PROVISION_RETRY is not a duration") {
		t.Errorf("got %v", err)
	}
}

func TestFunctionsThatAreNotBuilt(t *testing.T) {
	if _, err := stack.Start(t.Context(), stack.Options{Bin: t.TempDir()}); !errors.Is(err, stack.ErrNotBuilt) {
		t.Errorf("got %v", err)
	}
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
