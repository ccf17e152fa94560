package breaker

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// version is the version of the JSON this package writes.
const version = 1

// digestSize is the length of what is kept of a key: 72 bits, so that nobody who
// chooses keys finds one that passes for another, and 12 characters without
// padding in JSON.
const digestSize = 9

// window is what all workers share: the keys that were granted, by time.
type window struct {
	Version int `json:"v"`
	// Buckets are in order of time.
	Buckets []bucket `json:"b,omitempty"`

	now time.Time
}

// bucket is what was granted in a short span of time.
type bucket struct {
	// Last is when the last of it was granted.
	Last time.Time `json:"t"`
	// Keys are the digests of the keys, one after the other.
	Keys map[Class][]byte `json:"k"`
}

// decode reads session state; no state is a window in which nothing happened.
func decode(state []byte) (*window, error) {
	if len(state) == 0 {
		return &window{Version: version}, nil
	}
	var w window
	d := json.NewDecoder(bytes.NewReader(state))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w: not the JSON of a window", ErrUnreadable)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one value", ErrUnreadable)
	}
	if w.Version != version {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", ErrUnreadable, w.Version, version)
	}
	for i, b := range w.Buckets {
		if b.Last.IsZero() || i > 0 && !b.Last.After(w.Buckets[i-1].Last) {
			return nil, fmt.Errorf("%w: buckets are not in order of time", ErrUnreadable)
		}
		if len(b.Keys) == 0 {
			return nil, fmt.Errorf("%w: a bucket without keys", ErrUnreadable)
		}
		for class, keys := range b.Keys {
			if !class.valid() || len(keys) == 0 || len(keys)%digestSize != 0 {
				return nil, fmt.Errorf("%w: a bucket has keys of no class or of no full length", ErrUnreadable)
			}
		}
	}
	return &w, nil
}

func (w *window) encode() ([]byte, error) { return json.Marshal(w) }

// advance sets the time and forgets what has left the window by then. Time never
// runs backwards: a clock that is behind follows the last one that wrote.
func (w *window) advance(now time.Time, retention time.Duration) error {
	if n := len(w.Buckets); n > 0 {
		last := w.Buckets[n-1].Last
		if last.Sub(now) > skew {
			return fmt.Errorf("%w: it shows %s, ours %s", ErrClock, last.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
		if last.After(now) {
			now = last
		}
	}
	w.now = now.UTC().Round(0)
	w.Buckets = slices.DeleteFunc(w.Buckets, func(b bucket) bool { return !now.Before(b.Last.Add(retention)) })
	return nil
}

// reserve decides on a request and counts it if it is granted for the first time;
// then the window has changed and must be written.
func (w *window) reserve(r Request, l Limits) (d Decision, changed bool) {
	d = Decision{Class: r.Class, Counted: w.count(r.Class.shares), Limit: l.Of(r.Class, r.People), Window: l.Window}
	total := w.count(anyClass)
	digest := digestOf(r.Key)
	switch {
	case w.has(digest):
		d.Granted = true
	case total >= Capacity:
		d.Counted, d.Limit = total, Capacity
		d.RoomAt = w.leave(anyClass, total-Capacity+1).Add(l.retention())
	case d.Counted >= d.Limit && !r.Released:
		d.RoomAt = w.leave(r.Class.shares, d.Counted-d.Limit+1).Add(l.retention())
	default:
		w.add(r.Class, digest, l.width())
		d.Granted, d.Counted = true, d.Counted+1
		return d, true
	}
	return d, false
}

func anyClass(Class) bool { return true }

func digestOf(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:digestSize]
}

func (w *window) has(digest []byte) bool {
	for _, b := range w.Buckets {
		for _, keys := range b.Keys {
			for k := range slices.Chunk(keys, digestSize) {
				if bytes.Equal(k, digest) {
					return true
				}
			}
		}
	}
	return false
}

// count is how many reservations of the classes are in the window.
func (w *window) count(of func(Class) bool) (n int) {
	for _, b := range w.Buckets {
		n += b.count(of)
	}
	return n
}

func (b bucket) count(of func(Class) bool) (n int) {
	for class, keys := range b.Keys {
		if of(class) {
			n += len(keys) / digestSize
		}
	}
	return n
}

// leave is the time of the bucket with which the n oldest of the classes are gone.
func (w *window) leave(of func(Class) bool, n int) time.Time {
	for _, b := range w.Buckets {
		if n -= b.count(of); n <= 0 {
			return b.Last
		}
	}
	return w.now
}

// add puts a key into the bucket of this moment.
func (w *window) add(c Class, digest []byte, width time.Duration) {
	n := len(w.Buckets)
	if n == 0 || !w.Buckets[n-1].Last.Truncate(width).Equal(w.now.Truncate(width)) {
		w.Buckets = append(w.Buckets, bucket{Keys: map[Class][]byte{}})
		n++
	}
	b := &w.Buckets[n-1]
	b.Last = w.now
	b.Keys[c] = append(b.Keys[c], digest...)
}
