package graph_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

const odata = `{"error":{"code":"someCode","message":"mia.lind@contoso.example has pass Pa55-value!","innerError":{"date":"2026-11-23T08:00:00"}}}`

// outcome is what the package doc promises for an answer.
type outcome struct {
	is      error // nil: a *identity.RetryError
	after   time.Duration
	unknown bool // for writes
	tries   int  // for reads; a write is always tried once
}

func TestAnswers(t *testing.T) {
	cut := func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	for _, tc := range []struct {
		name   string
		answer func() (*http.Response, error)
		want   outcome
	}{
		{"400", answers(400, odata), outcome{is: identity.ErrRefused, tries: 1}},
		{"401", answers(401, odata), outcome{is: identity.ErrForbidden, tries: 1}},
		{"402", answers(402, odata), outcome{is: identity.ErrRefused, tries: 1}},
		{"403", answers(403, odata), outcome{is: identity.ErrForbidden, tries: 1}},
		{"404", answers(404, odata), outcome{is: identity.ErrNotFound, tries: 1}},
		{"405", answers(405, odata), outcome{is: identity.ErrRefused, tries: 1}},
		{"408", answers(408, odata), outcome{tries: 1}},
		{"409", answers(409, odata), outcome{tries: 1}},
		{"410", answers(410, odata), outcome{is: identity.ErrRefused, tries: 1}},
		{"423", answers(423, odata, "Retry-After", "3"), outcome{after: 3 * time.Second, tries: 1}},
		{"429 with seconds", answers(429, odata, "Retry-After", "17"), outcome{after: 17 * time.Second, tries: 1}},
		{"429 with a date", answers(429, odata, "Retry-After", "Mon, 23 Nov 2026 08:00:42 GMT", "Date", "Mon, 23 Nov 2026 08:00:00 GMT"), outcome{after: 42 * time.Second, tries: 1}},
		{"500", answers(500, odata), outcome{unknown: true, tries: 2}},
		{"502 in HTML", answers(502, "<html>Bad Gateway</html>", "Content-Type", "text/html"), outcome{unknown: true, tries: 2}},
		{"503 with seconds", answers(503, odata, "Retry-After", "30"), outcome{after: 30 * time.Second, unknown: true, tries: 1}},
		{"504 without body", answers(504, ""), outcome{unknown: true, tries: 2}},
		{"error without message", answers(400, `{"error":{}}`), outcome{is: identity.ErrRefused, tries: 1}},
		{"error of another shape", answers(400, `["oops"]`), outcome{is: identity.ErrRefused, tries: 1}},
		{"code that is prose", answers(400, `{"error":{"code":"Pa55-value! belongs to mia.lind@contoso.example","message":"x"}}`), outcome{is: identity.ErrRefused, tries: 1}},
		{"redirect", answers(302, "", "Location", "https://elsewhere.example/"), outcome{is: identity.ErrRefused, tries: 1}},
		{"cut connection", cut, outcome{unknown: true, tries: 2}},
	} {
		for _, op := range operations {
			t.Run(tc.name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				c := wired(t, func(*http.Request) (*http.Response, error) { return tc.answer() })
				ctx, calls := correlation.Collect(t.Context())
				err := op.run(ctx, c)
				if tc.name == "404" && slices.Contains([]string{"DeletePass", "DeleteMethods of one", "Risk", "Unsubscribe"}, op.name) {
					if err != nil {
						t.Errorf("what is already gone is an error: %v", err)
					}
					return
				}
				tries := tc.want.tries
				if op.write {
					tries = 1
				}
				if n := len(calls.List()); n != tries && op.name != "Roles" && (op.name != "Subscribe" || tc.name != "403" && tc.name != "401" || n != 2) && (op.name != "Account" || n != 2*tries) {
					t.Errorf("%d requests, want %d", n, tries)
				}
				want := tc.want
				if tc.name == "404" && slices.Contains(impersonal, op.name) {
					want.is = identity.ErrRefused // no person is missing, a setting is wrong
				}
				if tc.name == "410" && slices.Contains(resuming, op.name) {
					want.is = sweep.ErrResync
				}
				checkClass(t, err, want, op.write)
				checkSilence(t, err)
				if tc.want.is == identity.ErrForbidden && !containsAny(err.Error(), op.permission) {
					t.Errorf("error %q does not name %s", err, op.permission)
				}
			})
		}
	}

	t.Run("429 without Retry-After waits for the window of its class", func(t *testing.T) {
		for _, op := range operations {
			c := wired(t, func(*http.Request) (*http.Response, error) { return says(429, odata), nil })
			var retry *identity.RetryError
			if err := op.run(t.Context(), c); !errors.As(err, &retry) || retry.After < time.Second || retry.Unknown {
				t.Errorf("%s: error %v", op.name, err)
			}
		}
	})
}

