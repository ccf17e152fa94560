package graph

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// outbox holds the subscriptions and what is to be told to them. The server's lock
// guards it.
type outbox struct {
	subscriptions []*Subscription
	waiting       []*notice
	deliveries    []Delivery
	delivered     chan struct{} // closed and replaced at each delivery
	silent        bool
	wake          chan struct{}
}

// notice is one item of a notification on its way.
type notice struct {
	subscription string
	url          string
	lifecycle    bool
	item         map[string]any
	first, due   time.Time
	attempts     int
}

// Delivery is one attempt to post notifications.
type Delivery struct {
	Time      time.Time
	URL       string
	Lifecycle bool
	Items     int
	Status    int // 0 when there was no answer
}

// OK reports whether the endpoint took them; any 2xx does.
func (d Delivery) OK() bool { return d.Status >= 200 && d.Status < 300 }

const (
	// retryFor is how long Graph goes on after a failure. Its back-off is exponential;
	// where it begins and ends is assumed.
	retryFor   = 4 * time.Hour
	retryFirst = 10 * time.Second
	retryLast  = 10 * time.Minute
	// remindEvery is documented, remindBefore assumed.
	remindBefore = time.Hour
	remindEvery  = 15 * time.Minute
	// itemsPerPost is assumed; Graph says that one post may hold several.
	itemsPerPost = 100
)

// SilenceNotifications makes changes go untold, or told again: the gap that only a
// delta query closes.
func (s *Server) SilenceNotifications(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.post.silent = silent
}

// RequestReauthorization sends reauthorizationRequired for a subscription, as when an
// administrator withdrew a permission. It reports whether there is somebody to tell.
func (s *Server) RequestReauthorization(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now().UTC()
	s.post.expire(now)
	for _, sub := range s.post.subscriptions {
		if sub.ID == id && sub.LifecycleURL != "" {
			s.remind(sub, now)
			s.post.knock()
			return true
		}
	}
	return false
}

// Deliver posts every notification that is due by the server's clock and returns the
// attempts, in the order they were made. Those that fail are due again later.
func (s *Server) Deliver() []Delivery {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	var made []Delivery
	for s.life.Err() == nil {
		batch := s.takeDue()
		if len(batch) == 0 {
			break
		}
		made = append(made, s.deliver(batch))
	}
	return made
}

// Deliveries are all attempts so far, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.post.deliveries)
}

// AwaitDeliveries waits until n attempts were made and returns all of them, or what
// there is with the error of ctx.
func (s *Server) AwaitDeliveries(ctx context.Context, n int) ([]Delivery, error) {
	for {
		s.mu.Lock()
		made, more := slices.Clone(s.post.deliveries), s.post.delivered
		s.mu.Unlock()
		if len(made) >= n {
			return made, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return made, ctx.Err()
		}
	}
}

// Undelivered is the number of notifications that wait to be sent, for the first time
// or again.
func (s *Server) Undelivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.post.waiting)
}

// notify queues what a change of a user means to the subscribers.
func (s *Server) notify(c change, now time.Time) {
	if s.post.silent {
		return
	}
	s.post.expire(now)
	for _, sub := range s.post.subscriptions {
		changeType, wanted := sub.matches(c)
		if !wanted {
			continue
		}
		for range s.dir.Behaviour.Notifications {
			item := s.item(sub)
			item["id"] = s.newID()
			item["changeType"] = changeType
			item["resource"] = "Users/" + c.id
			item["resourceData"] = map[string]any{
				"@odata.type": "#Microsoft.Graph.User", "@odata.id": "Users/" + c.id, "id": c.id,
				"organizationId": s.dir.ID, "sequenceNumber": c.number,
			}
			s.post.waiting = append(s.post.waiting, &notice{subscription: sub.ID, url: sub.NotificationURL, item: item, first: now, due: now})
		}
	}
	s.post.knock()
}

func (s *Server) item(sub *Subscription) map[string]any {
	return map[string]any{
		"subscriptionId": sub.ID, "subscriptionExpirationDateTime": sub.ExpiresAt, "tenantId": s.dir.ID, "clientState": orNull(sub.ClientState),
	}
}

