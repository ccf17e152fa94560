package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/telemetry"
)

func TestLoggerAddsWhatTheContextKnows(t *testing.T) {
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, "identity-worker", slog.LevelInfo)
	ctx := correlation.With(t.Context(), "c-1")
	ctx = telemetry.With(ctx, slog.String(telemetry.KeyRequest, "r-1"), slog.String(telemetry.KeyLane, "old"))
	ctx = telemetry.With(ctx, slog.String(telemetry.KeyLane, "lane-1"))

	log.DebugContext(ctx, "below the level")
	log.With(telemetry.KeyUser, "u-1").InfoContext(ctx, "pass issued",
		telemetry.Duration(1500*time.Microsecond), telemetry.Error(errors.New("boom")))

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("want one JSON line, got %q: %v", out.String(), err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "pass issued", "function": "identity-worker", "user": "u-1", "lane": "lane-1",
		"request_id": "r-1", "correlation_id": "c-1", "duration_ms": 1.5, "err": "boom",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("log line (-want +got):\n%s", d)
	}
}

// A struct that is logged whole reaches the JSON handler through reflection, where
// a LogValue of a field is never asked: hiding must hold there as well.
func TestSecretsAreHiddenByEveryHandler(t *testing.T) {
	const value = "correct-horse-battery"
	secret := identity.NewSecret(value)
	type nested struct {
		Key  identity.Secret
		Keys []identity.Secret
		ByID map[string]identity.Secret
		Ptr  *identity.Secret
	}
	n := nested{Key: secret, Keys: []identity.Secret{secret}, ByID: map[string]identity.Secret{"a": secret}, Ptr: &secret}

	var text, lines bytes.Buffer
	for name, log := range map[string]*slog.Logger{
		"text":   slog.New(slog.NewTextHandler(&text, nil)),
		"logger": telemetry.NewLogger(&lines, "f", slog.LevelDebug),
	} {
		t.Run(name, func(t *testing.T) {
			text.Reset()
			lines.Reset()
			log.Info("m", "secret", secret, "pointer", &secret, "struct", n, "to", &n,
				slog.Group("g", slog.Any("s", secret)), "err", errors.Join(errors.New("x")))
			log.With("secret", secret).WithGroup("g").Info("m", "n", n)
			out := text.String() + lines.String()
			if strings.Contains(out, value) {
				t.Errorf("the secret shows: %s", out)
			}
			if !strings.Contains(out, "*****") {
				t.Errorf("nothing was logged: %s", out)
			}
		})
	}
}
