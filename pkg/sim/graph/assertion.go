package graph

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

type assertionClaims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"`
	Expires  int64           `json:"exp"`
	NotSoon  int64           `json:"nbf"`
}

func (c assertionClaims) audiences() []string {
	var one string
	if json.Unmarshal(c.Audience, &one) == nil {
		return []string{one}
	}
	var many []string
	_ = json.Unmarshal(c.Audience, &many) // anything else is no audience
	return many
}

// Numbers of refused assertions. 700024 and 700027 are on the page of error codes; those
// that tell which part of a federated credential does not match are as observed.
const (
	codeAssertionTime     = 700024
	codeAssertionProof    = 700027
	codeFederatedIssuer   = 700211
	codeFederatedAudience = 700212
	codeFederatedSubject  = 700213
)

// assertionError is why an assertion is refused.
type assertionError struct {
	code int
	text string
}

func (e *assertionError) Error() string { return e.text }

// acceptAssertion checks a client assertion: self-signed with one of the app's
// certificates, or signed by an issuer the app trusts for one subject.
func (a *App) acceptAssertion(token string, now time.Time) *assertionError {
	refuse := func(code int, text string) *assertionError { return &assertionError{code, text} }
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return refuse(codeAssertionProof, "it is not a JWT")
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims assertionClaims
	for i, into := range []any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(data, into) != nil {
			return refuse(codeAssertionProof, "it is not a JWT")
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return refuse(codeAssertionProof, "it is not a JWT")
	}
	signed := parts[0] + "." + parts[1]
	if claims.Expires <= now.Unix() {
		return refuse(codeAssertionTime, "it is expired")
	}
	if claims.NotSoon > now.Add(5*time.Minute).Unix() {
		return refuse(codeAssertionTime, "it is not valid yet")
	}
	if claims.Issuer == a.ClientID && claims.Subject == a.ClientID {
		for _, text := range a.Certificates {
			key, err := publicKey(text)
			if err != nil {
				return refuse(codeAssertionProof, err.Error())
			}
			if verify(key, header.Algorithm, signed, signature) {
				return nil
			}
		}
		return refuse(codeAssertionProof, "no certificate of the app made its signature")
	}
	none := refuse(codeFederatedIssuer, "no matching federated identity record found for presented assertion issuer")
	for _, f := range a.FederatedCredentials {
		switch {
		case f.Issuer != claims.Issuer:
			continue
		case !slices.Contains(claims.audiences(), f.Audience):
			none = refuse(codeFederatedAudience, "no matching federated identity record found for presented assertion audience")
			continue
		case f.Subject != claims.Subject:
			none = refuse(codeFederatedSubject, "no matching federated identity record found for presented assertion subject")
			continue
		}
		key, err := publicKey(f.Key)
		if err != nil {
			return refuse(codeAssertionProof, err.Error())
		}
		if !verify(key, header.Algorithm, signed, signature) {
			return refuse(codeAssertionProof, "its signature is wrong")
		}
		return nil
	}
	return none
}

// publicKey reads a PEM certificate or public key.
func publicKey(text string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the app's key is not PEM")
	}
	if block.Type == "CERTIFICATE" {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the app's certificate: %w", err)
		}
		return c.PublicKey, nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the app's key: %w", err)
	}
	return key, nil
}

func verify(key crypto.PublicKey, algorithm, signed string, signature []byte) bool {
	digest := sha256.Sum256([]byte(signed))
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch algorithm {
		case "RS256":
			return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
		case "PS256":
			return rsa.VerifyPSS(k, crypto.SHA256, digest[:], signature, nil) == nil
		}
	case *ecdsa.PublicKey:
		if algorithm == "ES256" && len(signature) == 64 {
			return ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
	}
	return false
}
