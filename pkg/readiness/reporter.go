package readiness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/flag"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// The files of the latest report.
const (
	LatestJSON = "latest/report.json"
	LatestCSV  = "latest/report.csv"
	LatestHTML = "latest/report.html"
)

// TrendLength is how many reports of the past a report shows.
const TrendLength = 90

const (
	// remind is how often somebody who is still there is flagged again.
	remind      = 30 * 24 * time.Hour
	flaggedName = "flagged.json"
	// reportedName notes the last report that a Reporter made. Whoever looks by hand adds a
	// point to the trend and nothing to it.
	reportedName = "reported.json"
	source       = "readiness-report"
)

// Sender puts messages on a queue. Nil means that the broker has accepted all of them.
type Sender interface {
	Send(ctx context.Context, queue string, msgs ...queue.Message) error
}

// Reporter makes a report now and then. All fields are required, but for Drift.
type Reporter struct {
	// Gatherer has the same Store.
	Gatherer   Gatherer
	Store      Store
	Sender     Sender
	FlagsQueue string
	Phase      posture.Phase
	// Every is the time between two reports.
	Every time.Duration
	// Drift says what of the tenant differs from the file that it is managed by, each in a
	// few words; nil when there is no such file.
	Drift func(ctx context.Context, s posture.Snapshot) ([]string, error)
	Now   func() time.Time
	Log   *slog.Logger
}

// Run makes a report if one is due. A run that ctx ends before the report is made is no
// failure: the next one goes on with what was read.
func (r Reporter) Run(ctx context.Context) error {
	now := r.Now().UTC()
	trend, err := Trend(ctx, r.Store, TrendLength)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	last, err := r.last(ctx)
	if err != nil {
		return fmt.Errorf("read when the last report was made: %w", err)
	}
	if last.Phase == int(r.Phase) && now.Sub(last.TakenAt) < r.Every {
		r.Log.InfoContext(ctx, "readiness", telemetry.KeyOutcome, "not due", "last", last.TakenAt)
		return nil
	}
	calls := 0
	r.Gatherer.Progress = func(p Progress) {
		calls = p.Calls
		r.Log.DebugContext(ctx, "readiness", telemetry.KeyOutcome, "reading", "step", p.Step, "calls", p.Calls, "left", p.Left.String())
	}
	s, err := r.Gatherer.Snapshot(ctx)
	if err != nil && ctx.Err() != nil {
		r.Log.InfoContext(ctx, "readiness", telemetry.KeyOutcome, "goes on later", "calls", calls)
		return nil
	} else if err != nil {
		return err
	}
	report, err := NewReport(s, posture.Question{At: now, Phase: r.Phase}, trend)
	if err != nil {
		return err
	}
	if err := r.publish(ctx, report); err != nil {
		return fmt.Errorf("keep report: %w", err)
	}
	if err := KeepSnapshot(ctx, r.Store, s); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}
	var drift []string
	var driftErr error // which is no reason to have no report
	if r.Drift != nil {
		if drift, driftErr = r.Drift(ctx, s); driftErr != nil {
			driftErr = fmt.Errorf("compare with the policy file: %w", driftErr)
		}
	}
	flagged, err := r.flag(ctx, report, drift, driftErr == nil)
	if err != nil {
		return fmt.Errorf("raise flags: %w", err)
	}
	if err := Keep(ctx, r.Store, report); err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	// Without this the report is made again.
	data, err := json.Marshal(reported{TakenAt: report.TakenAt, Phase: int(r.Phase)})
	if err != nil {
		return err
	}
	if err := r.Store.Put(ctx, reportedName, data); err != nil {
		return fmt.Errorf("keep when the report was made: %w", err)
	}
	counts := report.Summary.Verdicts
	r.Log.InfoContext(ctx, "readiness", telemetry.KeyOutcome, "done", "people", report.Summary.People, "blocked", counts[posture.Blocked],
		"prompted", counts[posture.Prompted], "fine", counts[posture.Fine], "out_of_scope", counts[posture.OutOfScope],
		"gaps", len(s.Gaps), "calls", calls, "flags", flagged, "drift", len(drift))
	return driftErr
}

// reported is a report that a Reporter has made.
type reported struct {
	TakenAt time.Time `json:"takenAt"`
	Phase   int       `json:"phase"`
}

