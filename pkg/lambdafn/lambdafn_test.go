package lambdafn

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// An HTTP API event as AWS documents payload format 2.0; %s is the changing part.
const httpEvent = `{
  "version": "2.0", "routeKey": "$default",
  "rawPath": "/hr/acme%%20inc", "rawQueryString": "a=1&a=2&b=%%2F+x",
  "cookies": ["c1=v1", "c2=v2"],
  "headers": {"webhook-signature": "v1,abc= v1a,def=", "content-type": "application/json", "x-forwarded-for": "203.0.113.1, 10.0.0.1"},
  "queryStringParameters": {"a": "1,2", "b": "/ x"},
  "requestContext": {"domainName": "id.execute-api.eu-west-1.amazonaws.com",
    "http": {"method": "POST", "path": "/hr/acme inc", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.1", "userAgent": "agent"},
    "requestId": "id", "stage": "$default"},
  %s
}`

func invoke(t *testing.T, h http.Handler, payload string) awsevents.APIGatewayV2HTTPResponse {
	t.Helper()
	out, err := handler{Handlers: Handlers{HTTP: h}, log: quiet()}.Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	var r awsevents.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRequest(t *testing.T) {
	for name, body := range map[string]string{
		"Text":   `"body": "{\"a\": 1}\n", "isBase64Encoded": false`,
		"Base64": `"body": "eyJhIjogMX0K", "isBase64Encoded": true`,
	} {
		t.Run(name, func(t *testing.T) {
			var got *http.Request
			var gotBody []byte
			invoke(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = r
				gotBody, _ = io.ReadAll(r.Body)
			}), fmt.Sprintf(httpEvent, body))
			type seen struct {
				Method, Path, RawQuery, URI, Host, Remote, Signature, Forwarded, Cookie, Body string
				Length                                                                        int64
			}
			want := seen{
				Method: "POST", Path: "/hr/acme inc", RawQuery: "a=1&a=2&b=%2F+x", URI: "/hr/acme%20inc?a=1&a=2&b=%2F+x",
				Host: "id.execute-api.eu-west-1.amazonaws.com", Remote: "203.0.113.1:0",
				Signature: "v1,abc= v1a,def=", Forwarded: "203.0.113.1, 10.0.0.1", Cookie: "c1=v1; c2=v2",
				Body: "{\"a\": 1}\n", Length: 9,
			}
			h := got.Header
			if diff := cmp.Diff(want, seen{got.Method, got.URL.Path, got.URL.RawQuery, got.RequestURI, got.Host, got.RemoteAddr,
				h.Get("Webhook-Signature"), h.Get("X-Forwarded-For"), h.Get("Cookie"), string(gotBody), got.ContentLength}); diff != "" {
				t.Error(diff)
			}
			if n := len(h.Values("Webhook-Signature")); n != 1 {
				t.Errorf("signature came as %d values", n)
			}
		})
	}
}

// Who asks is what AWS found out, never what the request says.
func TestCaller(t *testing.T) {
	for name, c := range map[string]struct{ context, want string }{
		"nobody":     {`"http": {"method": "POST"}`, ""},
		"by a token": {`"http": {"method": "POST"}, "authorizer": {"jwt": {"claims": {"sub": "eve"}}}`, ""},
		"signed": {`"http": {"method": "POST"}, "authorizer": {"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/Operators/ada", "callerId": "x"}}`,
			"arn:aws:sts::123456789012:assumed-role/Operators/ada"},
	} {
		t.Run(name, func(t *testing.T) {
			got := "none"
			invoke(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = Caller(r.Context()) }), `{"rawPath": "/",
				"headers": {"x-amzn-iam-user-arn": "eve", "requestcontext": "eve", "authorization": "Bearer eve"}, "body": "{}", "requestContext": {`+c.context+`}}`)
			if got != c.want {
				t.Errorf("caller %q, want %q", got, c.want)
			}
		})
	}
}

func TestResponse(t *testing.T) {
	tests := map[string]struct {
		body string
		h    http.HandlerFunc
		want awsevents.APIGatewayV2HTTPResponse
	}{
		"NothingWritten": {`"body":""`, func(http.ResponseWriter, *http.Request) {},
			awsevents.APIGatewayV2HTTPResponse{StatusCode: 200, Headers: map[string]string{}}},
		"HeadersAfterStatusAreLost": {`"body":""`, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("X-A", "1")
			w.Header().Add("X-A", "2")
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			w.WriteHeader(202)
			w.Header().Set("X-Late", "1")
			w.WriteHeader(500)
			_, _ = io.WriteString(w, "text")
		}, awsevents.APIGatewayV2HTTPResponse{StatusCode: 202, Headers: map[string]string{"X-A": "1, 2"}, Cookies: []string{"a=1", "b=2"}, Body: "text"}},
		"Binary": {`"body":""`, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0xfe}) },
			awsevents.APIGatewayV2HTTPResponse{StatusCode: 200, Headers: map[string]string{}, Body: "//4=", IsBase64Encoded: true}},
		"Panic": {`"body":""`, func(http.ResponseWriter, *http.Request) { panic("boom") },
			awsevents.APIGatewayV2HTTPResponse{StatusCode: 500, Headers: map[string]string{}}},
		"BadBase64": {`"body":"%%%", "isBase64Encoded":true`, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) },
			awsevents.APIGatewayV2HTTPResponse{StatusCode: 400, Headers: map[string]string{}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, invoke(t, tt.h, fmt.Sprintf(httpEvent, tt.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPanicLogHoldsNoValue(t *testing.T) {
	var out bytes.Buffer
	h := recovered(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errors.New("ada@example.com")) }), slog.New(slog.NewTextHandler(&out, nil)))
	h.ServeHTTP(&recorder{header: http.Header{}}, (&http.Request{}).WithContext(t.Context()))
	if s := out.String(); strings.Contains(s, "ada@") || !strings.Contains(s, "*errors.errorString") {
		t.Errorf("log: %s", s)
	}
}

