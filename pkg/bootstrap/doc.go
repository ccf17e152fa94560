// Package bootstrap holds the tests of the functions as they are deployed: the built
// binaries, under the double of the Lambda runtime and as ordinary processes, on both
// simulators. It has no code of its own.
package bootstrap
