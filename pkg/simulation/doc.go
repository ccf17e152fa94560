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
// seed that notices. The first that does, from 1 on:
//
//	ledger written late      97   a pass of ours is held as a foreign one
//	handled keys forgotten   21   a statement that ran runs again
//	statements forgotten    100   an earlier statement acts after a later one
//	no gate                   5   an event overtakes one that is retried
//	no precedence             2   an event waits behind one that it may pass
//	lost lock ignored        10   a worker acts in a lane that another one has
//	no wake-up                1   nothing brings a waiting event back
//	completed, not deferred   1   an event is lost
//	no flags                  2   a hold that nobody is told about
//	recipient of the event   72   the pass goes to an address of the event
//	delivered twice          11   two passes for one event
//	no preflight             49   a pass that the policy refuses
//	no protection             2   an administrator is touched
//	one approval             28   an administrator is touched after one word
//	no breaker               35   more people than the window allows
//	tenant read once         10   a leaver keeps a method
//	risk not read again      39   a compromise without a risk
//	incidents forgotten      66   one incident is answered twice
//	starts not counted       11   an event is started again and again
//	pass logged              11   a pass value in the log
//	no grace period           4   a leaver's methods go at once
//	no scope                 28   a source acts beyond its scope
//	no look after a sync     87   a block that a synchronisation undid
//	no maximum age           95   an event of last month acts
//	any method will do       12   somebody must use a method that they do not have
//
// # What it does not cover
//
// Ingest (handed in are the messages that ingest makes), the flag notifier, report-only
// mode, personal mail, several accounts for one person, deleted accounts, two workers
// at the very same moment, and calls that are in flight while their process stalls.
// The process test of pkg/bootstrap covers ingest and workers side by side.
package simulation
