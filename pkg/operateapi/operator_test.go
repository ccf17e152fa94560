package operateapi_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
)

const role = "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Operators_0123456789abcdef"

// The operator is the session of a role that is named, and of no other principal.
func TestSessions(t *testing.T) {
	const session = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0123456789abcdef/"
	caller := ""
	who, err := operateapi.Sessions(func(context.Context) string { return caller }, []string{role}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for arn, want := range map[string]operate.Operator{
		session + "ada@contoso.example": "ada@contoso.example",
		"":                              "",
		session:                         "",
		session + "ada":                 "", // who is that in the directory?
		session + "ada@":                "",
		session + "@contoso.example":    "",
		session + "a b":                 "",
		session + "ada/eve":             "",
		session + "ada\n":               "",
		"arn:aws:sts::999999999999:assumed-role/AWSReservedSSO_Operators_0123456789abcdef/ada":    "",
		"arn:aws-cn:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0123456789abcdef/ada": "",
		"arn:aws:sts::123456789012:assumed-role/Deploy/ada":                                       "",
		"arn:aws:sts::123456789012:federated-user/ada":                                            "",
		"arn:aws:iam::123456789012:user/ada":                                                      "",
		"arn:aws:iam::123456789012:root":                                                          "",
		role:                                                                                      "",
	} {
		caller = arn
		got, err := who(httptest.NewRequestWithContext(t.Context(), "POST", "/", nil))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", arn, got, err)
		}
	}
	for _, roles := range [][]string{nil, {""}, {"AWSReservedSSO_Operators"}, {role, "*"}, {"arn:aws:iam::123456789012:user/ada"}, {"arn:aws:iam::123456789012:role/a*"}} {
		if _, err := operateapi.Sessions(func(context.Context) string { return "" }, roles, nil); err == nil {
			t.Errorf("roles %q are taken", roles)
		}
	}
}

// Sessions of a listed role are the people of the list, under the names of the list.
func TestListedSessions(t *testing.T) {
	const (
		console = "arn:aws:iam::123456789012:role/mfaflow/console"
		session = "arn:aws:sts::123456789012:assumed-role/console/"
		sub     = "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"
	)
	nobody := func(context.Context) string { return "" }
	caller := ""
	who, err := operateapi.Sessions(func(context.Context) string { return caller }, []string{role},
		map[string]map[string]string{console: {sub: " ada@contoso.example ", "00u1": "ben@contoso.example"}})
	if err != nil {
		t.Fatal(err)
	}
	for arn, want := range map[string]operate.Operator{
		session + sub:                   "ada@contoso.example",
		session + "00u1":                "ben@contoso.example",
		session + "00U1":                "", // subjects are compared letter by letter
		session + "ada@contoso.example": "",
		session + "eve":                 "",
		"arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0123456789abcdef/ada@contoso.example": "ada@contoso.example",
		"arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0123456789abcdef/" + sub:              "",
	} {
		caller = arn
		got, err := who(httptest.NewRequestWithContext(t.Context(), "POST", "/", nil))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", arn, got, err)
		}
	}
	for name, named := range map[string]map[string]map[string]string{
		"no ARN":                 {"console": {sub: "ada@contoso.example"}},
		"no name":                {console: {sub: " "}},
		"no name of a directory": {console: {sub: "ada"}},
		"no possible session":    {console: {"auth0|ada": "ada@contoso.example"}},
		"its own names and list": {role: {sub: "ada@contoso.example"}},
	} {
		if _, err := operateapi.Sessions(nobody, []string{role}, named); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := operateapi.Sessions(nobody, nil, map[string]map[string]string{console: {}}); err != nil {
		t.Errorf("nobody listed yet: %v", err)
	}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// A token names the owner of its file, whatever else a request says.
func TestToken(t *testing.T) {
	const token = "abcdefghijklmnopqrstuvwxyz"
	path := write(t, token+"\n", 0o600)
	who, err := operateapi.Token(path)
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{}
	client, url, _ := serve(t, m, who)
	if _, err := client.Overview(t.Context()); !errors.Is(err, operateapi.ErrNobody) || m.id != "" {
		t.Errorf("without a token: %v", err)
	}
	read, err := operateapi.ReadToken(path)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	authorized, err := operateapi.New(url, operateapi.Bearer(read, transport))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authorized.Discard(t.Context(), "eve", nil, "r"); err != nil || m.asked[0] != operate.Operator(me.Username) {
		t.Errorf("with the token: %v, %v, want %s", err, m.asked, me.Username)
	}
	for _, headers := range [][]string{{"Bearer x"}, {"Bearer " + token, "Bearer " + token}, {"Basic " + token}, {"bearer " + token}, {"Bearer  " + token}} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		r.RemoteAddr, r.Header["Authorization"] = "127.0.0.1:1", headers
		if by, err := who(r); err == nil || by != "" {
			t.Errorf("%q is let in", headers)
		}
	}
	for from, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "203.0.113.1:0": false, "": false, ":0": false} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		r.RemoteAddr = from
		r.Header.Set("Authorization", "Bearer "+token)
		if _, err := who(r); (err == nil) != want {
			t.Errorf("from %q: %v", from, err)
		}
	}
}

