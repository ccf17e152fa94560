package operateapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"regexp"
	"strings"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
)

// Authenticator finds out who sent a request. Its error is for the log; whoever sent the
// request hears no more than that it may not.
type Authenticator func(*http.Request) (operate.Operator, error)

// ErrNobody: the request is not an operator's.
var ErrNobody = errors.New("you are not an operator here")

// Sessions lets in who has assumed one of the roles, under the name of the session. Only
// the identity provider may choose that name, so the roles are those that nobody but the
// provider can give: those of IAM Identity Center, or of which the trust policy ties
// sts:RoleSessionName to the person. caller is the ARN that AWS authenticated, empty for
// nobody; roles are ARNs.
//
// A name must be one that the directory has for the person, such as ada@contoso.example:
// of another one nobody can tell who that is there, nor that it is somebody who comes by
// another role as well. Both matter: nobody may approve what is about themselves, or twice.
//
// Sessions of a role in named are let in under the names given there and no other. That is
// for roles whose sessions have other names: of one assumed with the tokens of an OpenID
// Connect provider, it is the subject of the token.
//
// An invocation that does not come by the function URL can claim any caller: its policy
// must allow lambda:InvokeFunction under the condition lambda:InvokedViaFunctionUrl only
// (docs.aws.amazon.com/lambda/latest/dg/urls-auth.html).
func Sessions(caller func(context.Context) string, roles []string, named map[string]map[string]string) (Authenticator, error) {
	names := map[string]map[string]operate.Operator{} // by the ARN of the sessions; nil for their own names
	for _, arn := range roles {
		of, err := sessionsOf(arn)
		if err != nil {
			return nil, err
		}
		names[of] = nil
	}
	for arn, people := range named {
		of, err := sessionsOf(arn)
		if err != nil {
			return nil, err
		}
		if _, twice := names[of]; twice {
			return nil, errors.New("the sessions of a role have either their own names or those that are listed: " + arn)
		}
		if names[of], err = listed(arn, people); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no role of operators is named")
	}
	return func(r *http.Request) (operate.Operator, error) {
		m := sessionARN.FindStringSubmatch(caller(r.Context()))
		if m == nil {
			return "", errors.New("the request has no session of a role")
		}
		people, known := names[m[1]]
		switch {
		case !known:
			return "", errors.New("the role of the session is not one of operators")
		case people == nil && !ofDirectory(m[2]):
			return "", fmt.Errorf("the session name %s is not one of the directory's, such as ada@contoso.example: let the identity provider choose the UPN or mail address, or list the sessions of the role in MFAFLOW_NAMED_OPERATORS instead", m[2])
		case people == nil:
			return operate.Operator(m[2]), nil
		case people[m[2]] == "":
			return "", fmt.Errorf("the session %s is of a role of which operators are listed, and is not among them", m[2])
		}
		return people[m[2]], nil
	}, nil
}

// sessionsOf is what the ARNs of a role's sessions begin with.
func sessionsOf(role string) (string, error) {
	m := roleARN.FindStringSubmatch(role)
	if m == nil {
		return "", errors.New("a role of operators is not an ARN such as arn:aws:iam::123456789012:role/name")
	}
	return "arn:" + m[1] + ":sts::" + m[2] + ":assumed-role/" + m[3], nil
}

// listed checks the names that are given to the sessions of a role.
func listed(role string, people map[string]string) (map[string]operate.Operator, error) {
	list := map[string]operate.Operator{}
	for session, name := range people {
		if !sessionName.MatchString(session) {
			return nil, fmt.Errorf("%s lists %q, which no session can be named: letters, digits and _+=,.@- are possible, 2 to 64 of them", role, session)
		}
		name = strings.TrimSpace(name)
		if !ofDirectory(name) {
			return nil, fmt.Errorf("%s gives the session %s no name such as ada@contoso.example: say who it is, as the directory names them", role, session)
		}
		list[session] = operate.Operator(name)
	}
	return list, nil
}

// ofDirectory reports whether a name may be a UPN or a mail address.
func ofDirectory(name string) bool {
	user, domain, _ := strings.Cut(name, "@")
	return user != "" && domain != ""
}

// Of docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html: the ARN of a
// session has the name of the role without its path.
var (
	roleARN    = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::([0-9]{12}):role/(?:[\x21-\x7e]+/)?([\w+=,.@-]{1,64})$`)
	sessionARN = regexp.MustCompile(`^(arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/[\w+=,.@-]{1,64})/([\w+=,.@-]{2,64})$`)
	// docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// Token lets in who can read a file, under the name of the file's owner. Nobody else may
// be able to read it: that is checked. It is for functions on one's own machine, and lets
// in nobody from another, whatever they show.
func Token(path string) (Authenticator, error) {
	token, err := ReadToken(path)
	if err != nil {
		return nil, err
	}
	owner, err := ownerOf(path)
	if err != nil {
		return nil, fmt.Errorf("operator token: %w", err)
	}
	name := "uid-" + owner
	if u, err := user.LookupId(owner); err == nil {
		name = u.Username
	}
	want := sha256.Sum256([]byte("Bearer " + token.Reveal()))
	return func(r *http.Request) (operate.Operator, error) {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || !loopback(host) {
			return "", errors.New("the request comes from another machine")
		}
		// Of several headers the first would do for one reader and the last for another.
		given := r.Header.Values("Authorization")
		got := sha256.Sum256([]byte(strings.Join(given, "\n")))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return "", errors.New("the request has not the token of this run")
		}
		return operate.Operator(name), nil
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// minToken is what 128 random bits take in base64.
const minToken = 22

// ReadToken reads the file of a token. It refuses a file that others can read.
func ReadToken(path string) (identity.Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return identity.Secret{}, fmt.Errorf("operator token: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return identity.Secret{}, fmt.Errorf("operator token: others can read %s; its mode must be 0600", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return identity.Secret{}, fmt.Errorf("operator token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < minToken {
		return identity.Secret{}, fmt.Errorf("operator token: %s is too short to be one", path)
	}
	return identity.NewSecret(token), nil
}

// Bearer is a transport that shows a token. It shows it to nothing but this machine.
func Bearer(token identity.Secret, next http.RoundTripper) http.RoundTripper {
	return bearer{token, next}
}

type bearer struct {
	token identity.Secret
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if !loopback(r.URL.Hostname()) {
		return nil, errors.New("a token of this machine is for this machine only")
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.next.RoundTrip(r)
}