// last is the last one; zero when there is none that can be read.
func (r Reporter) last(ctx context.Context) (last reported, err error) {
	data, err := r.Store.Get(ctx, reportedName)
	if errors.Is(err, ErrNoFile) {
		return last, nil
	} else if err != nil {
		return last, err
	}
	if json.Unmarshal(data, &last) != nil {
		return reported{}, nil
	}
	return last, nil
}

func (r Reporter) publish(ctx context.Context, report Report) error {
	for name, write := range map[string]func(*bytes.Buffer) error{
		LatestJSON: func(b *bytes.Buffer) error { return report.JSON(b) },
		LatestCSV:  func(b *bytes.Buffer) error { return report.CSV(b) },
		LatestHTML: func(b *bytes.Buffer) error { return report.HTML(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return err
		}
		if err := r.Store.Put(ctx, name, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// mostDrift is how many differences a flag names.
const mostDrift = 10

// driftFlag is the one for what differs from the policy file.
func driftFlag(at time.Time, drift []string) flag.Flag {
	detail := fmt.Sprintf("%d differ: %s", len(drift), strings.Join(drift[:min(mostDrift, len(drift))], "; "))
	if n := len(drift) - mostDrift; n > 0 {
		detail += fmt.Sprintf("; and %d more", n)
	}
	return flag.Flag{Cause: flag.PolicyDrift, Detail: detail, Source: source, Key: source + ":" + at.Format(time.DateOnly) + ":" + string(flag.PolicyDrift), At: at}
}

// flag raises flags for break-glass accounts that may be locked out, for people who are
// programs and for drift, each once until a while has passed. One that is sent and not noted
// down is told again, at most once a day. Drift that is not known is as it was.
func (r Reporter) flag(ctx context.Context, report Report, drift []string, known bool) (int, error) {
	told := map[string]time.Time{}
	data, err := r.Store.Get(ctx, flaggedName)
	if err == nil {
		err = json.Unmarshal(data, &told)
	} else if errors.Is(err, ErrNoFile) {
		err = nil
	}
	if err != nil {
		return 0, err
	}
	still := map[string]time.Time{}
	var messages []queue.Message
	for _, p := range report.People {
		cause, mark := flagOf(p)
		if cause == "" {
			continue
		}
		key := string(p.ID) + "~" + string(cause)
		if at, ok := told[key]; ok && report.TakenAt.Sub(at) < remind {
			still[key] = at
			continue
		}
		still[key] = report.TakenAt
		m, err := flag.Flag{
			User: p.ID, Cause: cause, Reason: string(mark), Detail: fmt.Sprintf("when MFA is enforced: %s", p.Verdict), Source: source,
			Key: source + ":" + report.TakenAt.Format(time.DateOnly) + ":" + string(p.ID), At: report.TakenAt,
		}.Message("")
		if err != nil {
			return 0, err
		}
		messages = append(messages, m)
	}
	if at, ok := told[string(flag.PolicyDrift)]; ok && (!known || len(drift) > 0 && report.TakenAt.Sub(at) < remind) {
		still[string(flag.PolicyDrift)] = at
	} else if known && len(drift) > 0 {
		still[string(flag.PolicyDrift)] = report.TakenAt
		m, err := driftFlag(report.TakenAt, drift).Message("")
		if err != nil {
			return 0, err
		}
		messages = append(messages, m)
	}
	for chunk := range slices.Chunk(messages, 50) {
		if err := r.Sender.Send(ctx, r.FlagsQueue, chunk...); err != nil {
			return 0, err
		}
	}
	if data, err = json.Marshal(still); err != nil {
		return 0, err
	}
	return len(messages), r.Store.Put(ctx, flaggedName, data)
}

// flagOf is what somebody is flagged for; nothing for most.
func flagOf(p Person) (flag.Cause, posture.Mark) {
	for _, m := range p.Marks {
		switch m {
		case posture.WeakBreakGlass, posture.DisabledBreakGlass:
			return flag.BreakGlassWeak, m
		case posture.ServiceAccount:
			return flag.ServiceIdentity, m
		default:
		}
	}
	if p.Verdict == posture.Blocked && p.Has(posture.EmergencyAccount) {
		return flag.BreakGlassWeak, posture.WeakBreakGlass
	}
	return "", ""
}
