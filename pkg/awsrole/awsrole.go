// Package awsrole is what a function does with the AWS role that it runs under: it reads
// the settings that lie in Secrets Manager, has AWS say in a token which role it is, so that
// it needs no secret to be known elsewhere, and keeps files in a bucket.
//
// It signs with aws-sdk-go-v2's signer and speaks to the services itself: their clients
// would make the functions that face the internet a quarter larger, for one call each. It
// knows neither settings nor Entra. Its errors are ErrRefused and *identity.RetryError;
// they carry error codes of AWS, and no secret and no token.
package awsrole

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"mfaflow/pkg/identity"
)

// ErrRefused: AWS does not give it to this role, or there is no such thing. Only somebody
// who administers the account can change that.
var ErrRefused = errors.New("refused by AWS")

// ErrNoRole: the process does not run under a role, as it would in Lambda.
var ErrNoRole = errors.New("no AWS role: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN are those that Lambda sets")

const (
	// tokenLife is how long a token is good for; it is exchanged at once.
	tokenLife = 5 * time.Minute
	timeout   = 5 * time.Second
	maxAnswer = 1 << 20
)

// Role is the role of this process. It is safe for concurrent use.
type Role struct {
	region      string
	credentials aws.Credentials
	sts         string
	secrets     string
	s3          string // empty for S3's own, which has the bucket in its name
	domain      string
	http        *http.Client
	signer      *v4.Signer
	now         func() time.Time
}

// FromEnvironment takes the role that Lambda gives a function (docs.aws.amazon.com/lambda,
// "Defined runtime environment variables"): ErrNoRole. AWS_ENDPOINT_URL_STS and
// AWS_ENDPOINT_URL_SECRETS_MANAGER and the like lead elsewhere, as they do for AWS's own clients.
// It does no network; transport nil is the default one.
func FromEnvironment(lookup func(string) string, transport http.RoundTripper) (*Role, error) {
	r := &Role{
		region: lookup("AWS_REGION"), signer: v4.NewSigner(), now: time.Now, http: &http.Client{Timeout: timeout, Transport: transport},
		credentials: aws.Credentials{AccessKeyID: lookup("AWS_ACCESS_KEY_ID"), SecretAccessKey: lookup("AWS_SECRET_ACCESS_KEY"), SessionToken: lookup("AWS_SESSION_TOKEN")},
	}
	if r.region == "" || !r.credentials.HasKeys() {
		return nil, ErrNoRole
	}
	r.domain = "amazonaws.com"
	if strings.HasPrefix(r.region, "cn-") {
		r.domain = "amazonaws.com.cn"
	}
	for _, e := range []struct {
		to            *string
		variable, own string
	}{
		{&r.sts, "AWS_ENDPOINT_URL_STS", "https://sts." + r.region + "." + r.domain},
		{&r.secrets, "AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://secretsmanager." + r.region + "." + r.domain},
		{&r.s3, "AWS_ENDPOINT_URL_S3", ""},
	} {
		if *e.to = lookup(e.variable); *e.to == "" {
			*e.to = e.own
		}
		if *e.to == "" {
			continue
		}
		if u, err := url.Parse(*e.to); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("%s is not an https URL", e.variable)
		}
	}
	return r, nil
}

