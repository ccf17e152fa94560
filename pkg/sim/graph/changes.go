package graph

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// changeKind is what happened to a user.
type changeKind string

const (
	userCreated  changeKind = "created"
	userUpdated  changeKind = "updated"
	userDeleted  changeKind = "deleted" // can be restored
	userRestored changeKind = "restored"
	userPurged   changeKind = "purged" // gone for good
)

// change is one entry of the log that delta queries and notifications are made from.
type change struct {
	number     int
	at         time.Time
	id         string // of the user
	kind       changeKind
	properties []string // of an update
}

// changeLog begins when somebody first asks: nobody can refer to an earlier time.
type changeLog struct {
	watched bool
	last    int // number of the newest change
	entries []change
	// generation is part of every token, so that raising it makes all of them void.
	generation int
}

// deltaLifetime is how long a delta token of a directory object is good (Graph concepts,
// "Use delta query", token duration).
const deltaLifetime = 7 * 24 * time.Hour

// trackedProperties are those kept in the directory itself. Others, such as sign-in
// activity, show in no delta query and cause no notification.
func trackedProperties() []string {
	return []string{
		"userPrincipalName", "displayName", "givenName", "surname", "mail", "mailNickname", "otherMails", "proxyAddresses",
		"employeeId", "employeeType", "employeeHireDate", "employeeLeaveDateTime", "department", "jobTitle", "companyName",
		"officeLocation", "city", "country", "usageLocation", "preferredLanguage", "mobilePhone", "businessPhones",
		"accountEnabled", "userType", "creationType", "externalUserState", "createdDateTime", "lastPasswordChangeDateTime",
		"signInSessionsValidFromDateTime", "onPremisesSyncEnabled", "onPremisesSamAccountName", "onPremisesLastSyncDateTime",
	}
}

func differences(before, after *User) []string {
	var changed []string
	for _, name := range trackedProperties() {
		a, _ := before.property(name)
		b, _ := after.property(name)
		if !reflect.DeepEqual(a, b) {
			changed = append(changed, name)
		}
	}
	return changed
}

// updated records what a request changed in a user; before is a copy from before it.
func (s *Server) updated(before, after *User) {
	if !s.changes.watched {
		return
	}
	if properties := differences(before, after); len(properties) > 0 {
		s.changed(after.ID, userUpdated, properties...)
	}
}

// changed records a change and queues its notifications.
func (s *Server) changed(id string, kind changeKind, properties ...string) {
	if !s.changes.watched {
		return
	}
	now := s.clock.Now().UTC()
	l := &s.changes
	keep := 0
	for keep < len(l.entries) && now.Sub(l.entries[keep].at) > deltaLifetime {
		keep++
	}
	l.last++
	c := change{number: l.last, at: now, id: id, kind: kind, properties: properties}
	l.entries = append(l.entries[keep:], c)
	s.notify(c, now)
}

// changedBy records what an arbitrary change of the tenant did to its users.
func (s *Server) changedBy(change func()) {
	if !s.changes.watched {
		change()
		return
	}
	before := make(map[string]*User, len(s.dir.Users))
	for _, u := range s.dir.Users {
		before[u.ID] = u.clone()
	}
	change()
	for _, u := range s.dir.Users {
		if b, existed := before[u.ID]; existed {
			s.updated(b, u)
			delete(before, u.ID)
		} else {
			s.changed(u.ID, userCreated)
		}
	}
	gone := make([]string, 0, len(before))
	for id := range before {
		gone = append(gone, id)
	}
	slices.Sort(gone)
	for _, id := range gone {
		s.changed(id, userPurged)
	}
}

// ResetDelta makes every link of a delta query void, as the maintenance or migration of
// a tenant does.
func (s *Server) ResetDelta() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.generation++
}

