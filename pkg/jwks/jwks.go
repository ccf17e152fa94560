// Package jwks fetches the public keys of transmitters, from the URLs that are
// configured and from nowhere else.
//
// It parses no token. Time comes from the caller, so that a cache in a sandbox that
// was frozen is as old as it is.
package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"mfaflow/pkg/secevent"
)

const (
	// fresh is how long keys are used without asking again, and stale how long they are
	// used when nobody answers: a transmitter that is down for a day has other troubles,
	// and keys may have been withdrawn.
	fresh = time.Hour
	stale = 24 * time.Hour
	// again is how often a key id that is not there makes us ask: key ids are free to
	// make up.
	again = time.Minute
	// sure is how long after a reading an id that is not among the keys is taken to be
	// wrong. Between then and the next reading it may be new: a token that is refused is
	// lost, one that cannot be judged yet comes again.
	sure = 5 * time.Second
	// pause follows a failure when there is nothing to go on with, so that a burst of
	// deliveries does not wait for one timeout after the other.
	pause = 5 * time.Second

	timeout = 2 * time.Second
	// maxSet bounds an answer; a set of ten keys with certificates has 30 KiB.
	maxSet = 256 << 10
)

var errMayBeNew = errors.New("the key id may be newer than the keys, which were read less than a minute ago")

// Set is the key set at one URL. It is safe for concurrent use.
type Set struct {
	url  string
	http *http.Client
	now  func() time.Time

	mu     sync.Mutex
	keys   secevent.KeySet
	read   time.Time     // when keys were read
	asked  time.Time     // when the URL was last asked
	failed error         // what came of it
	asking chan struct{} // closed when the answer is there; nil when nobody asks
}

// New makes the set of a URL that the configuration has found good. It does no
// network. transport nil is the default one; now nil is time.Now.
func New(url string, transport http.RoundTripper, now func() time.Time) *Set {
	if now == nil {
		now = time.Now
	}
	return &Set{url: url, now: now, http: &http.Client{
		Transport: transport, Timeout: timeout,
		// Only the configured URL is trusted to say what the keys are.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Keys implements secevent.KeySource. It asks when the keys are an hour old, and for an
// id that is not there at most once a minute. An id that is still not there is wrong
// only if the keys were read just now. Keys read before outlive a failure by a day.
//
// Who has made up an id lets nobody else wait: while somebody asks, keys that are
// there are served.
func (s *Set) Keys(ctx context.Context, id string) (secevent.KeySet, error) {
	s.mu.Lock()
	now := s.now()
	known := len(s.keys.Find(id)) > 0 && now.Sub(s.read) < stale
	asking := s.asking
	mine := asking == nil && s.due(now, known)
	if mine {
		asking = make(chan struct{})
		s.asking, s.asked = asking, now
	}
	s.mu.Unlock()
	switch {
	case mine:
		s.ask(ctx, now, asking)
	case asking != nil && !known:
		select {
		case <-asking:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.keys.Find(id)
	switch {
	case s.failed != nil && (len(found) == 0 || now.Sub(s.read) >= stale):
		return nil, s.failed
	case len(found) == 0 && now.Sub(s.read) >= sure:
		return nil, errMayBeNew
	default:
		return found, nil
	}
}

func (s *Set) due(now time.Time, known bool) bool {
	since := now.Sub(s.asked)
	switch {
	case s.asked.IsZero():
		return true
	case len(s.keys) == 0:
		return since >= pause
	case s.failed != nil, !known:
		return since >= again
	default:
		return now.Sub(s.read) >= fresh
	}
}

// ask reads the keys anew. A delivery that gives up does not end it for the others.
func (s *Set) ask(ctx context.Context, now time.Time, done chan struct{}) {
	keys, err := s.get(context.WithoutCancel(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = err; err == nil {
		s.keys, s.read = keys, now
	}
	s.asking = nil
	close(done)
}

func (s *Set) get(ctx context.Context) (secevent.KeySet, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the key set: %s answers %d", s.url, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the key set: %w", err)
	case len(body) > maxSet:
		return nil, errors.New("read the key set: over 256 KiB")
	}
	return secevent.ParseKeys(body)
}

// Close releases idle connections.
func (s *Set) Close() { s.http.CloseIdleConnections() }