func answers(status int, body string, header ...string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return says(status, body, header...), nil }
}

func checkClass(t *testing.T, err error, want outcome, write bool) {
	t.Helper()
	var retry *identity.RetryError
	switch {
	case err == nil:
		t.Fatal("no error")
	case want.is != nil:
		for _, class := range []error{identity.ErrNotFound, identity.ErrForbidden, identity.ErrRefused, sweep.ErrResync, sweep.ErrQuota} {
			if errors.Is(err, class) != (class == want.is) {
				t.Errorf("error %q, want class %q", err, want.is)
			}
		}
		if errors.As(err, &retry) {
			t.Errorf("error %q is also a RetryError", err)
		}
	case !errors.As(err, &retry):
		t.Errorf("error %q is no RetryError", err)
	case retry.After != want.after || retry.Unknown != (want.unknown && write):
		t.Errorf("After %v Unknown %v, want %v %v", retry.After, retry.Unknown, want.after, want.unknown && write)
	}
}

// checkSilence fails when an error shows what only the wire may carry.
func checkSilence(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{passValue, bearer, "mia.lind", "boss@"} {
		if text := fmt.Sprintf("%v|%+v|%#v", err, err, err); strings.Contains(text, s) {
			t.Errorf("error %q shows %q", text, s)
		}
	}
}

func containsAny(text, alternatives string) bool {
	for _, a := range strings.Split(alternatives, "|") {
		if strings.Contains(text, a) {
			return true
		}
	}
	return false
}

// An answer of 2xx that is not what it should be is never taken for an empty one, and
// after a write it leaves the effect unknown.
func TestUnreadableAnswers(t *testing.T) {
	pass := `"id":"bbbbbbbb-0000-4000-8000-000000000001","startDateTime":"2026-11-23T08:00:00Z","lifetimeInMinutes":60`
	for name, body := range map[string]string{
		"empty":                    "",
		"null":                     "null",
		"list":                     "[]",
		"string":                   `"Pa55-value!"`,
		"object":                   "{}",
		"page without list":        `{"value":null}`,
		"page with null":           `{"value":[null]}`,
		"page with empty item":     `{"value":[{}]}`,
		"page of strings":          `{"value":["x"]}`,
		"wrong types":              `{"id":7,"value":7,"accountEnabled":"yes","temporaryAccessPass":{"a":"Pa55-value!"},"state":1}`,
		"cut off after the value":  `{"temporaryAccessPass":"Pa55-value!",` + pass + `,"isUsa`,
		"broken after the value":   `{"temporaryAccessPass":"Pa55-value!",` + pass + `,"isUsable":tru}`,
		"pass with broken time":    `{"temporaryAccessPass":"Pa55-value!","id":"x","startDateTime":"Pa55-value!","lifetimeInMinutes":60}`,
		"pass without its value":   `{` + pass + `}`,
		"page that goes elsewhere": `{"value":[],"@odata.nextLink":"https://elsewhere.example/v1.0/users"}`,
		"page that never ends":     `{"value":[],"@odata.nextLink":"http://127.0.0.1:9/v1.0/users?again"}`,
	} {
		for _, op := range operations {
			if slices.Contains([]string{"DeletePass", "SendMail", "DeleteMethods of one", "SetDefaultMethod", "SetEnabled", "RevokeSessions", "SetRandomPassword", "Unsubscribe"}, op.name) {
				continue // they read no body
			}
			if name == "page that never ends" && slices.Contains(resuming, op.name) && op.name != "ChangesFromNow" {
				continue // they read one page
			}
			t.Run(name+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				status := 200
				if op.write {
					status = 201
				}
				c := wired(t, func(*http.Request) (*http.Response, error) { return says(status, body), nil })
				err := op.run(t.Context(), c)
				if err == nil {
					t.Fatalf("no error")
				}
				var retry *identity.RetryError
				switch {
				case errors.As(err, &retry):
					if retry.Unknown != op.write {
						t.Errorf("Unknown = %v", retry.Unknown)
					}
				case !errors.Is(err, identity.ErrForbidden) || op.write:
					t.Errorf("error %q has no class", err)
				}
				checkSilence(t, err)
			})
		}
	}
}

// The caller's context decides when nobody wants the answer any more; our own timeout
// is a failure of the service.
func TestContext(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			c := wired(t, func(r *http.Request) (*http.Response, error) {
				cancel()
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			if err := op.run(ctx, c); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v is not context.Canceled", err)
			}

			c, err := graph.New(graph.Options{Credential: staticToken{}, BaseURL: "http://127.0.0.1:9", Timeout: time.Millisecond,
				Transport: wire(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				})})
			if err != nil {
				t.Fatal(err)
			}
			checkClass(t, op.run(t.Context(), c), outcome{unknown: true}, op.write)
		})
	}
}

