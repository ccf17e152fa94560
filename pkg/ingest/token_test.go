package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/sim/ssf"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/webhook"
)

const (
	tokenType  = "application/secevent+jwt"
	ourselves  = "https://mfaflow.contoso.example/risk/idp"
	shown      = "shown beside each token"
	mei        = "mei.tanaka@contoso.example"
	oktaSecret = "static secret of the hook"
)

// streams is the risk-signals function beside a transmitter.
type streams struct {
	*fixture
	idp     *ssf.Transmitter
	keys    secevent.KeySet
	failure error
	metrics *bytes.Buffer
}

// Keys stands for the published keys.
func (s *streams) Keys(_ context.Context, id string) (secevent.KeySet, error) {
	if s.failure != nil {
		return nil, s.failure
	}
	return s.keys.Find(id), nil
}

func newStreams(t testing.TB) *streams {
	t.Helper()
	c, err := theCatalog()
	if err != nil {
		t.Fatal(err)
	}
	s := &streams{
		fixture: &fixture{broker: &broker{queues: map[string][]queue.Message{}, seen: map[string]bool{}}, logs: &bytes.Buffer{}, clock: now},
		metrics: &bytes.Buffer{},
	}
	if s.idp, err = ssf.Start(t.Context(), ssf.Options{Audience: ourselves, Now: func() time.Time { return s.clock }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.idp.Close() })
	s.publish(t)
	risk := []string{"risk.*", "account.*", "session.*", "credential.*"}
	stream := func() *secevent.Stream {
		return &secevent.Stream{
			Issuer: s.idp.Issuer(), Audience: []string{ourselves}, KeysURL: s.idp.KeysURL(),
			Subjects: map[string]secevent.Identifier{"email": secevent.UserPrincipalName},
		}
	}
	bearer := func(header, prefix, key string) *webhook.Config {
		return &webhook.Config{Header: header, Scheme: webhook.Scheme{Algorithm: webhook.Bearer, Prefix: prefix}, Keys: webhook.Keys{identity.NewSecret(key)}}
	}
	s.Handler, err = ingest.New(ingest.Options{
		Prefix: "/risk/", Catalog: c, Sender: s.broker, Clock: func() time.Time { return s.clock },
		Logger: telemetry.NewLogger(s.logs, "risk-signals", slog.LevelDebug), InboundQueue: "inbound", QuarantineQueue: "quarantine",
		Metrics: telemetry.NewMetrics(s.metrics, "mfaflow", "risk-signals", func() time.Time { return s.clock }),
		Keys:    func(string) secevent.KeySource { return s },
		Sources: []ingest.Source{
			{Name: "idp", Format: ingest.SecurityEvents, Stream: stream(), Types: risk},
			{Name: "shown", Format: ingest.SecurityEvents, Stream: stream(), Types: risk, Verify: bearer("Authorization", "", shown)},
			{Name: "narrow", Format: ingest.SecurityEvents, Stream: stream(), Types: []string{"risk.user"}},
			{Name: "okta", Format: ingest.Mapped, Mapping: "okta-hook", Verify: &webhook.Config{Preset: "okta", Keys: webhook.Keys{identity.NewSecret(oktaSecret)}}, Challenge: ingest.OktaChallenge, Types: risk},
			{Name: "pairs", Format: ingest.Mapped, Verify: bearer("Authorization", "Bearer ", "token"), Types: risk, Mapping: `.[] | {key: .id} |
				. + {type: "account.changed", data: {person: {employeeId: "E1"}, change: "updated"}}, . + {type: "session.revoked", data: {person: {employeeId: "E1"}}}`},
			{Name: "entra", Format: ingest.Mapped, Mapping: "entra", Verify: bearer("Authorization", "Bearer ", "token"), Types: append(risk, "mfa.codes-unrequested")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// publish takes the transmitter's newest key and no other.
func (s *streams) publish(t testing.TB) {
	t.Helper()
	s.idp.Withdraw()
	set, err := s.idp.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	if s.keys, err = secevent.ParseKeys(set); err != nil {
		t.Fatal(err)
	}
}

func (s *streams) claims(typ string, event map[string]any) map[string]any {
	return s.idp.Claims(typ, map[string]any{"format": "email", "email": mei}, event)
}

func (s *streams) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	token, err := s.idp.Sign(header, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func push(source, token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/risk/"+source, strings.NewReader(token))
	r.Header.Set("Content-Type", tokenType)
	r.Header.Set("Accept", "application/json")
	return r
}

func and(m map[string]any, name string, v any) map[string]any {
	m = maps.Clone(m)
	m[name] = v
	return m
}

func TestTokenBecomesAnEvent(t *testing.T) {
	s := newStreams(t)
	claims := s.claims("caep/event-type/risk-level-change", map[string]any{"principal": "USER", "current_level": "HIGH", "event_timestamp": now.Add(-time.Minute).Unix()})
	token := s.sign(t, s.idp.Header(), claims)
	for range 3 { // a transmitter that has not heard our answer
		if w := s.do(push("idp", token)); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got := s.broker.held(t); got != "inbound:risk.user" {
		t.Fatal(got)
	}
	e, err := event.Decode(s.broker.queues["inbound"][0].Body)
	if err != nil {
		t.Fatal(err)
	}
	who, err := e.Person()
	if err != nil || who != (identity.Reference{UserPrincipalName: mei}) || e.Key != event.NewKey("idp", s.idp.Issuer()+" "+claims["jti"].(string)) ||
		!e.Time.Equal(now.Add(-time.Minute)) || e.Source != "/risk/idp" || e.Origin != "idp" {
		t.Errorf("%+v %+v %v", e, who, err)
	}
}

// What comes of each authentic token: the answer, the queues, and what is counted.
func TestTokens(t *testing.T) {
	type m = map[string]any
	opaque := m{"format": "opaque", "id": "session 7"}
	for name, c := range map[string]struct {
		source, typ string
		subject     m
		event       m
		held, said  string
	}{
		"session revoked":        {typ: "caep/event-type/session-revoked", held: "inbound:session.revoked"},
		"credential changed":     {typ: "caep/event-type/credential-change", event: m{"credential_type": "ALL_FACTORS", "change_type": "revoke"}, held: "inbound:credential.changed"},
		"hijacked":               {typ: "risc/event-type/account-disabled", event: m{"reason": "hijacking"}, held: "inbound:risk.user"},
		"disabled":               {typ: "risc/event-type/account-disabled", event: m{"reason": "bulk-account"}, held: "inbound:account.changed"},
		"risk of a device":       {typ: "caep/event-type/risk-level-change", event: m{"principal": "DEVICE", "current_level": "HIGH"}, said: `"outcome":"ignored"`},
		"session established":    {typ: "caep/event-type/session-established", subject: opaque, said: `"outcome":"ignored"`},
		"nobody we can look up":  {typ: "caep/event-type/session-revoked", subject: opaque, held: "quarantine:unresolvable-subject"},
		"against the schema":     {typ: "caep/event-type/credential-change", event: m{"credential_type": "password", "change_type": "forgotten"}, held: "quarantine:invalid-event"},
		"out of scope":           {source: "narrow", typ: "caep/event-type/session-revoked", held: "quarantine:out-of-scope"},
		"unknown event":          {typ: "acme/event-type/coffee-cold", said: `"outcome":"unknown-event"`},
		"verification":           {typ: "ssf/event-type/verification", event: m{"state": "x"}, subject: opaque, said: `"outcome":"stream-verified"`},
		"stream enabled":         {typ: "ssf/event-type/stream-updated", event: m{"status": "enabled"}, subject: opaque, said: `"outcome":"stream-enabled"`},
		"stream paused":          {typ: "ssf/event-type/stream-updated", event: m{"status": "paused", "reason": "full"}, subject: opaque, said: `"level":"WARN","msg":"stream"`},
		"stream disabled":        {typ: "ssf/event-type/stream-updated", event: m{"status": "disabled"}, subject: opaque, said: `"level":"ERROR","msg":"stream"`},
		"stream in a new status": {typ: "ssf/event-type/stream-updated", event: m{"status": "tired"}, subject: opaque, said: `"outcome":"stream-unknown-status"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreams(t)
			if c.source == "" {
				c.source = "idp"
			}
			if c.event == nil {
				c.event = m{}
			}
			claims := s.claims(c.typ, c.event)
			if c.subject != nil {
				claims["sub_id"] = c.subject
			}
			w := s.do(push(c.source, s.sign(t, s.idp.Header(), claims)))
			if w.Code != http.StatusAccepted || w.Body.Len() != 0 || s.broker.held(t) != c.held || !strings.Contains(s.logs.String(), c.said) {
				t.Errorf("%d %s, holds %q\n%s", w.Code, w.Body, s.broker.held(t), s.logs)
			}
			if counted := strings.Contains(s.metrics.String(), telemetry.MetricStreamSignals); counted != (strings.HasPrefix(c.typ, "ssf/") || strings.HasPrefix(c.typ, "acme/")) {
				t.Errorf("counted: %t", counted)
			}
			if c.held == "quarantine:unresolvable-subject" {
				if parked := s.broker.queues["quarantine"][0]; parked.ContentType != tokenType || strings.Contains(parked.Properties[queue.PropDetail], "session 7") {
					t.Errorf("%+v", parked)
				}
			}
		})
	}
}

// Nothing that is refused leaves anything on a queue, and who cannot sign is always told
// the same.
func TestRefusedTokens(t *testing.T) {
	s := newStreams(t)
	other := newStreams(t)
	header := s.idp.Header()
	claims := func() map[string]any { return s.claims("caep/event-type/session-revoked", map[string]any{}) }
	good := s.sign(t, header, claims())
	key, ok := s.idp.PublicKey().(*rsa.PublicKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	parts := strings.Split(good, ".")
	oldHeader, old := header, good
	forge := func(alg string, sign func(content string) string) string {
		h, err := json.Marshal(and(header, "alg", alg))
		if err != nil {
			t.Fatal(err)
		}
		content := base64.RawURLEncoding.EncodeToString(h) + "." + parts[1]
		return content + "." + sign(content)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(good))
	_ = z.Close()
	const nothing = `{"description":"the token is not authentic","err":"authentication_failed"}` + "\n"

	tests := map[string]struct {
		r      *http.Request
		status int
		body   string // exactly, when the sender could not sign
		err    string
	}{
		"empty":                    {push("idp", ""), 400, nothing, ""},
		"not a token":              {push("idp", `{"events":{}}`), 400, nothing, ""},
		"forged":                   {push("idp", other.sign(t, other.idp.Header(), claims())), 400, nothing, ""},
		"forged, our key id":       {push("idp", other.sign(t, header, claims())), 400, nothing, ""},
		"forged, wrong issuer too": {push("idp", other.sign(t, header, and(claims(), "iss", "https://evil.example"))), 400, nothing, ""},
		"alg none":                 {push("idp", forge("none", func(string) string { return "" })), 400, nothing, ""},
		"HS256 with the public key": {push("idp", forge("HS256", func(content string) string {
			m := hmac.New(sha256.New, x509.MarshalPKCS1PublicKey(key))
			m.Write([]byte(content))
			return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
		})), 400, nothing, ""},
		"jku":                {push("idp", s.sign(t, and(header, "jku", other.idp.KeysURL()), claims())), 400, nothing, ""},
		"x5u":                {push("idp", s.sign(t, and(header, "x5u", other.idp.KeysURL()), claims())), 400, nothing, ""},
		"jwk":                {push("idp", s.sign(t, and(header, "jwk", map[string]any{}), claims())), 400, nothing, ""},
		"an id token":        {push("idp", s.sign(t, and(header, "typ", "JWT"), and(claims(), "exp", now.Unix()))), 400, nothing, ""},
		"nothing shown":      {push("shown", good), 400, nothing, ""},
		"something shown":    {with(push("shown", good), "Authorization", "guess"), 400, nothing, ""},
		"shown, and forged":  {with(push("shown", other.sign(t, header, claims())), "Authorization", shown), 400, nothing, ""},
		"shown twice":        {twice(with(push("shown", good), "Authorization", shown), "Authorization", shown), 400, nothing, ""},
		"another's issuer":   {push("idp", s.sign(t, header, and(claims(), "iss", "https://idp.example"))), 400, "", "invalid_issuer"},
		"another's audience": {push("idp", s.sign(t, header, and(claims(), "aud", "https://sp.example"))), 400, "", "invalid_audience"},
		"expiring":           {push("idp", s.sign(t, header, and(claims(), "exp", now.Unix()))), 400, "", "invalid_request"},
		"a week and a day":   {push("idp", s.sign(t, header, and(claims(), "iat", now.Add(-8*24*time.Hour).Unix()))), 400, "", "invalid_request"},
		"compressed":         {with(push("idp", packed.String()), "Content-Encoding", "gzip"), 415, "", ""},
		"said to be":         {with(push("idp", good), "Content-Encoding", "gzip"), 415, "", ""},
		"as JSON":            {with(push("idp", good), "Content-Type", "application/json"), 415, "", ""},
		"of two types":       {twice(push("idp", good), "Content-Type", tokenType), 415, "", ""},
		"too long":           {push("idp", strings.Repeat("x", ingest.MaxBody+1)), 413, "", ""},
		"cut off":            {cutOff(good), 400, "", ""},
		"get":                {httptest.NewRequest(http.MethodGet, "/risk/idp", nil), 405, "", ""},
		"challenge":          {with(httptest.NewRequest(http.MethodGet, "/risk/idp", nil), "X-Okta-Verification-Challenge", "x"), 405, "", ""},
		"at the other door":  {httptest.NewRequest(http.MethodPost, "/hr/idp", strings.NewReader(good)), 404, "", ""},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			w := s.do(c.r)
			var answer struct{ Err, Description string }
			_ = json.Unmarshal(w.Body.Bytes(), &answer)
			if w.Code != c.status || c.body != "" && w.Body.String() != c.body || answer.Err != c.err && c.body == "" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if answer.Err != "" && (w.Header().Get("Content-Language") != "en" || w.Header().Get("Content-Type") != "application/json" || answer.Description == "") {
				t.Errorf("%v", w.Header())
			}
			if got := s.broker.held(t); got != "" {
				t.Fatalf("holds %s", got)
			}
		})
	}

	if err := s.idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	s.publish(t)
	for name, token := range map[string]string{"of the old key": old, "of the new key under the old id": s.sign(t, oldHeader, claims())} {
		if w := s.do(push("idp", token)); w.Code != 400 || w.Body.String() != nothing {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	s.failure = errors.New("connection refused")
	if w := s.do(push("idp", s.sign(t, s.idp.Header(), claims()))); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(s.logs.String(), `"reason":"keys-unavailable"`) {
		t.Errorf("keys out of reach: %d %v", w.Code, w.Header())
	}
	s.failure = nil
	s.broker.fail = func(context.Context, string) error { return queue.ErrUnavailable }
	if w := s.do(push("idp", s.sign(t, s.idp.Header(), claims()))); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("broker out of reach: %d %v", w.Code, w.Header())
	}
	if s.broker.held(t) != "" {
		t.Error("something is on a queue")
	}
	for _, secret := range []string{shown, good, "evil.example"} {
		if strings.Contains(s.logs.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func twice(r *http.Request, name, value string) *http.Request {
	r.Header.Add(name, value)
	return r
}

// cutOff is a body whose sender stops in the middle.
func cutOff(token string) *http.Request {
	r := push("idp", "")
	body, sender := io.Pipe()
	go func() {
		_, _ = sender.Write([]byte(token[:40]))
		_ = sender.CloseWithError(io.ErrUnexpectedEOF)
	}()
	r.Body, r.ContentLength = body, int64(len(token))
	return r
}

// A sender that never comes to its end is let go by the server's own deadline, and what
// it sent so far is nothing.
func TestSlowBody(t *testing.T) {
	s := newStreams(t)
	server := httptest.NewUnstartedServer(s)
	server.Config.ReadTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	token := s.sign(t, s.idp.Header(), s.claims("caep/event-type/session-revoked", map[string]any{}))
	for _, source := range []string{"idp", "entra"} {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(c, "POST /risk/%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nAuthorization: Bearer token\r\nContent-Length: %d\r\n\r\n%s", source, tokenType, len(token)+1, token)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("%s: %q, %v", source, answer, err)
		}
		_ = c.Close()
	}
	if s.broker.held(t) != "" {
		t.Error("something is on a queue")
	}
}

// A token that was fetched is taken as one that was pushed.
func TestFetchedTokens(t *testing.T) {
	s := newStreams(t)
	good := s.sign(t, s.idp.Header(), s.claims("caep/event-type/session-revoked", map[string]any{}))
	for range 2 {
		if err := s.Token(t.Context(), "idp", []byte(good)); err != nil {
			t.Fatal(err)
		}
	}
	if w := s.do(push("idp", good)); w.Code != http.StatusAccepted || s.broker.held(t) != "inbound:session.revoked" {
		t.Errorf("%d, holds %s", w.Code, s.broker.held(t))
	}
	err := s.Token(t.Context(), "idp", []byte(s.sign(t, s.idp.Header(), and(s.claims("x", nil), "aud", "x"))))
	if refused, ok := errors.AsType[*ingest.TokenError](err); !ok || refused.Code != "invalid_audience" {
		t.Errorf("%v", err)
	}
	err = s.Token(t.Context(), "idp", bytes.Repeat([]byte("x"), ingest.MaxBody+1))
	if refused, ok := errors.AsType[*ingest.TokenError](err); !ok || refused.Code != "authentication_failed" {
		t.Errorf("%v", err)
	}
	s.failure = errors.New("no answer")
	if err := s.Token(t.Context(), "idp", []byte(good)); !errors.Is(err, secevent.ErrKeysUnavailable) {
		t.Errorf("%v", err)
	}
	if err := s.Token(t.Context(), "okta", []byte(good)); !errors.Is(err, ingest.ErrNoStream) {
		t.Errorf("%v", err)
	}
}

func TestOktaChallenge(t *testing.T) {
	s := newStreams(t)
	get := func(pairs ...string) *http.Request {
		return with(httptest.NewRequest(http.MethodGet, "/risk/okta", nil), pairs...)
	}
	const challenge = "X-Okta-Verification-Challenge"
	w := s.do(get("Authorization", oktaSecret, challenge, "aW50-_x.~+/="))
	if w.Code != http.StatusOK || w.Body.String() != `{"verification":"aW50-_x.~+/="}`+"\n" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for name, c := range map[string]struct {
		r      *http.Request
		status int
	}{
		"no secret":      {get(challenge, "abc"), 401},
		"another secret": {get("Authorization", "x", challenge, "abc"), 401},
		"no challenge":   {get("Authorization", oktaSecret), 400},
		"markup":         {get("Authorization", oktaSecret, challenge, "<script>"), 400},
		"quote":          {get("Authorization", oktaSecret, challenge, `a"b`), 400},
		"endless":        {get("Authorization", oktaSecret, challenge, strings.Repeat("a", 257)), 400},
		"two":            {twice(get("Authorization", oktaSecret, challenge, "a"), challenge, "b"), 400},
		"elsewhere":      {with(httptest.NewRequest(http.MethodGet, "/risk/entra", nil), "Authorization", "Bearer token", challenge, "abc"), 405},
	} {
		if w := s.do(c.r); w.Code != c.status || strings.Contains(w.Body.String(), "abc") || strings.Contains(w.Body.String(), "script") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// An element of a batch keeps its key when the sender puts the batch together anew.
func TestKeysOfElements(t *testing.T) {
	s := newStreams(t)
	element := func(id, typ string) map[string]any {
		return map[string]any{"uuid": id, "published": "2026-11-23T08:05:32.159Z", "eventType": typ,
			"target": []any{map[string]any{"type": "User", "alternateId": mei}}}
	}
	post := func(elements ...any) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"data": map[string]any{"events": elements}})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/risk/okta", bytes.NewReader(body))
		if w := s.do(with(r, "Content-Type", "application/json", "Authorization", oktaSecret)); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	lock, report := element("u1", "user.account.lock"), element("u2", "user.account.report_suspicious_activity_by_enduser")
	post(lock)
	post(report, lock)
	post(lock, element("u3", "user.session.start"), report)
	if got := s.broker.held(t); got != "inbound:account.locked inbound:risk.sign-in" {
		t.Errorf("holds %s", got)
	}
	if key := s.broker.queues["inbound"][0].Key; key != "okta:u1" {
		t.Errorf("key %s", key)
	}
}

// One element that leads to two events has a key for each, always the same.
func TestTwoEventsOfOneElement(t *testing.T) {
	keys := func() (list []string) {
		s := newStreams(t)
		body := `[{"id":"x"},{"id":"y"},{"id":"x"}]`
		r := httptest.NewRequest(http.MethodPost, "/risk/pairs", strings.NewReader(body))
		if w := s.do(with(r, "Content-Type", "application/json", "Authorization", "Bearer token")); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, m := range s.broker.queues["inbound"] {
			list = append(list, m.Key+" "+m.Properties[queue.PropType])
		}
		return list
	}
	want := []string{"pairs:x account.changed", "pairs:x#1 session.revoked", "pairs:y account.changed", "pairs:y#1 session.revoked"}
	if got := keys(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Ten thousand elements are neither taken nor lost.
func TestEndlessBatch(t *testing.T) {
	s := newStreams(t)
	var body strings.Builder
	body.WriteString(`{"records":[`)
	for i := range 10_000 {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(`{"properties":{}}`)
	}
	body.WriteString(`]}`)
	post := func(token, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/risk/entra", strings.NewReader(body))
		return s.do(with(r, "Content-Type", "application/json", "Authorization", "Bearer "+token))
	}
	if w := post("guess", body.String()); w.Code != http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
	if w := post("token", body.String()); w.Code != http.StatusAccepted || s.broker.held(t) != "" {
		t.Errorf("of no category: %d, holds %s", w.Code, s.broker.held(t))
	}
	risky := `{"category":"RiskyUsers","properties":{"id":"10000000-0000-4000-8000-000000000011","riskLastUpdatedDateTime":"2026-11-23T08:00:00Z","riskLevel":"high"}}`
	if w := post("token", "["+strings.Repeat(risky+",", 600)+risky+"]"); w.Code != http.StatusAccepted || s.broker.held(t) != "quarantine:mapping-failed" {
		t.Errorf("%d, holds %s", w.Code, s.broker.held(t))
	}
	if w := post("token", strings.Repeat("[", 40)+strings.Repeat("]", 40)); w.Code != http.StatusAccepted || s.broker.held(t) != "quarantine:mapping-failed quarantine:not-decodable" {
		t.Errorf("deep: %d, holds %s", w.Code, s.broker.held(t))
	}
}

// Whoever writes a mapping for tokens tries it on their claims.
func TestTryClaims(t *testing.T) {
	c, err := theCatalog()
	if err != nil {
		t.Fatal(err)
	}
	claims := func(subject string) []byte {
		return []byte(`{"iss":"https://idp.example","jti":"1","iat":1795438800,"sub_id":` + subject + `,
			"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{}}}`)
	}
	src := ingest.Source{Name: "ssf", Format: ingest.SecurityEvents, Mapping: "ssf", Stream: &secevent.Stream{}, Types: []string{"session.*"}}
	for body, want := range map[string]ingest.Reason{
		string(claims(`{"format":"email","email":"a@contoso.example"}`)): "",
		string(claims(`{"format":"opaque","id":"7"}`)):                   ingest.ReasonSubject,
		`{"iss":"x"}`: ingest.ReasonNotDecodable,
		`[]`:          ingest.ReasonNotDecodable,
	} {
		tried, err := ingest.Try(t.Context(), src, c, []byte(body), now)
		if err != nil || tried.Reason != want || len(tried.Events) == 1 != (want == "") {
			t.Errorf("%s: %+v, %v", body, tried, err)
		}
	}
}
