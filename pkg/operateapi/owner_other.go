//go:build !unix

package operateapi

import "errors"

// ownerOf: where a mode does not say who can read a file, a token proves nobody.
func ownerOf(string) (string, error) {
	return "", errors.New("who owns a file cannot be told on this system")
}
