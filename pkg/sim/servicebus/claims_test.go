package servicebus_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/sim/servicebus"
)

const key = "c2VjcmV0LWtleS1vZi10aGUtZW11bGF0b3I="

func keyed(t testing.TB) *servicebus.Server {
	t.Helper()
	return start(t, servicebus.Options{KeyName: "app", Key: key, Queues: []servicebus.QueueConfig{{Name: "q"}, {Name: "other"}}})
}

func sign(resource, name, key string, expiry time.Time) string {
	resource = url.QueryEscape(strings.ToLower(resource))
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%s\n%d", resource, expiry.Unix())
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", resource, url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), expiry.Unix(), name)
}

func token(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

func TestRightKey(t *testing.T) {
	c := dial(t, keyed(t))
	send(t, sender(t, c, "q"), text("signed"))
	receiveOne(t, receiver(t, c, "q"))
}

func TestWrongKey(t *testing.T) {
	s := keyed(t)
	for name, change := range map[string][2]string{"key": {key, "bm90LXRoZS1rZXk="}, "key name": {"SharedAccessKeyName=app", "SharedAccessKeyName=root"}} {
		t.Run(name, func(t *testing.T) {
			c, err := azservicebus.NewClientFromConnectionString(strings.Replace(s.ConnectionString(), change[0], change[1], 1), nil)
			must(t, err)
			t.Cleanup(func() { must(t, c.Close(t.Context())) })
			wantCode(t, sender(t, c, "q").SendMessage(ctx(t), text("forged"), nil), azservicebus.CodeUnauthorizedAccess)
		})
	}
	wantCounts(t, s, "q", servicebus.Counts{})
}

func TestUnknownQueue(t *testing.T) {
	c := dial(t, keyed(t))
	wantCode(t, sender(t, c, "nowhere").SendMessage(ctx(t), text("x"), nil), azservicebus.CodeNotFound)
	_, err := c.AcceptNextSessionForQueue(ctx(t), "nowhere", nil)
	wantCode(t, err, azservicebus.CodeNotFound)
}

// putToken speaks to $cbs directly and reports the status of the answer.
func putToken(t testing.TB, s *servicebus.Server, kind, tok, audience string) (*amqp.Conn, int32) {
	t.Helper()
	conn := dialAMQP(t, s)
	session, err := conn.NewSession(ctx(t), nil)
	must(t, err)
	defer session.Close(ctx(t))
	r, err := session.NewReceiver(ctx(t), "$cbs", &amqp.ReceiverOptions{TargetAddress: "here", Credit: 1, SettlementMode: amqp.ReceiverSettleModeFirst.Ptr()})
	must(t, err)
	snd, err := session.NewSender(ctx(t), "$cbs", nil)
	must(t, err)
	must(t, snd.Send(ctx(t), &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: "1", ReplyTo: new("here")},
		ApplicationProperties: map[string]any{"operation": "put-token", "type": kind, "name": audience},
		Value:                 tok,
	}, nil))
	reply, err := r.Receive(ctx(t), nil)
	must(t, err)
	return conn, reply.ApplicationProperties["status-code"].(int32)
}

func dialAMQP(t testing.TB, s *servicebus.Server) *amqp.Conn {
	t.Helper()
	conn, err := amqp.Dial(ctx(t), "amqp://"+host(s), &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // some tests have it cut
	return conn
}

// host is the address of the AMQP port.
func host(s *servicebus.Server) string {
	endpoint, _, _ := strings.Cut(s.ConnectionString(), ";")
	return strings.TrimPrefix(endpoint, "Endpoint=sb://")
}

func TestTokens(t *testing.T) {
	s := keyed(t)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	const sas, jwt = "servicebus.windows.net:sastoken", "jwt"
	queue := "amqp://" + host(s) + "/q"
	for name, tc := range map[string]struct {
		kind, token string
		want        int32
	}{
		"signed for the queue":       {sas, sign(queue, "app", key, soon), 202},
		"signed for the namespace":   {sas, sign("sb://"+host(s)+"/", "app", key, soon), 202},
		"signed for a bare host":     {sas, sign(host(s), "app", key, soon), 202},
		"signed for another queue":   {sas, sign("amqp://"+host(s)+"/other", "app", key, soon), 401},
		"signed for a name like it":  {sas, sign(queue+"/deeper", "app", key, soon), 401},
		"expired":                    {sas, sign(queue, "app", key, past), 401},
		"signed with another key":    {sas, sign(queue, "app", "other", soon), 401},
		"expiry moved after signing": {sas, strings.Replace(sign(queue, "app", key, past), fmt.Sprint(past.Unix()), fmt.Sprint(soon.Unix()), 1), 401},
		"not a signature":            {sas, "let me in", 401},
		"web token":                  {jwt, token(map[string]any{"exp": soon.Unix()}), 202},
		"web token, expired":         {jwt, token(map[string]any{"exp": past.Unix()}), 401},
		"web token, not valid yet":   {jwt, token(map[string]any{"exp": soon.Add(time.Hour).Unix(), "nbf": soon.Unix()}), 401},
		"web token without expiry":   {jwt, token(map[string]any{}), 401},
		"web token that is not one":  {jwt, "a.b", 401},
		"web token that is not JSON": {jwt, "a.b.c", 401},
		"type of token nobody knows": {"magic", "abracadabra", 401},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := putToken(t, s, tc.kind, tc.token, queue); got != tc.want {
				t.Errorf("status %d, want %d", got, tc.want)
			}
		})
	}
}

