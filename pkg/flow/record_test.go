package flow_test

import (
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/sim/hr"
	sbsim "mfaflow/pkg/sim/servicebus"
)

// hrSystem gives the router the API of an HR system whose webhooks carry ids only.
func (w *world) hrSystem() *hr.Server {
	w.t.Helper()
	const token = "hr-token"
	s, err := hr.Start(w.t.Context(), token)
	w.must(err)
	schemas, err := catalog.New()
	w.must(err)
	records, err := hrapi.New([]hrapi.API{{
		Source: "hr", URL: s.URL() + "/employees/{employeeId}", Mapping: "record", TimeZone: berlin,
		Headers: map[string]identity.Secret{"Authorization": identity.NewSecret("Bearer " + token)},
	}}, schemas, nil)
	w.must(err)
	w.router.Records = records
	w.t.Cleanup(func() {
		records.Close()
		w.must(s.Close())
	})
	return s
}

func (w *world) ref(id, employeeID string) map[string]any {
	return w.statement(id, "employee.ref", map[string]any{"person": map[string]any{"employeeId": employeeID}})
}

// A thin webhook says that something about E1004 changed; the record says what.
func TestThinEventIsCompletedFromTheRecord(t *testing.T) {
	w := newWorld(t)
	s := w.hrSystem()
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: start})
	w.post(w.ref("t1", "E1004"), 202)
	w.work()
	if got := w.waits(lenaID); got != "planned: due-later" {
		t.Fatalf("lane %s", got)
	}
	w.clock.Advance(time.Hour)
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: "2026-12-07"})
	w.post(w.ref("t2", "E1004"), 202)
	w.work()
	w.at(opens)
	if len(w.delivered(amara)) != 0 {
		t.Error("a pass for the date that the record no longer has")
	}
	w.at(opens.Add(7 * 24 * time.Hour))
	if got := w.delivered(amara); len(got) != 1 || w.tenant.SignInWithPass(lena, got[0]) != nil {
		t.Errorf("%d passes", len(got))
	}
	w.idle(nil)
}

func TestThinEventWhileTheRecordCannotBeRead(t *testing.T) {
	w := newWorld(t)
	s := w.hrSystem()
	s.Set(hr.Record{EmployeeID: "E1027", Status: "terminated"})
	s.Fail(503)
	w.post(w.ref("t1", "E1027"), 202)
	w.work()
	w.idle(map[string]sbsim.Counts{"inbound": {Deferred: 1, Scheduled: 1}})
	s.Fail(0)
	w.at(t0.Add(time.Hour))
	if w.enabled(victor) {
		t.Error("the leaver of the record was not shut out")
	}
}

func TestThinEventAboutNobody(t *testing.T) {
	w := newWorld(t)
	w.hrSystem()
	w.post(w.ref("t1", "E9999"), 202)
	w.work()
	w.at(t0.Add(25 * time.Hour))
	w.idle(map[string]sbsim.Counts{"inbound": {DeadLetter: 1}, "flags": {Active: 1}})
}

// A fixed-term contract is known from its first day to its last; both are told at once,
// and neither takes the place of the other.
func TestRecordWithFirstAndLastDay(t *testing.T) {
	w := newWorld(t)
	s := w.hrSystem()
	s.Set(hr.Record{EmployeeID: "E1004", Status: "prehire", StartDate: start, LastDay: "2026-12-04"})
	w.post(w.ref("t1", "E1004"), 202)
	w.work()
	w.at(opens)
	if got := w.delivered(amara); len(got) != 1 {
		t.Errorf("%d passes", len(got))
	}
	if !w.enabled(lena) {
		t.Error("shut out before the last day")
	}
	w.at(time.Date(2026, 12, 4, 23, 1, 0, 0, time.UTC))
	if w.enabled(lena) {
		t.Error("not shut out after the last day")
	}
}

// HR takes a termination back: the next look at the record says so.
func TestRecordOfSomebodyWhoStays(t *testing.T) {
	w := newWorld(t)
	w.worker.Settings.UnblockReturning = true
	s := w.hrSystem()
	s.Set(hr.Record{EmployeeID: "E1027", Status: "active", LastDay: "2026-11-30"})
	w.post(w.ref("t1", "E1027"), 202)
	w.work()
	w.clock.Advance(time.Hour)
	s.Set(hr.Record{EmployeeID: "E1027", Status: "active"})
	w.post(w.ref("t2", "E1027"), 202)
	w.work()
	w.at(t0.Add(10 * 24 * time.Hour))
	if !w.enabled(victor) {
		t.Error("shut out although the termination was taken back")
	}
	s.Set(hr.Record{EmployeeID: "E1027", Status: "terminated"})
	w.post(w.ref("t3", "E1027"), 202)
	w.work()
	if w.enabled(victor) {
		t.Error("not shut out")
	}
}

// Whoever has no account has nothing that could be withdrawn, and nobody need be told.
func TestRecordOfSomebodyWithoutAccount(t *testing.T) {
	w := newWorld(t)
	s := w.hrSystem()
	s.Set(hr.Record{EmployeeID: "E9999", Status: "active"})
	w.post(w.ref("t1", "E9999"), 202)
	w.work()
	w.at(t0.Add(25 * time.Hour))
	w.idle(nil)
}

// Wrong credentials do not get better by waiting: the reason names what to correct.
func TestRecordThatWeMayNotRead(t *testing.T) {
	w := newWorld(t)
	s := w.hrSystem()
	s.Set(hr.Record{EmployeeID: "E1027", Status: "terminated"})
	for status, want := range map[int]string{401: "correct the credentials in MFAFLOW_RECORD_SOURCES", 403: "let the API user"} {
		s.Fail(status)
		w.post(w.ref("t"+want[:3], "E1027"), 202)
		w.work()
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("%d: the log does not say %q", status, want)
		}
	}
	w.idle(map[string]sbsim.Counts{"inbound": {DeadLetter: 2}})
}
