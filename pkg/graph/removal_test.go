package graph_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/identity"
	sim "mfaflow/pkg/sim/graph"
)

// Ids that Graph gives to every mobile, alternate mobile and office phone.
const (
	mobileID    = "3179e48a-750b-4051-897c-87b9720928f7"
	alternateID = "b6332ec1-7057-4abe-9331-3d72feddfe41"
	officeID    = "e37fc753-ff3b-4958-9484-eaa9425c82bc"
)

// everyKind is one method of each kind we can delete, with ids as odd as Graph's.
var everyKind = []*sim.Method{
	{Kind: "phone", ID: mobileID, Properties: map[string]any{"phoneType": "mobile", "phoneNumber": "+1 5550199"}},
	{Kind: "phone", ID: officeID, Properties: map[string]any{"phoneType": "office", "phoneNumber": "+1 5550198"}},
	{Kind: "email", ID: "3ddfcfc8-9383-446f-83cc-3ab9be4be18f", Properties: map[string]any{"emailAddress": "mia@home.example"}},
	{Kind: "fido2", ID: "-2_GRUg2-HYz6_1YG4YRAQ2"},
	{Kind: "windowsHelloForBusiness", ID: "hello/1+2=%3F#"},
	{Kind: "microsoftAuthenticator", ID: "app-9"},
	{Kind: "softwareOath", ID: "soft-9"},
	{Kind: "hardwareOath", ID: "hard-9"},
	{Kind: "platformCredential", ID: "mac-9"},
	{Kind: "external", ID: "ext-9"},
	{Kind: "qrCodePin", ID: "qr-9"},
	{Kind: "passwordlessMicrosoftAuthenticator", ID: "app-9-passwordless"},
}

// registers gives a person methods, with the default among them.
func registers(s *sim.Server, id identity.UserID, defaultID string, methods ...*sim.Method) {
	s.Mutate(func(d *sim.Tenant) {
		u := d.User(string(id))
		u.Methods, u.DefaultMethod = nil, defaultID
		for _, m := range methods {
			c := *m
			u.Methods = append(u.Methods, &c)
		}
	})
}

