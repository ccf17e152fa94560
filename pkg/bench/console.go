package bench

import (
	"context"
	"strconv"
)

// The console's own test, over a loopback socket and operations in memory, so that the
// figures are the console's and nobody else's.
const (
	consolePackage = "mfaflow/pkg/console"
	consoleTest    = "TestPagesWhileAReplayRuns"
	consoleReplay  = 10_000
)

// console measures the pages of the console while it replays.
func console(ctx context.Context, _ Bin) ([]Figure, error) {
	out, err := goTest(ctx, consolePackage, consoleTest, "-replaying", strconv.Itoa(consoleReplay))
	if err != nil {
		return nil, err
	}
	found, err := attributes(out, "entries", "plan", "replay", "pages", "median", "p99")
	if err != nil {
		return nil, err
	}
	return []Figure{
		{Name: "entries replayed", Value: found["entries"], Unit: "entries"},
		{Name: "plan to its page", Value: found["plan"], Unit: "ms"},
		{Name: "replay", Value: found["replay"], Unit: "ms"},
		{Name: "pages read meanwhile", Value: found["pages"], Unit: "pages"},
		{Name: "page, median", Value: found["median"], Unit: "ms"},
		{Name: "page, p99", Value: found["p99"], Unit: "ms"},
	}, nil
}