func TestShapes(t *testing.T) {
	failed := errors.New("broker down")
	var seen string
	h := handler{log: quiet(), Handlers: Handlers{
		HTTP: http.NotFoundHandler(),
		EventBridge: func(_ context.Context, e json.RawMessage) error {
			seen = string(e)
			return failed
		},
	}}
	const bus = `{"id":"1","source":"hr.acme","detail-type":"Employee","detail":{}}`
	if _, err := h.Invoke(t.Context(), []byte(bus)); !errors.Is(err, failed) || seen != bus {
		t.Errorf("EventBridge: %v, saw %s", err, seen)
	}
	for name, payload := range map[string]string{
		"REST":    `{"httpMethod":"POST","path":"/","requestContext":{"stage":"p"}}`,
		"SQS":     `{"Records":[{"eventSource":"aws:sqs"}]}`,
		"Nothing": `{}`, "Empty": ``, "Text": `"a"`,
	} {
		if _, err := h.Invoke(t.Context(), []byte(payload)); !errors.Is(err, ErrUnknownEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	only := handler{log: quiet(), Handlers: Handlers{HTTP: http.NotFoundHandler()}}
	if _, err := only.Invoke(t.Context(), []byte(bus)); !errors.Is(err, ErrUnknownEvent) {
		t.Errorf("EventBridge event at a function that takes none: %v", err)
	}
}

func TestOwnDeadline(t *testing.T) {
	deadline := time.Now().Add(10 * time.Second)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	var own time.Time
	run := func(ctx context.Context) error {
		own, _ = ctx.Deadline()
		return nil
	}
	if _, err := (drainer{run: run, reserve: 3 * time.Second}).Invoke(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if want := deadline.Add(-3 * time.Second); !own.Equal(want) {
		t.Errorf("deadline %v, want %v", own, want)
	}
	if _, err := (drainer{run: run, reserve: time.Minute}).Invoke(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(own); left < time.Second {
		t.Errorf("a large reserve leaves %v", left)
	}
}

func TestDeadlineAnswers503(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	h := handler{log: quiet(), Handlers: Handlers{HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}}
	out, err := h.Invoke(ctx, fmt.Appendf(nil, httpEvent, `"body":""`))
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Error("the answer came after Lambda's deadline")
	}
	var r awsevents.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(out, &r); err != nil || r.StatusCode != 503 || r.Headers["Retry-After"] == "" {
		t.Errorf("%s, %v", out, err)
	}
}

// addr waits for the line that tells where the server listens.
func addr(t *testing.T, r io.Reader) string {
	t.Helper()
	var line struct{ Addr string }
	sc := bufio.NewScanner(r)
	if !sc.Scan() {
		t.Fatal("no log line")
	}
	if err := json.Unmarshal(sc.Bytes(), &line); err != nil || line.Addr == "" {
		t.Fatalf("%s: %v", sc.Text(), err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return line.Addr
}

func TestServeFinishesRequestsBeforeItEnds(t *testing.T) {
	t.Setenv("AWS_LAMBDA_RUNTIME_API", "")
	ctx, cancel := context.WithCancel(t.Context())
	entered, closed := make(chan struct{}), false
	h := Handlers{
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("boom")
			}
			close(entered)
			<-ctx.Done()
			if r.Context().Err() == nil {
				w.WriteHeader(http.StatusAccepted)
			}
		}),
		Close: func(ctx context.Context) error { closed = true; return ctx.Err() },
	}
	logs, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, h, "127.0.0.1:0", slog.New(slog.NewJSONHandler(w, nil)))
		_ = w.Close()
	}()
	url := "http://" + addr(t, logs)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

	resp, err := client.Post(url+"/panic", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 500 {
		t.Errorf("panic answered %d", resp.StatusCode)
	}
	go func() { <-entered; cancel() }()
	resp, err = client.Post(url, "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("the running request got %d", resp.StatusCode)
	}
	if err := <-done; err != nil || !closed {
		t.Errorf("Serve: %v, closed %v", err, closed)
	}
}

func TestServeReportsAnAddressItCannotTake(t *testing.T) {
	t.Setenv("AWS_LAMBDA_RUNTIME_API", "")
	if err := Serve(t.Context(), Handlers{HTTP: http.NotFoundHandler()}, "127.0.0.1:99999", quiet()); err == nil {
		t.Error("no error")
	}
}

func TestDrainOutsideLambda(t *testing.T) {
	t.Setenv("AWS_LAMBDA_RUNTIME_API", "")
	failed := errors.New("no broker")
	if err := Drain(t.Context(), func(context.Context) error { return failed }, time.Second, quiet()); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	err := Drain(t.Context(), func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); ok {
			t.Error("a long-lived drain has a deadline")
		}
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}, time.Second, quiet())
	if err != nil {
		t.Errorf("ended by SIGTERM: %v", err)
	}
}
