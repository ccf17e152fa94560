//go:build !unix

package broker

// lockDirectory does nothing where there is no flock.
func lockDirectory(string) (unlock func() error, err error) {
	return func() error { return nil }, nil
}
