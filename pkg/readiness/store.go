package readiness

import (
	"context"
	"errors"
)

// Store keeps files by name. Names are parts joined by slashes. It is as little as any
// folder or object store can do.
type Store interface {
	// Put replaces the file as a whole or not at all.
	Put(ctx context.Context, name string, data []byte) error
	// Get is ErrNoFile for a name that is not there.
	Get(ctx context.Context, name string) ([]byte, error)
	// List are the names that begin with prefix, in order.
	List(ctx context.Context, prefix string) ([]string, error)
}

var (
	// ErrNoFile: the store has no file of that name.
	ErrNoFile = errors.New("no such file")
	// ErrExists: the store has a file of that name.
	ErrExists = errors.New("the file is there already")
)