// Token is a token for an audience that says which role this is, good for five minutes:
// ErrRefused when the account gives none, *identity.RetryError. It is signed with
// RS256, which every verifier takes
// (docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html).
func (r *Role) Token(ctx context.Context, audience string) (string, error) {
	const what = "web identity token"
	form := url.Values{
		"Action": {"GetWebIdentityToken"}, "Version": {"2011-06-15"}, "Audience.member.1": {audience}, "SigningAlgorithm": {"RS256"},
		"DurationSeconds": {strconv.Itoa(int(tokenLife / time.Second))},
	}
	status, body, err := r.call(ctx, "sts", r.sts, "application/x-www-form-urlencoded; charset=utf-8", "", []byte(form.Encode()))
	if err != nil {
		return "", retry(ctx, what, err)
	}
	if status != http.StatusOK {
		var refusal struct {
			Code string `xml:"Error>Code"`
		}
		_ = xml.Unmarshal(body, &refusal) // the status speaks for itself
		return "", refused(what, status, refusal.Code)
	}
	var answer struct {
		Token string `xml:"GetWebIdentityTokenResult>WebIdentityToken"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil || strings.Count(answer.Token, ".") != 2 {
		return "", &identity.RetryError{Err: errors.New(what + ": AWS's answer holds none")}
	}
	return answer.Token, nil
}

// Secret is the current text of a secret, by ARN or name: ErrRefused for one that is not
// there or not for this role, *identity.RetryError
// (docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html).
func (r *Role) Secret(ctx context.Context, id string) (identity.Secret, error) {
	const what = "secret"
	request, err := json.Marshal(map[string]string{"SecretId": id})
	if err != nil {
		return identity.Secret{}, err
	}
	status, body, err := r.call(ctx, "secretsmanager", r.secrets, "application/x-amz-json-1.1", "secretsmanager.GetSecretValue", request)
	if err != nil {
		return identity.Secret{}, retry(ctx, what, err)
	}
	if status != http.StatusOK {
		var refusal struct {
			Type string `json:"__type"`
		}
		_ = json.Unmarshal(body, &refusal) // the status speaks for itself
		return identity.Secret{}, refused(what, status, refusal.Type[strings.LastIndex(refusal.Type, "#")+1:])
	}
	var answer struct{ SecretString *string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.SecretString == nil {
		return identity.Secret{}, fmt.Errorf("%w: %s: it holds no text", ErrRefused, what)
	}
	return identity.NewSecret(*answer.SecretString), nil
}

// Close releases idle connections.
func (r *Role) Close() { r.http.CloseIdleConnections() }

// call posts a signed request.
func (r *Role) call(ctx context.Context, service, endpoint, contentType, target string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", contentType)
	if target != "" {
		request.Header.Set("X-Amz-Target", target)
	}
	return r.send(ctx, service, request, body, maxAnswer)
}

// send signs a request and reads its answer, which may have up to most bytes.
func (r *Role) send(ctx context.Context, service string, request *http.Request, body []byte, most int64) (status int, answer []byte, err error) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if service == "s3" {
		request.Header.Set("X-Amz-Content-Sha256", hash)
	}
	err = r.signer.SignHTTP(ctx, r.credentials, request, hash, service, r.region, r.now(), func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = service == "s3" // S3 alone does not escape a path twice
	})
	if err != nil {
		return 0, nil, errors.New("the request cannot be signed")
	}
	response, err := r.http.Do(request)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, most+1))
	if err == nil && int64(len(answer)) > most {
		err = fmt.Errorf("the answer has more than %d MiB", most>>20)
	}
	return response.StatusCode, answer, err
}

func retry(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &identity.RetryError{Err: fmt.Errorf("%s: %w", what, err)}
}

// advice is what helps against a refusal.
func advice(code string) string {
	switch code {
	case "OutboundWebIdentityFederationDisabled", "OutboundWebIdentityFederationDisabledException":
		return "; switch on outbound web identity federation in the AWS account"
	case "AccessDenied", "AccessDeniedException":
		return "; the role's policy must allow it"
	case "ResourceNotFoundException":
		return "; it is not in this account and region, or holds nothing yet"
	case "ExpiredToken", "ExpiredTokenException":
		return "; the credentials of the role have ended"
	case "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired":
		return "; is the clock right?"
	}
	return ""
}

// refused sorts an answer: throttling and 5xx pass with time.
func refused(what string, status int, code string) error {
	if !isCode(code) {
		code = ""
	}
	text := fmt.Errorf("%s: %s%s", what, strings.TrimSpace(strconv.Itoa(status)+" "+code), advice(code))
	if status >= 500 || status == http.StatusTooManyRequests || code == "Throttling" || code == "ThrottlingException" {
		return &identity.RetryError{Err: text}
	}
	return fmt.Errorf("%w: %w", ErrRefused, text)
}

// isCode keeps anything else of an answer out of errors.
func isCode(s string) bool {
	return len(s) <= 80 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.") == ""
}
