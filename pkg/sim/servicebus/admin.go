package servicebus

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mfaflow/pkg/sim/servicebus/broker"
)

// maxAdminBody bounds a description that a client sends.
const maxAdminBody = 1 << 20

// maxPage is how many entities one page of a list has, and has if the client does not say.
const maxPage = 100

// partitions is by how much the service multiplies the size of a partitioned queue.
const partitions = 16

// adminHandler is the Atom API over queues: the entity's path is its name.
// Source: "Service Bus Resource Manager", the ATOM protocol that the SDKs' admin clients speak.
func (s *Server) adminHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.mu.Unlock()
		if down {
			adminError(w, http.StatusServiceUnavailable, "The namespace is down.")
			return
		}
		if err := s.authorize(r); err != nil {
			adminError(w, http.StatusUnauthorized, err.Error())
			return
		}
		path := strings.Trim(r.URL.Path, "/")
		switch lower := strings.ToLower(path); {
		case r.Method == http.MethodGet && lower == "$namespaceinfo":
			s.showNamespace(w, r)
		case r.Method == http.MethodGet && lower == "$resources/queues":
			s.listQueues(w, r)
		case r.Method == http.MethodGet && lower == "$resources/topics":
			writeXML(w, http.StatusOK, s.feed(r, "Topics", nil))
		case r.Method == http.MethodGet:
			s.showQueue(w, r, path)
		case r.Method == http.MethodPut:
			s.putQueue(w, r, path)
		case r.Method == http.MethodDelete:
			s.deleteQueue(w, path)
		default:
			adminError(w, http.StatusMethodNotAllowed, "The method is not supported.")
		}
	})
}

// authorize checks the token of a request. Without a configured key none is needed.
func (s *Server) authorize(r *http.Request) error {
	token := r.Header.Get("Authorization")
	if token == "" {
		if s.options.Key == "" {
			return nil
		}
		return errors.New("MissingToken: the request has no authorization token")
	}
	kind := tokenSAS
	if bearer, ok := strings.CutPrefix(token, "Bearer "); ok {
		kind, token = tokenJWT, bearer
	}
	_, err := s.options.verifyToken(kind, token, r.URL.EscapedPath(), time.Now())
	return err
}

func (s *Server) showNamespace(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(r.Host, ":")
	started := formatTime(s.started)
	writeXML(w, http.StatusOK, s.entry(r, name, s.started, s.started, atomContent{Namespace: &namespaceInfo{
		Space: busNamespace, CreatedTime: started, MessagingSKU: "Standard", ModifiedTime: started, Name: name, Type: "Messaging",
	}}))
}

func (s *Server) listQueues(w http.ResponseWriter, r *http.Request) {
	number := func(key string, absent int) (int, error) {
		text := r.URL.Query().Get(key)
		if text == "" {
			return absent, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%s is not a number", key)
		}
		return n, nil
	}
	skip, err1 := number("$skip", 0)
	top, err2 := number("$top", maxPage)
	if err := errors.Join(err1, err2); err != nil {
		adminError(w, http.StatusBadRequest, err.Error())
		return
	}
	queues := s.broker.Queues()
	queues = queues[min(skip, len(queues)):]
	queues = queues[:min(top, maxPage, len(queues))]
	entries := make([]atomEntry, len(queues))
	for i, q := range queues {
		entries[i] = s.queueEntry(r, q)
	}
	writeXML(w, http.StatusOK, s.feed(r, "Queues", entries))
}

// showQueue answers with an empty feed for a queue that does not exist, as the service does.
func (s *Server) showQueue(w http.ResponseWriter, r *http.Request, name string) {
	q, ok := s.broker.Queue(name)
	if !ok {
		writeXML(w, http.StatusOK, s.feed(r, "Publicly Listed Services", nil))
		return
	}
	writeXML(w, http.StatusOK, s.queueEntry(r, q))
}

// putQueue creates a queue, or with an If-Match header updates one.
func (s *Server) putQueue(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	if err != nil {
		adminError(w, http.StatusRequestEntityTooLarge, "The description is too large.")
		return
	}
	var entry atomEntry
	if err := xml.Unmarshal(body, &entry); err != nil {
		adminError(w, http.StatusBadRequest, "The description is not an Atom entry: "+err.Error())
		return
	}
	if entry.Content.Queue == nil {
		adminError(w, http.StatusBadRequest, "The description is not that of a queue; topics and subscriptions are not supported.")
		return
	}
	config, err := entry.Content.Queue.config(name)
	if err != nil {
		adminError(w, http.StatusBadRequest, err.Error())
		return
	}
	q, exists := s.broker.Queue(name)
	update := r.Header.Get("If-Match") != ""
	status := http.StatusOK
	switch {
	case update && !exists:
		err = broker.Errorf(broker.NotFound, "Entity '%s' was not found.", name)
	case update:
		err = q.Update(config)
	default:
		if config.EnablePartitioning {
			config.MaxSizeMegabytes = partitions * max(config.MaxSizeMegabytes, broker.DefaultSizeMegabytes)
		}
		status = http.StatusCreated
		q, err = s.broker.Create(config)
	}
	if err != nil {
		adminRefusal(w, err)
		return
	}
	writeXML(w, status, s.queueEntry(r, q))
}

func (s *Server) deleteQueue(w http.ResponseWriter, name string) {
	if err := s.broker.Delete(name); err != nil {
		adminRefusal(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Server) queueEntry(r *http.Request, q *broker.Queue) atomEntry {
	c, runtime := q.Config(), q.Runtime()
	e := s.entry(r, c.Name, runtime.Created, runtime.Updated, atomContent{Queue: describe(c, runtime)})
	e.ID = "http://" + r.Host + "/" + c.Name
	return e
}

func (s *Server) entry(r *http.Request, title string, created, updated time.Time, content atomContent) atomEntry {
	content.Type = "application/xml"
	self := "http://" + r.Host + r.URL.Path
	return atomEntry{
		Space: atomNamespace, ID: self, Title: atomText{"text", title}, Published: formatTime(created), Updated: formatTime(updated),
		Author: r.Host, Link: atomLink{"self", self}, Content: content,
	}
}

func (s *Server) feed(r *http.Request, title string, entries []atomEntry) atomFeed {
	return atomFeed{
		Space: atomNamespace, ID: "http://" + r.Host + r.URL.Path, Title: atomText{"text", title},
		Updated: formatTime(s.options.Clock.Now()), Entries: entries,
	}
}

func writeXML(w http.ResponseWriter, status int, v any) {
	b, err := xml.Marshal(v)
	if err != nil {
		adminError(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/atom+xml;type=entry;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that has gone needs no answer
}

// adminRefusal answers with the status that fits the broker's condition.
func adminRefusal(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var refused *broker.Error
	if errors.As(err, &refused) {
		switch refused.Condition {
		case broker.NotFound:
			status = http.StatusNotFound
		case broker.EntityAlreadyExists:
			status = http.StatusConflict
		case broker.ArgumentError:
			status = http.StatusBadRequest
		}
		err = errors.New(refused.Description)
	}
	adminError(w, status, err.Error())
}

func adminError(w http.ResponseWriter, status int, detail string) {
	type fault struct {
		XMLName xml.Name `xml:"Error"`
		Code    int
		Detail  string
	}
	b, err := xml.Marshal(fault{Code: status, Detail: detail})
	if err != nil {
		b = nil // the status says enough
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
