// Package sweep looks after what nobody tells by itself: it keeps the subscriptions
// for change notifications alive, asks the directory what changed since the last
// time, and polls risks, failed sign-ins and dates of employment. What it finds
// becomes events on the inbound queue.
//
// It knows no Graph SDK, no broker client and no cloud runtime.
package sweep
