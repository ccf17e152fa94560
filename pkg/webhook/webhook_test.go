package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/webhook"
)

// The vectors of the signing rules: an invented key, signatures computed outside Go.
const (
	vectorKey  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	otherKey   = "whsec_HxweHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA"
	vectorBody = `{"type":"employee.updated","data":{"employeeId":"67890"}}`
	vectorTime = "1764000000"
)

var now = time.Unix(1764000000, 0)

func keys(texts ...string) webhook.Keys {
	var k webhook.Keys
	for _, t := range texts {
		k = append(k, identity.NewSecret(t))
	}
	return k
}

func verifier(t testing.TB, c webhook.Config) *webhook.Verifier {
	t.Helper()
	v, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func edKey() (public string, private ed25519.PrivateKey) {
	private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	return "whpk_" + base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)), private
}

func TestStandardWebhooks(t *testing.T) {
	public, private := edKey()
	sign := func(key, id, ts, body string) string {
		raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
		m := hmac.New(sha256.New, raw)
		fmt.Fprintf(m, "%s.%s.%s", id, ts, body)
		return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
	}
	signEd := func(id, ts, body string) string {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(id+"."+ts+"."+body)))
	}
	const good = "v1,nfuS4ccx7cIZMUjq1tii0E+8ysxaheZcfTVey6wwEdQ="
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }

	tests := []struct {
		name    string
		keys    []string
		headers http.Header
		body    string
		want    error
	}{
		{"Vector", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", good), vectorBody, nil},
		{"SvixNames", []string{vectorKey}, header("svix-id", "msg_test1", "svix-timestamp", vectorTime, "svix-signature", good), vectorBody, nil},
		{"NewKeySecond", []string{otherKey, vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", good), vectorBody, nil},
		{"SenderSignsWithBothKeys", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", vectorTime,
			"webhook-signature", sign(otherKey, "i", vectorTime, "b")+" "+sign(vectorKey, "i", vectorTime, "b")), "b", nil},
		{"UnknownVersionSkipped", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", "v2,abc v1x,??? "+good), vectorBody, nil},
		{"Ed25519", []string{public}, header("webhook-id", "i", "webhook-timestamp", vectorTime, "webhook-signature", signEd("i", vectorTime, "b")), "b", nil},
		{"BothVersionsOneKeyKnown", []string{public}, header("webhook-id", "i", "webhook-timestamp", vectorTime,
			"webhook-signature", sign(otherKey, "i", vectorTime, "b")+" "+signEd("i", vectorTime, "b")), "b", nil},
		{"OldestAccepted", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", at(-5*time.Minute), "webhook-signature", sign(vectorKey, "i", at(-5*time.Minute), "b")), "b", nil},
		{"NewestAccepted", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", at(5*time.Minute), "webhook-signature", sign(vectorKey, "i", at(5*time.Minute), "b")), "b", nil},
		{"RawTimestampIsWhatIsSigned", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", "0"+vectorTime, "webhook-signature", sign(vectorKey, "i", "0"+vectorTime, "b")), "b", nil},

		{"TimestampReformatted", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", "0"+vectorTime, "webhook-signature", sign(vectorKey, "i", vectorTime, "b")), "b", webhook.ErrBadSignature},
		{"Stale", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", at(-301*time.Second), "webhook-signature", sign(vectorKey, "i", at(-301*time.Second), "b")), "b", webhook.ErrStale},
		{"FromTheFuture", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", at(301*time.Second), "webhook-signature", sign(vectorKey, "i", at(301*time.Second), "b")), "b", webhook.ErrStale},
		{"OldWithFreshTimestamp", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", vectorTime, "webhook-signature", sign(vectorKey, "i", at(-time.Hour), "b")), "b", webhook.ErrBadSignature},
		{"OtherBody", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", good), vectorBody + "\n", webhook.ErrBadSignature},
		{"OtherID", []string{vectorKey}, header("webhook-id", "msg_test2", "webhook-timestamp", vectorTime, "webhook-signature", good), vectorBody, webhook.ErrBadSignature},
		{"WrongKey", []string{otherKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", good), vectorBody, webhook.ErrBadSignature},
		{"HMACIsNoEd25519", []string{public}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", "v1a,"+good[3:]), vectorBody, webhook.ErrBadSignature},
		{"PublicKeyAsHMACKey", []string{public}, header("webhook-id", "i", "webhook-timestamp", vectorTime,
			"webhook-signature", sign("whsec_"+strings.TrimPrefix(public, "whpk_"), "i", vectorTime, "b")), "b", webhook.ErrBadSignature},
		{"OnlyUnknownVersions", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", "v9,"+good[3:]), vectorBody, webhook.ErrBadSignature},
		{"NoVersion", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", good[3:]), vectorBody, webhook.ErrBadSignature},
		{"CutAtTheComma", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", "v1"), vectorBody, webhook.ErrBadSignature},
		{"Unsigned", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", vectorTime), "b", webhook.ErrUnsigned},
		{"NoID", []string{vectorKey}, header("webhook-timestamp", vectorTime, "webhook-signature", good), "b", webhook.ErrUnsigned},
		{"NoTimestamp", []string{vectorKey}, header("webhook-id", "i", "webhook-signature", good), "b", webhook.ErrUnsigned},
		{"IDWithDot", []string{vectorKey}, header("webhook-id", "a.b", "webhook-timestamp", vectorTime, "webhook-signature", sign(vectorKey, "a.b", vectorTime, "b")), "b", webhook.ErrMalformed},
		{"TimestampNotDigits", []string{vectorKey}, header("webhook-id", "i", "webhook-timestamp", "+"+vectorTime, "webhook-signature", sign(vectorKey, "i", "+"+vectorTime, "b")), "b", webhook.ErrMalformed},
		{"SignatureTwice", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", good, "webhook-signature", good), vectorBody, webhook.ErrMalformed},
		{"TooManySignatures", []string{vectorKey}, header("webhook-id", "msg_test1", "webhook-timestamp", vectorTime, "webhook-signature", strings.Repeat("v1,AA== ", 16)+good), vectorBody, webhook.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verifier(t, webhook.Config{Preset: "standard-webhooks", Keys: keys(tt.keys...)})
			d, err := v.Verify(tt.headers, []byte(tt.body), now)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil && d != (webhook.Delivery{}) {
				t.Errorf("a refused delivery says %+v", d)
			}
			if err == nil && (d.ID == "" || d.At.IsZero()) {
				t.Errorf("accepted without id or time: %+v", d)
			}
		})
	}
}

// An implementation that shares no code with ours signs, we verify, and the reverse.
func TestAgainstTheReferenceLibrary(t *testing.T) {
	oracle, err := standardwebhooks.NewWebhook(vectorKey)
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now() // the library knows no other
	body := []byte(vectorBody)

	signature, err := oracle.Sign("msg_1", clock, body)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, webhook.Config{Preset: "standard-webhooks", Keys: keys(vectorKey)})
	theirs := header("webhook-id", "msg_1", "webhook-timestamp", strconv.FormatInt(clock.Unix(), 10), "webhook-signature", signature)
	d, err := v.Verify(theirs, body, clock)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(webhook.Delivery{ID: "msg_1", At: time.Unix(clock.Unix(), 0)}, d); diff != "" {
		t.Error(diff)
	}

	s, err := webhook.NewSigner(identity.NewSecret(otherKey), identity.NewSecret(vectorKey))
	if err != nil {
		t.Fatal(err)
	}
	ours := http.Header{}
	if err := s.Sign(ours, "msg_2", clock, body); err != nil {
		t.Fatal(err)
	}
	if err := oracle.Verify(body, ours); err != nil {
		t.Error(err)
	}
}

func TestSigner(t *testing.T) {
	public, private := edKey()
	whsk := func(b []byte) identity.Secret {
		return identity.NewSecret("whsk_" + base64.StdEncoding.EncodeToString(b))
	}
	for name, secret := range map[string]identity.Secret{
		"Seed": whsk(private.Seed()), "PrivateKey": whsk(private), "HMAC": identity.NewSecret(vectorKey),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := webhook.NewSigner(secret)
			if err != nil {
				t.Fatal(err)
			}
			h := http.Header{}
			if err := s.Sign(h, "msg_1", now, []byte("body")); err != nil {
				t.Fatal(err)
			}
			v := verifier(t, webhook.Config{Preset: "standard-webhooks", Keys: keys(public, vectorKey)})
			if _, err := v.Verify(h, []byte("body"), now); err != nil {
				t.Error(err)
			}
			for _, id := range []string{"", "a.b"} {
				if err := s.Sign(h, id, now, nil); err == nil {
					t.Errorf("id %q was signed", id)
				}
			}
		})
	}
	for _, bad := range []string{"", "secret", "whsec_c2hvcnQ=", "whsec_!!", "whsk_AAAA", vectorKey[6:]} {
		if _, err := webhook.NewSigner(identity.NewSecret(bad)); !errors.Is(err, webhook.ErrMisconfigured) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := webhook.NewSigner(); !errors.Is(err, webhook.ErrMisconfigured) {
		t.Errorf("no key: %v", err)
	}
}

func TestVendors(t *testing.T) {
	hexSum := func(key, content string) string {
		m := hmac.New(sha256.New, []byte(key))
		m.Write([]byte(content))
		return hex.EncodeToString(m.Sum(nil))
	}
	const (
		bamboo = "bf4f65592b68397284b0a24b00e442cfea38ac3efcb291e3bdffe4e098c52844"
		hibob  = "fly5m20t8IBBBfCMZdYxTb2ym1236Bxr5aThd1cFNCGi2RLcMd0doG+05+26XtviHm4YZkD0BZrj+/9SyZ0TAQ=="
	)
	rfc := now.UTC().Format(time.RFC3339)
	tests := []struct {
		name, preset, key string
		headers           http.Header
		body              string
		want              error
	}{
		{"BambooVector", "bamboohr", "test-secret", header("X-BambooHR-Signature", bamboo, "X-BambooHR-Timestamp", vectorTime), vectorBody, nil},
		{"BambooRFC3339", "bamboohr", "test-secret", header("X-BambooHR-Signature", hexSum("test-secret", "{}"+rfc), "X-BambooHR-Timestamp", rfc), "{}", nil},
		{"BambooStale", "bamboohr", "test-secret", header("X-BambooHR-Signature", hexSum("test-secret", "{}1663999999"), "X-BambooHR-Timestamp", "1663999999"), "{}", webhook.ErrStale},
		// The digits 17640 move from the timestamp to the body under one signature.
		{"BambooDigitsMoved", "bamboohr", "test-secret", header("X-BambooHR-Signature", bamboo, "X-BambooHR-Timestamp", "00000"), vectorBody + "17640", webhook.ErrMalformed},
		{"BambooBodyMoved", "bamboohr", "test-secret", header("X-BambooHR-Signature", bamboo, "X-BambooHR-Timestamp", "}"+vectorTime), vectorBody[:len(vectorBody)-1], webhook.ErrMalformed},
		{"BambooOldBodyFirstTimestamp", "bamboohr", "test-secret", header("X-BambooHR-Signature", hexSum("test-secret", vectorTime+"{}"), "X-BambooHR-Timestamp", vectorTime), "{}", webhook.ErrBadSignature},
		{"HiBobVector", "hibob", "test-secret", header("Bob-Signature", hibob), vectorBody, nil},
		{"HiBobForged", "hibob", "test-secreT", header("Bob-Signature", hibob), vectorBody, webhook.ErrBadSignature},
		{"Deel", "deel", "test-secret", header("x-deel-signature", hexSum("test-secret", "POST"+vectorBody)), vectorBody, nil},
		{"DeelWithoutMethod", "deel", "test-secret", header("x-deel-signature", hexSum("test-secret", vectorBody)), vectorBody, webhook.ErrBadSignature},
		{"Gusto", "gusto", "test-secret", header("X-Gusto-Signature", hexSum("test-secret", vectorBody)), vectorBody, nil},
		{"GustoBase64", "gusto", "test-secret", header("X-Gusto-Signature", hibob), vectorBody, webhook.ErrBadSignature},
		{"Personio", "personio", "static-token", header("Authorization", "static-token"), vectorBody, nil},
		{"PersonioOther", "personio", "static-token", header("Authorization", "static-tokem"), vectorBody, webhook.ErrBadSignature},
		{"PersonioNone", "personio", "static-token", http.Header{}, vectorBody, webhook.ErrUnsigned},
		{"Bearer", "bearer", "tok", header("Authorization", "bearer tok"), vectorBody, nil},
		{"BearerPrefixOnly", "bearer", "tok", header("Authorization", "Bearer "), vectorBody, webhook.ErrBadSignature},
		{"BearerLonger", "bearer", "tok", header("Authorization", "Bearer tok "), vectorBody, webhook.ErrBadSignature},
		{"Basic", "basic", "hr:pass", header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("hr:pass"))), vectorBody, nil},
		{"BasicPlain", "basic", "hr:pass", header("Authorization", "Basic hr:pass"), vectorBody, webhook.ErrBadSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verifier(t, webhook.Config{Preset: tt.preset, Keys: keys(tt.key)})
			if _, err := v.Verify(tt.headers, []byte(tt.body), now); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// Senders without a preset: what other vendors document, written as configuration.
func TestDeclaredInFull(t *testing.T) {
	_, private := edKey()
	m512 := hmac.New(sha512.New, []byte("k"))
	m512.Write([]byte("v0:" + vectorTime + ":" + vectorBody))
	m256 := hmac.New(sha256.New, []byte("k"))
	m256.Write([]byte(vectorBody))
	tests := []struct {
		name, config string
		headers      http.Header
	}{
		{"TimestampBeforeBody", `{"header":"X-S","prefix":"v0=","algorithm":"hmac-sha512","encoding":"hex","signed":"v0:{header:X-T}:{body}",
			"timestamp":{"header":"X-T","format":"unix"},"keys":["k"]}`,
			header("X-S", "v0="+hex.EncodeToString(m512.Sum(nil)), "X-T", vectorTime)},
		{"PrefixAndBodyOnly", `{"header":"X-Hub-Signature-256","prefix":"sha256=","algorithm":"hmac-sha256","encoding":"hex","signed":"{body}","keys":["k"]}`,
			header("X-Hub-Signature-256", "sha256="+hex.EncodeToString(m256.Sum(nil)))},
		{"Ed25519TouchingJSON", `{"header":"X-Sig","algorithm":"ed25519","encoding":"hex","signed":"{header:X-T}{body}","timestamp":{"header":"X-T","format":"unix"},
			"keyEncoding":"hex","keys":["` + hex.EncodeToString(private.Public().(ed25519.PublicKey)) + `"]}`,
			header("X-Sig", hex.EncodeToString(ed25519.Sign(private, []byte(vectorTime+vectorBody))), "X-T", vectorTime)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c webhook.Config
			if err := json.Unmarshal([]byte(tt.config), &c); err != nil {
				t.Fatal(err)
			}
			v := verifier(t, c)
			if _, err := v.Verify(tt.headers, []byte(vectorBody), now); err != nil {
				t.Error(err)
			}
			if _, err := v.Verify(tt.headers, []byte(vectorBody+" "), now); err == nil {
				t.Error("a changed body verified")
			}
		})
	}
}

func TestMisconfigured(t *testing.T) {
	tests := map[string]struct{ config, says string }{
		"Empty":              {`{}`, "algorithm"},
		"UnknownPreset":      {`{"preset":"acme","keys":["k"]}`, "bamboohr"},
		"NoKeys":             {`{"preset":"hibob"}`, "keys: at least one"},
		"EmptyKey":           {`{"preset":"hibob","keys":["a",""]}`, "keys[1]: is empty"},
		"KeyNotBase64":       {`{"preset":"standard-webhooks","keys":["whsec_?"]}`, "keys[0]"},
		"KeyTooShort":        {`{"preset":"standard-webhooks","keys":["whsec_c2hvcnQ="]}`, "24 to 64"},
		"KeyWithoutPrefix":   {`{"preset":"standard-webhooks","keys":["c2hvcnQ="]}`, "whsec_ or whpk_"},
		"SigningKeyHere":     {`{"preset":"standard-webhooks","keys":["whsk_AAAA"]}`, "whsec_ or whpk_"},
		"BadPublicKey":       {`{"preset":"standard-webhooks","keys":["whpk_AAAA"]}`, "32 bytes"},
		"BasicWithoutColon":  {`{"preset":"basic","keys":["k"]}`, "user:password"},
		"NoAlgorithm":        {`{"header":"X","encoding":"hex","signed":"{body}","keys":["k"]}`, "algorithm"},
		"NoneAlgorithm":      {`{"header":"X","algorithm":"none","keys":["k"]}`, "algorithm"},
		"NoHeader":           {`{"algorithm":"hmac-sha256","encoding":"hex","signed":"{body}","keys":["k"]}`, "header"},
		"NoEncoding":         {`{"header":"X","algorithm":"hmac-sha256","signed":"{body}","keys":["k"]}`, "encoding"},
		"NoBody":             {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{header:Y}","keys":["k"]}`, "{body}"},
		"BodyTwice":          {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{body}.{body}","keys":["k"]}`, "{body}"},
		"UnknownPart":        {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{body}{url}","keys":["k"]}`, "{url}"},
		"UnbalancedBrace":    {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{body}}","keys":["k"]}`, "brace"},
		"HeaderTouchesBody":  {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{header:Y}{body}","keys":["k"]}`, "literal between"},
		"HeadersTouch":       {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{header:Y}{header:Z}.{body}","keys":["k"]}`, "literal between"},
		"UnsignedTimestamp":  {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{body}","timestamp":{"header":"T","format":"unix"},"keys":["k"]}`, "timestamp.header"},
		"TimestampFormat":    {`{"header":"X","algorithm":"hmac-sha256","encoding":"hex","signed":"{body}.{header:T}","timestamp":{"header":"T"},"keys":["k"]}`, "timestamp.format"},
		"NegativeTolerance":  {`{"preset":"bamboohr","timestamp":{"header":"X-BambooHR-Timestamp","format":"unix","tolerance":"-1s"},"keys":["k"]}`, "negative"},
		"UnsignedID":         {`{"preset":"hibob","id":{"header":"X-Id"},"keys":["k"]}`, "id.header"},
		"TwoIDs":             {`{"preset":"bearer","id":{"header":"X-Id","pointer":"/id"},"keys":["k"]}`, "exclude"},
		"IDPointerNoSlash":   {`{"preset":"bearer","id":{"pointer":"id"},"keys":["k"]}`, "pointer"},
		"BearerSigned":       {`{"preset":"bearer","signed":"{body}","keys":["k"]}`, "sign nothing"},
		"BearerBesideHMAC":   {`{"preset":"hibob","also":[{"algorithm":"bearer","keyPrefix":"x"}],"keys":["k"]}`, "way around"},
		"UnknownKeyEncoding": {`{"preset":"hibob","keyEncoding":"rot13","keys":["k"]}`, "keyEncoding"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var c webhook.Config
			if err := json.Unmarshal([]byte(tt.config), &c); err != nil {
				t.Fatal(err)
			}
			_, err := webhook.New(c)
			if !errors.Is(err, webhook.ErrMisconfigured) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
	t.Run("AllProblemsAtOnce", func(t *testing.T) {
		_, err := webhook.New(webhook.Config{})
		for _, say := range []string{"header", "algorithm", "keys"} {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%v does not name %s", err, say)
			}
		}
	})
}

// Every preset is complete but for its keys, and the package comment shows each.
func TestPresets(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	names := webhook.Presets()
	if len(names) == 0 {
		t.Fatal("no presets")
	}
	for _, name := range names {
		if !bytes.Contains(doc, []byte(`{"preset": "`+name+`"`)) {
			t.Errorf("doc.go shows no example of %s", name)
		}
		key := map[string]string{"standard-webhooks": vectorKey, "basic": "user:password"}[name]
		if key == "" {
			key = "test-secret"
		}
		c, err := webhook.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		c.Keys = keys(key)
		if _, err := webhook.New(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not in order: %v", names)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
	c := webhook.Config{Preset: "standard-webhooks", Keys: keys("whsec_"+secret, "whpk_"+secret, secret)}
	_, err := webhook.New(c)
	marshalled, _ := json.Marshal(c)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "config", c)
	for name, out := range map[string]string{
		"error": fmt.Sprint(err), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c), "json": string(marshalled), "slog": logged.String(),
	} {
		if strings.Contains(out, secret) {
			t.Errorf("%s shows a key: %s", name, out)
		}
	}
	var bad webhook.Config
	err = json.Unmarshal([]byte(`{"keys":{"a":"`+secret+`"}}`), &bad)
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("decoding error: %v", err)
	}
}

// No delivery other than the signed one verifies.
func FuzzVerify(f *testing.F) {
	f.Add("standard-webhooks", "msg_test1", vectorTime, []byte(vectorBody), "v1,nfuS4ccx7cIZMUjq1tii0E+8ysxaheZcfTVey6wwEdQ=")
	f.Add("standard-webhooks", "msg.test1", vectorTime, []byte(vectorBody), "v1,")
	f.Add("bamboohr", "", vectorTime, []byte(vectorBody), "bf4f65592b68397284b0a24b00e442cfea38ac3efcb291e3bdffe4e098c52844")
	f.Add("bamboohr", "", "00000", []byte(vectorBody+"17640"), "bf4f65592b68397284b0a24b00e442cfea38ac3efcb291e3bdffe4e098c52844")
	f.Add("hibob", "", "", []byte(vectorBody), "fly5m20t8IBBBfCMZdYxTb2ym1236Bxr5aThd1cFNCGi2RLcMd0doG+05+26XtviHm4YZkD0BZrj+/9SyZ0TAQ==")
	signatureHeader := map[string]string{"standard-webhooks": "Webhook-Signature", "bamboohr": "X-BambooHR-Signature", "hibob": "Bob-Signature"}
	timestampHeader := map[string]string{"standard-webhooks": "Webhook-Timestamp", "bamboohr": "X-BambooHR-Timestamp"}
	f.Fuzz(func(t *testing.T, preset, id, timestamp string, body []byte, signature string) {
		name, ok := signatureHeader[preset]
		if !ok {
			t.Skip()
		}
		key := "test-secret"
		if preset == "standard-webhooks" {
			key = vectorKey
		}
		v := verifier(t, webhook.Config{Preset: preset, Keys: keys(key)})
		h := http.Header{}
		h.Set(name, signature)
		h.Set("Webhook-Id", id)
		if n, ok := timestampHeader[preset]; ok {
			h.Set(n, timestamp)
		}
		d, err := v.Verify(h, body, now)
		if err != nil {
			return
		}
		same := string(body) == vectorBody
		switch preset {
		case "standard-webhooks":
			same = same && id == "msg_test1" && timestamp == vectorTime && d.ID == id && slices.Contains(strings.Split(signature, " "), "v1,nfuS4ccx7cIZMUjq1tii0E+8ysxaheZcfTVey6wwEdQ=")
		case "bamboohr":
			same = same && timestamp == vectorTime && strings.EqualFold(signature, "bf4f65592b68397284b0a24b00e442cfea38ac3efcb291e3bdffe4e098c52844")
		case "hibob":
			same = same && signature == "fly5m20t8IBBBfCMZdYxTb2ym1236Bxr5aThd1cFNCGi2RLcMd0doG+05+26XtviHm4YZkD0BZrj+/9SyZ0TAQ=="
		}
		if !same {
			t.Errorf("verified: preset %s, id %q, timestamp %q, body %q, signature %q", preset, id, timestamp, body, signature)
		}
	})
}