func TestTokensThatAreNone(t *testing.T) {
	for name, path := range map[string]string{
		"others can read it": write(t, "abcdefghijklmnopqrstuvwxyz", 0o644),
		"too short":          write(t, "abc", 0o600),
		"not there":          filepath.Join(t.TempDir(), "no"),
	} {
		if _, err := operateapi.Token(path); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	// A token never leaves the machine.
	r, _ := http.NewRequestWithContext(t.Context(), "POST", "https://x.example/", nil)
	response, err := operateapi.Bearer(identity.NewSecret("secret"), through{nil}).RoundTrip(r)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, %v", response, err)
	}
}

// Who is nobody learns nothing, not even which methods there are.
func TestNobody(t *testing.T) {
	for name, who := range map[string]operateapi.Authenticator{
		"refused": func(*http.Request) (operate.Operator, error) { return "", errors.New("secret reason") },
		"unnamed": always(""),
	} {
		m := &mirror{}
		h := operateapi.Handler(m, who, slog.New(slog.DiscardHandler))
		known, unknown := post(t, h, "POST", "/v1/overview", "{}"), post(t, h, "POST", "/v1/nosuch", "{")
		strip := func(s string) string { before, _, _ := strings.Cut(s, `"correlationId"`); return before }
		if known.Code != 403 || unknown.Code != 403 || strip(known.Body.String()) != strip(unknown.Body.String()) || strings.Contains(known.Body.String(), "secret") || m.id != "" {
			t.Errorf("%s: %d %s, %d %s", name, known.Code, known.Body, unknown.Code, unknown.Body)
		}
	}
}

// A stack is found as long as it runs, unless another one took over.
func TestAnnounce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mfaflow", "operations.json")
	if _, err := operateapi.Find(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	first, second := operateapi.Local{URL: "http://127.0.0.1:1", TokenFile: "/a"}, operateapi.Local{URL: "http://127.0.0.1:2", TokenFile: "/b"}
	for _, l := range []operateapi.Local{first, second} {
		if err := operateapi.Announce(path, l); err != nil {
			t.Fatal(err)
		}
		if got, err := operateapi.Find(path); err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("got %v, %v, want %v", got, err, l)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := operateapi.Withdraw(path, first); err != nil {
		t.Error(err)
	}
	if got, err := operateapi.Find(path); err != nil || !reflect.DeepEqual(got, second) {
		t.Errorf("the second is withdrawn by the first: %v, %v", got, err)
	}
	if err := operateapi.Withdraw(path, second); err != nil {
		t.Error(err)
	}
	if _, err := operateapi.Find(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after: %v", err)
	}
	if os.Getuid() == 0 {
		foreign := write(t, `{"url":"http://127.0.0.1:1","tokenFile":"/a"}`, 0o600)
		if err := os.Chown(foreign, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := operateapi.Find(foreign); err == nil {
			t.Error("another user's file is believed")
		}
	}
}
