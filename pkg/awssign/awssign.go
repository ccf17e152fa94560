// Package awssign proves to AWS who sends a request: it signs with the credentials of the
// machine's user (environment, profile, IAM Identity Center), as the AWS CLI would, or with
// those that AWS gives a person for the token of an identity provider.
//
// It is the only importer of aws-sdk-go-v2 and knows nothing of what is sent. Only the
// command line tool links it: functions have app registrations.
package awssign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

var (
	// ErrNoCredentials: nobody is signed in.
	ErrNoCredentials = errors.New("no AWS credentials")
	// ErrNoRegion: neither the URL nor the AWS configuration names one.
	ErrNoRegion = errors.New("no AWS region")
)

// functionURL is the form of docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html.
var functionURL = regexp.MustCompile(`^[a-z0-9]+\.lambda-url\.([a-z0-9-]+)\.on\.aws$`)

// RegionOf is the region in the host name of a function URL; empty for any other name.
func RegionOf(host string) string {
	if m := functionURL.FindStringSubmatch(host); m != nil {
		return m[1]
	}
	return ""
}

type transport struct {
	credentials aws.CredentialsProvider
	region      string
	signer      *v4.Signer
	next        http.RoundTripper
	now         func() time.Time
}

// Lambda makes a transport to function URLs. It reads the AWS configuration, but asks for
// credentials only with the first request. region is used for hosts that are no function
// URL, such as a domain of one's own; empty takes the configured one.
func Lambda(ctx context.Context, region string, next http.RoundTripper) (http.RoundTripper, error) {
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	if region == "" {
		region = c.Region
	}
	return transport{credentials: c.Credentials, region: region, signer: v4.NewSigner(), next: next, now: time.Now}, nil
}

// RoundTrip signs a copy of the request (AWS Signature Version 4). It refuses to send
// anything in the clear.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errors.New("a signed request goes by https only")
	}
	region := RegionOf(r.URL.Hostname())
	if region == "" {
		region = t.region
	}
	if region == "" {
		return nil, ErrNoRegion
	}
	credentials, err := t.credentials.Retrieve(r.Context())
	if errors.Is(err, ErrEnded) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	var body []byte
	if r.Body != nil {
		body, err = io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	sum := sha256.Sum256(body)
	if err := t.signer.SignHTTP(r.Context(), credentials, r, hex.EncodeToString(sum[:]), "lambda", region, t.now()); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	return t.next.RoundTrip(r)
}
