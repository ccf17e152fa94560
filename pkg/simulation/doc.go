// Package simulation plays random histories against router, worker and breaker on both
// simulators, with one clock, and checks that what mfaflow promises holds.
//
// # A run
//
// A seed draws a small tenant and a history: HR's statements in and out of order, help
// desk, risk signals, duplicates, replays, operators who decide, changes made past
// mfaflow, and faults (a process that dies or stalls before or after any step, Graph
// and broker that fail before or after the effect, cut connections, time that passes
// while nobody works). One goroutine drives; messages travel over real AMQP, calls over
// real HTTP. People use the passes they are given. In the end the faults stop, time
// passes until nothing is scheduled any more, and every invariant is checked (see
// judge, rest, before and after). A failing history is shortened by leaving out
// whatever it fails without.
//
//	make sim SEEDS=1000 FROM=1
//	make sim SEEDS=1 FROM=304    one seed, shortened and with its history
//	go run ./pkg/cmd/sim -from 304 -history file -v
//
// # What the seeds are worth
//
// make sim-mutations switches each guarantee off in turn (type Mutation) and wants a
// seed that notices. MUTATIONS
//
// # What it does not cover
//
// Ingest (handed in are the messages that ingest makes), the flag notifier, report-only
// mode, several workers at the very same moment, and calls that are in flight while
// their process stalls; the process test of pkg/bootstrap covers the first and the
// fourth.
package simulation
