// Package change takes in what Microsoft Graph tells by itself: change notifications
// about users become account.changed events, lifecycle notifications become commands to
// the sweep (learn.microsoft.com/graph/change-notifications-delivery-webhooks).
//
// It keeps no list of subscriptions: the client state of an item proves that it is
// about one of ours. It knows no Graph SDK, no broker client and no cloud runtime.
//
// # What is answered
//
//	200  a validation request: its token, decoded once, as plain text
//	202  every item that is ours is with the broker; all others are dropped, counted and
//	     logged, since Graph is to be answered the same whatever an item is worth
//	400  not JSON of the documented form, or a validation token that Graph does not send
//	404  another path       405  not POST       413  over 4 MiB       415  compressed
//	503  the broker did not accept all of it in time: Graph sends the same again, for up
//	     to four hours
//
// # What an item is worth
//
// A notification says that an account changed, not what changed; whoever handles it
// looks. So a forged one could at most make us look, a repeated one is dropped by the
// broker, and a lost one is found by the sweep's delta query. Rich notifications do not
// exist for users: an item with encrypted content is none that we asked for.
package change

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/clientstate"
	"mfaflow/pkg/correlation"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/inbound"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/strictjson"
	"mfaflow/pkg/sweep"
	"mfaflow/pkg/telemetry"
)

// users is the slot of the subscription to users. Graph knows no "created" for them: a
// creation is an update (learn.microsoft.com/graph/api/resources/change-notifications-api-overview).
var users = sweep.Slot{Name: "users", Resource: "users", ChangeType: "updated,deleted"}

// Slots are the subscriptions whose notifications are understood here.
func Slots() []sweep.Slot { return []sweep.Slot{users} }

// The paths of the two URLs that a subscription has. Both take both kinds of items.
const (
	NotificationPath = "/graph/notifications"
	LifecyclePath    = "/graph/lifecycle"
)

// maxBody bounds a delivery. Graph documents no size; Lambda takes 6 MB with its
// envelope (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const maxBody = 4 << 20

// DefaultSendTimeout is how long the broker may take: Graph counts an answer after 3 s
// as slow.
const DefaultSendTimeout = 1500 * time.Millisecond

// retryAfter is the Retry-After of a 503, in seconds.
const retryAfter = "5"

// Sender puts messages on a queue. Nil means that the broker has accepted all of them;
// after an error sending them again is safe.
type Sender interface {
	Send(ctx context.Context, queue string, msgs ...queue.Message) error
}

// Options are what a Handler is made of. All but SendTimeout are required.
type Options struct {
	// TenantID is the id of our tenant, the only one whose notifications count.
	TenantID string
	Keys     *clientstate.Keys
	Sender   Sender
	Now      func() time.Time
	Logger   *slog.Logger
	Metrics  *telemetry.Metrics
	// InboundQueue takes events, ControlQueue commands.
	InboundQueue, ControlQueue string
	// SendTimeout bounds the broker's acceptance; zero is DefaultSendTimeout.
	SendTimeout time.Duration
}

// Handler answers Graph. It is safe for concurrent use.
type Handler struct{ Options }

// New checks the options.
func New(o Options) (*Handler, error) {
	if o.TenantID == "" || o.Keys == nil || o.Sender == nil || o.Now == nil || o.Logger == nil || o.Metrics == nil || o.InboundQueue == "" || o.ControlQueue == "" {
		return nil, errors.New("change notifications need a tenant, keys, a sender, a clock, a logger, metrics and the names of two queues")
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = DefaultSendTimeout
	}
	return &Handler{o}, nil
}

// ServeHTTP answers one request of Graph.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.Now()
	ctx := correlation.Accept(r.Context(), r.Header)
	id := correlation.ID(ctx)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.URL.Path != NotificationPath && r.URL.Path != LifecyclePath:
		h.refuse(ctx, w, began, http.StatusNotFound, "unknown-path", nil)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(ctx, w, began, http.StatusMethodNotAllowed, "method", nil)
	case strings.Contains(strings.ToLower(r.URL.RawQuery), "validationtoken"):
		h.validate(ctx, w, r, began)
	default:
		h.take(ctx, w, r, began, id)
	}
}

// maxToken bounds what is echoed. The documented tokens have about 200 characters.
const maxToken = 2048

// validate answers whether the URL is ours, for which the directory wants its token
// back, decoded, in plain text (learn.microsoft.com/graph/change-notifications-delivery-webhooks,
// "notificationUrl validation"). Anybody can ask; so nothing that a browser might take
// for markup is echoed, and nothing else than the token.
func (h *Handler) validate(ctx context.Context, w http.ResponseWriter, r *http.Request, began time.Time) {
	tokens := r.URL.Query()["validationToken"]
	if len(tokens) != 1 || !isToken(tokens[0]) {
		h.refuse(ctx, w, began, http.StatusBadRequest, "validation-token", nil)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, tokens[0]) // Graph may be gone
	h.line(ctx, slog.LevelInfo, began, "validated", http.StatusOK)
}

