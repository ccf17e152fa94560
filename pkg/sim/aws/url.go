package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// maxBody is what a function takes.
const maxBody = 6 << 20

// functionURL checks the signature and invokes the function, as a function URL with
// AuthType AWS_IAM does.
func (a *Account) functionURL(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		forbid(w, http.StatusRequestEntityTooLarge, "Request Too Long")
		return
	}
	by, key, err := a.signer(r, body, "lambda")
	if err != nil {
		text := "Forbidden"
		if errors.Is(err, errExpired) {
			text = "The security token included in the request is expired"
		}
		forbid(w, http.StatusForbidden, text)
		return
	}
	event, err := a.event(r, body, by, key)
	if err != nil {
		forbid(w, http.StatusBadRequest, "Bad Request")
		return
	}
	out, err := a.Function(r.Context(), event)
	var answer struct {
		StatusCode      int               `json:"statusCode"`
		Headers         map[string]string `json:"headers"`
		Body            string            `json:"body"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	content := []byte(answer.Body)
	if err == nil && answer.IsBase64Encoded {
		content, err = base64.StdEncoding.DecodeString(answer.Body)
	}
	if err != nil {
		forbid(w, http.StatusBadGateway, "Internal Server Error")
		return
	}
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(content) // the asker may be gone
}

func forbid(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"Message": text}) // the asker may be gone
}

// event is the payload of format 2.0.
func (a *Account) event(r *http.Request, body []byte, by session, key string) ([]byte, error) {
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	headers["host"] = r.Host
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	now := a.Now()
	return json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": r.URL.EscapedPath(), "rawQueryString": r.URL.RawQuery, "headers": headers,
		"body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
		"requestContext": map[string]any{
			"accountId": a.Account, "apiId": "abc123", "domainName": r.Host, "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599", "routeKey": "$default", "stage": "$default",
			"time": now.UTC().Format("02/Jan/2006:15:04:05 -0700"), "timeEpoch": now.UnixMilli(),
			"http": map[string]any{"method": r.Method, "path": r.URL.Path, "protocol": r.Proto, "sourceIp": from, "userAgent": r.UserAgent()},
			"authorizer": map[string]any{"iam": map[string]any{
				"accessKey": key, "accountId": a.Account, "callerId": by.id, "cognitoIdentity": nil, "principalOrgId": nil, "userArn": by.arn, "userId": by.id,
			}},
		},
	})
}

var (
	errExpired  = errors.New("the session has ended")
	errMismatch = errors.New("the signature does not verify")
)

// signer is the session that signed a request, and its access key.
func (a *Account) signer(r *http.Request, body []byte, service string) (s session, key string, err error) {
	authorization, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return session{}, "", errNoSignature
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(authorization, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	key, scope, _ := strings.Cut(fields["Credential"], "/")
	a.mu.Lock()
	s, known := a.sessions[key]
	a.mu.Unlock()
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if !known || err != nil || subtleDiffers(s.token, r.Header.Get("X-Amz-Security-Token")) {
		return session{}, "", errMismatch
	}
	now := a.Now()
	if skew := now.Sub(at); skew > 5*time.Minute || skew < -5*time.Minute {
		return session{}, "", errMismatch
	}
	date := at.Format("20060102")
	if scope != date+"/"+a.Region+"/"+service+"/aws4_request" {
		return session{}, "", errMismatch
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	// What the service insists on.
	for _, name := range []string{"host", "x-amz-date", "x-amz-security-token"} {
		if !slices.Contains(signed, name) {
			return session{}, "", errMismatch
		}
	}
	want := signature(r, body, s.secret, date, a.Region, service, signed)
	if !hmac.Equal([]byte(want), []byte(fields["Signature"])) {
		return session{}, "", errMismatch
	}
	if !now.Before(s.expires) {
		return session{}, "", errExpired
	}
	return s, key, nil
}

func subtleDiffers(a, b string) bool { return !hmac.Equal([]byte(a), []byte(b)) }

// signature is the one that a request for a service must have.
func signature(r *http.Request, body []byte, secret, date, region, service string, signed []string) string {
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + canonicalQuery(r.URL.Query()) + "\n"
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		canonical += name + ":" + strings.TrimSpace(value) + "\n"
	}
	sum := sha256.Sum256(body)
	canonical += "\n" + strings.Join(signed, ";") + "\n" + hex.EncodeToString(sum[:])
	hashed := sha256.Sum256([]byte(canonical))
	scope := date + "/" + region + "/" + service + "/aws4_request"
	mac := []byte("AWS4" + secret)
	for _, part := range []string{date, region, service, "aws4_request",
		"AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hex.EncodeToString(hashed[:])} {
		h := hmac.New(sha256.New, mac)
		h.Write([]byte(part))
		mac = h.Sum(nil)
	}
	return hex.EncodeToString(mac)
}

// canonicalQuery sorts by name, then by value.
func canonicalQuery(q url.Values) string {
	var pairs []string
	for name, values := range q {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