func TestTokenForOneQueueOpensNoOther(t *testing.T) {
	s := keyed(t)
	queue := "amqp://" + host(s) + "/q"
	conn, status := putToken(t, s, "servicebus.windows.net:sastoken", sign(queue, "app", key, time.Now().Add(time.Hour)), queue)
	if status != 202 {
		t.Fatalf("status %d", status)
	}
	session, err := conn.NewSession(ctx(t), nil)
	must(t, err)
	_, err = session.NewSender(ctx(t), "q", nil)
	must(t, err)
	_, err = session.NewReceiver(ctx(t), "q/$DeadLetterQueue", nil)
	must(t, err)
	_, err = session.NewSender(ctx(t), "other", nil)
	wantCondition(t, err, "amqp:unauthorized-access")
}

func TestAttachWithoutToken(t *testing.T) {
	for name, s := range map[string]*servicebus.Server{"with a key": keyed(t), "without": start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}}})} {
		session, err := dialAMQP(t, s).NewSession(ctx(t), nil)
		must(t, err)
		if _, err := session.NewReceiver(ctx(t), "q", nil); err == nil {
			t.Errorf("%s: attached to a queue without putting a token", name)
		}
	}
}

func TestSASLPlain(t *testing.T) {
	s := keyed(t)
	for password, ok := range map[string]bool{key: true, "wrong": false} {
		conn, err := amqp.Dial(ctx(t), "amqp://"+host(s), &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("app", password)})
		if ok != (err == nil) {
			t.Errorf("password %q: %v", password, err)
			continue
		}
		if err != nil {
			continue
		}
		session, err := conn.NewSession(ctx(t), nil)
		must(t, err)
		_, err = session.NewSender(ctx(t), "q", nil)
		must(t, err)
		must(t, conn.Close())
	}
}

func TestAdminTokens(t *testing.T) {
	s := keyed(t)
	resource := s.AdminURL() + "/q"
	for name, tc := range map[string]struct {
		token string
		want  int
	}{
		"none":      {"", 401},
		"right":     {sign(resource+"?api-version=2024-05", "app", key, time.Now().Add(time.Hour)), 200},
		"wrong key": {sign(resource, "app", "other", time.Now().Add(time.Hour)), 401},
		"expired":   {sign(resource, "app", key, time.Now().Add(-time.Hour)), 401},
		"web token": {"Bearer " + token(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}), 200},
	} {
		r, err := http.NewRequestWithContext(ctx(t), http.MethodGet, resource, nil)
		must(t, err)
		r.Header.Set("Authorization", tc.token)
		res, err := http.DefaultTransport.RoundTrip(r)
		must(t, err)
		must(t, res.Body.Close())
		if res.StatusCode != tc.want {
			t.Errorf("%s: status %d, want %d", name, res.StatusCode, tc.want)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// Uses tell who sent to what and who listened, by the name of the key.
func TestUses(t *testing.T) {
	s := start(t, servicebus.Options{Queues: []servicebus.QueueConfig{{Name: "q"}, {Name: "other", RequiresSession: true}}})
	as := func(name string) *azservicebus.Client {
		c, err := azservicebus.NewClientFromConnectionString(s.ConnectionStringAs(name), nil)
		must(t, err)
		t.Cleanup(func() { must(t, c.Close(t.Context())) })
		return c
	}
	ada, eve := as("ada"), as("eve")
	send(t, sender(t, ada, "q"), text("sent"))
	receiveOne(t, receiver(t, eve, "q"))
	_, err := receiver(t, ada, "q").PeekMessages(ctx(t), 1, nil)
	must(t, err)
	later := text("later")
	later.SessionID = new(string)
	*later.SessionID = "s"
	_, err = sender(t, eve, "other").ScheduleMessages(ctx(t), []*azservicebus.Message{later}, time.Now().Add(time.Hour), nil)
	must(t, err)

	want := []servicebus.Use{
		{KeyName: "ada", Queue: "q", Right: "Listen"}, {KeyName: "ada", Queue: "q", Right: "Send"},
		{KeyName: "eve", Queue: "other", Right: "Send"}, {KeyName: "eve", Queue: "q", Right: "Listen"},
	}
	if diff := cmp.Diff(want, s.Uses()); diff != "" {
		t.Error(diff)
	}
}
