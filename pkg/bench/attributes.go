package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// goTest runs one test of a package and returns what it printed.
func goTest(ctx context.Context, pkg, test string, flags ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-v", "-run", "^" + test + "$", pkg}, flags...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go test %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

var attribute = regexp.MustCompile(`(?m)^=== ATTR +\S+ (\w+) (\S+)$`)

// attributes reads the figures that a test printed as its attributes.
func attributes(out string, names ...string) (map[string]float64, error) {
	found := map[string]float64{}
	for _, m := range attribute.FindAllStringSubmatch(out, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		found[m[1]] = value
	}
	for _, name := range names {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("the test printed no attribute %s", name)
		}
	}
	return found, nil
}
