package graph_test

import (
	"net/http"
	"testing"

	"mfaflow/pkg/sim/graph"
)

func TestRiskyUsers(t *testing.T) {
	s := start(t)
	const root = "/v1.0/identityProtection/riskyUsers"
	s.worker("GET", root+"/"+joiner, nil).want(t, 404, "Request_ResourceNotFound")
	if err := s.SetRisk(joiner, "medium", "atRisk"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetRisk(sixMethods, "high", "atRisk"); err != nil {
		t.Fatal(err)
	}
	a := s.worker("GET", root+"/"+joiner, nil).want(t, 200, "")
	for name, want := range map[string]any{"id": joiner, "riskLevel": "medium", "riskState": "atRisk", "riskDetail": "none", "isDeleted": false,
		"riskLastUpdatedDateTime": t0.Format("2006-01-02T15:04:05Z")} {
		if a.body[name] != want {
			t.Errorf("%s is %v, want %v", name, a.body[name], want)
		}
	}
	if n := len(s.worker("GET", root, nil).want(t, 200, "").body["value"].([]any)); n != 4 { // the sample tenant has two whose risk is over
		t.Errorf("%d listed", n)
	}
	filtered := s.worker("GET", root+"?$filter=riskLevel%20eq%20'high'%20and%20riskState%20eq%20'atRisk'", nil).want(t, 200, "").body["value"].([]any)
	if len(filtered) != 1 || filtered[0].(map[string]any)["id"] != sixMethods {
		t.Errorf("filtered %v", filtered)
	}

	judge := func(app, verdict string, ids ...string) answer {
		return s.as(app, http.MethodPost, root+"/"+verdict, map[string]any{"userIds": ids})
	}
	for _, tc := range []struct{ verdict, level, state string }{
		{"confirmCompromised", "high", "confirmedCompromised"}, {"dismiss", "none", "dismissed"}, {"confirmSafe", "none", "confirmedSafe"},
	} {
		judge("tenant-administrator", tc.verdict, joiner, administrator).want(t, 204, "")
		for _, id := range []string{joiner, administrator} {
			if u, _ := s.User(id); u.Risk == nil || u.Risk.Level != tc.level || u.Risk.State != tc.state {
				t.Errorf("%s: %+v", tc.verdict, u.Risk)
			}
		}
	}
	judge("identity-worker", "dismiss", joiner).want(t, 403, "AccessDenied")
	judge("tenant-administrator", "dismiss").want(t, 400, "BadRequest")
	judge("tenant-administrator", "dismiss", make([]string, 61)...).want(t, 400, "BadRequest")
	judge("tenant-administrator", "dismiss", sixMethods, "no-such-user").want(t, 404, "Request_ResourceNotFound")
	if u, _ := s.User(sixMethods); u.Risk.State != "atRisk" {
		t.Errorf("half of a refused call took effect: %+v", u.Risk)
	}

	if s.SetRisk("nobody", "high", "atRisk") == nil || s.SetRisk(joiner, "highest", "atRisk") == nil || s.SetRisk(joiner, "high", "onFire") == nil {
		t.Error("an impossible risk is accepted")
	}
	s.SetThrottle(graph.Throttle{Factor: 1})
	s.worker("GET", root+"/"+joiner, nil).want(t, 200, "")
	if a := s.worker("GET", root+"/"+joiner, nil).want(t, 429, "TooManyRequests"); a.header.Get("Retry-After") != "" {
		t.Error("identity protection does not say when")
	}
}
