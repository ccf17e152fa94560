package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadinessSettings(t *testing.T) {
	good := ReadinessReport{
		FlagsQueue: "flags", ReportsURL: "file:///var/lib/mfaflow", ReadinessInterval: time.Hour,
		Readiness: Readiness{SignInWindow: 720 * time.Hour, ReadinessPhase: 2},
	}
	for name, c := range map[string]struct {
		change func(*ReadinessReport)
		want   []string
	}{
		"good":           {func(*ReadinessReport) {}, nil},
		"phase":          {func(c *ReadinessReport) { c.ReadinessPhase = 3 }, []string{"MFAFLOW_READINESS_PHASE"}},
		"no phase":       {func(c *ReadinessReport) { c.ReadinessPhase = 0 }, []string{"MFAFLOW_READINESS_PHASE"}},
		"longer log":     {func(c *ReadinessReport) { c.SignInWindow = 721 * time.Hour }, []string{"MFAFLOW_SIGN_IN_WINDOW"}},
		"restless":       {func(c *ReadinessReport) { c.ReadinessInterval = time.Minute }, []string{"MFAFLOW_READINESS_INTERVAL"}},
		"bucket":         {func(c *ReadinessReport) { c.ReportsURL = "s3://bucket/prefix" }, []string{"MFAFLOW_REPORTS_URL"}},
		"relative":       {func(c *ReadinessReport) { c.ReportsURL = "reports" }, []string{"MFAFLOW_REPORTS_URL"}},
		"another host":   {func(c *ReadinessReport) { c.ReportsURL = "file://host/reports" }, []string{"MFAFLOW_REPORTS_URL"}},
		"with a query":   {func(c *ReadinessReport) { c.ReportsURL = "file:///reports?x" }, []string{"MFAFLOW_REPORTS_URL"}},
		"no queue":       {func(c *ReadinessReport) { c.FlagsQueue = "" }, []string{"MFAFLOW_FLAGS_QUEUE"}},
		"tool, no place": {func(c *ReadinessReport) { c.ReportsURL = "" }, []string{"MFAFLOW_REPORTS_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := good
			c.change(&settings)
			var got []string
			for _, p := range settings.problems() {
				switch p.Variable {
				case "MFAFLOW_READINESS_PHASE", "MFAFLOW_SIGN_IN_WINDOW", "MFAFLOW_READINESS_INTERVAL", "MFAFLOW_REPORTS_URL", "MFAFLOW_FLAGS_QUEUE":
					got = append(got, p.Variable)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	tool := ReadinessTool{Readiness: good.Readiness}
	for _, p := range tool.problems() {
		if p.Variable == "MFAFLOW_REPORTS_URL" {
			t.Errorf("%+v", p)
		}
	}
	if folder, ok := good.ReportsURL.Folder(); !ok || folder != "/var/lib/mfaflow" {
		t.Errorf("%s, %v", folder, ok)
	}
}