type brokenToken struct{ err error }

func (b brokenToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, b.err
}

func TestNoToken(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want outcome
	}{
		{"refused app", fmt.Errorf("token: %w", identity.ErrForbidden), outcome{is: identity.ErrForbidden}},
		{"authority down", fmt.Errorf("token: %w", &identity.RetryError{After: 5 * time.Second, Err: errors.New("down")}), outcome{after: 5 * time.Second}},
		{"foreign credential", errors.New("answer was " + bearer), outcome{}},
	} {
		for _, op := range operations {
			t.Run(tc.name+"/"+op.name, func(t *testing.T) {
				c, err := graph.New(graph.Options{Credential: brokenToken{tc.err}, BaseURL: "http://127.0.0.1:9",
					Transport: wire(func(*http.Request) (*http.Response, error) {
						t.Error("a request went out without a token")
						return nil, io.EOF
					})})
				if err != nil {
					t.Fatal(err)
				}
				err = op.run(t.Context(), c)
				checkClass(t, err, tc.want, op.write)
				checkSilence(t, err)
			})
		}
	}
}

func TestNothingLeavesForABadArgument(t *testing.T) {
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s %s went out", r.Method, r.URL)
		return nil, io.EOF
	})
	ctx := t.Context()
	issue := func(r identity.PassRequest) error {
		_, err := c.IssuePass(ctx, someone, r)
		return err
	}
	find := func(r identity.Reference) error { _, err := c.Find(ctx, r); return err }
	mail := func(from, to string) error { return c.SendMail(ctx, identity.Mail{From: from, To: to}) }
	for name, err := range map[string]error{
		"nobody":              find(identity.Reference{}),
		"object id no GUID":   find(identity.Reference{ObjectID: "mia.lind@contoso.example", EmployeeID: "1"}),
		"object id in URN":    find(identity.Reference{ObjectID: "urn:uuid:" + string(someone)}),
		"half a minute":       issue(identity.PassRequest{Lifetime: 90 * time.Second}),
		"negative lifetime":   issue(identity.PassRequest{Lifetime: -time.Hour}),
		"31 days":             issue(identity.PassRequest{Lifetime: 31 * 24 * time.Hour}),
		"no pass id":          c.DeletePass(ctx, someone, ""),
		"pass id with path":   c.DeletePass(ctx, someone, "../methods/x"),
		"no possible default": c.SetDefaultMethod(ctx, someone, identity.Method{Kind: identity.MethodFIDO2, ID: "key-1"}),
		"mail from nobody":    mail("", "boss@contoso.example"),
		"mail to nobody":      mail("onboarding@contoso.example", ""),
		"mail to a name":      mail("onboarding@contoso.example", "Boss <boss@contoso.example>"),
		"mail to two people":  mail("onboarding@contoso.example", "boss@contoso.example, mia.lind@contoso.example"),
	} {
		t.Run(name, func(t *testing.T) {
			checkClass(t, err, outcome{is: identity.ErrRefused}, false)
			checkSilence(t, err)
		})
	}
	for _, id := range []identity.UserID{"", "mia.lind@contoso.example", "..", "aaaaaaaa00004000800000000000001"} {
		_, account := c.Account(ctx, id)
		_, manager := c.Manager(ctx, id)
		_, membership := c.Membership(ctx, id)
		_, _, roles := c.Roles(ctx, id)
		_, methods := c.Methods(ctx, id)
		_, passes := c.Passes(ctx, id)
		_, issued := c.IssuePass(ctx, id, identity.PassRequest{})
		_, all := c.AllMethods(ctx, id)
		_, registration := c.MethodsAndDefault(ctx, id)
		_, deleted := c.DeleteMethods(ctx, id, []identity.Method{{Kind: identity.MethodEmail, ID: "e"}}, false)
		_, risk := c.Risk(ctx, id)
		for i, err := range []error{account, manager, membership, roles, methods, passes, issued, c.DeletePass(ctx, id, string(someone)),
			all, registration, deleted, risk, c.SetEnabled(ctx, id, false), c.RevokeSessions(ctx, id), c.SetRandomPassword(ctx, id),
			c.SetDefaultMethod(ctx, id, identity.Method{Kind: identity.MethodAuthenticator})} {
			if !errors.Is(err, identity.ErrRefused) {
				t.Errorf("id %q, method %d: %v", id, i, err)
			}
		}
	}
}