// isToken: printable ASCII without what HTML gives a meaning to.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || strings.IndexByte(`<>&"'`, c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

// item is one change notification, or one lifecycle notification. Fields that are not
// listed do not concern us.
type item struct {
	ID             string `json:"id"`
	SubscriptionID string `json:"subscriptionId"`
	TenantID       string `json:"tenantId"`
	ClientState    string `json:"clientState"`
	ChangeType     string `json:"changeType"`
	LifecycleEvent string `json:"lifecycleEvent"`
	Resource       string `json:"resource"`
	ResourceData   struct {
		Type string `json:"@odata.type"`
		ID   string `json:"id"`
	} `json:"resourceData"`
	EncryptedContent json.RawMessage `json:"encryptedContent"`
}

// Why an item is dropped. The list is closed; the words are in logs and metrics.
const (
	notOurs      = "not-ours" // client state or tenant
	encrypted    = "encrypted"
	notAUser     = "not-a-user"
	unknownKind  = "unknown-change"
	unknownEvent = "unknown-lifecycle-event"
)

// take puts the items that are ours on their queues.
func (h *Handler) take(ctx context.Context, w http.ResponseWriter, r *http.Request, began time.Time, correlationID string) {
	j := judgement{handler: h, received: began, correlation: correlationID, dropped: map[string]int{}, looked: map[string]bool{}}
	if status, reason := receive(w, r, j.judge); status != 0 {
		h.refuse(ctx, w, began, status, reason, nil)
		return
	}
	if err := h.send(ctx, j); err != nil {
		h.refuse(ctx, w, began, http.StatusServiceUnavailable, "broker-unavailable", err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	h.report(ctx, began, j)
}

// receive reads a delivery item by item, or says how it is refused; then no item counts.
// Anybody can send one, so nothing of an item outlives judge that is not worth keeping:
// all items together may take two hundred times the room of their text.
func receive(w http.ResponseWriter, r *http.Request, judge func(item)) (status int, reason string) {
	if r.Header.Get("Content-Encoding") != "" {
		return http.StatusUnsupportedMediaType, "content-encoding"
	}
	if r.ContentLength > maxBody {
		return http.StatusRequestEntityTooLarge, "too-large"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "too-large"
	}
	if err != nil {
		return http.StatusBadRequest, "body-cut-off"
	}
	if strictjson.Check(body) != nil || !eachItem(body, judge) {
		return http.StatusBadRequest, "not-decodable"
	}
	return 0, ""
}

// eachItem reports whether body, which is strict JSON, has the documented form.
func eachItem(body []byte, judge func(item)) bool {
	var delivery struct {
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(body, &delivery) != nil || !bytes.HasPrefix(delivery.Value, []byte("[")) {
		return false
	}
	items := json.NewDecoder(bytes.NewReader(delivery.Value))
	if _, err := items.Token(); err != nil {
		return false
	}
	for items.More() {
		var i item
		if items.Decode(&i) != nil {
			return false
		}
		judge(i)
	}
	return true
}

// judgement is what a delivery comes to.
type judgement struct {
	handler     *Handler
	received    time.Time
	correlation string
	events      []event.Event
	commands    []queue.Message
	dropped     map[string]int  // by reason
	looked      map[string]bool // who is looked at already
}

func (j *judgement) judge(i item) {
	slot, ok := j.handler.Keys.Check(i.ClientState, i.TenantID)
	switch {
	case !ok || !strings.EqualFold(i.TenantID, j.handler.TenantID) || slot != users.Name:
		j.dropped[notOurs]++
	case len(i.EncryptedContent) > 0 && string(i.EncryptedContent) != "null":
		j.dropped[encrypted]++
	case i.LifecycleEvent != "":
		j.lifecycle(i, slot)
	default:
		j.change(i)
	}
}

// change makes an event of a notification. Several about one person in one delivery are
// one reason to look; Graph often sends several for one change.
func (j *judgement) change(i item) {
	user, ok := userOf(i)
	if !ok {
		j.dropped[notAUser]++
		return
	}
	var kind event.AccountChange
	if kind.UnmarshalText([]byte(i.ChangeType)) != nil {
		j.dropped[unknownKind]++
		return
	}
	again := string(user) + " " + string(kind)
	if j.looked[again] {
		return
	}
	j.looked[again] = true
	e, err := event.Observed(sweep.Graph, idOf(i), event.AccountChanged, string(user), j.received, j.received,
		event.AccountUpdate{Person: identity.Reference{ObjectID: string(user)}, Change: kind})
	if err != nil {
		j.dropped[notAUser]++
		return
	}
	e.CorrelationID = j.correlation
	j.events = append(j.events, e)
}

// lifecycle makes a command of a lifecycle notification.
func (j *judgement) lifecycle(i item, slot string) {
	c := sweep.Command{Action: sweep.Action(i.LifecycleEvent), SubscriptionID: i.SubscriptionID, Slot: slot, ReceivedAt: j.received.UTC()}
	if !c.Action.Valid() {
		j.dropped[unknownEvent]++
		return
	}
	m, err := c.Message(event.NewKey(sweep.Graph, idOf(i)), j.correlation)
	if err != nil {
		j.dropped[unknownEvent]++
		return
	}
	j.commands = append(j.commands, m)
}

// idOf is Graph's id of a notification, the same over its retries. Lifecycle
// notifications have none, and it is optional for others: these are a reason to look
// each time that they come, because what they say is the same for every change.
func idOf(i item) string {
	if i.ID != "" {
		return i.ID
	}
	return correlation.New()
}

// userOf is the user that a notification is about, if its parts agree on one. Graph
// writes the resource as Users/{id}.
func userOf(i item) (identity.UserID, bool) {
	collection, id, _ := strings.Cut(i.Resource, "/")
	id = strings.ToLower(id)
	kind := strings.ToLower(i.ResourceData.Type)
	ok := strings.EqualFold(collection, "users") && correlation.IsUUID(id) &&
		(i.ResourceData.ID == "" || strings.EqualFold(i.ResourceData.ID, id)) && (kind == "" || kind == "#microsoft.graph.user")
	return identity.UserID(id), ok
}

func (h *Handler) send(ctx context.Context, j judgement) error {
	messages := make([]queue.Message, len(j.events))
	for n, e := range j.events {
		var err error
		if messages[n], err = inbound.Message(e); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, h.SendTimeout)
	defer cancel()
	if len(messages) > 0 {
		if err := h.Sender.Send(ctx, h.InboundQueue, messages...); err != nil {
			return err
		}
	}
	if len(j.commands) > 0 {
		return h.Sender.Send(ctx, h.ControlQueue, j.commands...)
	}
	return nil
}

func (h *Handler) refuse(ctx context.Context, w http.ResponseWriter, began time.Time, status int, reason string, cause error) {
	outcome, level := "rejected", slog.LevelWarn
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
		outcome, level = "unavailable", slog.LevelError
	}
	w.WriteHeader(status)
	attrs := []slog.Attr{slog.String(telemetry.KeyReason, reason)}
	if cause != nil {
		attrs = append(attrs, telemetry.Error(cause))
	}
	h.line(ctx, level, began, outcome, status, attrs...)
	h.count(ctx, telemetry.Dimensions{Outcome: outcome, Reason: reason}, telemetry.MetricDeliveries, 1)
}

// report logs what became of a delivery: a line for each item that was taken, and one
// for each reason to drop, however many items a stranger may send.
func (h *Handler) report(ctx context.Context, began time.Time, j judgement) {
	for _, e := range j.events {
		h.line(ctx, slog.LevelInfo, began, "accepted", http.StatusAccepted,
			slog.String(telemetry.KeyEvent, e.Key), slog.String(telemetry.KeyType, string(e.Type)), slog.String(telemetry.KeyUser, e.Subject))
	}
	for _, m := range j.commands {
		h.line(ctx, slog.LevelInfo, began, "accepted", http.StatusAccepted,
			slog.String(telemetry.KeyEvent, m.ID), slog.String(telemetry.KeyType, m.Properties[queue.PropCommand]))
	}
	for _, reason := range slices.Sorted(maps.Keys(j.dropped)) {
		h.line(ctx, slog.LevelWarn, began, "dropped", http.StatusAccepted, slog.String(telemetry.KeyReason, reason), slog.Int("items", j.dropped[reason]))
		h.count(ctx, telemetry.Dimensions{Outcome: reason}, telemetry.MetricDropped, j.dropped[reason])
	}
	h.count(ctx, telemetry.Dimensions{Outcome: "accepted"}, telemetry.MetricDeliveries, len(j.events)+len(j.commands))
}

func (h *Handler) count(ctx context.Context, d telemetry.Dimensions, name string, n int) {
	if n == 0 {
		return
	}
	d.Source = sweep.Graph
	if err := h.Metrics.Put(d, telemetry.Metric{Name: name, Unit: telemetry.Count, Value: float64(n)}); err != nil {
		h.Logger.WarnContext(ctx, "metrics not written", telemetry.Error(err))
	}
}

func (h *Handler) line(ctx context.Context, level slog.Level, began time.Time, outcome string, status int, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String(telemetry.KeySource, sweep.Graph), slog.String(telemetry.KeyOutcome, outcome), slog.Int("status", status),
		telemetry.Duration(h.Now().Sub(began)))
	h.Logger.LogAttrs(ctx, level, "change notification", attrs...)
}
