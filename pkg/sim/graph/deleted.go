package graph

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// deletedUser is a user who can be restored, by object id; nil if there is none.
func (d *directory) deletedUser(id string) *User {
	for _, u := range d.deleted {
		if strings.EqualFold(u.ID, id) {
			return u
		}
	}
	return nil
}

// remove moves a user to the deleted items.
func (s *Server) remove(u *User, now time.Time) {
	u.deletedAt = &now
	s.dir.deleted = append(s.dir.deleted, u)
	s.dir.Users = slices.DeleteFunc(s.dir.Users, func(x *User) bool { return x == u })
	s.dir.reindex()
	s.changed(u.ID, userDeleted)
}

// purge removes a deleted user for good.
func (s *Server) purge(u *User) {
	s.dir.deleted = slices.DeleteFunc(s.dir.deleted, func(x *User) bool { return x == u })
	s.changed(u.ID, userPurged)
}

// Delete moves a person's account to the deleted items, as an administrator would.
func (s *Server) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.user(key)
	if u == nil {
		return fmt.Errorf("delete %s: %w", key, ErrNoSuchUser)
	}
	s.remove(u, s.clock.Now().UTC())
	return nil
}

// Purge removes an account from the deleted items, by object id.
func (s *Server) Purge(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.dir.deletedUser(id)
	if u == nil {
		return fmt.Errorf("purge %s: %w", id, ErrNoSuchUser)
	}
	s.purge(u)
	return nil
}

// listDeletedUsers answers GET /directory/deletedItems/microsoft.graph.user.
func (s *Server) listDeletedUsers(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	if q.orderBy == "deletedDateTime" && !q.advanced { // directory-deleteditems-list
		return response{}, errAdvanced()
	}
	deleted := slices.Clone(s.dir.deleted)
	slices.SortFunc(deleted, func(a, b *User) int { return strings.Compare(a.ID, b.ID) })
	return page(userSchema(), r, q, deleted, nil)
}

func (s *Server) deletedItem(r *request) (*User, error) {
	u := s.dir.deletedUser(r.params["user"])
	if u == nil {
		return nil, errNotFound(r.params["user"])
	}
	return u, nil
}

func (s *Server) getDeletedUser(r *request) (response, error) {
	u, err := s.deletedItem(r)
	if err != nil {
		return response{}, err
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return userSchema().single(r, u, q.selected)
}

func (s *Server) purgeDeletedUser(r *request) (response, error) {
	u, err := s.deletedItem(r)
	if err != nil {
		return response{}, err
	}
	s.purge(u)
	return noContent(), nil
}

func (s *Server) restoreDeletedUser(r *request) (response, error) {
	u, err := s.deletedItem(r)
	if err != nil {
		return response{}, err
	}
	if s.dir.user(u.UserPrincipalName) != nil {
		return response{}, errDirectory("Another object with the same value for property userPrincipalName already exists.")
	}
	u.deletedAt = nil
	s.dir.deleted = slices.DeleteFunc(s.dir.deleted, func(x *User) bool { return x == u })
	s.dir.Users = append(s.dir.Users, u)
	s.dir.reindex()
	s.changed(u.ID, userRestored)
	resp, err := userSchema().single(r, u, nil)
	if err == nil {
		resp.body.(map[string]any)["@odata.type"] = "#microsoft.graph.user"
	}
	return resp, err
}