// remind queues reauthorizationRequired and says when the next one is due.
func (s *Server) remind(sub *Subscription, now time.Time) {
	item := s.item(sub)
	item["lifecycleEvent"] = "reauthorizationRequired"
	s.post.waiting = append(s.post.waiting, &notice{subscription: sub.ID, url: sub.LifecycleURL, lifecycle: true, item: item, first: now, due: now})
	sub.remindAt = now.Add(remindEvery)
}

// expire forgets the subscriptions that have ended; nobody is told.
func (o *outbox) expire(now time.Time) {
	o.subscriptions = slices.DeleteFunc(o.subscriptions, func(sub *Subscription) bool { return !sub.ExpiresAt.After(now) })
}

func (o *outbox) drop(id string) bool {
	before := len(o.subscriptions)
	o.subscriptions = slices.DeleteFunc(o.subscriptions, func(sub *Subscription) bool { return sub.ID == id })
	return len(o.subscriptions) < before
}

func (o *outbox) find(id string) *Subscription {
	if i := slices.IndexFunc(o.subscriptions, func(sub *Subscription) bool { return sub.ID == id }); i >= 0 {
		return o.subscriptions[i]
	}
	return nil
}

// knock tells the courier that there may be something to do.
func (o *outbox) knock() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// takeDue removes what can go in one post now: items of one kind for one URL.
func (s *Server) takeDue() []*notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now().UTC()
	s.post.expire(now)
	for _, sub := range s.post.subscriptions {
		if sub.LifecycleURL != "" && !sub.remindAt.After(now) {
			s.remind(sub, now)
		}
	}
	var batch, rest []*notice
	for _, n := range s.post.waiting {
		switch {
		case s.post.find(n.subscription) == nil: // ended before it could be told
		case len(batch) < itemsPerPost && !n.due.After(now) && (len(batch) == 0 || n.url == batch[0].url && n.lifecycle == batch[0].lifecycle):
			batch = append(batch, n)
		default:
			rest = append(rest, n)
		}
	}
	s.post.waiting = rest
	return batch
}

// deliver makes one attempt and puts back what was not taken.
func (s *Server) deliver(batch []*notice) Delivery {
	items := make([]map[string]any, len(batch))
	for i, n := range batch {
		items[i] = n.item
	}
	data, _ := json.Marshal(map[string]any{"value": items}) // strings, numbers and times always encode
	d := Delivery{Time: s.clock.Now().UTC(), URL: batch[0].url, Lifecycle: batch[0].lifecycle, Items: len(batch)}
	status, _, _, err := s.call(d.URL, "application/json; charset=utf-8", string(data))
	if err == nil {
		d.Status = status
	}
	s.logger.Debug("graph notification", "url", d.URL, "items", d.Items, "status", d.Status)

	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		close(s.post.delivered)
		s.post.delivered = make(chan struct{})
	}()
	s.post.deliveries = append(s.post.deliveries, d)
	if d.OK() {
		return d
	}
	for _, n := range batch {
		n.due = d.Time.Add(min(retryFirst<<min(n.attempts, 10), retryLast))
		n.attempts++
		if n.due.Sub(n.first) <= retryFor {
			s.post.waiting = append(s.post.waiting, n)
		}
	}
	return d
}

// nextDue is when the courier must wake by itself.
func (s *Server) nextDue() (at time.Time, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	earlier := func(t time.Time) {
		if !any || t.Before(at) {
			at, any = t, true
		}
	}
	for _, n := range s.post.waiting {
		earlier(n.due)
	}
	for _, sub := range s.post.subscriptions {
		if sub.LifecycleURL != "" && sub.remindAt.Before(sub.ExpiresAt) {
			earlier(sub.remindAt)
		}
	}
	return at, any
}

// courier sends notifications as they fall due, until the server closes.
func (s *Server) courier() {
	for s.life.Err() == nil {
		s.Deliver()
		var alarm <-chan time.Time
		stop := func() bool { return false }
		if at, some := s.nextDue(); some {
			t := s.clock.NewTimer(at.Sub(s.clock.Now()))
			alarm, stop = t.C(), t.Stop
			if !s.clock.Now().Before(at) { // the clock was moved before the timer stood
				stop()
				continue
			}
		}
		select {
		case <-s.closing:
			stop()
			return
		case <-s.post.wake:
		case <-alarm:
		}
		stop()
	}
}
