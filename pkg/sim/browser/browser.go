// Package browser finds the browser that tests of pages run in. It knows nothing of the
// pages, and drives nothing.
package browser

import (
	"errors"
	"os"
	"os/exec"
)

// ErrNone: there is no browser on this machine.
var ErrNone = errors.New("no chromium on this machine: apt-get install -y chromium (.ci/run does)")

// Find is the path of a Chromium by any of the names that it goes by: Ubuntu's package of
// the plain name is a snap, so .ci/run is content with a Chrome that is there already.
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", ErrNone
}

// Required reports whether a test must fail without one: in CI nothing is left out.
func Required() bool { return os.Getenv("CI") != "" } //nolint:forbidigo // CI sets it, and no function reads it
