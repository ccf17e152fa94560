package flow_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/flag"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/jwks"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/sim/ssf"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/telemetry"
	"mfaflow/pkg/webhook"
)

// signals are all the ways in which a risk is heard of: a transmitter that pushes
// tokens, records that somebody forwards from an Event Hub, and the sweep.
type signals struct {
	*world
	idp     *ssf.Transmitter
	door    *ingest.Handler
	sweeper *sweep.Sweeper
}

func newSignals(t *testing.T) *signals {
	t.Helper()
	s := &signals{world: newWorld(t)}
	var err error
	s.idp, err = ssf.Start(t.Context(), ssf.Options{Audience: "us", Now: s.clock.Now})
	s.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.idp.CAPEM())
	keys := jwks.New(s.idp.KeysURL(), &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, s.clock.Now)
	t.Cleanup(func() { keys.Close(); s.must(s.idp.Close()) })

	log := telemetry.NewLogger(s.log, "flow", slog.LevelDebug)
	schemas, err := catalog.New()
	s.must(err)
	s.door, err = ingest.New(ingest.Options{
		Prefix: "/risk/", Catalog: schemas, Sender: s.client, Clock: s.clock.Now, Logger: log, InboundQueue: "inbound", QuarantineQueue: "quarantine",
		Keys: func(string) secevent.KeySource { return keys },
		Sources: []ingest.Source{
			{Name: "idp", Format: ingest.SecurityEvents, Types: []string{"risk.user"}, Stream: &secevent.Stream{
				Issuer: s.idp.Issuer(), Audience: []string{"us"}, KeysURL: s.idp.KeysURL(), Subjects: map[string]secevent.Identifier{"email": secevent.UserPrincipalName},
			}},
			{Name: "hub", Format: ingest.Mapped, Mapping: "entra", Types: []string{"risk.*"},
				Verify: &webhook.Config{Preset: "bearer", Keys: webhook.Keys{identity.NewSecret("hub token")}}},
		},
	})
	s.must(err)
	directory := s.directory("tenant-sweep")
	t.Cleanup(directory.Close)
	s.sweeper = &sweep.Sweeper{
		Accept: func(ctx context.Context) (sweep.Session, error) {
			session, err := s.client.Accept(ctx, "control", sweep.SessionID, 5*time.Second)
			if err != nil {
				return nil, err
			}
			return session, nil
		},
		Sender: s.client, Directory: directory, Polls: []sweep.Poll{sweep.PollRiskyUsers, sweep.PollDetections}, InboundQueue: "inbound",
		EmploymentAhead: 24 * time.Hour, Zone: time.UTC, Now: s.clock.Now, Log: log, Metrics: telemetry.NewMetrics(io.Discard, "mfaflow", "flow", s.clock.Now),
	}
	for origin, scope := range map[string]event.Scope{"idp": {"risk.user"}, "hub": {"risk.*"}, sweep.EntraRisk: {"risk.*"}, sweep.Graph: {"account.changed"}} {
		s.worker.Scopes[origin] = scope
	}
	s.poll() // begins now
	return s
}

func (s *signals) deliver(r *http.Request) {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.door.ServeHTTP(w, r)
	if w.Code != http.StatusAccepted {
		s.t.Fatalf("%d %s", w.Code, w.Body)
	}
}

// token is the transmitter's word that somebody's risk is high.
func (s *signals) token() {
	s.t.Helper()
	token, err := s.idp.Token("caep/event-type/risk-level-change", map[string]any{"format": "email", "email": mei},
		map[string]any{"principal": "USER", "current_level": "HIGH", "event_timestamp": s.clock.Now().UnixMilli()})
	s.must(err)
	r := httptest.NewRequest(http.MethodPost, "/risk/idp", strings.NewReader(token))
	r.Header.Set("Content-Type", "application/secevent+jwt")
	s.deliver(r)
}

// records are what the Event Hub has of the same incident, delivered twice.
func (s *signals) records() {
	s.t.Helper()
	at := s.clock.Now().Format(time.RFC3339Nano)
	body, err := json.Marshal(map[string]any{"records": []any{
		map[string]any{"category": "RiskyUsers", "properties": map[string]any{
			"id": meiID, "riskLastUpdatedDateTime": at, "riskState": "atRisk", "riskLevel": "high", "riskDetail": "none"}},
		map[string]any{"category": "UserRiskEvents", "properties": map[string]any{
			"id": "detection-1", "userId": meiID, "activity": "user", "riskEventType": "leakedCredentials", "riskState": "atRisk", "riskLevel": "high",
			"detectedDateTime": at, "lastUpdatedDateTime": at}},
	}})
	s.must(err)
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/risk/hub", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer hub token")
		s.deliver(r)
	}
}

// poll sweeps once.
func (s *signals) poll() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	s.must(s.sweeper.Run(ctx, time.Hour))
}

// The same compromise, seen by the poll, in the records of the Event Hub and by a
// transmitter, leads to one response, in whatever order they come.
func TestThreeSignalsOneResponse(t *testing.T) {
	alone := newWorld(t)
	alone.atRisk("r1", mei)
	alone.compromised(mei)
	once := alone.writes()

	for name, order := range map[string][]func(*signals){
		"token first":   {(*signals).token, (*signals).records, (*signals).poll},
		"records first": {(*signals).records, (*signals).poll, (*signals).token},
		"poll first":    {(*signals).poll, (*signals).token, (*signals).records},
	} {
		for _, together := range []bool{true, false} {
			title := name + ", one after the other"
			if together {
				title = name + ", all at once"
			}
			t.Run(title, func(t *testing.T) {
				s := newSignals(t)
				s.clock.Advance(time.Minute)
				s.must(s.tenant.SetRisk(mei, "high", "atRisk"))
				for _, signal := range order {
					signal(s)
					if !together {
						s.work()
						s.clock.Advance(time.Minute)
					}
				}
				heard := s.counts("inbound").Active
				s.work()
				if together && heard < 4 {
					t.Errorf("%d events of four were heard", heard)
				}
				s.compromised(mei)
				if s.writes() != once {
					t.Errorf("%d writes, one response makes %d", s.writes(), once)
				}
				s.flagged(flag.Compromised)
				if n := strings.Count(s.log.String(), `"key":"idp:`); n == 0 {
					t.Error("the token left no trace")
				}
			})
		}
	}
}