// deltaToken is the state that a link carries. A round either lists everybody, in order
// of id, or the changes with numbers in (From, To].
type deltaToken struct {
	Generation int       `json:"g"`
	Issued     time.Time `json:"t"`
	Selected   []string  `json:"s,omitempty"`
	Everybody  bool      `json:"e,omitempty"`
	From       int       `json:"f"`
	To         int       `json:"u,omitempty"` // where the next round begins; 0 when this one has not begun
	After      string    `json:"a,omitempty"` // last id of the page before
	Skip       int       `json:"n,omitempty"` // changes of the pages before
}

func (t deltaToken) String() string {
	data, _ := json.Marshal(t) // a struct of plain fields always encodes
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseDeltaToken(s string) (deltaToken, bool) {
	var t deltaToken
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(data, &t) != nil || t.Issued.IsZero() {
		return deltaToken{}, false
	}
	return t, true
}

// deltaUsers answers GET /users/delta: pages of changes, each with a link to the next
// page or, at the end, to the next round.
func (s *Server) deltaUsers(r *request) (response, error) {
	t, fresh, err := s.deltaState(r)
	if err != nil {
		return response{}, err
	}
	s.changes.watched = true
	link := func(parameter string, t deltaToken) string {
		return r.base + "/users/delta?$" + parameter + "=" + t.String()
	}
	next := deltaToken{Generation: s.changes.generation, Issued: r.now, Selected: t.Selected, From: t.To}
	body := map[string]any{"@odata.context": r.context("users")}
	value := []map[string]any{}
	size := s.dir.Behaviour.DeltaPage
	switch {
	case fresh == deltaLatest:
		body["@odata.deltaLink"] = link("deltatoken", next)
	case t.Everybody:
		first, found := slices.BinarySearchFunc(s.dir.Users, t.After, func(u *User, id string) int { return strings.Compare(u.ID, id) })
		if found {
			first++
		}
		people := s.dir.Users[first:]
		body["@odata.deltaLink"] = link("deltatoken", next)
		if len(people) > size {
			people = people[:size]
			t.After = people[size-1].ID
			delete(body, "@odata.deltaLink")
			body["@odata.nextLink"] = link("skiptoken", t)
		}
		for _, u := range people {
			item, err := deltaItem(u, t.Selected, nil, false)
			if err != nil {
				return response{}, err
			}
			value = append(value, item)
		}
	default:
		touched := s.changes.between(t.From, t.To, deltaProperties(t.Selected))
		touched = touched[min(t.Skip, len(touched)):]
		body["@odata.deltaLink"] = link("deltatoken", next)
		if len(touched) > size {
			touched = touched[:size]
			t.Skip += size
			delete(body, "@odata.deltaLink")
			body["@odata.nextLink"] = link("skiptoken", t)
		}
		minimal := strings.Contains(r.header.Get("Prefer"), "return=minimal")
		for _, c := range touched {
			item, err := s.deltaChange(c, t.Selected, minimal)
			if err != nil {
				return response{}, err
			}
			value = append(value, item)
		}
	}
	body["value"] = value
	return ok(body), nil
}

// deltaStart says how a request begins, when it does not follow a link.
type deltaStart int

const (
	deltaLinked deltaStart = iota
	deltaEverybody
	deltaLatest
)

// deltaState is the state a request stands for: that of its token, or a new one.
func (s *Server) deltaState(r *request) (deltaToken, deltaStart, error) {
	var token, selected string
	for key := range r.query {
		value := r.query.Get(key)
		switch strings.ToLower(key) {
		case "$deltatoken", "$skiptoken":
			token = value
		case "$select":
			selected = value
		case "$top", "$orderby", "$expand":
			return deltaToken{}, 0, errUnsupportedQuery("'%s' is not supported by the delta query of users.", key)
		default:
			return deltaToken{}, 0, errBadRequest("The query parameter '%s' is not supported by the simulator.", key)
		}
	}
	fresh := deltaToken{Generation: s.changes.generation, Issued: r.now, To: s.changes.last, Everybody: true}
	if selected != "" {
		fresh.Selected = splitList(selected)
		if _, err := deltaItem(new(User), fresh.Selected, nil, false); err != nil {
			return deltaToken{}, 0, err
		}
	}
	switch token {
	case "":
		return fresh, deltaEverybody, nil
	case "latest":
		return fresh, deltaLatest, nil
	}
	if selected != "" {
		return deltaToken{}, 0, errBadRequest("$select cannot be combined with the token of an earlier request.")
	}
	t, known := parseDeltaToken(token)
	switch {
	case !known || t.Generation != s.changes.generation || t.From > s.changes.last:
		return deltaToken{}, 0, deltaReset(r, t.Selected)
	case r.now.Sub(t.Issued) > deltaLifetime && s.dir.Behaviour.ExpiredDelta == ExpiredNotFound:
		return deltaToken{}, 0, &apiError{status: http.StatusBadRequest, code: "syncStateNotFound", message: "The sync state is not found or has expired."}
	case r.now.Sub(t.Issued) > deltaLifetime:
		return deltaToken{}, 0, deltaReset(r, t.Selected)
	}
	if !t.Everybody && t.To == 0 {
		t.To = s.changes.last
	}
	return t, deltaLinked, nil
}

// deltaReset is the demand to read everything again, with the request to begin with
// (Graph concepts, "Use delta query", synchronization reset). The code is assumed.
func deltaReset(r *request, selected []string) error {
	location := r.base + "/users/delta?$deltatoken="
	if len(selected) > 0 {
		location += "&$select=" + strings.Join(selected, ",")
	}
	return &apiError{status: http.StatusGone, code: "resyncRequired", message: "Resync required. The token is no longer valid; start again without one.",
		header: http.Header{"Location": {location}}}
}

// deltaProperties are the properties whose changes a query is about.
func deltaProperties(selected []string) []string {
	if len(selected) == 0 {
		return userSchema().defaults
	}
	return selected
}

// touchedUser is a user with changes in a round.
type touchedUser struct {
	id         string
	properties []string // all of them when created
	created    bool
}

// between are the users with changes numbered in (from, to] that a query is about, in
// the order in which they first changed.
func (l *changeLog) between(from, to int, properties []string) []touchedUser {
	first, _ := slices.BinarySearchFunc(l.entries, from+1, func(c change, n int) int { return c.number - n })
	var touched []touchedUser
	at := make(map[string]int)
	for _, c := range l.entries[first:] {
		if c.number > to {
			break
		}
		if c.kind == userUpdated && !slices.ContainsFunc(c.properties, func(p string) bool { return slices.Contains(properties, p) }) {
			continue
		}
		i, seen := at[c.id]
		if !seen {
			i = len(touched)
			at[c.id] = i
			touched = append(touched, touchedUser{id: c.id})
		}
		touched[i].properties = append(touched[i].properties, c.properties...)
		touched[i].created = touched[i].created || c.kind == userCreated || c.kind == userRestored
	}
	return touched
}

func (s *Server) deltaChange(c touchedUser, selected []string, minimal bool) (map[string]any, error) {
	if u := s.dir.byID[strings.ToLower(c.id)]; u != nil {
		return deltaItem(u, selected, c.properties, minimal && !c.created)
	}
	reason := "deleted"
	if s.dir.deletedUser(c.id) != nil {
		reason = "changed"
	}
	return map[string]any{"id": c.id, "@removed": map[string]any{"reason": reason}}, nil
}

// deltaItem renders a user. A property that was never set is left out; one that was
// cleared is null (Graph, "user: delta").
func deltaItem(u *User, selected, changed []string, minimal bool) (map[string]any, error) {
	item, err := userSchema().render(u, selected)
	if err != nil {
		return nil, err
	}
	for name, value := range item {
		isChanged := slices.Contains(changed, name)
		if value == nil && !isChanged || minimal && !isChanged {
			delete(item, name)
		}
	}
	item["id"] = u.ID
	return item, nil
}
