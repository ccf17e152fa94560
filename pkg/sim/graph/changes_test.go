package graph_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mfaflow/pkg/sim/graph"
)

const delta = "/v1.0/users/delta"

// round follows the links from path to the end and returns all items and the next link.
func (s *sim) round(path string, header ...string) (items []map[string]any, link string, pages int) {
	s.t.Helper()
	for {
		a := s.sweep("GET", path, nil, header...).want(s.t, 200, "")
		pages++
		for _, v := range a.value() {
			items = append(items, v.(map[string]any))
		}
		if link, ok := a.body["@odata.deltaLink"].(string); ok {
			return items, link, pages
		}
		path = a.body["@odata.nextLink"].(string)
	}
}

func small(t *testing.T, change func(*graph.Behaviour)) *sim {
	t.Helper()
	people, err := graph.SampleTenant()
	if err != nil {
		t.Fatal(err)
	}
	people.Behaviour.DeltaPage = 5
	if change != nil {
		change(&people.Behaviour)
	}
	return startWith(t, graph.Options{Tenant: people})
}

func TestDelta(t *testing.T) {
	s := small(t, nil)
	items, link, pages := s.round(delta + "?$select=accountEnabled,jobTitle")
	if len(items) != len(s.Users()) || pages != (len(items)+4)/5 {
		t.Errorf("%d of %d users on %d pages", len(items), len(s.Users()), pages)
	}
	if first := items[0]; len(first) != 2 && len(first) != 3 || first["accountEnabled"] != true {
		t.Errorf("first item %v", first)
	}
	if again, next, _ := s.round(link); len(again) != 0 || next == "" {
		t.Errorf("nothing changed, told %v", again)
	}

	patch := func(id string, body map[string]any) {
		t.Helper()
		s.as("tenant-administrator", "PATCH", "/v1.0/users/"+id, body).want(t, 204, "")
	}
	patch(joiner, map[string]any{"accountEnabled": false})
	patch(joiner, map[string]any{"jobTitle": "Engineer"})
	patch(sixMethods, map[string]any{"department": "Elsewhere"}) // not selected
	patch(phonesOnly, map[string]any{"jobTitle": nil})
	if err := s.Delete(excluded); err != nil {
		t.Fatal(err)
	}
	emil, err := s.Provision("E1040")
	if err != nil {
		t.Fatal(err)
	}
	changed, next, _ := s.round(link)
	var got []string
	for _, i := range changed {
		got = append(got, fmt.Sprint(i["id"], " ", i["accountEnabled"], " ", i["@removed"]))
	}
	want := []string{joiner + " false <nil>", phonesOnly + " true <nil>", excluded + " <nil> map[reason:changed]", emil.ID + " true <nil>"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v, told := changed[1]["jobTitle"]; !told || v != nil {
		t.Errorf("a cleared property is told as %v", changed[1])
	}
	minimal, _, _ := s.round(link, "Prefer", "return=minimal")
	if _, told := minimal[1]["accountEnabled"]; told || minimal[0]["jobTitle"] != "Engineer" {
		t.Errorf("minimal %v", minimal[:2])
	}
	if err := s.Purge(excluded); err != nil {
		t.Fatal(err)
	}
	if last, _, _ := s.round(next); fmt.Sprint(last) != "[map[@removed:map[reason:deleted] id:"+excluded+"]]" {
		t.Errorf("after the purge %v", last)
	}
}

// A round tells what changed before it began, in pages that stay as they are.
func TestDeltaPages(t *testing.T) {
	s := small(t, nil)
	_, link, _ := s.round(delta + "?$deltatoken=latest&$select=jobTitle")
	for _, u := range s.Users()[:12] {
		s.Mutate(func(t *graph.Tenant) { t.User(u.ID).JobTitle = "x" })
	}
	a := s.sweep("GET", link, nil).want(t, 200, "")
	for _, u := range s.Users()[12:20] {
		s.Mutate(func(t *graph.Tenant) { t.User(u.ID).JobTitle = "x" })
	}
	rest, next, pages := s.round(a.body["@odata.nextLink"].(string))
	if len(a.value())+len(rest) != 12 || pages != 2 {
		t.Errorf("%d changes, %d more pages", len(a.value())+len(rest), pages)
	}
	if later, _, _ := s.round(next); len(later) != 8 {
		t.Errorf("%d changes in the next round, want 8", len(later))
	}
}

func TestDeltaRefused(t *testing.T) {
	s := small(t, nil)
	_, link, _ := s.round(delta + "?$deltaToken=latest")
	for path, code := range map[string]string{
		delta + "?$top=5": "Request_UnsupportedQuery", delta + "?$orderby=displayName": "Request_UnsupportedQuery", delta + "?$select=nonsense": "BadRequest",
		link + "&$select=displayName": "BadRequest",
	} {
		s.sweep("GET", path, nil).want(t, 400, code)
	}
	s.as("hr-events", "GET", delta, nil).want(t, 403, "Authorization_RequestDenied")
	gone := func(path string) {
		t.Helper()
		a := s.sweep("GET", path, nil).want(t, http.StatusGone, "resyncRequired")
		location := a.header.Get("Location")
		if !strings.Contains(location, "/v1.0/users/delta?$deltatoken=") {
			t.Errorf("Location %q", location)
		}
		s.sweep("GET", location, nil).want(t, 200, "")
	}
	gone(delta + "?$deltatoken=nonsense")
	s.later(7 * 24 * time.Hour)
	s.round(link)
	s.clock.Advance(time.Second)
	gone(link)
	_, link, _ = s.round(delta + "?$deltatoken=latest")
	s.ResetDelta()
	gone(link)

	other := small(t, func(b *graph.Behaviour) { b.ExpiredDelta = graph.ExpiredNotFound })
	_, link, _ = other.round(delta + "?$deltatoken=latest")
	other.later(8 * 24 * time.Hour)
	other.sweep("GET", link, nil).want(t, 400, "syncStateNotFound")
}

func TestDeletedItems(t *testing.T) {
	s := start(t)
	const root = "/v1.0/directory/deletedItems/microsoft.graph.user"
	for i, id := range []string{sixMethods, joiner, excluded} {
		s.clock.Set(t0.Add(time.Duration(i) * time.Hour))
		if err := s.Delete(id); err != nil {
			t.Fatal(err)
		}
	}
	if ids := s.worker("GET", root, nil).want(t, 200, "").ids(); len(ids) != 3 {
		t.Errorf("deleted %v", ids)
	}
	late := root + "?$filter=deletedDateTime ge 2026-11-23T10:00:00Z&$count=true&$select=id,deletedDateTime"
	if ids := s.worker("GET", late, nil, "ConsistencyLevel", "eventual").want(t, 200, "").ids(); fmt.Sprint(ids) != fmt.Sprint([]string{joiner, excluded}) {
		t.Errorf("deleted since %v", ids)
	}
	newest := root + "?$orderby=deletedDateTime desc&$count=true&$top=1"
	s.worker("GET", newest, nil).want(t, 400, "Request_UnsupportedQuery")
	if ids := s.worker("GET", newest, nil, "ConsistencyLevel", "eventual").want(t, 200, "").ids(); fmt.Sprint(ids) != fmt.Sprint([]string{excluded}) {
		t.Errorf("newest %v", ids)
	}
	s.worker("GET", "/v1.0/directory/deletedItems/"+joiner, nil).want(t, 200, "")
	s.worker("DELETE", "/v1.0/directory/deletedItems/"+joiner, nil).want(t, 403, "Authorization_RequestDenied")
	s.as("tenant-administrator", "POST", "/v1.0/directory/deletedItems/"+joiner+"/restore", nil).want(t, 200, "")
	s.worker("GET", "/v1.0/users/"+joiner, nil).want(t, 200, "")
	s.as("tenant-administrator", "DELETE", "/v1.0/directory/deletedItems/"+joiner, nil).want(t, 404, "Request_ResourceNotFound")
	if s.Delete("nobody") == nil || s.Purge("nobody") == nil {
		t.Error("nobody was deleted")
	}
}
