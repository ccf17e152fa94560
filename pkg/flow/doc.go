// Package flow holds the tests of the whole way of an event: from a signed webhook
// over the real broker client and the real Graph client to what the tenant and the
// people in it see. It has no code of its own.
//
// # The guarantees and their tests
//
// What the lane guarantees, and the tests that fail when it is taken away from the
// code: each pair was tried. pkg/simulation does the same over random histories and
// random faults.
//
//	Point 1: An event delivered any number of times, through any crash, has the effect of one.
//	    handled keys are remembered          lane.TestCrashesAtEveryStep, flow.TestReportOnlyThenLive
//	    intent before effect                 flow.TestWorkerDiesAtEveryStep, flow.TestGraphFailsAtEveryRequest
//	    who waits is woken                   lane.TestCrashesAtEveryStep, flow.TestJoinerGetsAPass
//	    who resumes reads again              flow.TestThrottledRemoval
//	Point 2: One person, one order.
//	    events wait behind a retry or hold   ledger.TestBlocked, lane.TestCrashesAtEveryStep
//	    higher precedence passes             ledger.TestBlocked, flow.TestNoPassBeforeAnOperatorLetsThePersonIn
//	Point 3: The lock is judged locally.
//	    no call outlives it                  servicebus.TestGuardEndsWithTheLock, servicebus.TestLostSession
//	    the ledger's generation              lane.TestGenerationIsChecked
//	Point 4: What HR said last counts.
//	    earlier statements are obsolete      flow.TestDateMoves, flow.TestLaterStatementsWin
//	    an immediate leaver but for a rehire flow.TestLaterStatementsWin
//	Point 5: Passes.
//	    undeliverable: deleted, three tries  flow.TestUndeliverablePassIsDeleted
//	    somebody else's pass stays           flow.TestJoinersThatNeedAHuman, flow.TestReregistrationThatNeedsAHuman
//	    addresses from the directory only    flow.TestPersonalMailMustStayTheSame, events.TestInvalid
//	    lifetime within the policy           plan.TestStart
//	    not in sent items                    flow.TestJoinerGetsAPass
//	Point 6: Nobody is locked out by us.
//	    the pass first, then the methods     flow.TestFullReregistration, flow.TestUndeliveredPassKeepsTheMethods
//	    the policy is looked at              flow.TestExcludedPersonUnderBothBehaviours, flow.TestReregistrationThatNeedsAHuman
//	    a pass for who would have nothing    flow.TestLostAccessKeepsTheRest, flow.TestNamedReregistration
//	Point 7: A reset converges.
//	    rounds, whatever the default         flow.TestFullReregistration, flow.TestFullReregistrationOfDependentPhones
//	    the default moves to what stays      flow.TestLostDevice
//	    unknown kinds are said to remain     flow.TestFullReregistrationOfStrangeKinds
//	    no creation time: not judged         flow.TestSurgicalReregistration
//	Point 8: Protected people.
//	    two operators                        flow.TestTwoPersonApproval, flow.TestLeaverWhoIsAnAdministrator
//	    no blank account: held               flow.TestJoinersThatNeedAHuman
//	    protection that cannot be read       flow.TestUnreadableProtectionFailsClosed
//	Point 9: The breaker.
//	    asked before destructive steps       flow.TestBreakerHoldsWhatIsTooMuch
//	    over all workers, a resume once      breaker.TestConcurrentWorkers, breaker.TestResumeCountsOnce
//	Point 10: Holds.
//	    as many approvals as it takes        flow.TestTwoPersonApproval, flow.TestOneOperatorInTwoSpellings
//	    a hold is an open flag               flow.TestJoinersThatNeedAHuman, flow.TestHeldJoinerIsToldOnEveryChannel
//	Point 11: Poison.
//	    starts are counted                   lane.TestPoisonIsDeadLettered
//	    a lane is kept for 20 s at most      flow.TestThrottledRemoval
//	Point 12: Same incident, one response.
//	    the risk is read again               flow.TestRiskIsReadAgain
//	    answered is answered                 flow.TestSameIncidentOneResponse, flow.TestThreeSignalsOneResponse
//	Point 13: Secrets stay out.                   flow.TestSecretsAreNowhere
//	Point 14: Report-only does nothing.           flow.TestReportOnlyThenLive
//
// Operators and replays:
//
//	Looking consumes nothing                     flow.TestListAndOverview
//	What is personal is masked                   flow.TestShowMasks, flow.TestPersonAndLetIn
//	A replay needs its plan                      flow.TestReplayNeedsItsPlan, flow.TestEdit
//	What would do something else is held         flow.TestReplayThatWouldDoSomethingElseIsHeld
//	What was agreed to is carried out            flow.TestReplayedLeaverGoesOnAfterItsWait, flow.TestWorkerDiesAtEveryStepOfAReplay
//	What is done or obsolete stays so            flow.TestReplayOfWhatIsDoneChangesNothing, flow.TestReplayOfAnObsoleteJoiner
//	Two operators where it takes two             flow.TestReplayOfAProtectedPerson
//	Nothing is lost or doubled                   flow.TestReplayerDiesAtEveryStep, flow.TestConcurrentReplayers,
//	                                             flow.TestThousandMixedDeadLettersInThreeRuns
//	One out of many, the rest is left alone      flow.TestSelectiveReplay, servicebus.TestShelfGivesOneOutOfTheMiddle
//
// Beside these: scopes (flow.TestScopes, flow.TestNobodyElseLetsPeopleIn), maximum ages
// (flow.TestMaximumAge), whom an event is about (flow.TestIdentifiersThatDisagree,
// flow.TestAccountYoungerThanTheEventMatchesByEmployeeIDOnly), an unreadable or forgetful
// ledger (lane.TestUnreadableLedgerIsNotWrittenOver, lane.TestBelowTheFloorIsHeld), and
// every event type on the built functions (stack.TestStories). Real processes are
// killed and stopped in bootstrap.TestKilledFunctionsLoseNothing and
// bootstrap.TestStalledWorkerWritesNothingMore; there several guarantees cover one
// another, so that taking one away does not show.
package flow
