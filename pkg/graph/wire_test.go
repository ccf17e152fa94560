package graph_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

// Answers that no sane tenant gives come from a wire: a transport that answers by
// itself. Everything else in this package's tests runs against the simulator.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

type staticToken struct{}

const bearer = "eyJ-bearer-token"

func (staticToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: bearer, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// wired is a client whose transport is w.
func wired(t *testing.T, w wire) *graph.Client {
	t.Helper()
	c, err := graph.New(graph.Options{Credential: staticToken{}, BaseURL: "http://127.0.0.1:9", Transport: w})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says is an answer with a JSON body.
func says(status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req-1"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

const someone = identity.UserID("aaaaaaaa-0000-4000-8000-000000000001")

// operations are all methods of the client with plausible arguments.
var operations = []struct {
	name       string
	write      bool
	permission string
	run        func(context.Context, *graph.Client) error
}{
	{"Find", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Find(ctx, identity.Reference{UserPrincipalName: "mia.lind@contoso.example"})
		return err
	}},
	{"Account", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Account(ctx, someone)
		return err
	}},
	{"Manager", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Manager(ctx, someone)
		return err
	}},
	{"Membership", false, "GroupMember.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Membership(ctx, someone)
		return err
	}},
	{"Roles", false, "RoleManagement.Read.Directory|RoleEligibilitySchedule.Read.Directory", func(ctx context.Context, c *graph.Client) error {
		_, _, err := c.Roles(ctx, someone)
		return err
	}},
	{"Methods", false, "UserAuthenticationMethod.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Methods(ctx, someone)
		return err
	}},
	{"Passes", false, "UserAuthMethod-TAP.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Passes(ctx, someone)
		return err
	}},
	{"IssuePass", true, "UserAuthMethod-TAP.ReadWrite.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.IssuePass(ctx, someone, identity.PassRequest{Lifetime: time.Hour})
		return err
	}},
	{"DeletePass", true, "UserAuthMethod-TAP.ReadWrite.All", func(ctx context.Context, c *graph.Client) error {
		return c.DeletePass(ctx, someone, "bbbbbbbb-0000-4000-8000-000000000001")
	}},
	{"PassPolicy", false, "Policy.Read.AuthenticationMethod", func(ctx context.Context, c *graph.Client) error {
		_, err := c.PassPolicy(ctx)
		return err
	}},
	{"MethodsAndDefault", false, "UserAuthenticationMethod.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.MethodsAndDefault(ctx, someone)
		return err
	}},
	{"AllMethods", false, "UserAuthenticationMethod.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.AllMethods(ctx, someone)
		return err
	}},
	{"DeleteMethods of one", true, "UserAuthenticationMethod.ReadWrite.All", func(ctx context.Context, c *graph.Client) error {
		r, err := c.DeleteMethods(ctx, someone, []identity.Method{{Kind: identity.MethodFIDO2, ID: "key-9"}}, false)
		return errors.Join(err, r[0].Err)
	}},
	{"DeleteMethods", true, "UserAuthenticationMethod.ReadWrite.All", func(ctx context.Context, c *graph.Client) error {
		r, err := c.DeleteMethods(ctx, someone, []identity.Method{{Kind: identity.MethodFIDO2, ID: "key-8"}, {Kind: identity.MethodEmail, ID: "e"}}, false)
		return errors.Join(err, r[0].Err, r[1].Err)
	}},
	{"SetDefaultMethod", true, "UserAuthenticationMethod.ReadWrite.All", func(ctx context.Context, c *graph.Client) error {
		return c.SetDefaultMethod(ctx, sean, identity.Method{Kind: identity.MethodPhone, Phone: identity.PhoneMobile})
	}},
	{"SetEnabled", true, "User.EnableDisableAccount.All", func(ctx context.Context, c *graph.Client) error {
		return c.SetEnabled(ctx, someone, true)
	}},
	{"RevokeSessions", true, "User.RevokeSessions.All", func(ctx context.Context, c *graph.Client) error {
		return c.RevokeSessions(ctx, someone)
	}},
	{"SetRandomPassword", true, "User-PasswordProfile.ReadWrite.All", func(ctx context.Context, c *graph.Client) error {
		return c.SetRandomPassword(ctx, sean)
	}},
	{"Risk", false, "IdentityRiskyUser.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Risk(ctx, someone)
		return err
	}},
	{"CountUsers", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.CountUsers(ctx)
		return err
	}},
	{"Subscriptions", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Subscriptions(ctx)
		return err
	}},
	{"Subscribe", true, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Subscribe(ctx, sweep.Subscription{Resource: "users", ChangeType: "updated,deleted", NotificationURL: "https://notify.contoso.example/graph",
			ClientState: identity.NewSecret(passValue), ExpiresAt: time.Now().Add(time.Hour)})
		return err
	}},
	{"Renew", true, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Renew(ctx, "cccccccc-0000-4000-8000-000000000001", time.Now().Add(time.Hour))
		return err
	}},
	{"Unsubscribe", true, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		return c.Unsubscribe(ctx, "cccccccc-0000-4000-8000-000000000001")
	}},
	{"Changes", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Changes(ctx, "")
		return err
	}},
	{"ChangesFromNow", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.ChangesFromNow(ctx)
		return err
	}},
	{"DeletedUsers", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.DeletedUsers(ctx, someTime, "")
		return err
	}},
	{"RiskyUsers", false, "IdentityRiskyUser.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.RiskyUsers(ctx, someTime, "")
		return err
	}},
	{"Detections", false, "IdentityRiskEvent.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Detections(ctx, someTime, "")
		return err
	}},
	{"FailedSignIns", false, "AuditLog.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.FailedSignIns(ctx, 50053, someTime, someTime.Add(time.Hour), "")
		return err
	}},
	{"Hires", false, "User.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Hires(ctx, someTime, someTime.Add(time.Hour), "")
		return err
	}},
	{"Leavers", false, "User-LifeCycleInfo.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Leavers(ctx, someTime, someTime.Add(time.Hour), "")
		return err
	}},
	{"Employment", false, "User-LifeCycleInfo.Read.All", func(ctx context.Context, c *graph.Client) error {
		_, err := c.Employment(ctx, someone)
		return err
	}},
	{"SendMail", true, "Mail.Send", func(ctx context.Context, c *graph.Client) error {
		return c.SendMail(ctx, identity.Mail{From: "onboarding@contoso.example", To: "boss@contoso.example", Subject: "Pass", Text: identity.NewSecret(passValue)})
	}},
}

// impersonal operations miss no person when Graph answers 404; resuming ones follow
// links of earlier answers and read one page.
var (
	impersonal = append([]string{"SendMail", "PassPolicy", "MethodsAndDefault", "DeleteMethods", "CountUsers", "Subscriptions", "Subscribe"}, resuming...)
	resuming   = []string{"Changes", "ChangesFromNow", "DeletedUsers", "RiskyUsers", "Detections", "FailedSignIns", "Hires", "Leavers"}
)

// unwelcome are the operations that a simulator of the test tenant alone refuses: it
// reaches no notification URL and so has no subscription.
var unwelcome = []string{"Subscribe", "Renew"}

var someTime = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

const passValue = "Pa55-value!"
