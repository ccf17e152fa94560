package lambdafn

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	awsevents "github.com/aws/aws-lambda-go/events"
)

// serveEvent passes one HTTP API or function URL event through h.
func serveEvent(ctx context.Context, h http.Handler, payload []byte) ([]byte, error) {
	var e awsevents.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, ErrUnknownEvent
	}
	if a := e.RequestContext.Authorizer; a != nil && a.IAM != nil {
		ctx = context.WithValue(ctx, callerKey{}, a.IAM.UserARN)
	}
	w := &recorder{header: http.Header{}}
	r, ok := request(ctx, e)
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		return json.Marshal(w.response())
	}
	h.ServeHTTP(w, r)
	if w.status == 0 && ctx.Err() != nil {
		w.header.Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return json.Marshal(w.response())
}

type callerKey struct{}

// Caller is the ARN of the principal whose signature AWS has checked (AuthType AWS_IAM of
// a function URL, or the same of an HTTP API); empty for everybody else, and outside
// Lambda. No header has a part in it:
// docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html, requestContext.authorizer.iam.
func Caller(ctx context.Context) string {
	arn, _ := ctx.Value(callerKey{}).(string)
	return arn
}

// request rebuilds the request as the sender made it. Header values are taken
// whole: a webhook-signature holds commas, so nothing may split them. The URL is
// the raw one, never put together from the parsed query.
func request(ctx context.Context, e awsevents.APIGatewayV2HTTPRequest) (*http.Request, bool) {
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.Strict().DecodeString(e.Body); err != nil {
			return nil, false
		}
	}
	uri := e.RawPath
	if e.RawQueryString != "" {
		uri += "?" + e.RawQueryString
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, false
	}
	r, err := http.NewRequestWithContext(ctx, e.RequestContext.HTTP.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, false
	}
	for name, value := range e.Headers {
		r.Header.Set(name, value)
	}
	if len(e.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	r.Host = e.RequestContext.DomainName
	r.RequestURI = uri
	r.RemoteAddr = net.JoinHostPort(e.RequestContext.HTTP.SourceIP, "0")
	return r, true
}

// recorder buffers an answer: Lambda takes it whole.
type recorder struct {
	header http.Header
	sent   http.Header // header as it was when the status was written
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	// 1xx is informational and final for nobody.
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *recorder) response() awsevents.APIGatewayV2HTTPResponse {
	w.WriteHeader(http.StatusOK)
	out := awsevents.APIGatewayV2HTTPResponse{StatusCode: w.status, Headers: map[string]string{}}
	for name, values := range w.sent {
		if name == "Set-Cookie" {
			out.Cookies = values
			continue
		}
		out.Headers[name] = strings.Join(values, ", ")
	}
	if utf8.Valid(w.body.Bytes()) {
		out.Body = w.body.String()
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(w.body.Bytes()), true
	}
	return out
}
