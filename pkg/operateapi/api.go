// Package operateapi carries operate.Operations over HTTP: Handler is the side of the
// event-replay function, Client the side of the command line and of the console. A call
// through both is the call itself, errors included.
//
// It knows no broker, no directory and no cloud; who asks is found out by an
// Authenticator, never from what a request says of itself.
//
// # The protocol
//
// Every method of operate.Operations is a POST of one JSON object to /v1/<method>, and so
// is whoami, which tells who the other side takes the asker for.
// Errors are problem details (RFC 9457); their type tells the sentinels of package
// operate apart. X-Correlation-Id goes both ways.
package operateapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/strictjson"
)

const (
	prefix = "/v1/"
	// maxRequest and maxAnswer keep to what Lambda takes and gives, which is 6 MB each way
	// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), the envelope
	// included. Compressed bytes travel as base64, a third longer.
	maxRequest = 5 << 20
	maxAnswer  = 4 << 20
	// maxUnpacked bounds what a client takes, unpacked.
	maxUnpacked = 256 << 20

	correlationHeader = "X-Correlation-Id"
	problemType       = "application/problem+json"
)

// What the methods take that have no type of their own.
type (
	nothing struct{}
	whoAmI  struct {
		Operator operate.Operator `json:"operator"`
	}
	listRequest struct {
		Filter operate.Filter `json:"filter"`
		Cursor string         `json:"cursor,omitempty"`
		Limit  int            `json:"limit,omitempty"`
	}
	showRequest struct {
		ID     operate.ID `json:"id"`
		Reveal bool       `json:"reveal,omitempty"`
	}
	flagsRequest struct {
		Filter operate.FlagFilter `json:"filter"`
		Cursor string             `json:"cursor,omitempty"`
		Limit  int                `json:"limit,omitempty"`
	}
	personRequest struct {
		Who    string `json:"who"`
		Reveal bool   `json:"reveal,omitempty"`
	}
	discardRequest struct {
		IDs    []operate.ID `json:"ids"`
		Reason string       `json:"reason"`
	}
	resolveRequest struct {
		Flags  []int64 `json:"flags"`
		Reason string  `json:"reason"`
	}
	letInRequest struct {
		User   identity.UserID `json:"user"`
		Reason string          `json:"reason"`
	}
)

// problem is the body of an error.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Correlation finds the request in the log of the function.
	Correlation string `json:"correlationId"`
	// Outcomes is what was done before it went wrong.
	Outcomes []operate.Outcome `json:"outcomes,omitempty"`
}

// kinds are the sentinels that travel.
var kinds = []struct {
	err    error
	name   string
	status int
}{
	{operate.ErrNotFound, "urn:mfaflow:not-found", http.StatusNotFound},
	{operate.ErrStale, "urn:mfaflow:stale", http.StatusConflict},
	{operate.ErrRefused, "urn:mfaflow:refused", http.StatusUnprocessableEntity},
	{ErrNobody, "urn:mfaflow:nobody", http.StatusForbidden},
	{errMalformed, "urn:mfaflow:malformed", http.StatusBadRequest},
}

// errMalformed: the other side does not speak this protocol.
var errMalformed = errors.New("malformed")

// decode reads exactly one JSON value that has one reading and nothing unknown in it.
// Its errors are errMalformed and quote nothing.
func decode(raw []byte, to any) error {
	value, err := strictjson.Decode(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if ambiguous(value) {
		return fmt.Errorf("%w: two names differ in the case of letters only", errMalformed)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: a member is unknown or of the wrong kind", errMalformed)
	}
	return nil
}

// ambiguous finds an object with two names that encoding/json takes for the same.
func ambiguous(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		names := make(map[string]bool, len(v))
		for name, member := range v {
			folded := strings.ToLower(name)
			if names[folded] || ambiguous(member) {
				return true
			}
			names[folded] = true
		}
	case []any:
		for _, element := range v {
			if ambiguous(element) {
				return true
			}
		}
	}
	return false
}
