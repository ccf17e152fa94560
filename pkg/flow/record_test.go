package flow_test

import (
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
