package aws

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

type identityAnswer struct {
	XMLName   xml.Name   `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetWebIdentityTokenResponse"`
	Result    identified `xml:"GetWebIdentityTokenResult"`
	RequestID string     `xml:"ResponseMetadata>RequestId"`
}

type identified struct {
	WebIdentityToken string
	Expiration       string
}

// role is the session that signed a request for a service, if its role may do something.
func (a *Account) role(r *http.Request, body []byte, service, action string) (session, *stsError) {
	s, _, err := a.signer(r, body, service)
	switch {
	case errors.Is(err, errExpired):
		return s, &stsError{http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"}
	case errors.Is(err, errNoSignature):
		return s, &stsError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	case err != nil:
		return s, &stsError{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."}
	case !slices.Contains(a.Allowed[s.role], action):
		return s, &stsError{http.StatusForbidden, "AccessDenied", "User: " + s.arn + " is not authorized to perform: " + action}
	}
	return s, nil
}

// identify makes a token that says which role asks.
func (a *Account) identify(r *http.Request, body []byte, f url.Values) (identified, error) {
	s, denied := a.role(r, body, "sts", "sts:GetWebIdentityToken")
	if denied != nil {
		return identified{}, denied
	}
	life := 300 * time.Second
	if text := f.Get("DurationSeconds"); text != "" {
		n, err := strconv.Atoi(text)
		if life = time.Duration(n) * time.Second; err != nil || n < 60 || n > 3600 {
			return identified{}, refused("ValidationError", "1 validation error detected: Value '%s' at 'durationSeconds' failed to satisfy constraint", text)
		}
	}
	if f.Get("Audience.member.1") == "" || f.Get("SigningAlgorithm") != "RS256" && f.Get("SigningAlgorithm") != "ES384" {
		return identified{}, refused("ValidationError", "audience and signingAlgorithm are required")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return identified{}, &stsError{http.StatusForbidden, "OutboundWebIdentityFederationDisabled", "Outbound web identity federation is not enabled for this account."}
	}
	now := a.Now()
	claims := map[string]any{
		"iss": a.Issuer(), "sub": s.role, "aud": f.Get("Audience.member.1"), "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text(),
		"https://sts.amazonaws.com/": map[string]any{"aws_account": a.Account, "original_session_exp": s.expires.UTC().Format(time.RFC3339), "principal_id": s.role},
	}
	if a.claims != nil {
		a.claims(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return identified{}, err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"RSA_0"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.signing, crypto.SHA256, sum[:])
	if err != nil {
		return identified{}, err
	}
	return identified{text + "." + base64.RawURLEncoding.EncodeToString(signature), now.Add(life).UTC().Format(time.RFC3339)}, nil
}

// secretsManager answers GetSecretValue in AWS's JSON protocol 1.1.
func (a *Account) secretsManager(w http.ResponseWriter, r *http.Request) {
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // the asker may be gone
	}
	refuse := func(status int, kind, text string) {
		answer(status, map[string]string{"__type": kind, "Message": text})
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var in struct{ SecretId string }
	if err != nil || json.Unmarshal(body, &in) != nil || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" {
		refuse(http.StatusBadRequest, "UnknownOperationException", "")
		return
	}
	if _, denied := a.role(r, body, "secretsmanager", "secretsmanager:GetSecretValue "+in.SecretId); denied != nil {
		kind := denied.code + "Exception"
		if denied.code == "SignatureDoesNotMatch" {
			kind = "InvalidSignatureException"
		}
		refuse(http.StatusBadRequest, kind, denied.text)
		return
	}
	text, ok := a.Secrets[in.SecretId]
	if !ok {
		refuse(http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
		return
	}
	answer(http.StatusOK, map[string]any{"ARN": in.SecretId, "SecretString": text, "VersionStages": []string{"AWSCURRENT"}})
}
