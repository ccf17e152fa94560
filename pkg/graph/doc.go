// Package graph is the adapter to Microsoft Graph: it turns questions about people
// into requests and Graph's answers into the nouns of package identity.
//
// It is the only importer of msgraph-sdk-go and kiota. No SDK type appears in a
// signature, and it knows no queue, no event and no plan.
//
// # Errors
//
// Every failed method returns an error of one of these classes:
//
//	answer                              class
//	404                                 identity.ErrNotFound (DeletePass, Unsubscribe: success; Risk: none; a $batch, lists, Subscribe, SendMail, PassPolicy, CountUsers: identity.ErrRefused)
//	401, 403                            identity.ErrForbidden; the text names the permission the operation needs
//	400 and any other 4xx, 3xx          identity.ErrRefused with Graph's error code
//	408, 409, 423, 425                  *identity.RetryError
//	410; 4xx with the code of a link    sweep.ErrResync, from operations that follow links of earlier answers
//	that is no longer good
//	403 to Subscribe from who may read  sweep.ErrQuota
//	429                                 *identity.RetryError, After from Retry-After or the default of its throttling class
//	5xx                                 *identity.RetryError, After from Retry-After; Unknown for a write
//	none, cut off, unreadable, late     *identity.RetryError; Unknown for a write
//	none because ctx ended              the error of ctx
//	not sent: its turn is too far away  *identity.RetryError with After
//	no token                            the class that the credential reports, else *identity.RetryError
//
// The items of a $batch have each a status of their own, by the same table. What a
// deletion of methods makes of it:
//
//	status of the item or request       outcome of the method
//	2xx                                 deleted
//	404                                 gone
//	400                                 blocked: the default method, or a phone that another depends on; the code is
//	                                    the same for all refusals, and texts are not read, so a later round decides
//	401, 403                            forbidden
//	429                                 throttled, with After
//	408, 409, 423, 425, 5xx, none       unavailable; Unknown after 5xx and without an answer
//	any other 4xx                       refused
//	no request: password, unknown kind  remains
//	no request: stopped before          untried
//
// Texts hold the operation, the status, Graph's error code and its request id. They
// hold no message of Graph and no body: those may quote an address or a pass.
//
// # Retries
//
// A read, a $batch of reads included, is repeated once, after a short pause, when the
// connection was cut or the answer was 5xx without Retry-After. A write is never repeated here, nor is
// anything after 429: waiting belongs to the lane, which holds no lock meanwhile
// and re-reads the tenant before it acts again. That is why kiota's retry
// middleware is not installed: it repeats writes and sleeps up to three minutes.
// Its compression middleware is not installed either; bodies are a few hundred
// bytes.
//
// # Budget
//
// With Options.Budget every request waits for its turn before it is sent, a $batch
// for as many turns as it has items. Requests of a context from identity.Urgent go
// first. One that would wait too long is not sent: its error is a
// *identity.RetryError that says when to come again, never Unknown. After a 429, of a
// request or of an item, the whole class rests for as long as Graph asked, and
// deletions are cut into batches no larger than the budget lets go at once.
//
// # Beta
//
// Sign-in preferences, and methods of some kinds, exist in beta only. Their requests
// are written here by hand, as the SDK knows v1.0; AllMethods and MethodsAndDefault
// read from beta because v1.0 may leave such methods out.
//
// # Serializers
//
// The SDK's root package registers its serializers process-wide. The adapter hands
// them to its own request adapter instead, and request builders come from the
// SDK's subpackages: importing the root more than doubles a cold build.
package graph
