// Package azauth builds the token credential with which a function speaks to
// Microsoft Graph and Azure Service Bus as its app registration.
//
// It is the only importer of azidentity. It reads no environment and knows no
// Graph, no queue and no Lambda. Its errors are identity.ErrForbidden and
// *identity.RetryError, so that every consumer of a token judges a refused app
// and an unreachable authority alike; they carry Entra's error codes and never
// its texts, a secret or a token.
package azauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"mfaflow/pkg/identity"
)

// Settings say which app registration we are and how we prove it. Exactly one of
// ClientSecret, ClientCertificate and ClientAssertion is set.
type Settings struct {
	// TenantID is the id or a verified domain of the tenant.
	TenantID string
	ClientID string

	ClientSecret identity.Secret
	// ClientCertificate is PEM: the certificate and its unencrypted private key.
	ClientCertificate identity.Secret
	// ClientAssertion returns a fresh token of a federated identity provider. It
	// must be safe for concurrent use.
	ClientAssertion func(context.Context) (string, error)

	// AuthorityHost is the token service; empty means Azure's public cloud.
	// azidentity insists on https.
	AuthorityHost string
	// DisableInstanceDiscovery skips the question to Microsoft whether
	// AuthorityHost is genuine. It is for private and simulated authorities, whose
	// genuineness the operator answers for.
	DisableInstanceDiscovery bool
	// HTTPClient sends the token requests; nil means a client with the system's
	// root certificates.
	HTTPClient *http.Client
}

// Validate reports every problem of s. It does no network.
func (s Settings) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.TenantID == "" {
		fail("tenant id is missing")
	} else if !isName(s.TenantID) {
		fail("tenant id is neither an id nor a domain")
	}
	if s.ClientID == "" {
		fail("client id is missing")
	}
	proofs := 0
	for _, given := range []bool{s.ClientSecret.Reveal() != "", s.ClientCertificate.Reveal() != "", s.ClientAssertion != nil} {
		if given {
			proofs++
		}
	}
	if proofs != 1 {
		fail("exactly one of client secret, client certificate and client assertion is needed, not %d", proofs)
	}
	if pem := s.ClientCertificate.Reveal(); pem != "" {
		// The parser's own error may quote its input.
		if _, _, err := azidentity.ParseCertificates([]byte(pem), nil); err != nil {
			fail("client certificate is not PEM with a certificate and an unencrypted private key")
		}
	}
	if s.AuthorityHost != "" {
		if u, err := url.Parse(s.AuthorityHost); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			fail("authority host is not an https URL")
		}
	}
	return errors.Join(errs...)
}

func isName(s string) bool {
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789.-") == ""
}

// New returns a credential for s. It does no network and little work: what is
// costly waits for the first token. The credential is safe for concurrent use and
// keeps its tokens in memory until they near expiry.
func New(s Settings) (azcore.TokenCredential, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("app credential: %w", err)
	}
	return &credential{
		clientID: s.ClientID,
		open:     sync.OnceValues(func() (azcore.TokenCredential, error) { return open(s) }),
	}, nil
}

type credential struct {
	clientID string
	open     func() (azcore.TokenCredential, error)
}

// GetToken returns a token for the scopes of opts.
func (c *credential) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	inner, err := c.open()
	if err != nil {
		return azcore.AccessToken{}, err
	}
	x := &exchange{}
	token, err := inner.GetToken(context.WithValue(ctx, exchangeKey{}, x), opts)
	if err != nil {
		return azcore.AccessToken{}, fmt.Errorf("token for app %s: %w", c.clientID, classify(ctx, x, err))
	}
	return token, nil
}

func open(s Settings) (azcore.TokenCredential, error) {
	host := s.AuthorityHost
	if host == "" {
		// Named, because azidentity would otherwise take AZURE_AUTHORITY_HOST from
		// the environment.
		host = cloud.AzurePublic.ActiveDirectoryAuthorityHost
	}
	hc := s.HTTPClient
	if hc == nil {
		hc = &http.Client{Timeout: tokenTimeout}
	}
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: host},
		Transport: transport{hc},
		// One quick second try, none when Retry-After asks for more than a second:
		// waiting belongs to the lane, which holds no lock meanwhile.
		Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second},
	}
	switch {
	case s.ClientSecret.Reveal() != "":
		return azidentity.NewClientSecretCredential(s.TenantID, s.ClientID, s.ClientSecret.Reveal(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: s.DisableInstanceDiscovery})
	case s.ClientCertificate.Reveal() != "":
		certificates, key, err := azidentity.ParseCertificates([]byte(s.ClientCertificate.Reveal()), nil)
		if err != nil {
			return nil, errors.New("client certificate cannot be read")
		}
		return azidentity.NewClientCertificateCredential(s.TenantID, s.ClientID, certificates, key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: s.DisableInstanceDiscovery})
	default:
		return azidentity.NewClientAssertionCredential(s.TenantID, s.ClientID, watch(s.ClientAssertion),
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: s.DisableInstanceDiscovery})
	}
}

// tokenTimeout bounds one token request; callers' contexts are usually tighter.
const tokenTimeout = 30 * time.Second
