package flow_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
	"mfaflow/pkg/sim/browser"
	graphsim "mfaflow/pkg/sim/graph"
)

var screenshots = flag.String("screenshots", "", "folder to write screenshots to")

// TestReadinessScreenshots writes pictures of the report of a made-up company of 2,000;
// make screenshots asks for them. The weeks before are those of the same company with
// fewer people registered.
func TestReadinessScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("no folder was asked for with -screenshots")
	}
	binary, err := browser.Find()
	if err != nil {
		t.Fatal(err)
	}
	s := newReading(t, graphsim.Generate(graphsim.GenerateOptions{Users: 2000, Seed: 7, Now: t0})).snapshot(t)
	var trend []readiness.Point
	for week := 8; week > 0; week-- {
		past := s
		past.TakenAt, past.People = t0.AddDate(0, 0, -7*week), slices.Clone(s.People)
		for i := range past.People {
			if i%20 < week {
				past.People[i].Registration.Methods = nil
			}
		}
		r, err := readiness.NewReport(past, now2026, nil)
		if err != nil {
			t.Fatal(err)
		}
		trend = append(trend, readiness.Point{TakenAt: past.TakenAt, Phase: int(posture.Phase2), At: past.TakenAt, Verdicts: r.Summary.Verdicts})
	}
	r, err := readiness.NewReport(s, now2026, trend)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "readiness.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.NoSandbox, chromedp.WindowSize(1280, 900), chromedp.Flag("disable-dev-shm-usage", true))...)
	defer stop()
	ctx, shut := chromedp.NewContext(ctx)
	defer shut()
	for name, scheme := range map[string]string{"readiness": "light", "readiness-dark": "dark"} {
		look := chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			return err
		})
		if err := chromedp.Do(ctx, chromedp.Navigate("file://"+file), look); err != nil {
			t.Fatal(err)
		}
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
