package bench

import (
	"context"
	"strconv"
)

// The adapter's own test against the simulator: synthetic time, in which a quarter of
// an hour is over soon, exists in tests only.
const (
	budgetPackage = "mfaflow/pkg/graph"
	budgetTest    = "TestResetsAgainstABudget/32_lanes,_all_wait"
	budgetResets  = 10_000
)

// budget measures many resets that meet a budget.
func budget(ctx context.Context, _ Bin) ([]Figure, error) {
	out, err := goTest(ctx, budgetPackage, budgetTest, "-resets", strconv.Itoa(budgetResets))
	if err != nil {
		return nil, err
	}
	return shares(out)
}

// shares reads what the test found.
func shares(out string) ([]Figure, error) {
	found, err := attributes(out, "resets", "seconds", "used", "refused")
	if err != nil {
		return nil, err
	}
	return []Figure{
		{Name: "resets", Value: found["resets"], Unit: "people"},
		{Name: "simulated time", Value: found["seconds"], Unit: "s"},
		Figure{Name: "budget used", Value: 100 * found["used"], Unit: "%"}.bounded(AtLeast, 90),
		Figure{Name: "calls answered 429", Value: 100 * found["refused"], Unit: "%"}.bounded(Under, 2),
	}, nil
}
