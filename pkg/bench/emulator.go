package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const readyRuns = 20

// The emulator's own benchmark: the SDK's receivers of whole batches are at home in
// its tests.
const (
	throughputPackage   = "mfaflow/pkg/sim/servicebus"
	throughputBenchmark = "^BenchmarkSendReceiveComplete$/^memory$"
)

var messagesPerSecond = regexp.MustCompile(`/memory/(\S+?)(?:-\d+)?\s.*?([0-9.e+]+) msg/s`)

// emulator measures the start of a process and the throughput of the server.
func emulator(ctx context.Context, bin Bin) ([]Figure, error) {
	var ready []time.Duration
	for range readyRuns {
		p, _, err := startEmulator(ctx, bin)
		if err != nil {
			return nil, err
		}
		p.stop()
		ready = append(ready, p.took)
	}
	figures := []Figure{
		Figure{Name: "process start to ready, median of 20", Value: milliseconds(quantile(ready, 0.5)), Unit: "ms"}.bounded(Under, 50),
	}
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", throughputBenchmark, "-benchtime", "3s", throughputPackage).CombinedOutput()
	if err != nil {
		return figures, fmt.Errorf("go test -bench: %w: %s", err, bytes.TrimSpace(out))
	}
	rates, err := throughput(string(out))
	return append(figures, rates...), err
}

// throughput reads what the benchmark printed.
func throughput(out string) ([]Figure, error) {
	var figures []Figure
	for _, m := range messagesPerSecond.FindAllStringSubmatch(out, -1) {
		rate, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		name := "send + receive + complete, " + strings.ReplaceAll(m[1], "-", " ")
		figures = append(figures, Figure{Name: name, Value: rate, Unit: "messages/s"}.bounded(AtLeast, 10_000))
	}
	if figures == nil {
		return nil, fmt.Errorf("%s printed no msg/s", throughputBenchmark)
	}
	return figures, nil
}

// startEmulator serves Service Bus in a process of its own.
func startEmulator(ctx context.Context, bin Bin) (*process, string, error) {
	const name = "SERVICEBUS_CONNECTION_STRING="
	var connectionString string
	p, err := command{
		path: bin.path("mfaflow"), env: machine(),
		args: []string{"servicebus", "--session-queue", "inbound", "--queue", "quarantine"},
		ready: func(line []byte) bool {
			value, ok := strings.CutPrefix(string(line), name)
			if ok {
				connectionString = value
			}
			return ok
		},
	}.start(ctx)
	return p, connectionString, err
}
