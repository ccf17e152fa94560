package azauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// ErrOpaque: the token is none of which anything can be told.
var ErrOpaque = errors.New("the token does not tell its permissions")

// Granted are the application permissions in a token that the credential gets for a
// scope, such as https://graph.microsoft.com/.default.
func Granted(ctx context.Context, credential azcore.TokenCredential, scope string) ([]string, error) {
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return nil, err
	}
	return Permissions(token.Token)
}

// Permissions are the application permissions that an access token holds (claim roles,
// learn.microsoft.com/entra/identity-platform/access-token-claims-reference). It is for
// diagnosis: the token is meant for the API that it was given for, which alone checks it,
// and nothing may depend on what is read here. Errors do not quote the token.
func Permissions(token string) ([]string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, ErrOpaque
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, ErrOpaque
	}
	var claims struct {
		Roles []string `json:"roles"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil, ErrOpaque
	}
	return claims.Roles, nil
}
