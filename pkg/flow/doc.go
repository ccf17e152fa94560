// Package flow holds the tests of the whole way of an event: from a signed webhook
// over the real broker client and the real Graph client to what the tenant and the
// people in it see. It has no code of its own.
package flow
