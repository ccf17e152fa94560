package graph

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
)

// removal is the way to delete methods of one kind. The generic path
// /authentication/methods/{id} has no DELETE behind it (msgraph-sdk-powershell#937).
type removal struct {
	segment   string
	suffix    string
	singleton bool // one object without an id
	beta      bool
}

// removals is the table of kinds. Sources: the v1.0 schema of 2026-08; the pages
// authentication-delete-externalauthenticationmethods, which deletes by reference, and
// authentication-delete-qrcodepinmethod; the beta pages of the kinds marked beta. The
// QR code has a page in v1.0 but no path in the v1.0 schema.
func removals(kind identity.MethodKind) (removal, bool) {
	switch kind {
	case identity.MethodPhone:
		return removal{segment: "phoneMethods"}, true
	case identity.MethodEmail:
		return removal{segment: "emailMethods"}, true
	case identity.MethodFIDO2:
		return removal{segment: "fido2Methods"}, true
	case identity.MethodWindowsHello:
		return removal{segment: "windowsHelloForBusinessMethods"}, true
	case identity.MethodAuthenticator:
		return removal{segment: "microsoftAuthenticatorMethods"}, true
	case identity.MethodSoftwareOATH:
		return removal{segment: "softwareOathMethods"}, true
	case identity.MethodPlatformCredential:
		return removal{segment: "platformCredentialMethods"}, true
	case identity.MethodTemporaryAccessPass:
		return removal{segment: "temporaryAccessPassMethods"}, true
	case identity.MethodExternal:
		return removal{segment: "externalAuthenticationMethods", suffix: "/$ref"}, true
	case identity.MethodQRCodePIN:
		return removal{segment: "qrCodePinMethod", singleton: true, beta: true}, true
	case identity.MethodHardwareOATH:
		return removal{segment: "hardwareOathMethods", beta: true}, true
	case identity.MethodPasswordlessAuthenticator:
		return removal{segment: "passwordlessMicrosoftAuthenticatorMethods", beta: true}, true
	default:
		return removal{}, false
	}
}

// url is the path to delete a method, below the version; false when its id cannot
// stand in a path.
func (r removal) url(root, id string) (string, bool) {
	if r.singleton {
		return root + "/" + r.segment, true
	}
	if id == "" || id == "." || id == ".." {
		return "", false
	}
	return root + "/" + r.segment + "/" + url.PathEscape(id) + r.suffix, true
}

// DeleteMethods deletes methods side by side: those of v1.0 in a $batch, those of beta
// in another, of at most 20 requests and no more than the budget allows at once. With
// serial they are deleted one after the other, each in a request of its own. The
// caller orders rounds: the default method and the mobile phone of an alternate one
// come after the rest.
//
// There is one result for each method, in order, each judged by its own status. The
// error is set when a request failed as a whole, with the class of the package doc;
// methods not tried by then are MethodUntried. Repeating the call is harmless: what
// is gone is MethodGone, though only a later read proves it.
func (c *Client) DeleteMethods(ctx context.Context, id identity.UserID, methods []identity.Method, serial bool) ([]identity.MethodResult, error) {
	results := make([]identity.MethodResult, len(methods))
	for i, m := range methods {
		results[i] = identity.MethodResult{Method: m, Outcome: identity.MethodUntried}
	}
	root, err := authentication(deleteMethod, id)
	if err != nil {
		return results, err
	}
	var todo []deletion
	for i := range results {
		r, known := removals(results[i].Method.Kind)
		path, ok := r.url(root, results[i].Method.ID)
		if !known || !ok {
			results[i].Outcome = identity.MethodRemains
			results[i].Err = deleteMethod.refuse("there is no way to delete a method of this kind")
			continue
		}
		d := deletion{result: &results[i], version: versionOne, path: path}
		if r.beta {
			d.version = versionBeta
		}
		todo = append(todo, d)
	}
	for _, part := range c.parts(todo, serial) {
		if err := c.deletePart(ctx, part); err != nil {
			return results, err
		}
	}
	return results, nil
}

// deletion is one method on its way out.
type deletion struct {
	result  *identity.MethodResult
	version string
	path    string
}

// parts cuts deletions into requests.
func (c *Client) parts(todo []deletion, serial bool) [][]deletion {
	size := 1
	if !serial {
		size = c.budgets.atOnce(classMethods, maxBatch)
	}
	var parts [][]deletion
	for _, version := range []string{versionOne, versionBeta} {
		var part []deletion
		for _, d := range todo {
			if d.version != version {
				continue
			}
			if part = append(part, d); len(part) == size {
				parts = append(parts, part)
				part = nil
			}
		}
		if len(part) > 0 {
			parts = append(parts, part)
		}
	}
	return parts
}

// deletePart sends one request. Its error is about all methods of it, or about those
// that would follow too.
func (c *Client) deletePart(ctx context.Context, part []deletion) error {
	if len(part) == 1 {
		d := part[0]
		_, err := call(ctx, c, deleteMethod, func(ctx context.Context) ([]byte, error) {
			return c.raw(ctx, abstractions.DELETE, d.version+d.path, nil)
		})
		judge(d.result, err)
		var answer *answerError
		if errors.As(err, &answer) && answer.status != http.StatusTooManyRequests && answer.status < 500 {
			return nil // about this method alone
		}
		return err
	}
	items := make([]batchItem, len(part))
	for i, d := range part {
		items[i] = batchItem{Method: http.MethodDelete, URL: d.path}
	}
	answers, err := c.batch(ctx, deleteMethod, part[0].version, items)
	for i, d := range part {
		if err != nil {
			judge(d.result, err)
			if d.result.Outcome == identity.MethodBlocked {
				d.result.Outcome = identity.MethodRefused // the batch is wrong, not the method
			}
			continue
		}
		judge(d.result, answers[i].failure(deleteMethod))
	}
	return err
}

// judge writes the outcome that an error stands for.
func judge(r *identity.MethodResult, err error) {
	var answer *answerError
	var retry *identity.RetryError
	status := 0
	if errors.As(err, &answer) {
		status = answer.status
	}
	r.Err = err
	switch {
	case err == nil:
		r.Outcome = identity.MethodDeleted
	case errors.Is(err, identity.ErrNotFound):
		r.Outcome, r.Err = identity.MethodGone, nil
	case errors.As(err, &retry):
		r.Outcome, r.After, r.Unknown = identity.MethodUnavailable, retry.After, retry.Unknown
		if errors.As(err, new(*noTurnError)) || status == http.StatusTooManyRequests {
			r.Outcome = identity.MethodThrottled
		}
	case errors.Is(err, identity.ErrForbidden):
		r.Outcome = identity.MethodForbidden
	case status == http.StatusBadRequest:
		r.Outcome = identity.MethodBlocked
	case errors.Is(err, identity.ErrRefused):
		r.Outcome = identity.MethodRefused
	default: // ctx ended
		r.Outcome, r.Unknown = identity.MethodUnavailable, true
	}
}