// read is what the person has registered, without the password.
func read(t *testing.T, c *graph.Client, id identity.UserID) []identity.Method {
	t.Helper()
	r, err := c.MethodsAndDefault(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(r.Methods, func(m identity.Method) bool { return m.Kind == identity.MethodPassword })
}

func outcomes(results []identity.MethodResult) []string {
	var list []string
	for _, r := range results {
		list = append(list, string(r.Method.Kind)+" "+string(r.Outcome))
	}
	return list
}

func TestDeleteEveryKind(t *testing.T) {
	for _, serial := range []bool{false, true} {
		t.Run(fmt.Sprintf("serial %v", serial), func(t *testing.T) {
			s := tenant(t)
			c := worker(t, s)
			registers(s, mia, "", everyKind...)
			if _, err := c.IssuePass(t.Context(), mia, identity.PassRequest{}); err != nil {
				t.Fatal(err)
			}
			methods := read(t, c, mia)
			if len(methods) != len(everyKind)+1 {
				t.Fatalf("read %+v", methods)
			}
			for _, m := range methods {
				if !m.Kind.Deletable() {
					t.Errorf("%s is not deletable", m.Kind)
				}
			}
			s.ClearRequests()
			results, err := c.DeleteMethods(t.Context(), mia, methods, serial)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				if r.Outcome != identity.MethodDeleted || r.Err != nil || r.Method != methods[i] {
					t.Errorf("%+v", r)
				}
			}
			if left := read(t, c, mia); len(left) != 0 {
				t.Errorf("left %+v", left)
			}
			batches, alone := 0, 0
			for _, r := range s.Requests() {
				switch {
				case strings.HasSuffix(r.Path, "$batch"):
					batches++
				case r.Batch == "":
					alone++
				}
			}
			// One batch for v1.0, one for beta, one to read again.
			if serial && (batches != 1 || alone != len(methods)) || !serial && (batches != 3 || alone != 0) {
				t.Errorf("%d batches, %d requests alone", batches, alone)
			}
			// What is gone is gone.
			results, err = c.DeleteMethods(t.Context(), mia, methods, serial)
			for _, r := range results {
				if err != nil || r.Outcome != identity.MethodGone || r.Err != nil {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
}

func TestWhatCannotBeDeletedRemains(t *testing.T) {
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s %s went out", r.Method, r.URL)
		return says(204, ""), nil
	})
	methods := []identity.Method{
		{Kind: identity.MethodPassword, ID: "28c10230-6103-485e-b985-444c60001490"},
		{Kind: "palmScan", ID: "palm-1"},
		{Kind: "", ID: "x"},
		{Kind: identity.MethodFIDO2, ID: ""},
		{Kind: identity.MethodFIDO2, ID: ".."},
	}
	results, err := c.DeleteMethods(t.Context(), someone, methods, false)
	if err != nil || len(results) != len(methods) {
		t.Fatalf("%+v, %v", results, err)
	}
	for _, r := range results {
		if r.Outcome != identity.MethodRemains || !errors.Is(r.Err, identity.ErrRefused) {
			t.Errorf("%+v", r)
		}
	}
	if results, err := c.DeleteMethods(t.Context(), someone, nil, false); err != nil || len(results) != 0 {
		t.Errorf("nothing to delete: %+v, %v", results, err)
	}
}

func TestDefaultMethodIsBlocked(t *testing.T) {
	for _, wording := range []sim.DefaultMethodText{sim.NewerText, sim.OlderText} {
		s := tenant(t)
		c := worker(t, s)
		s.Mutate(func(d *sim.Tenant) { d.Behaviour.DefaultMethodText = wording })
		registers(s, mia, "app-9", everyKind[2], everyKind[5])
		results, err := c.DeleteMethods(t.Context(), mia, []identity.Method{{Kind: identity.MethodAuthenticator, ID: "app-9"}}, false)
		if err != nil || results[0].Outcome != identity.MethodBlocked || !errors.Is(results[0].Err, identity.ErrRefused) {
			t.Errorf("%s: %+v, %v", wording, results, err)
		}
		checkSilence(t, results[0].Err)
		if strings.Contains(results[0].Err.Error(), "authentication method id") {
			t.Errorf("the error quotes Graph's text: %v", results[0].Err)
		}
	}
}

func TestMobileWaitsForAlternate(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	alternate := &sim.Method{Kind: "phone", ID: alternateID, Properties: map[string]any{"phoneType": "alternateMobile"}}
	registers(s, mia, "", everyKind[0], alternate)
	mobile := identity.Method{Kind: identity.MethodPhone, ID: mobileID, Phone: identity.PhoneMobile}
	results, err := c.DeleteMethods(t.Context(), mia, []identity.Method{mobile}, false)
	if err != nil || results[0].Outcome != identity.MethodBlocked {
		t.Errorf("mobile before alternate: %+v, %v", results, err)
	}
	methods := read(t, c, mia)
	if !slices.ContainsFunc(methods, func(m identity.Method) bool { return m.Phone == identity.PhoneAlternateMobile }) {
		t.Errorf("the alternate phone does not tell: %+v", methods)
	}
	for _, m := range []identity.Method{{Kind: identity.MethodPhone, ID: alternateID, Phone: identity.PhoneAlternateMobile}, mobile} {
		results, err := c.DeleteMethods(t.Context(), mia, []identity.Method{m}, false)
		if err != nil || results[0].Outcome != identity.MethodDeleted {
			t.Errorf("%+v, %v", results, err)
		}
	}
}

func TestItemsOfABatchAreJudgedSingly(t *testing.T) {
	s := tenant(t)
	registers(s, mia, "", everyKind...)
	id, secret := s.App("phones-only")
	phones := with(t, s, id, secret, s.URL())
	methods := []identity.Method{{Kind: identity.MethodEmail, ID: everyKind[2].ID}, {Kind: identity.MethodPhone, ID: officeID},
		{Kind: "palmScan", ID: "p"}, {Kind: identity.MethodPhone, ID: mobileID}, {Kind: identity.MethodPhone, ID: alternateID}}
	arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: 503, RetryAfter: "7", AfterEffect: true, Path: "/users/*/authentication/phoneMethods/" + mobileID})
	results, err := phones.DeleteMethods(t.Context(), mia, methods, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"email forbidden", "phone deleted", "palmScan remains", "phone unavailable", "phone gone"}
	if diff := cmp.Diff(want, outcomes(results)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !strings.Contains(results[0].Err.Error(), "UserAuthMethod") || !errors.Is(results[0].Err, identity.ErrForbidden) {
		t.Errorf("the error names no permission: %v", results[0].Err)
	}
	if r := results[3]; !r.Unknown || r.After != 7*time.Second {
		t.Errorf("a 503 after the effect: %+v", r)
	}
}

func TestThrottledItems(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	registers(s, mia, "", everyKind[:7]...)
	methods := read(t, c, mia)
	s.SetThrottle(sim.Throttle{Factor: 1})
	results, err := c.DeleteMethods(t.Context(), mia, methods, false)
	if err != nil {
		t.Fatal(err)
	}
	var again []identity.Method
	for _, r := range results {
		var retry *identity.RetryError
		switch {
		case r.Outcome == identity.MethodDeleted:
		case r.Outcome == identity.MethodThrottled && r.After >= time.Second && r.After <= 10*time.Second && !r.Unknown && errors.As(r.Err, &retry):
			again = append(again, r.Method)
		default:
			t.Errorf("%+v", r)
		}
	}
	if len(again) != 2 { // five of seven in ten seconds
		t.Errorf("%d throttled: %v", len(again), outcomes(results))
	}
	s.SetThrottle(sim.Throttle{})
	if results, err = c.DeleteMethods(t.Context(), mia, again, false); err != nil || results[0].Outcome != identity.MethodDeleted || results[1].Outcome != identity.MethodDeleted {
		t.Errorf("again: %+v, %v", results, err)
	}
}

func TestCutWhileDeleting(t *testing.T) {
	const path = "/users/*/authentication/fido2Methods/*"
	for name, tc := range map[string]struct {
		fault      sim.Fault
		registered []*sim.Method
	}{
		"a batch before the effect":   {sim.Fault{Kind: sim.FaultCut, Path: path}, everyKind[2:5]},
		"a batch after the effect":    {sim.Fault{Kind: sim.FaultCut, AfterEffect: true, Path: path}, everyKind[2:5]},
		"one alone before the effect": {sim.Fault{Kind: sim.FaultCut, Path: path}, everyKind[3:4]},
		"one alone after the effect":  {sim.Fault{Kind: sim.FaultCut, AfterEffect: true, Path: path}, everyKind[3:4]},
	} {
		t.Run(name, func(t *testing.T) {
			s := tenant(t)
			c := worker(t, s)
			registers(s, mia, "", tc.registered...)
			methods := read(t, c, mia)
			arm(t, s, tc.fault)
			results, err := c.DeleteMethods(t.Context(), mia, methods, false)
			checkClass(t, err, outcome{unknown: true}, true)
			for _, r := range results {
				if r.Outcome != identity.MethodUnavailable || !r.Unknown {
					t.Errorf("%+v", r)
				}
			}
			// Nothing was sent twice, and the second call ends it.
			results, err = c.DeleteMethods(t.Context(), mia, methods, false)
			for _, r := range results {
				if err != nil || r.Outcome != identity.MethodDeleted && r.Outcome != identity.MethodGone {
					t.Errorf("%+v, %v", r, err)
				}
			}
			if left := read(t, c, mia); len(left) != 0 {
				t.Errorf("left %+v", left)
			}
		})
	}
}

func TestManyMethodsTakeSeveralBatches(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	var keys []*sim.Method
	for i := range 45 {
		keys = append(keys, &sim.Method{Kind: "fido2", ID: fmt.Sprintf("key-%02d", i)})
	}
	registers(s, mia, "", keys...)
	methods := read(t, c, mia)
	s.ClearRequests()
	results, err := c.DeleteMethods(t.Context(), mia, methods, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Outcome != identity.MethodDeleted || r.Method != methods[i] {
			t.Errorf("%d: %+v", i, r)
		}
	}
	batches := 0
	for _, r := range s.Requests() {
		if strings.HasSuffix(r.Path, "$batch") {
			batches++
		}
	}
	if batches != 3 {
		t.Errorf("%d batches", batches)
	}

	// What follows a failed batch is not tried.
	registers(s, mia, "", keys...)
	arm(t, s, sim.Fault{Kind: sim.FaultCut, Path: "/users/*/authentication/fido2Methods/key-30"})
	results, err = c.DeleteMethods(t.Context(), mia, methods, false)
	checkClass(t, err, outcome{unknown: true}, true)
	for i, r := range results {
		want := identity.MethodDeleted
		switch {
		case i >= 40:
			want = identity.MethodUntried
		case i >= 20:
			want = identity.MethodUnavailable
		}
		if r.Outcome != want || r.Unknown != (want == identity.MethodUnavailable) {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

func TestSerialStopsWhenTheDirectoryIsDown(t *testing.T) {
	s := tenant(t)
	c := worker(t, s)
	registers(s, mia, "app-9", everyKind[2:7]...) // e-mail, key, Hello, Authenticator, OATH
	methods := read(t, c, mia)
	arm(t, s, sim.Fault{Kind: sim.FaultStatus, Status: 503, Path: "/users/*/authentication/softwareOathMethods/*"})
	methods = append(methods, identity.Method{Kind: identity.MethodEmail, ID: "another"})
	results, err := c.DeleteMethods(t.Context(), mia, methods, true)
	checkClass(t, err, outcome{unknown: true}, true)
	want := []string{"email deleted", "fido2 deleted", "windowsHelloForBusiness deleted", "microsoftAuthenticator blocked", "softwareOath unavailable", "email untried"}
	if diff := cmp.Diff(want, outcomes(results)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Whatever a batch answers, every method has one result, and nothing counts as deleted
// that Graph did not confirm.
func TestStrangeBatchAnswers(t *testing.T) {
	methods := []identity.Method{{Kind: identity.MethodEmail, ID: "a"}, {Kind: identity.MethodEmail, ID: "b"}}
	for name, tc := range map[string]struct {
		body string
		want []string // nil: unavailable as a whole
	}{
		"any order":            {`{"responses":[{"id":"1","status":204},{"id":"0","status":400,"body":{"error":{"code":"badRequest"}}}]}`, []string{"email blocked", "email deleted"}},
		"one is missing":       {`{"responses":[{"id":"1","status":204}]}`, []string{"email unavailable", "email deleted"}},
		"unknown ids":          {`{"responses":[{"id":"7","status":204},{"id":"-1","status":204},{"id":"","status":204}]}`, []string{"email unavailable", "email unavailable"}},
		"no number":            {`{"responses":[{"id":"0","status":0},{"id":"1","status":299}]}`, []string{"email unavailable", "email deleted"}},
		"twice":                {`{"responses":[{"id":"0","status":403},{"id":"0","status":204},{"id":"1","status":404}]}`, []string{"email forbidden", "email gone"}},
		"redirect":             {`{"responses":[{"id":"0","status":302},{"id":"1","status":412}]}`, []string{"email unavailable", "email refused"}},
		"headers of any type":  {`{"responses":[{"id":"0","status":429,"headers":{"Retry-After":"4","x":1}},{"id":"1","status":429}]}`, []string{"email throttled", "email throttled"}},
		"status is no integer": {`{"responses":[{"id":"0","status":"204"}]}`, nil},
		"no list":              {`{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := wired(t, func(*http.Request) (*http.Response, error) { return says(200, tc.body), nil })
			ctx, calls := correlation.Collect(t.Context())
			results, err := c.DeleteMethods(ctx, someone, methods, false)
			want := tc.want
			if want == nil {
				want = []string{"email unavailable", "email unavailable"}
				checkClass(t, err, outcome{unknown: true}, true)
			} else if err != nil {
				t.Error(err)
			} else if n := len(calls.List()); n != 3 {
				t.Errorf("%d calls in the trail", n)
			}
			if diff := cmp.Diff(want, outcomes(results)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for _, r := range results {
				if r.Outcome == identity.MethodUnavailable && !r.Unknown {
					t.Errorf("%+v", r)
				}
				if r.Outcome == identity.MethodThrottled && (r.Unknown || r.After < 4*time.Second) {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestContextEndsWhileDeleting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := wired(t, func(r *http.Request) (*http.Response, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	methods := []identity.Method{{Kind: identity.MethodEmail, ID: "a"}, {Kind: identity.MethodEmail, ID: "b"}}
	results, err := c.DeleteMethods(ctx, someone, methods, true)
	if !errors.Is(err, context.Canceled) || results[0].Outcome != identity.MethodUnavailable || !results[0].Unknown || results[1].Outcome != identity.MethodUntried {
		t.Errorf("%+v, %v", results, err)
	}
}
