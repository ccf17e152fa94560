// Package readiness gathers what package posture judges, from a tenant that is read in
// bulk and slowly, and makes reports of it: for a terminal, as CSV, as JSON and as one
// page of HTML, with a history so that a trend shows.
//
// It reaches the tenant and its files through ports, and knows no Graph SDK, no queue and
// no configuration.
//
// # A run that ends early goes on
//
// Microsoft allows five requests in ten seconds for reports and sign-ins, so that a large
// tenant takes longer than a function may run. Every page that was read is put into the
// store before the next one is asked for. A run finds the pages of one that was killed less
// than a day ago and goes on behind them; a finished one is begun anew.
package readiness
