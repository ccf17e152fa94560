package awssign

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

var (
	// ErrNotTrusted: the role is not for this person; the provider, the audience of the
	// token or the name of the session may be none that its trust policy allows.
	ErrNotTrusted = errors.New("AWS gives no session of the role for this token")
	// ErrRole: the role cannot be assumed as it was asked for, whoever asks.
	ErrRole = errors.New("the role cannot be assumed in this way")
	// ErrEnded: the credentials have ended.
	ErrEnded = errors.New("the AWS session has ended")
)

// Federation gives people sessions of one role for the tokens of an identity provider.
type Federation struct {
	sts    *sts.Client
	role   string
	region string
	life   time.Duration
	next   http.RoundTripper
	now    func() time.Time
}

// FederationConfig says which sessions a Federation gives.
type FederationConfig struct {
	// Role is the ARN of the role. Its trust policy must tie sts:RoleSessionName to the
	// subject of the token, or one person could take another's name.
	Role string
	// Region is that of the function URL and of the token service; empty takes the
	// configured one.
	Region string
	// Life is how long a session lasts, 15 minutes to 12 hours and no longer than the
	// role's maximum session duration; zero is an hour.
	Life time.Duration
	// Next carries what the sessions sign.
	Next http.RoundTripper
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Federate makes a Federation. It needs no credentials of its own, and reads of the AWS
// configuration only the region and the endpoint of the token service: ErrNoRegion.
func Federate(ctx context.Context, c FederationConfig) (*Federation, error) {
	own, err := config.LoadDefaultConfig(ctx, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if c.Region != "" {
		own.Region = c.Region
	}
	if own.Region == "" {
		return nil, ErrNoRegion
	}
	if c.Life == 0 {
		c.Life = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Federation{sts: sts.NewFromConfig(own), role: c.Role, region: own.Region, life: c.Life, next: c.Next, now: c.Now}, nil
}

// Session is a transport that signs as a person, until a time. After it, requests fail with
// ErrEnded without being sent.
type Session struct {
	http.RoundTripper
	Ends time.Time
}

// Enter exchanges a token (sts:AssumeRoleWithWebIdentity). subject is sub of the token and
// becomes the name of the session. ErrNotTrusted and ErrRole are final; anything else may
// pass.
func (f *Federation) Enter(ctx context.Context, subject, token string) (Session, error) {
	out, err := f.sts.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: &f.role, RoleSessionName: &subject, WebIdentityToken: &token, DurationSeconds: aws.Int32(int32(f.life / time.Second)),
	})
	if err != nil {
		return Session{}, because(err)
	}
	c := out.Credentials
	if c == nil || c.AccessKeyId == nil || c.SecretAccessKey == nil || c.SessionToken == nil || c.Expiration == nil {
		return Session{}, errors.New("the token service answers without credentials")
	}
	given := lasting{aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken, CanExpire: true, Expires: *c.Expiration}, f.now}
	return Session{transport{credentials: given, region: f.region, signer: v4.NewSigner(), next: f.next, now: f.now}, *c.Expiration}, nil
}

// because sorts the errors of the page on the action. Their texts quote no token.
func because(err error) error {
	refusal, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("the AWS token service does not answer: %w", err)
	}
	switch refusal.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "InvalidIdentityToken", "InvalidIdentityTokenException", "ExpiredTokenException", "IDPRejectedClaim", "IDPRejectedClaimException":
		return fmt.Errorf("%w: %s: %s", ErrNotTrusted, refusal.ErrorCode(), refusal.ErrorMessage())
	case "ValidationError", "PackedPolicyTooLarge", "MalformedPolicyDocument", "RegionDisabledException":
		return fmt.Errorf("%w: %s: %s", ErrRole, refusal.ErrorCode(), refusal.ErrorMessage())
	default:
		return fmt.Errorf("the AWS token service refuses for now: %s: %s", refusal.ErrorCode(), refusal.ErrorMessage())
	}
}

// lasting are credentials that end.
type lasting struct {
	aws.Credentials
	now func() time.Time
}

func (l lasting) Retrieve(context.Context) (aws.Credentials, error) {
	if !l.now().Before(l.Expires) {
		return aws.Credentials{}, ErrEnded
	}
	return l.Credentials, nil
}
