// Command sim plays seeds of the simulation. See package simulation.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"mfaflow/pkg/simulation"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	seeds := flag.Uint64("seeds", 300, "how many seeds to play")
	from := flag.Uint64("from", 1, "the first seed")
	side := flag.Int("side-by-side", 2, "how many to play at once")
	history := flag.String("history", "", "file with a history to play instead of the seed's own")
	verbose := flag.Bool("v", false, "print the log of failing runs")
	keep := flag.Bool("keep-going", false, "play all seeds whatever breaks, and do not shrink")
	flag.Parse()
	ctx := context.Background()
	if *history != "" {
		text, err := os.ReadFile(*history)
		if err != nil {
			return err
		}
		actions, err := simulation.Parse(string(text))
		if err != nil {
			return err
		}
		r, err := simulation.Run(ctx, *from, actions, "")
		if err != nil {
			return err
		}
		return tell(r, *verbose)
	}
	failed := 0
	played, err := simulation.Seeds(ctx, *from, *seeds, *side, "", func(r simulation.Result) bool {
		if len(r.Broken) == 0 {
			return true
		}
		failed++
		if *keep {
			fmt.Printf("seed %d: %v\n", r.Seed, r.Broken)
			return true
		}
		if short, err := simulation.Shrink(ctx, r, ""); err == nil {
			r = short
		}
		_ = tell(r, *verbose)
		return false
	})
	fmt.Printf("%d seeds played, %d failed\n", played, failed)
	if err == nil && failed > 0 {
		err = fmt.Errorf("an invariant does not hold")
	}
	return err
}

func tell(r simulation.Result, verbose bool) error {
	if verbose {
		fmt.Println(r.Log)
	}
	if len(r.Broken) == 0 {
		fmt.Println("every invariant holds")
		return nil
	}
	fmt.Println(r.Report())
	return fmt.Errorf("an invariant does not hold")
}
