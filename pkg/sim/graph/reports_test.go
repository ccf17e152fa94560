package graph_test

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

const (
	signIns    = "/v1.0/auditLogs/signIns"
	detections = "/v1.0/identityProtection/riskDetections"
	riskyUsers = "/v1.0/identityProtection/riskyUsers"
)

func filtered(path, filter string) string { return path + "?$filter=" + url.QueryEscape(filter) }

// bare is the sample tenant without reports.
func bare(t *testing.T, change func(*graph.Tenant)) *sim {
	t.Helper()
	people, err := graph.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	people.SignIns, people.Detections = nil, nil
	for _, u := range people.Users {
		u.Risk = nil
	}
	if change != nil {
		change(people)
	}
	return startWith(t, graph.Options{Tenant: people})
}

func TestSignInLog(t *testing.T) {
	s := bare(t, nil)
	add := func(after time.Duration, in graph.SignIn) string {
		t.Helper()
		at := t0.Add(after)
		in.Time = &at
		id, err := s.AddSignIn(in)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	locked := add(-3*time.Minute, graph.SignIn{User: "Mei.Tanaka@contoso.example", Code: 50053, App: "Portal", IP: "192.0.2.1"})
	nobody := add(-time.Minute, graph.SignIn{User: "Nobody@contoso.example", Code: 50126})
	blocked := add(-2*time.Minute, graph.SignIn{User: joiner, Code: 50053, Reason: "malicious activity", Details: "x"})

	all := s.sweep("GET", signIns, nil).want(t, 200, "")
	if got := fmt.Sprint(all.ids()); got != fmt.Sprint([]string{nobody, blocked, locked}) {
		t.Errorf("not newest first: %s", got)
	}
	last := all.value()[2].(map[string]any)
	status := last["status"].(map[string]any)
	if last["userPrincipalName"] != "mei.tanaka@contoso.example" || last["userId"] != sixMethods || last["isInteractive"] != true || last["createdDateTime"] != "2026-11-23T08:57:00Z" ||
		status["errorCode"] != float64(50053) || !strings.Contains(status["failureReason"].(string), "too many times") {
		t.Errorf("entry %v", last)
	}
	if first := all.value()[0].(map[string]any); first["userId"] != "00000000-0000-0000-0000-000000000000" || first["userPrincipalName"] != "nobody@contoso.example" {
		t.Errorf("attempt of nobody %v", first)
	}
	for filter, want := range map[string][]string{
		"status/errorCode eq 50053": {blocked, locked},
		"createdDateTime ge 2026-11-23T08:58:00Z and status/errorCode eq 50053":  {blocked},
		"createdDateTime le 2026-11-23T08:57:00Z":                                {locked},
		"userId eq '" + joiner + "'":                                             {blocked},
		"startsWith(userPrincipalName,'nobody')":                                 {nobody},
		"status/errorCode eq 0":                                                  nil,
		"createdDateTime ge 2026-11-23T08:57:00Z and appDisplayName eq 'portal'": {locked},
	} {
		if got := s.sweep("GET", filtered(signIns, filter), nil).want(t, 200, "").ids(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	for _, filter := range []string{"status/errorCode eq 1 or status/errorCode eq 2", "createdDateTime gt 2026-11-23T08:57:00Z", "isInteractive eq true",
		"status/errorCode in (1,2)", "not (status/errorCode eq 1)", "status/errorCode ge 1"} {
		s.sweep("GET", filtered(signIns, filter), nil).want(t, 400, "BadRequest")
	}
	s.sweep("GET", signIns+"?$select=id", nil).want(t, 400, "BadRequest")

	var paged []string
	for path := signIns + "?$top=2"; path != ""; {
		a := s.sweep("GET", path, nil).want(t, 200, "")
		paged = append(paged, a.ids()...)
		path, _ = a.body["@odata.nextLink"].(string)
		add(time.Minute, graph.SignIn{User: joiner, Code: 1}) // newer ones do not move the pages
	}
	if fmt.Sprint(paged) != fmt.Sprint(all.ids()) {
		t.Errorf("paged %v", paged)
	}

	s.as("identity-router", "GET", signIns, nil).want(t, 403, "Authentication_MSGraphPermissionMissing")
	s.SetThrottle(graph.Throttle{Factor: 1})
	for range 5 {
		s.sweep("GET", signIns, nil).want(t, 200, "")
	}
	s.sweep("GET", signIns, nil).want(t, 429, "TooManyRequests")
	if _, err := s.AddSignIn(graph.SignIn{}); err == nil {
		t.Error("a sign-in of nobody at all")
	}
}

// The log shows entries late, so whoever polls it must look back.
func TestSignInDelay(t *testing.T) {
	s := bare(t, func(t *graph.Tenant) { t.Behaviour.ReportDelay = 300 })
	if _, err := s.AddSignIn(graph.SignIn{User: joiner, Code: 50053}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.sweep("GET", signIns, nil).want(t, 200, "").value()); n != 0 {
		t.Errorf("%d entries at once", n)
	}
	s.clock.Advance(5 * time.Minute)
	if n := len(s.sweep("GET", signIns, nil).want(t, 200, "").value()); n != 1 {
		t.Errorf("%d entries after five minutes", n)
	}
}

func TestAttemptsAreLogged(t *testing.T) {
	s := bare(t, nil)
	codes := func() string {
		t.Helper()
		var got []any
		for _, v := range s.sweep("GET", signIns, nil).want(t, 200, "").value() {
			got = append(got, v.(map[string]any)["status"].(map[string]any)["errorCode"])
		}
		s.Mutate(func(t *graph.Tenant) { t.SignIns = nil })
		return fmt.Sprint(got)
	}
	for i := range 10 {
		if err := s.SignInWithPassword(sixMethods, false); !errors.Is(err, graph.ErrWrongPassword) {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	if got := codes(); strings.Count(got, "50126") != 10 {
		t.Errorf("codes %s", got)
	}
	if err := s.SignInWithPassword(sixMethods, true); !errors.Is(err, graph.ErrLocked) || codes() != "[50053]" {
		t.Errorf("the eleventh: %v", err)
	}
	if u, _ := s.User(sixMethods); !u.AccountEnabled {
		t.Error("smart lockout disables the account")
	}
	s.clock.Advance(time.Minute)
	if err := s.SignInWithPassword(sixMethods, true); err != nil || codes() != "[0]" {
		t.Errorf("after the lock: %v", err)
	}
	s.Mutate(func(t *graph.Tenant) { t.User(joiner).AccountEnabled = false })
	if err := s.SignInWithPassword(joiner, true); !errors.Is(err, graph.ErrAccountDisabled) || codes() != "[50057]" {
		t.Errorf("disabled: %v", err)
	}
	if err := s.SignInWithPass(joiner, "x"); !errors.Is(err, graph.ErrAccountDisabled) || codes() != "[50057]" {
		t.Errorf("disabled, with a pass: %v", err)
	}
	if err := s.SignInWithPass(sixMethods, "x"); !errors.Is(err, graph.ErrWrongPass) || codes() != "[130503]" {
		t.Errorf("wrong pass: %v", err)
	}
	if err := s.SignInWithPassword("nobody@contoso.example", true); !errors.Is(err, graph.ErrWrongPassword) || codes() != "[50126]" {
		t.Errorf("nobody: %v", err)
	}
}

func TestRiskDetections(t *testing.T) {
	s := bare(t, nil)
	add := func(d graph.Detection) string {
		t.Helper()
		id, err := s.AddDetection(d)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	old := t0.Add(-time.Hour)
	dismissed := add(graph.Detection{User: joiner, Kind: "newCountry", Level: "low", State: "dismissed", DetectedAt: &old})
	if u, _ := s.User(joiner); u.Risk != nil {
		t.Errorf("a detection that is over raises the risk: %+v", u.Risk)
	}
	high := add(graph.Detection{User: joiner, Kind: "leakedCredentials", Activity: "user", Level: "high", State: "atRisk", Detail: "microsoftRevokedSessions"})
	add(graph.Detection{User: joiner, Kind: "unfamiliarFeatures", Level: "low", State: "atRisk", SignInID: "s-1"})
	if u, _ := s.User(joiner); u.Risk == nil || u.Risk.Level != "high" || u.Risk.State != "atRisk" {
		t.Errorf("risk %+v", u.Risk)
	}
	a := s.sweep("GET", filtered(detections, "detectedDateTime ge 2026-11-23T09:00:00Z"), nil).want(t, 200, "")
	if len(a.value()) != 2 {
		t.Fatalf("%s", a.text)
	}
	d := a.value()[0].(map[string]any)
	if d["id"] != high || d["activity"] != "user" || d["userId"] != joiner || d["requestId"] != nil || d["riskDetail"] != "unknownFutureValue" || d["detectedDateTime"] != "2026-11-23T09:00:00Z" {
		t.Errorf("detection %v", d)
	}
	if d := s.sweep("GET", filtered(detections, "id eq '"+high+"'"), nil, "Prefer", "include-unknown-enum-members").value()[0].(map[string]any); d["riskDetail"] != "microsoftRevokedSessions" {
		t.Errorf("with all members %v", d)
	}
	if ids := s.sweep("GET", filtered(detections, "riskState eq 'dismissed'"), nil).ids(); fmt.Sprint(ids) != fmt.Sprint([]string{dismissed}) {
		t.Errorf("dismissed %v", ids)
	}
	for range 30 {
		add(graph.Detection{User: sixMethods, Kind: "passwordSpray", Level: "low", State: "remediated"})
	}
	if a := s.sweep("GET", detections, nil).want(t, 200, ""); len(a.value()) != 20 || a.body["@odata.nextLink"] == nil {
		t.Errorf("%d on the first page", len(a.value()))
	}
	if n := len(s.sweep("GET", detections+"?$top=500", nil).want(t, 200, "").value()); n != 33 {
		t.Errorf("%d in all", n)
	}
	s.sweep("GET", detections+"?$top=501", nil).want(t, 400, "Request_UnsupportedQuery")
	s.worker("GET", detections, nil).want(t, 403, "AccessDenied")
	s.SetThrottle(graph.Throttle{Factor: 1})
	s.sweep("GET", detections, nil).want(t, 200, "")
	s.worker("GET", riskyUsers, nil).want(t, 429, "TooManyRequests") // one limit for all apps
	for _, bad := range []graph.Detection{{User: joiner, Level: "high", State: "atRisk"}, {User: joiner, Kind: "x", Level: "huge", State: "atRisk"}, {User: "nobody", Kind: "x", Level: "high", State: "atRisk"}} {
		if _, err := s.AddDetection(bad); err == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

func TestRiskyUsersSince(t *testing.T) {
	s := bare(t, nil)
	for i, id := range []string{joiner, sixMethods, phonesOnly} {
		s.clock.Set(t0.Add(time.Duration(i) * time.Hour))
		if err := s.SetRisk(id, "high", "atRisk"); err != nil {
			t.Fatal(err)
		}
	}
	clear(s.tokens)
	if err := s.Delete(phonesOnly); err != nil {
		t.Fatal(err)
	}
	s.Mutate(func(t *graph.Tenant) { t.User(sixMethods).Risk.Processing = true })
	a := s.sweep("GET", filtered(riskyUsers, "riskLastUpdatedDateTime ge 2026-11-23T10:00:00Z"), nil).want(t, 200, "")
	var got []string
	for _, v := range a.value() {
		u := v.(map[string]any)
		got = append(got, fmt.Sprint(u["id"], " ", u["isDeleted"], " ", u["isProcessing"]))
	}
	if want := []string{sixMethods + " false true", phonesOnly + " true false"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("risky users %v, want %v", got, want)
	}
}

func TestLicences(t *testing.T) {
	for licence, want := range map[graph.Licence][3]string{
		graph.LicenceFree: {"Authentication_RequestFromNonPremiumTenantOrB2CTenant", "Forbidden", "Forbidden"},
		graph.LicenceP1:   {"", "", "Forbidden"},
		graph.LicenceP2:   {"", "", ""},
	} {
		s := bare(t, func(t *graph.Tenant) { t.Behaviour.Licence = licence })
		for i, path := range []string{signIns, detections, riskyUsers} {
			if a := s.sweep("GET", path, nil); a.errorCode() != want[i] || (a.status == 403) != (want[i] != "") {
				t.Errorf("%s %s: %d %s", licence, path, a.status, a.text)
			}
		}
	}
}

func TestHireAndLeaveDates(t *testing.T) {
	s := start(t)
	query := func(property string) string {
		return filtered("/v1.0/users", property+" ge 2026-11-30T00:00:00Z and "+property+" le 2026-12-01T00:00:00Z") + "&$count=true&$select=id," + property
	}
	if ids := s.sweep("GET", query("employeeHireDate"), nil, "ConsistencyLevel", "eventual").want(t, 200, "").ids(); fmt.Sprint(ids) != fmt.Sprint([]string{joiner, joinerNoManager}) {
		t.Errorf("hires %v", ids)
	}
	if ids := s.sweep("GET", query("employeeLeaveDateTime"), nil, "ConsistencyLevel", "eventual").want(t, 200, "").ids(); len(ids) != 1 {
		t.Errorf("leavers %v", ids)
	}
	s.worker("GET", query("employeeLeaveDateTime"), nil, "ConsistencyLevel", "eventual").want(t, 403, "Authorization_RequestDenied")
	s.worker("GET", filtered("/v1.0/users", "employeeLeaveDateTime ge 2026-11-30T00:00:00Z"), nil).want(t, 403, "Authorization_RequestDenied")
}

// Another process adds what a test does by method.
func TestReportsByControl(t *testing.T) {
	s := bare(t, nil)
	post := func(path, body string, status int) {
		t.Helper()
		if a := s.as("", "POST", "/sim"+path, body); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	post("/sign-ins", `{"user":"`+joiner+`","errorCode":50053}`, 200)
	post("/sign-ins", `{"errorCode":50053}`, 400)
	post("/detections", `{"user":"`+joiner+`","riskEventType":"newCountry","riskLevel":"medium","riskState":"atRisk"}`, 200)
	post("/detections", `{"user":"nobody","riskEventType":"newCountry","riskLevel":"medium","riskState":"atRisk"}`, 400)
	for _, path := range []string{signIns, detections, riskyUsers} {
		if n := len(s.sweep("GET", path, nil).want(t, 200, "").value()); n != 1 {
			t.Errorf("%s lists %d", path, n)
		}
	}
	s.as("", "DELETE", "/sim/users/"+joiner, nil)
	if _, there := s.User(joiner); there {
		t.Error("not deleted")
	}
	for _, path := range []string{"/sim/subscriptions", "/sim/deliveries"} {
		resp, err := s.http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.TrimSpace(string(text)) != "[]" {
			t.Errorf("%s: %s", path, text)
		}
	}
}
