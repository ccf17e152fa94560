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

// throughput is the emulator's own benchmark: the SDK is at home in its tests.
const (
	throughputPackage   = "./pkg/bench"
	throughputBenchmark = "BenchmarkSendReceiveComplete"
)

var messagesPerSecond = regexp.MustCompile(`([0-9.e+]+) messages/s`)

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
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+throughputBenchmark+"$", "-benchtime", "5s", throughputPackage).CombinedOutput()
	if err != nil {
		return figures, fmt.Errorf("%s: %w: %s", throughputBenchmark, err, bytes.TrimSpace(out))
	}
	found := messagesPerSecond.FindSubmatch(out)
	if found == nil {
		return figures, fmt.Errorf("%s said no messages/s: %s", throughputBenchmark, bytes.TrimSpace(out))
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		return figures, err
	}
	return append(figures, Figure{Name: "send + receive + complete", Value: rate, Unit: "messages/s"}.bounded(AtLeast, 10_000)), nil
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
