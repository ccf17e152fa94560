// Package policy turns multi-factor authentication on for a tenant without locking anybody
// out. A file says how the tenant should ask for MFA; a Plan is what it takes to get there,
// in an order in which no step takes away somebody's way in; the Engine carries it out,
// wave by wave, and can take it back.
//
// # One value is judged and written
//
// A Write gives one Object of the tenant a new Value. Package posture judges the very same
// value, so that what was judged is what is done. Before a write the object is read again:
// when it is neither as it was planned nor already as it should be, somebody else was here,
// and the plan ends. What it was is kept before it is written, and a rollback is a plan made
// of what was kept.
//
// # What it must not know
//
// No SDK and no HTTP: a tenant is reached through the ports declared here, files through
// those of package readiness. It reads no clock that it was not given.
package policy
