// Command bench measures what was built against the bounds of the design and prints
// a table. It fails when something cannot be measured, not when a bound is missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"mfaflow/pkg/bench"
)

func main() {
	bin := flag.String("bin", "dist", "folder of the built binaries")
	asJSON := flag.Bool("json", false, "print JSON")
	events := flag.Int("events", bench.DefaultEvents, "mixed events that the worker takes, rounded up to whole twenties")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "bench [flags] [measurement...]\n\nMeasurements, all of them by default:\n")
		for _, m := range bench.Measurements(*events) {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-9s %s\n", m.Name, m.Title)
		}
		fmt.Fprintf(flag.CommandLine.Output(), "\nFlags:\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *bin, *events, *asJSON, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder string, events int, asJSON bool, names []string) error {
	if events < 1 {
		return errors.New("-events is less than 1")
	}
	folder, err := filepath.Abs(folder) // processes run in folders of their own
	if err != nil {
		return err
	}
	measurements := bench.Measurements(events)
	for _, name := range names {
		if !slices.ContainsFunc(measurements, func(m bench.Measurement) bool { return m.Name == name }) {
			return fmt.Errorf("no measurement %q: see bench -h", name)
		}
	}
	var groups []bench.Group
	var failed error
	for _, m := range measurements {
		if len(names) > 0 && !slices.Contains(names, m.Name) {
			continue
		}
		g := m.Run(ctx, bench.Bin(folder))
		if g.Error != "" {
			failed = errors.Join(failed, errors.New(g.Name+" "+g.Error))
		}
		groups = append(groups, g)
		if !asJSON {
			if err := g.Table(os.Stdout); err != nil {
				return err
			}
		}
	}
	if asJSON {
		failed = errors.Join(failed, bench.JSON(os.Stdout, groups))
	}
	return failed
}
