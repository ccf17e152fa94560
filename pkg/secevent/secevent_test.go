package secevent_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/sim/ssf"
)

const audience = "https://mfaflow.contoso.example/risk/idp"

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// world is a transmitter and whoever verifies its tokens.
type world struct {
	t        testing.TB
	idp      *ssf.Transmitter
	stream   secevent.Stream
	verifier *secevent.Verifier
	asked    []string
	failure  error
}

func newWorld(t testing.TB, algorithm string) *world {
	t.Helper()
	idp, err := ssf.Start(t.Context(), ssf.Options{Audience: audience, Algorithm: algorithm, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = idp.Close() })
	w := &world{t: t, idp: idp}
	w.stream = secevent.Stream{Issuer: idp.Issuer(), Audience: []string{"other", audience}, KeysURL: idp.KeysURL()}
	if w.verifier, err = secevent.New(w.stream, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// Keys reads the published keys anew for every token.
func (w *world) Keys(_ context.Context, id string) (secevent.KeySet, error) {
	w.asked = append(w.asked, id)
	if w.failure != nil {
		return nil, w.failure
	}
	return w.published().Find(id), nil
}

func (w *world) published() secevent.KeySet {
	w.t.Helper()
	set, err := secevent.ParseKeys(published(w.t, w.idp))
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

func (w *world) verify(token string) (secevent.Token, error) {
	return w.verifier.Verify(context.Background(), []byte(token), now)
}

func (w *world) sign(header, claims map[string]any) string {
	w.t.Helper()
	token, err := w.idp.Sign(header, claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func mail(address string) map[string]any {
	return map[string]any{"format": "email", "email": address}
}

func (w *world) claims() map[string]any {
	return w.idp.Claims("caep/event-type/session-revoked", mail("mei.tanaka@contoso.example"), map[string]any{"event_timestamp": now.Add(-time.Minute).Unix()})
}

func with(m map[string]any, pairs ...any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		if pairs[i+1] == nil {
			delete(m, name)
		} else {
			m[name] = pairs[i+1]
		}
	}
	return m
}

func TestVerified(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256"} {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t, algorithm)
			claims := w.claims()
			token, err := w.verify(w.sign(w.idp.Header(), claims))
			if err != nil {
				t.Fatal(err)
			}
			if token.Event != "session-revoked" || token.ID != claims["jti"] || token.Issuer != w.idp.Issuer() ||
				!token.At.Equal(now.Add(-time.Minute)) || !token.IssuedAt.Equal(now) || token.Person != (identity.Reference{Mail: "mei.tanaka@contoso.example"}) {
				t.Errorf("%+v", token)
			}
			header := w.idp.Header()
			for _, good := range []map[string]any{with(header, "typ", "application/SECEVENT+jwt"), with(header, "kid", nil), with(header, "x5t", "thumb")} {
				if _, err := w.verify(w.sign(good, claims)); err != nil {
					t.Errorf("header %v: %v", good, err)
				}
			}
		})
	}
}

// Whatever is wrong with a token, the error says one thing until the signature is right.
func TestRefused(t *testing.T) {
	w, other := newWorld(t, "RS256"), newWorld(t, "RS256")
	header, claims := w.idp.Header(), w.claims()
	good := w.sign(header, claims)
	event := "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	key, ok := w.idp.PublicKey().(*rsa.PublicKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	twice := func(what string) string {
		raw, err := w.idp.SignRaw([]byte(`{"typ":"secevent+jwt","alg":"RS256","kid":"key-1"`+what+`}`), mustJSON(t, claims))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	parts := strings.Split(good, ".")
	deep := map[string]any{}
	for range 40 {
		deep = map[string]any{"a": deep}
	}
	for name, c := range map[string]struct {
		token string
		err   error
	}{
		"nothing":                   {"", secevent.ErrUnauthentic},
		"no token":                  {"hello", secevent.ErrUnauthentic},
		"line feed at the end":      {good + "\n", secevent.ErrUnauthentic},
		"space in front":            {" " + good, secevent.ErrUnauthentic},
		"JSON form of a JWS":        {`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, secevent.ErrUnauthentic},
		"detached":                  {parts[0] + ".." + parts[2], secevent.ErrUnauthentic},
		"padded":                    {parts[0] + "." + parts[1] + "." + parts[2] + "=", secevent.ErrUnauthentic},
		"encrypted":                 {good + ".a.b", secevent.ErrUnauthentic},
		"signature cut off":         {parts[0] + "." + parts[1] + ".", secevent.ErrUnauthentic},
		"signed by somebody else":   {other.sign(other.idp.Header(), claims), secevent.ErrUnauthentic},
		"claims of another token":   {parts[0] + "." + strings.Split(w.sign(header, w.claims()), ".")[1] + "." + parts[2], secevent.ErrUnauthentic},
		"alg none":                  {unsigned(t, with(header, "alg", "none"), claims), secevent.ErrUnauthentic},
		"alg None":                  {unsigned(t, with(header, "alg", "None"), claims), secevent.ErrUnauthentic},
		"HS256 with the public key": {hs256(t, with(header, "alg", "HS256"), claims, x509.MarshalPKCS1PublicKey(key)), secevent.ErrUnauthentic},
		"HS256 with it as PEM": {hs256(t, with(header, "alg", "HS256"), claims,
			pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key)})), secevent.ErrUnauthentic},
		"RS512":                     {w.sign(with(header, "alg", "RS512"), claims), secevent.ErrUnauthentic},
		"PS256 with a key of RS256": {w.sign(with(header, "alg", "PS256"), claims), secevent.ErrUnauthentic},
		"jku":                       {w.sign(with(header, "jku", other.idp.KeysURL()), claims), secevent.ErrUnauthentic},
		"jku and another's key":     {other.sign(with(other.idp.Header(), "jku", other.idp.KeysURL()), claims), secevent.ErrUnauthentic},
		"x5u":                       {w.sign(with(header, "x5u", "https://127.0.0.1/"), claims), secevent.ErrUnauthentic},
		"jwk":                       {w.sign(with(header, "jwk", map[string]any{"kty": "oct", "k": "AAAA"}), claims), secevent.ErrUnauthentic},
		"x5c":                       {w.sign(with(header, "x5c", []string{"AAAA"}), claims), secevent.ErrUnauthentic},
		"crit":                      {w.sign(with(header, "crit", []string{"b64"}, "b64", true), claims), secevent.ErrUnauthentic},
		"b64 without crit":          {w.sign(with(header, "b64", true), claims), secevent.ErrUnauthentic},
		"kid that is no string":     {w.sign(with(header, "kid", 1), claims), secevent.ErrUnauthentic},
		"empty kid":                 {w.sign(with(header, "kid", ""), claims), secevent.ErrUnauthentic},
		"another kid":               {w.sign(with(header, "kid", "key-99"), claims), secevent.ErrUnauthentic},
		"alg twice":                 {twice(`,"alg":"none"`), secevent.ErrUnauthentic},
		"typ JWT":                   {w.sign(with(header, "typ", "JWT"), claims), secevent.ErrUnauthentic},
		"no typ":                    {w.sign(with(header, "typ", nil), claims), secevent.ErrUnauthentic},

		"another issuer":             {w.sign(header, with(claims, "iss", "https://evil.example")), secevent.ErrIssuer},
		"a slash more":               {w.sign(header, with(claims, "iss", w.idp.Issuer()+"/")), secevent.ErrIssuer},
		"no issuer":                  {w.sign(header, with(claims, "iss", nil)), secevent.ErrIssuer},
		"another audience":           {w.sign(header, with(claims, "aud", "https://sp.example.com/caep")), secevent.ErrAudience},
		"other audiences":            {w.sign(header, with(claims, "aud", []string{"a", audience + "/"})), secevent.ErrAudience},
		"no audience":                {w.sign(header, with(claims, "aud", nil)), secevent.ErrAudience},
		"exp":                        {w.sign(header, with(claims, "exp", now.Add(time.Hour).Unix())), secevent.ErrInvalid},
		"sub":                        {w.sign(header, with(claims, "sub", "mei")), secevent.ErrInvalid},
		"no jti":                     {w.sign(header, with(claims, "jti", nil)), secevent.ErrInvalid},
		"empty jti":                  {w.sign(header, with(claims, "jti", "")), secevent.ErrInvalid},
		"endless jti":                {w.sign(header, with(claims, "jti", strings.Repeat("x", 513))), secevent.ErrInvalid},
		"no iat":                     {w.sign(header, with(claims, "iat", nil)), secevent.ErrInvalid},
		"iat as text":                {w.sign(header, with(claims, "iat", "1764000000")), secevent.ErrInvalid},
		"from the future":            {w.sign(header, with(claims, "iat", now.Add(6*time.Minute).Unix())), secevent.ErrInvalid},
		"eight days old":             {w.sign(header, with(claims, "iat", now.Add(-8*24*time.Hour).Unix())), secevent.ErrInvalid},
		"no events":                  {w.sign(header, with(claims, "events", nil)), secevent.ErrInvalid},
		"empty events":               {w.sign(header, with(claims, "events", map[string]any{})), secevent.ErrInvalid},
		"an event that is no object": {w.sign(header, with(claims, "events", map[string]any{event: "x"})), secevent.ErrInvalid},
		"two events": {w.sign(header, with(claims, "events", map[string]any{
			event: map[string]any{}, "https://schemas.openid.net/secevent/risc/event-type/account-disabled": map[string]any{},
		})), secevent.ErrInvalid},
		"two names that say different things": {w.sign(header, with(claims, "events", map[string]any{
			event: map[string]any{}, "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked": map[string]any{"reason_admin": "x"},
		})), secevent.ErrInvalid},
		"no subject":     {w.sign(header, with(claims, "sub_id", nil)), secevent.ErrInvalid},
		"a bare subject": {w.sign(header, with(claims, "sub_id", "mei")), secevent.ErrInvalid},
		"two subjects": {w.sign(header, with(claims, "events", map[string]any{
			event: map[string]any{"subject": mail("peter.novak@contoso.example")},
		})), secevent.ErrInvalid},
		"deep JSON":              {w.sign(header, with(claims, "x", deep)), secevent.ErrInvalid},
		"claims that are a list": {raw(t, w, header, `[]`), secevent.ErrInvalid},
		"a claim twice":          {raw(t, w, header, `{"iss":"a","iss":"b"}`), secevent.ErrInvalid},
		"claims that are cut":    {raw(t, w, header, `{"iss":`), secevent.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			if token, err := w.verify(c.token); !errors.Is(err, c.err) || token.ID != "" {
				t.Errorf("%v, want %v", err, c.err)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	w := newWorld(t, "RS256")
	header, claims := w.idp.Header(), w.claims()
	event := func(name string) string { return "https://schemas.openid.net/secevent/" + name }
	alias := map[string]any{event("caep/event-type/session-revoked"): map[string]any{}, event("risc/event-type/sessions-revoked"): map[string]any{}}
	for name, c := range map[string]struct {
		claims map[string]any
		event  secevent.Event
		at     time.Time
	}{
		"aud as text":               {with(claims, "aud", audience), "session-revoked", now.Add(-time.Minute)},
		"one aud of several":        {with(claims, "aud", []string{"x", audience}), "session-revoked", now.Add(-time.Minute)},
		"a clock ahead":             {with(claims, "iat", now.Add(4*time.Minute).Unix()), "session-revoked", now.Add(-time.Minute)},
		"six days old":              {with(claims, "iat", now.Add(-6*24*time.Hour).Unix()), "session-revoked", now.Add(-6 * 24 * time.Hour)},
		"two names of one event":    {with(claims, "events", alias), "session-revoked", now},
		"a name that we know not":   {with(claims, "events", map[string]any{event("caep/event-type/session-revoked"): map[string]any{}, "https://acme.example/out": map[string]any{}}), "session-revoked", now},
		"an event that we know not": {with(claims, "sub_id", nil, "events", map[string]any{"https://acme.example/out": map[string]any{}}), secevent.Unknown, now},
		"milliseconds": {with(claims, "events", map[string]any{event("caep/event-type/session-revoked"): map[string]any{
			"event_timestamp": now.Add(-time.Hour).UnixMilli()}}), "session-revoked", now.Add(-time.Hour)},
		"toe":                {with(claims, "toe", now.Add(-2*time.Hour).Unix(), "events", map[string]any{event("caep/event-type/session-revoked"): map[string]any{}}), "session-revoked", now.Add(-2 * time.Hour)},
		"later than issued":  {with(claims, "events", map[string]any{event("caep/event-type/session-revoked"): map[string]any{"event_timestamp": now.Add(time.Hour).Unix()}}), "session-revoked", now},
		"subject inside":     {with(claims, "sub_id", nil, "events", map[string]any{event("caep/event-type/session-revoked"): map[string]any{"subject": mail("a@contoso.example")}}), "session-revoked", now},
		"verification":       {with(claims, "sub_id", nil, "events", map[string]any{event("ssf/event-type/verification"): map[string]any{"state": "x"}}), secevent.Verification, now},
		"the draft's prefix": {with(claims, "events", map[string]any{event("sse/event-type/stream-updated"): map[string]any{"status": "paused"}}), secevent.StreamUpdated, now},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := w.verify(w.sign(header, c.claims))
			if err != nil || token.Event != c.event || !token.At.Equal(c.at) {
				t.Errorf("%+v, %v", token, err)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t, "RS256")
	old := w.sign(w.idp.Header(), w.claims())
	if err := w.idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"old key": old, "new key": w.sign(w.idp.Header(), w.claims())} {
		if _, err := w.verify(token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.idp.Withdraw()
	if _, err := w.verify(old); !errors.Is(err, secevent.ErrUnauthentic) {
		t.Errorf("withdrawn key: %v", err)
	}
	w.failure = errors.New("no answer")
	if _, err := w.verify(old); !errors.Is(err, secevent.ErrKeysUnavailable) || errors.Is(err, secevent.ErrUnauthentic) {
		t.Errorf("no keys: %v", err)
	}
	before := len(w.asked)
	for _, token := range []string{"x.y.z", unsigned(t, with(w.idp.Header(), "alg", "none"), w.claims()), w.sign(with(w.idp.Header(), "typ", "JWT"), w.claims())} {
		if _, err := w.verify(token); !errors.Is(err, secevent.ErrUnauthentic) {
			t.Errorf("%v", err)
		}
	}
	if len(w.asked) != before {
		t.Error("keys were asked for a token that no key can verify")
	}

	w.failure = nil
	w.stream.KeysURL, w.stream.Keys = "", published(t, w.idp)
	static, err := secevent.New(w.stream, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := static.Verify(t.Context(), []byte(w.sign(w.idp.Header(), w.claims())), now); err != nil {
		t.Errorf("keys of the configuration: %v", err)
	}
}

// A key that is published for one algorithm verifies no other.
func TestKeyOfAnotherAlgorithm(t *testing.T) {
	w := newWorld(t, "PS256")
	for algorithm, want := range map[string]error{"PS256": nil, "RS256": secevent.ErrUnauthentic} {
		w.stream.KeysURL, w.stream.Keys = "", []byte(strings.ReplaceAll(string(published(t, w.idp)), "PS256", algorithm))
		v, err := secevent.New(w.stream, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), []byte(w.sign(w.idp.Header(), w.claims())), now); !errors.Is(err, want) {
			t.Errorf("published for %s: %v", algorithm, err)
		}
	}
}

func TestParseKeys(t *testing.T) {
	w := newWorld(t, "ES256")
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(published(t, w.idp), &set); err != nil {
		t.Fatal(err)
	}
	good := set.Keys[0]
	for name, c := range map[string]struct {
		keys []map[string]any
		n    int
	}{
		"one":                   {[]map[string]any{good}, 1},
		"beside others":         {[]map[string]any{{"kty": "OKP", "crv": "X448"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"}, good, nil}, 1},
		"none":                  {nil, 0},
		"symmetric":             {[]map[string]any{{"kty": "oct", "k": "c2VjcmV0"}}, 0},
		"to encrypt with":       {[]map[string]any{with(good, "use", "enc")}, 0},
		"another curve":         {[]map[string]any{with(good, "crv", "P-384")}, 0},
		"off the curve":         {[]map[string]any{with(good, "x", good["y"])}, 0},
		"private":               {[]map[string]any{with(good, "d", good["x"])}, 0},
		"a small RSA key":       {[]map[string]any{{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xc1", 128))), "e": "AQAB"}}, 0},
		"more than can be used": {many(good, 33), 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secevent.ParseKeys(mustJSON(t, map[string]any{"keys": c.keys}))
			if len(got) != c.n || (err == nil) != (c.n > 0) {
				t.Errorf("%d keys, %v", len(got), err)
			}
		})
	}
	if _, err := secevent.ParseKeys([]byte(`{"keys": 1}`)); err == nil {
		t.Error("no list of keys")
	}
}

func many(key map[string]any, n int) (list []map[string]any) {
	for i := range n {
		list = append(list, with(key, "kid", fmt.Sprint(i)))
	}
	return list
}

func TestSubjects(t *testing.T) {
	w := newWorld(t, "RS256")
	w.stream.Subjects = map[string]secevent.Identifier{"opaque": secevent.EmployeeID, "https://acme.okta.com": secevent.UserPrincipalName}
	const id = "10000000-0000-4000-8000-000000000011"
	type m = map[string]any
	opaque := m{"format": "opaque", "id": "E1011"}
	for name, c := range map[string]struct {
		subject m
		want    identity.Reference
	}{
		"email":                         {mail("mei@contoso.example"), identity.Reference{Mail: "mei@contoso.example"}},
		"account":                       {m{"format": "account", "uri": "acct:mei@contoso.example"}, identity.Reference{UserPrincipalName: "mei@contoso.example"}},
		"account of another scheme":     {m{"format": "account", "uri": "mailto:mei@contoso.example"}, identity.Reference{}},
		"opaque":                        {opaque, identity.Reference{EmployeeID: "E1011"}},
		"iss_sub of a known issuer":     {m{"format": "iss_sub", "iss": "https://acme.okta.com", "sub": "mei@contoso.example"}, identity.Reference{UserPrincipalName: "mei@contoso.example"}},
		"iss_sub of another":            {m{"format": "iss_sub", "iss": "https://acme.okta.com/", "sub": "mei@contoso.example"}, identity.Reference{}},
		"iss_sub of Entra":              {m{"format": "iss_sub", "iss": "https://login.microsoftonline.com/t/v2.0", "sub": id}, identity.Reference{ObjectID: id}},
		"a pseudonym of Entra":          {m{"format": "iss_sub", "iss": "https://sts.windows.net/t/", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"}, identity.Reference{}},
		"Entra in name only":            {m{"format": "iss_sub", "iss": "https://login.microsoftonline.com.evil.example/", "sub": id}, identity.Reference{}},
		"phone":                         {m{"format": "phone_number", "phone_number": "+12065550123"}, identity.Reference{}},
		"uri":                           {m{"format": "uri", "uri": "https://contoso.example/mei"}, identity.Reference{}},
		"did":                           {m{"format": "did", "url": "did:example:1"}, identity.Reference{}},
		"a format to come":              {m{"format": "retina", "retina": "x"}, identity.Reference{}},
		"an email that is no text":      {m{"format": "email", "email": 1}, identity.Reference{}},
		"aliases":                       {m{"format": "aliases", "identifiers": []any{mail("mei@contoso.example"), opaque, m{"format": "phone_number", "phone_number": "1"}}}, identity.Reference{Mail: "mei@contoso.example", EmployeeID: "E1011"}},
		"aliases in two spellings":      {m{"format": "aliases", "identifiers": []any{mail("mei@contoso.example"), mail("Mei@Contoso.example")}}, identity.Reference{Mail: "Mei@Contoso.example"}},
		"aliases that disagree":         {m{"format": "aliases", "identifiers": []any{opaque, mail("a@contoso.example"), mail("b@contoso.example")}}, identity.Reference{}},
		"aliases in aliases":            {m{"format": "aliases", "identifiers": []any{m{"format": "aliases", "identifiers": []any{opaque}}}}, identity.Reference{}},
		"complex":                       {m{"format": "complex", "user": opaque, "device": m{"format": "opaque", "id": "d"}}, identity.Reference{EmployeeID: "E1011"}},
		"complex with aliases":          {m{"format": "complex", "user": m{"format": "aliases", "identifiers": []any{opaque}}}, identity.Reference{EmployeeID: "E1011"}},
		"complex without a user":        {m{"format": "complex", "device": m{"format": "opaque", "id": "E1011"}}, identity.Reference{}},
		"complex in complex":            {m{"format": "complex", "user": m{"format": "complex", "user": opaque}}, identity.Reference{}},
		"complex whose user is no user": {m{"format": "complex", "user": "E1011"}, identity.Reference{}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := w.idp.Claims("caep/event-type/session-revoked", c.subject, m{})
			var decoded m
			d := json.NewDecoder(strings.NewReader(string(mustJSON(t, claims))))
			d.UseNumber()
			if err := d.Decode(&decoded); err != nil {
				t.Fatal(err)
			}
			token, err := w.stream.Read(decoded)
			if err != nil || token.Person != c.want {
				t.Errorf("%+v, %v", token.Person, err)
			}
			if _, named := token.Value()["person"]; named == c.want.IsZero() {
				t.Error("the mapping is told something else")
			}
		})
	}
}

func TestState(t *testing.T) {
	w := newWorld(t, "RS256")
	w.stream.State = "expected"
	var err error
	if w.verifier, err = secevent.New(w.stream, w); err != nil {
		t.Fatal(err)
	}
	for state, want := range map[any]error{"expected": nil, "other": secevent.ErrState, 1: secevent.ErrState} {
		_, err := w.verify(w.sign(w.idp.Header(), w.idp.Claims("ssf/event-type/verification", nil, map[string]any{"state": state})))
		if !errors.Is(err, want) {
			t.Errorf("state %v: %v", state, err)
		}
	}
}

func TestMisconfigured(t *testing.T) {
	good := secevent.Stream{Issuer: "https://idp.example", Audience: []string{"a"}, KeysURL: "https://idp.example/keys"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*secevent.Stream){
		"issuer":           func(s *secevent.Stream) { s.Issuer = "" },
		"audience":         func(s *secevent.Stream) { s.Audience = nil },
		"empty audience":   func(s *secevent.Stream) { s.Audience = []string{""} },
		"no keys":          func(s *secevent.Stream) { s.KeysURL = "" },
		"plain http":       func(s *secevent.Stream) { s.KeysURL = "http://idp.example/keys" },
		"user in URL":      func(s *secevent.Stream) { s.KeysURL = "https://a:b@idp.example/keys" },
		"keys of both":     func(s *secevent.Stream) { s.Keys = json.RawMessage(`{}`) },
		"keys of no use":   func(s *secevent.Stream) { s.KeysURL, s.Keys = "", json.RawMessage(`{"keys":[]}`) },
		"none":             func(s *secevent.Stream) { s.Algorithms = []string{"none"} },
		"HS256":            func(s *secevent.Stream) { s.Algorithms = []string{"RS256", "HS256"} },
		"negative age":     func(s *secevent.Stream) { s.MaxAge = -1 },
		"unknown format":   func(s *secevent.Stream) { s.Subjects = map[string]secevent.Identifier{"phone_number": secevent.Mail} },
		"unknown identity": func(s *secevent.Stream) { s.Subjects = map[string]secevent.Identifier{"email": "phone"} },
	} {
		s := good
		spoil(&s)
		if _, err := secevent.New(s, secevent.KeySet{}); !errors.Is(err, secevent.ErrMisconfigured) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := secevent.New(good, nil); !errors.Is(err, secevent.ErrMisconfigured) {
		t.Errorf("nobody to ask: %v", err)
	}
}

// fuzzed is a transmitter whose tokens are the same in every process that fuzzes: what
// one has found, the others must understand.
var fuzzed = sync.OnceValues(func() (*ssf.Transmitter, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		return nil, err
	}
	return ssf.Start(context.Background(), ssf.Options{Audience: audience, Algorithm: "ES256", Key: key, Now: func() time.Time { return now }})
})

const fuzzIssuer = "https://idp.example"

func forFuzzing(f *testing.F) (*ssf.Transmitter, *secevent.Verifier) {
	f.Helper()
	idp, err := fuzzed()
	if err != nil {
		f.Fatal(err)
	}
	set, err := secevent.ParseKeys(published(f, idp))
	if err != nil {
		f.Fatal(err)
	}
	v, err := secevent.New(secevent.Stream{Issuer: fuzzIssuer, Audience: []string{audience}, KeysURL: idp.KeysURL()}, set)
	if err != nil {
		f.Fatal(err)
	}
	return idp, v
}

func fuzzClaims(idp *ssf.Transmitter, typ string, subject, event map[string]any) map[string]any {
	return with(idp.Claims(typ, subject, event), "iss", fuzzIssuer, "jti", typ)
}

// Whatever is posted: what is accepted has a content that was signed, and keeps every
// rule of the profile.
func FuzzVerify(f *testing.F) {
	idp, v := forFuzzing(f)
	signed := map[string]bool{}
	add := func(header, claims map[string]any) {
		token, err := idp.Sign(header, claims)
		if err != nil {
			f.Fatal(err)
		}
		signed[token[:strings.LastIndex(token, ".")]] = true
		f.Add(token)
	}
	for _, typ := range []string{"caep/event-type/session-revoked", "caep/event-type/risk-level-change", "ssf/event-type/verification", "x"} {
		add(idp.Header(), fuzzClaims(idp, typ, mail("mei@contoso.example"), map[string]any{"event_timestamp": now.Unix()}))
	}
	add(with(idp.Header(), "alg", "none"), fuzzClaims(idp, "x", nil, nil))
	add(with(idp.Header(), "jku", "https://evil.example"), fuzzClaims(idp, "x", nil, nil))
	add(idp.Header(), with(fuzzClaims(idp, "caep/event-type/session-revoked", mail("a@b.example"), nil), "exp", 1))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.Verify(t.Context(), []byte(token), now)
		if err != nil {
			if got.ID != "" || got.Event != secevent.Unknown {
				t.Fatalf("refused and told %+v", got)
			}
			return
		}
		if !signed[token[:strings.LastIndex(token, ".")]] {
			t.Fatalf("nobody signed %q", token)
		}
		if got.ID == "" || got.Issuer != fuzzIssuer || got.At.After(got.IssuedAt) || got.IssuedAt.After(now.Add(5*time.Minute)) {
			t.Fatalf("%+v", got)
		}
	})
}

// Whatever claims a transmitter signs: what is read of them is within its bounds.
func FuzzRead(f *testing.F) {
	idp, v := forFuzzing(f)
	for _, subject := range []map[string]any{mail("mei@contoso.example"), {"format": "aliases", "identifiers": []any{mail("a@b.example")}}, {"format": "complex", "user": mail("a@b.example")}} {
		f.Add(string(mustJSON(f, fuzzClaims(idp, "caep/event-type/session-revoked", subject, map[string]any{"event_timestamp": now.UnixMilli()}))))
	}
	header := mustJSON(f, idp.Header())
	f.Fuzz(func(t *testing.T, claims string) {
		token, err := idp.SignRaw(header, []byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(t.Context(), []byte(token), now)
		if err != nil {
			if errors.Is(err, secevent.ErrUnauthentic) {
				t.Fatalf("signed, and yet %v", err)
			}
			return
		}
		var plain map[string]any
		if err := json.Unmarshal([]byte(claims), &plain); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		_, exp := plain["exp"]
		_, sub := plain["sub"]
		if exp || sub || plain["iss"] != fuzzIssuer || plain["jti"] != got.ID || got.ID == "" || got.At.After(got.IssuedAt) ||
			now.Sub(got.IssuedAt) > 7*24*time.Hour || got.Event.HasSubject() && got.Claims["subject"] == nil && plain["sub_id"] == nil {
			t.Fatalf("%+v of %s", got, claims)
		}
	})
}
