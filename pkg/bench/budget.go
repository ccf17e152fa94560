package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// The adapter's own test against the simulator: synthetic time, in which a quarter of
// an hour is over soon, exists in tests only.
const (
	budgetPackage = "mfaflow/pkg/graph"
	budgetTest    = "TestResetsAgainstABudget/32_lanes,_all_wait"
	budgetResets  = 10_000
)

var attribute = regexp.MustCompile(`(?m)^=== ATTR +\S+ (\w+) (\S+)$`)

// budget measures many resets that meet a budget.
func budget(ctx context.Context, _ Bin) ([]Figure, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^"+budgetTest+"$", budgetPackage, "-resets", strconv.Itoa(budgetResets)).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test: %w: %s", err, bytes.TrimSpace(out))
	}
	return shares(string(out))
}

// shares reads what the test found.
func shares(out string) ([]Figure, error) {
	found := map[string]float64{}
	for _, m := range attribute.FindAllStringSubmatch(out, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		found[m[1]] = value
	}
	for _, name := range []string{"resets", "seconds", "used", "refused"} {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("%s printed no attribute %s", budgetTest, name)
		}
	}
	return []Figure{
		{Name: "resets", Value: found["resets"], Unit: "people"},
		{Name: "simulated time", Value: found["seconds"], Unit: "s"},
		Figure{Name: "budget used", Value: 100 * found["used"], Unit: "%"}.bounded(AtLeast, 90),
		Figure{Name: "calls answered 429", Value: 100 * found["refused"], Unit: "%"}.bounded(Under, 2),
	}, nil
}
