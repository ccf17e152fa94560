package graph

import (
	"strings"
)

func groupSchema() schema {
	return schema{collection: "groups", typeName: "group", defaults: []string{
		"id", "deletedDateTime", "createdDateTime", "description", "displayName", "groupTypes",
		"isAssignableToRole", "mail", "mailEnabled", "securityEnabled", "onPremisesSyncEnabled",
	}}
}

func (g *Group) entityID() string { return g.ID }

func (g *Group) property(name string) (any, bool) {
	switch name {
	case "id":
		return g.ID, true
	case "displayName":
		return g.DisplayName, true
	case "description":
		return orNull(g.Description), true
	case "mail":
		return orNull(g.Mail), true
	case "mailEnabled":
		return g.MailEnabled, true
	case "securityEnabled":
		return g.SecurityEnabled, true
	case "groupTypes":
		return orEmpty(g.GroupTypes), true
	case "isAssignableToRole":
		if !g.IsAssignableToRole {
			return nil, true
		}
		return true, true
	case "createdDateTime":
		return timeOrNull(g.CreatedDateTime), true
	case "deletedDateTime", "onPremisesSyncEnabled":
		return nil, true
	}
	return nil, false
}

// object is a member of a mixed collection with its OData type.
type object struct {
	entity
	odataType string
	schema    *schema
}

func (o object) entityID() string { return o.entity.entityID() }

// mixedPage lists directory objects of different types. Properties that a type lacks
// are left out of its object.
func mixedPage(r *request, objects []object) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	if q.filter != nil {
		return response{}, errUnsupportedQuery("The simulator does not filter collections of mixed types.")
	}
	sc := schema{collection: "directoryObjects", typeName: "directoryObject"}
	return page(sc, r, &query{page: q.page, top: q.top, after: q.after, position: q.position, count: q.count}, objects, func(o object, item map[string]any) error {
		selected := q.selected
		if len(selected) == 0 {
			selected = o.schema.defaults
		}
		for _, name := range selected {
			if v, known := o.property(name); known {
				item[name] = v
			}
		}
		item["@odata.type"] = "#microsoft.graph." + o.odataType
		return nil
	})
}

func (s *Server) group(r *request) (*Group, error) {
	g := s.dir.group(r.params["group"])
	if g == nil {
		return nil, errNotFound(r.params["group"])
	}
	return g, nil
}

func (s *Server) listGroups(r *request) (response, error) {
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return page(groupSchema(), r, q, s.dir.Groups, nil)
}

func (s *Server) getGroup(r *request) (response, error) {
	g, err := s.group(r)
	if err != nil {
		return response{}, err
	}
	q, err := parseQuery(r)
	if err != nil {
		return response{}, err
	}
	return groupSchema().single(r, g, q.selected)
}

// cast is the type a collection is narrowed to by its last segment, or empty.
func cast(r *request) string {
	name, found := strings.CutPrefix(r.path[len(r.path)-1], "graph.")
	if !found {
		return ""
	}
	return name
}

// collectionSegment is the last segment without a cast.
func collectionSegment(r *request) string {
	if cast(r) != "" {
		return r.path[len(r.path)-2]
	}
	return r.path[len(r.path)-1]
}

func (s *Server) listMembers(r *request) (response, error) {
	g, err := s.group(r)
	if err != nil {
		return response{}, err
	}
	return mixedPage(r, s.dir.memberObjects(g, strings.EqualFold(collectionSegment(r), "transitiveMembers"), cast(r)))
}

func (s *Server) listOwners(r *request) (response, error) {
	g, err := s.group(r)
	if err != nil {
		return response{}, err
	}
	var users []*User
	for _, id := range g.Owners {
		if u := s.dir.user(id); u != nil {
			users = append(users, u)
		}
	}
	return mixedPage(r, objects(users, nil, ""))
}

// objects are people and groups as members of one collection, narrowed to a type or not.
func objects(users []*User, groups []*Group, cast string) []object {
	var list []object
	if cast == "" || cast == "user" {
		sc := userSchema()
		for _, u := range users {
			list = append(list, object{u, "user", &sc})
		}
	}
	if cast == "" || cast == "group" {
		sc := groupSchema()
		for _, g := range groups {
			list = append(list, object{g, "group", &sc})
		}
	}
	return list
}

// memberKey names a collection of members.
type memberKey struct {
	group      *Group
	transitive bool
	cast       string
}

// memberObjects are the members of a group. They are kept until the directory changes,
// since a large group is read page by page.
func (d *directory) memberObjects(g *Group, transitive bool, cast string) []object {
	key := memberKey{g, transitive, cast}
	list, known := d.memberLists[key]
	if !known {
		users, groups := d.members(g, transitive)
		list = objects(users, groups, cast)
		d.memberLists[key] = list
	}
	return list
}

// listMemberOf answers memberOf and transitiveMemberOf: groups and active directory roles.
func (s *Server) listMemberOf(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	groups := s.dir.memberOf[strings.ToLower(u.ID)]
	roles := s.dir.directRoles(u)
	if strings.EqualFold(collectionSegment(r), "transitiveMemberOf") {
		groups, roles = s.dir.transitiveGroups(u.ID), s.dir.roles(u)
	}
	list := objects(nil, groups, cast(r))
	if c := cast(r); c == "" || c == "directoryRole" {
		sc := schema{defaults: []string{"id", "description", "displayName", "roleTemplateId"}}
		for _, d := range roles {
			list = append(list, object{directoryRole{d}, "directoryRole", &sc})
		}
	}
	return mixedPage(r, list)
}

// checkMemberGroups returns those of at most 20 group ids that the user belongs to,
// transitively.
func (s *Server) checkMemberGroups(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var body struct {
		GroupIDs []string `json:"groupIds"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	if body.GroupIDs == nil {
		return response{}, errDirectory("Invalid value specified for property 'groupIds'.")
	}
	if len(body.GroupIDs) > 20 {
		return response{}, errDirectory("The number of group ids is greater than the maximum allowed limit of 20.")
	}
	member := []string{}
	groups := s.dir.transitiveGroups(u.ID)
	for _, id := range body.GroupIDs {
		for _, g := range groups {
			if strings.EqualFold(g.ID, id) {
				member = append(member, g.ID)
			}
		}
	}
	return list(r, "Collection(Edm.String)", member), nil
}

func (s *Server) getMemberGroups(r *request) (response, error) {
	u, err := s.user(r)
	if err != nil {
		return response{}, err
	}
	var body struct {
		SecurityEnabledOnly bool `json:"securityEnabledOnly"`
	}
	if err := r.decode(&body); err != nil {
		return response{}, err
	}
	var ids []string
	for _, g := range s.dir.transitiveGroups(u.ID) {
		if g.SecurityEnabled || !body.SecurityEnabledOnly {
			ids = append(ids, g.ID)
		}
	}
	return list(r, "Collection(Edm.String)", ids), nil
}
