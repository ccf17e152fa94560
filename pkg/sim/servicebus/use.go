package servicebus

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Use is that somebody did something with a queue which Azure asks a right for: Send or
// Listen. Peeking and session state are Listen, scheduling is Send. Source: "Service Bus
// access control with Shared Access Signatures", the table of rights.
type Use struct {
	// KeyName is whose signature it was; without a configured key any name will do.
	KeyName string
	Queue   string
	Right   string
}

// The rights.
const (
	rightSend   = "Send"
	rightListen = "Listen"
)

// uses are kept each once.
type uses struct {
	mu   sync.Mutex
	seen map[Use]struct{}
}

func (u *uses) add(one Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = map[Use]struct{}{}
	}
	u.seen[one] = struct{}{}
}

// Uses are all that there were so far, each once.
func (s *Server) Uses() []Use {
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.uses.seen), func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.KeyName, b.KeyName), cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Right, b.Right))
	})
}

// ConnectionStringAs is ConnectionString for somebody whose uses are told apart by this
// key name. It is of no use where a key is configured.
func (s *Server) ConnectionStringAs(keyName string) string {
	return fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=%s;SharedAccessKey=%s;UseDevelopmentEmulator=true",
		reachable(s.listener.Addr()), keyName, withDefault(s.options.Key, defaultKey))
}
