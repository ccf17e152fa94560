package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mfaflow/pkg/event"
	"mfaflow/pkg/queue"
	simgraph "mfaflow/pkg/sim/graph"
)

// resetRuns is how many people are reset each way.
const resetRuns = 5

// resets measures a re-registration of somebody with six methods, and beside it the
// calls that the public script makes for one, on the same tenant.
func resets(ctx context.Context, bin Bin) (figures []Figure, err error) {
	const latency = 50 * time.Millisecond
	tenant, err := simgraph.SampleTenant()
	if err != nil {
		return nil, err
	}
	ours, err := populate(tenant, modelReset, resetRuns)
	if err != nil {
		return nil, err
	}
	theirs, err := populate(tenant, modelReset, resetRuns)
	if err != nil {
		return nil, err
	}
	var messages []queue.Message
	for _, u := range ours {
		m, err := eventOf(u, u.EmployeeID, event.Reregister, map[string]any{
			"person": map[string]any{"employeeId": u.EmployeeID}, "mode": "full", "requestedBy": "helpdesk@contoso.example",
		})
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	s, err := openSite(ctx, tenant, latency, messages)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if _, err := s.work(ctx, bin, shift{lanes: 1, events: len(messages)}); err != nil {
		return nil, err
	}
	var trips, requests, planned, asked []float64
	var took []time.Duration
	for _, u := range ours {
		if n := registered(s.graph, u); n > 0 {
			return nil, fmt.Errorf("%d methods of %s remain", n, u.UserPrincipalName)
		}
		reading, removal := removalOf(s.graph.Requests(), u.ID)
		t, r := count(removal)
		trips, requests = append(trips, t), append(requests, r)
		t, r = count(append(removal, reading...))
		planned, asked = append(planned, t), append(asked, r)
		took = append(took, underWay(reading)+underWay(removal))
	}
	var calls []float64
	var serial []time.Duration
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	token, err := tokenOf(ctx, client, s.graph)
	if err != nil {
		return nil, err
	}
	for _, u := range theirs {
		script := serialReset{client: client, token: token, base: s.graph.URL() + "/v1.0/users/" + u.ID + "/authentication"}
		began := time.Now()
		if err := script.run(ctx); err != nil {
			return nil, err
		}
		serial = append(serial, time.Since(began))
		calls = append(calls, float64(script.calls))
		if n := registered(s.graph, u); n > 0 {
			return nil, fmt.Errorf("the script leaves %d methods of %s", n, u.UserPrincipalName)
		}
	}
	// The methods and three more, as the design counts.
	const methods = 6
	a, b := milliseconds(quantile(took, 0.5)), milliseconds(quantile(serial, 0.5))
	return []Figure{
		Figure{Name: "round trips to remove", Value: quantile(trips, 1), Unit: "trips"}.bounded(AtMost, 4),
		Figure{Name: "requests to remove", Value: quantile(requests, 1), Unit: "requests"}.bounded(AtMost, methods+3),
		Figure{Name: "round trips, with the reading that the plan rests on", Value: quantile(planned, 1), Unit: "trips"}.bounded(AtMost, 4),
		Figure{Name: "requests, with the reading", Value: quantile(asked, 1), Unit: "requests"}.bounded(AtMost, methods+3),
		{Name: "time of these trips", Value: a, Unit: "ms"},
		{Name: "public script: calls, one after the other", Value: quantile(calls, 1), Unit: "calls"},
		{Name: "public script: time", Value: b, Unit: "ms"},
		{Name: "public script by ours", Value: b / a, Unit: "x"},
	}, nil
}

// registered is how many methods a person has besides password and pass.
func registered(graph *simgraph.Server, u *simgraph.User) (n int) {
	for _, m := range graph.Methods(u.ID) {
		if m.Kind != "password" && m.Kind != "temporaryAccessPass" {
			n++
		}
	}
	return n
}

// removalOf picks the calls that removed a person's methods, from the first deletion
// on, and before them those that read what there was. A batch stands for itself beside
// its items.
func removalOf(log []simgraph.Request, user string) (reading, removal []simgraph.Request) {
	deleting := false
	batches := map[string]bool{}
	pick := func(r simgraph.Request) {
		if r.Batch != "" {
			batches[r.Batch] = true
		}
		if deleting {
			removal = append(removal, r)
		} else {
			reading = append(reading, r)
		}
	}
	for _, r := range log { // items stand before their batch
		of, what, methods := strings.Cut(r.Path, "/authentication/")
		switch {
		case batches[r.ID]:
			pick(r)
		case !methods || !strings.HasSuffix(of, "/users/"+user) || strings.HasPrefix(what, "temporaryAccessPassMethods"):
		case r.Method == http.MethodDelete:
			deleting = true
			pick(r)
		case r.Method == http.MethodGet:
			pick(r)
		}
	}
	return reading, removal
}

// count tells round trips and requests apart: what comes in a batch is a request
// without a trip, and the batch itself a trip without a request.
func count(log []simgraph.Request) (trips, requests float64) {
	for _, r := range log {
		if r.Batch == "" {
			trips++
		}
		if !strings.HasSuffix(r.Path, "/$batch") {
			requests++
		}
	}
	return trips, requests
}

// serialReset makes the calls of the public PowerShell script (Reset-MgUserMFA.ps1): it
// lists the methods, deletes one after the other, tries the last that failed again at
// the end and counts what is left.
type serialReset struct {
	client *http.Client
	token  string
	base   string
	calls  int
}

func (s *serialReset) run(ctx context.Context) error {
	list, err := s.list(ctx)
	if err != nil {
		return err
	}
	failed := ""
	for _, m := range list {
		segment, known := map[string]string{
			"microsoftAuthenticator": "microsoftAuthenticatorMethods", "phone": "phoneMethods", "fido2": "fido2Methods",
			"softwareOath": "softwareOathMethods", "email": "emailMethods", "windowsHelloForBusiness": "windowsHelloForBusinessMethods",
		}[m.kind]
		if !known {
			continue
		}
		path := "/" + segment + "/" + url.PathEscape(m.id)
		if status, _, err := s.call(ctx, http.MethodDelete, path); err != nil {
			return err
		} else if status != http.StatusNoContent {
			failed = path
		}
	}
	if failed != "" {
		if _, _, err := s.call(ctx, http.MethodDelete, failed); err != nil {
			return err
		}
	}
	_, err = s.list(ctx)
	return err
}

type listed struct{ kind, id string }

func (s *serialReset) list(ctx context.Context) (list []listed, err error) {
	status, body, err := s.call(ctx, http.MethodGet, "/methods")
	if err != nil || status != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("list of methods: status %d", status))
	}
	var page struct {
		Value []struct {
			Type string `json:"@odata.type"`
			ID   string `json:"id"`
		} `json:"value"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, err
	}
	for _, m := range page.Value {
		kind := strings.TrimSuffix(strings.TrimPrefix(m.Type, "#microsoft.graph."), "AuthenticationMethod")
		list = append(list, listed{kind, m.ID})
	}
	return list, nil
}

func (s *serialReset) call(ctx context.Context, method, path string) (status int, body []byte, err error) {
	s.calls++
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	return answer(s.client, r)
}

func answer(client *http.Client, r *http.Request) (status int, body []byte, err error) {
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// tokenOf is a token of the worker's app.
func tokenOf(ctx context.Context, client *http.Client, graph *simgraph.Server) (string, error) {
	id, secret := graph.App("identity-worker")
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "scope": {"https://graph.microsoft.com/.default"},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, graph.URL()+"/"+graph.TenantID()+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := answer(client, r)
	if err != nil {
		return "", err
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &token); err != nil || token.Access == "" {
		return "", fmt.Errorf("no token: status %d", status)
	}
	return token.Access, nil
}
