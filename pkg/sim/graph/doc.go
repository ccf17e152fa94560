// Package graph simulates the part of Microsoft Graph that mfaflow, its operators and
// its tests use: a stateful tenant behind real HTTP, with the token endpoint that lets
// azidentity run its own flow. It answers as the service documents, errors included.
//
// It knows nothing of mfaflow's events, queues or settings, and imports the standard
// library only. What differs between documentation and observation is a switch in
// [Behaviour]; what could not be verified carries the word "assumed" beside it.
//
// [Server.EvaluateSignIn] says what Entra would do with a sign-in under the tenant's
// policies, and [Generate] makes up tenants of any size.
//
// It also calls out, to the notification URLs of subscriptions: on its own goroutine and
// by its own clock, or when [Server.Deliver] is called.
//
// Everything a request does to the tenant happens under one lock, so a request takes
// effect wholly or not at all, whatever latency or fault surrounds it. Only the proof of
// a notification URL is made outside, before the subscription exists.
package graph
