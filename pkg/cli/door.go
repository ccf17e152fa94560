package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/awssign"
	"mfaflow/pkg/config"
	"mfaflow/pkg/console"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/signin"
)

// exposure are the flags of a console that others reach, too.
type exposure struct {
	origin, issuer, clientID, secretFile, role string
	certificate, key                           string
	session                                    time.Duration
}

func (e *exposure) flags(c *cobra.Command) {
	c.Flags().StringVar(&e.origin, "origin", "", "where browsers find an exposed console, such as https://console.contoso.example")
	c.Flags().StringVar(&e.issuer, "issuer", "", "OpenID Connect provider at which operators sign in, such as https://login.microsoftonline.com/<tenant>/v2.0")
	c.Flags().StringVar(&e.clientID, "client-id", "", "id of the console at the provider, with the redirect URI <origin>/signed-in")
	c.Flags().StringVar(&e.secretFile, "client-secret-file", "", "file with the client secret; without one it is a public client")
	c.Flags().StringVar(&e.role, "role", "", "ARN of the AWS role that operators assume with their identity token")
	c.Flags().DurationVar(&e.session, "session", time.Hour, "how long operators stay signed in, 15m to 12h and no longer than the role's maximum session duration")
	c.Flags().StringVar(&e.certificate, "certificate", "", "certificate to serve with, as PEM; read again when it is renewed")
	c.Flags().StringVar(&e.key, "key", "", "private key of the certificate, as PEM")
}

// wanted reports whether the console is to be exposed, and says what is missing.
func (e *exposure) wanted() (bool, error) {
	given, missing := "", ""
	for _, f := range []struct{ name, value string }{{"origin", e.origin}, {"issuer", e.issuer}, {"client-id", e.clientID}, {"role", e.role}} {
		if f.value != "" {
			given = f.name
		} else if missing == "" {
			missing = f.name
		}
	}
	switch {
	case given != "" && missing != "":
		return false, &usageError{fmt.Errorf("--%s is missing: an exposed console needs --origin, --issuer, --client-id and --role", missing)}
	case given == "" && (e.secretFile != "" || e.certificate != "" || e.key != ""):
		return false, &usageError{errors.New("--client-secret-file, --certificate and --key are for an exposed console, which needs --origin, --issuer, --client-id and --role")}
	case (e.certificate == "") != (e.key == ""):
		return false, &usageError{errors.New("--certificate and --key go together")}
	case e.session < 15*time.Minute || e.session > 12*time.Hour:
		return false, &usageError{errors.New("--session is between 15m and 12h")}
	}
	return given != "", nil
}

// door lets operators in with what their own identity token is good for: a session of a
// role at AWS, under which event-replay knows them.
type door struct {
	*signin.Provider
	federation *awssign.Federation
	operations string
	role       string
}

// open finds the provider and makes the door. Nothing is asked of AWS or of event-replay
// before somebody signs in.
func (e *exposure) open(ctx context.Context, t target, env []string) (d *door, closing func(), err error) {
	operations := t.url
	if operations == "" {
		operations, _ = lookup(env, config.OperationsURL)
	}
	if u, err := url.Parse(operations); operations == "" || err != nil || u.Scheme != "https" {
		return nil, nil, &usageError{fmt.Errorf("an exposed console works with the event-replay of a deployment: set %s or --url to its function URL", config.OperationsURL)}
	}
	if _, err := operateapi.New(operations, nil); err != nil {
		return nil, nil, &usageError{err}
	}
	secret, err := readSecret(e.secretFile)
	if err != nil {
		return nil, nil, err
	}
	connections := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second}
	f, err := awssign.Federate(ctx, awssign.FederationConfig{Role: e.role, Region: t.regionOf(operations), Life: e.session, Next: connections})
	if err != nil {
		return nil, nil, advise(err)
	}
	p, err := signin.Discover(ctx, signin.Config{
		Issuer: e.issuer, ClientID: e.clientID, ClientSecret: secret, RedirectURL: strings.TrimSuffix(e.origin, "/") + "/signed-in", Transport: connections,
	})
	if err != nil {
		return nil, nil, hint(err, "check --issuer: <issuer>/.well-known/openid-configuration must be there")
	}
	return &door{p, f, operations, e.role}, connections.CloseIdleConnections, nil
}

func readSecret(file string) (identity.Secret, error) {
	if file == "" {
		return identity.Secret{}, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(text)) == "" {
		return identity.Secret{}, &usageError{fmt.Errorf("--client-secret-file: %s does not exist or is empty", file)}
	} else if err != nil {
		return identity.Secret{}, fmt.Errorf("client secret: %w", err)
	}
	return identity.NewSecret(strings.TrimSpace(string(text))), nil
}

// URL implements console.Door.
func (d *door) URL(a console.Attempt) string { return d.Provider.URL(signin.Attempt(a)) }

// Admit implements console.Door. event-replay has the last word on who somebody is.
func (d *door) Admit(ctx context.Context, a console.Attempt, with console.Answer) (console.Admission, error) {
	person, err := d.Finish(ctx, signin.Attempt(a), signin.Answer(with))
	if err != nil {
		return console.Admission{}, err
	}
	no := func(err error, next string, args ...any) (console.Admission, error) {
		return console.Admission{}, &console.NotAdmittedError{Why: err, Next: fmt.Sprintf(next, args...)}
	}
	session, err := d.federation.Enter(ctx, person.Subject, person.Token.Reveal())
	switch {
	case errors.Is(err, awssign.ErrNotTrusted):
		return no(err, "You are %s, with the subject %s. Whoever runs mfaflow can see whether the trust policy of %s is for this provider, this client and sessions named by the subject.", person.Name, person.Subject, d.role)
	case errors.Is(err, awssign.ErrRole):
		return no(err, "Whoever runs the console can correct --role or --session.")
	case err != nil:
		return no(err, "Try again in a moment.")
	}
	operations, err := operateapi.New(d.operations, session)
	if err != nil {
		return console.Admission{}, err
	}
	operator, err := operations.WhoAmI(ctx)
	switch {
	case errors.Is(err, operateapi.ErrNobody):
		return no(err, "You are %s. Whoever runs mfaflow can make you an operator: MFAFLOW_NAMED_OPERATORS of event-replay lists, for %s, the subject %s.", person.Name, d.role, person.Subject)
	case errors.Is(err, operateapi.ErrDenied):
		return no(err, "You are %s. Whoever runs mfaflow can see whether the policy of %s allows the function URL of event-replay: lambda:InvokeFunctionUrl and lambda:InvokeFunction.", person.Name, d.role)
	case err != nil:
		return no(err, "Try again in a moment.")
	}
	return console.Admission{Operator: operator, Operations: operations, Ends: session.Ends}, nil
}

// serving is what the console is served with; nil without a certificate. A renewed
// certificate is taken up without a restart: its file is looked at once a minute.
func (e *exposure) serving() (*tls.Config, error) {
	if e.certificate == "" {
		return nil, nil
	}
	var (
		mu      sync.Mutex
		current tls.Certificate
		looked  time.Time
	)
	load := func() error {
		c, err := tls.LoadX509KeyPair(e.certificate, e.key)
		if err == nil {
			current = c
		}
		looked = time.Now()
		return err
	}
	if err := load(); err != nil {
		return nil, &usageError{fmt.Errorf("--certificate and --key: %w", err)}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(looked) > time.Minute {
			_ = load() // half of a renewal: the one that is there still works
		}
		c := current
		return &c, nil
	}}, nil
}
