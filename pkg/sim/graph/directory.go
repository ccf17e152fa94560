package graph

import (
	"slices"
	"strings"
)

// directory is the tenant with the indexes that lookups need. Its owner holds the
// server's lock.
type directory struct {
	*Tenant
	byID      map[string]*User // lower-case object id
	byUPN     map[string]*User // lower-case userPrincipalName
	byAddress map[string]*User // lower-case mail and SMTP proxy addresses
	groups    map[string]*Group
	memberOf  map[string][]*Group           // direct memberships by member id
	equal     map[string]map[string][]*User // by property, then lower-case value

	// What follows is worked out when it is asked for, and forgotten by reindex.
	memberLists   map[memberKey][]object
	registrations []registration
	admins        map[*User]bool         // hold a directory role actively
	scopes        map[string]methodScope // by lower-case id of the configuration
	access        []accessPolicy
}

func newDirectory(t *Tenant) *directory {
	d := &directory{Tenant: t}
	t.Behaviour.fillDefaults()
	if t.mailboxes == nil {
		t.mailboxes = make(map[string][]Message)
	}
	d.reindex()
	slices.SortStableFunc(t.SignIns, func(a, b *SignIn) int { return b.Time.Compare(*a.Time) })
	for _, in := range t.SignIns {
		in.resolve(d)
	}
	for _, x := range t.Detections {
		x.user = d.user(x.User)
	}
	return d
}

// reindex follows a change of users, groups or their keys. Lists are kept in order of
// id, which makes paging stable while people come and go.
func (d *directory) reindex() {
	slices.SortFunc(d.Users, func(a, b *User) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(d.Groups, func(a, b *Group) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(d.ServicePrincipals, func(a, b *ServicePrincipal) int { return strings.Compare(a.ID, b.ID) })
	d.byID = make(map[string]*User, len(d.Users))
	d.byUPN = make(map[string]*User, len(d.Users))
	d.byAddress = make(map[string]*User, len(d.Users))
	d.equal = map[string]map[string][]*User{"employeeId": {}, "userPrincipalName": {}, "mail": {}}
	for _, u := range d.Users {
		for property, value := range map[string]string{"employeeId": u.EmployeeID, "userPrincipalName": u.UserPrincipalName, "mail": u.Mail} {
			if value = strings.ToLower(value); value != "" {
				d.equal[property][value] = append(d.equal[property][value], u)
			}
		}
		d.byAddress[strings.ToLower(u.Mail)] = u
		for _, p := range u.ProxyAddresses {
			if address, isSMTP := strings.CutPrefix(strings.ToLower(p), "smtp:"); isSMTP {
				d.byAddress[address] = u
			}
		}
		d.byID[strings.ToLower(u.ID)] = u
		d.byUPN[strings.ToLower(u.UserPrincipalName)] = u
	}
	d.memberLists, d.registrations, d.admins, d.scopes, d.access = make(map[memberKey][]object), nil, nil, nil, nil
	d.groups = make(map[string]*Group, len(d.Groups))
	d.memberOf = make(map[string][]*Group)
	for _, g := range d.Groups {
		d.groups[strings.ToLower(g.ID)] = g
		for _, m := range g.Members {
			m = strings.ToLower(m)
			d.memberOf[m] = append(d.memberOf[m], g)
		}
	}
}

// candidates are the people a filter can match, in order of id: few when the filter
// demands equality of an indexed property, which keeps a large tenant fast.
func (d *directory) candidates(f filter) []*User {
	switch f := f.(type) {
	case comparison:
		if index, indexed := d.equal[f.path]; indexed && f.op == "eq" && f.value.kind == stringLiteral && f.value.text != "" {
			return index[strings.ToLower(f.value.text)]
		}
	case logical:
		left, right := d.candidates(f.left), d.candidates(f.right)
		if f.op == "and" {
			if len(right) < len(left) {
				return right
			}
			return left
		}
		if len(left) == len(d.Users) || len(right) == len(d.Users) {
			return d.Users
		}
		either := slices.Concat(left, right)
		slices.SortFunc(either, func(a, b *User) int { return strings.Compare(a.ID, b.ID) })
		return slices.Compact(either)
	}
	return d.Users
}

// user finds a person by object id or userPrincipalName, the two keys Graph accepts.
func (d *directory) user(key string) *User {
	key = strings.ToLower(key)
	if u := d.byID[key]; u != nil {
		return u
	}
	return d.byUPN[key]
}

func (d *directory) group(id string) *Group { return d.groups[strings.ToLower(id)] }

// transitiveGroups are all groups that id belongs to, directly or through other groups.
// Groups may contain each other in a circle.
func (d *directory) transitiveGroups(id string) []*Group {
	seen := make(map[string]bool)
	var found []*Group
	queue := []string{strings.ToLower(id)}
	for len(queue) > 0 {
		next := d.memberOf[queue[0]]
		queue = queue[1:]
		for _, g := range next {
			if key := strings.ToLower(g.ID); !seen[key] {
				seen[key] = true
				found = append(found, g)
				queue = append(queue, key)
			}
		}
	}
	slices.SortFunc(found, func(a, b *Group) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// members are the users and groups in g; transitive ones include those of nested groups.
func (d *directory) members(g *Group, transitive bool) (users []*User, groups []*Group) {
	seen := map[string]bool{strings.ToLower(g.ID): true}
	queue := []*Group{g}
	for len(queue) > 0 {
		ids := queue[0].Members
		queue = queue[1:]
		for _, id := range ids {
			key := strings.ToLower(id)
			if seen[key] {
				continue
			}
			seen[key] = true
			if u := d.byID[key]; u != nil {
				users = append(users, u)
			} else if n := d.groups[key]; n != nil {
				groups = append(groups, n)
				if transitive {
					queue = append(queue, n)
				}
			}
		}
	}
	return users, groups
}

// inTargets reports whether a policy's target list covers the user, through groups at
// any depth.
func (d *directory) inTargets(targets []Target, u *User) bool {
	var groups []*Group
	for _, t := range targets {
		switch {
		case t.ID == allUsers:
			return true
		case t.TargetType == "user" && strings.EqualFold(t.ID, u.ID):
			return true
		case t.TargetType == "group":
			if groups == nil {
				groups = d.transitiveGroups(u.ID)
			}
			if slices.ContainsFunc(groups, func(g *Group) bool { return strings.EqualFold(g.ID, t.ID) }) {
				return true
			}
		}
	}
	return false
}

// roles are the directory roles a user holds actively, directly or through a group.
func (d *directory) roles(u *User) []*RoleDefinition {
	principals := map[string]bool{strings.ToLower(u.ID): true}
	for _, g := range d.transitiveGroups(u.ID) {
		principals[strings.ToLower(g.ID)] = true
	}
	var held []*RoleDefinition
	for _, a := range d.RoleAssignments {
		if !principals[strings.ToLower(a.PrincipalID)] {
			continue
		}
		if r := d.role(a.RoleDefinitionID); r != nil && !slices.Contains(held, r) {
			held = append(held, r)
		}
	}
	return held
}

// isAdmin reports whether u holds a directory role actively, as roles does for one person.
func (d *directory) isAdmin(u *User) bool {
	if d.admins == nil {
		d.admins = make(map[*User]bool)
		for _, a := range d.RoleAssignments {
			if x := d.byID[strings.ToLower(a.PrincipalID)]; x != nil {
				d.admins[x] = true
			} else if g := d.group(a.PrincipalID); g != nil {
				users, _ := d.members(g, true)
				for _, x := range users {
					d.admins[x] = true
				}
			}
		}
	}
	return d.admins[u]
}

func (d *directory) role(id string) *RoleDefinition {
	for _, r := range d.RoleDefinitions {
		if strings.EqualFold(r.ID, id) {
			return r
		}
	}
	return nil
}

// privileged reports whether sensitive actions on u need an app that itself holds a
// higher role: u has an administrator role other than the few limited ones, or is a
// member or owner of a role-assignable group.
// Source: "Who can perform sensitive actions" in Graph's page on users.
func (d *directory) privileged(u *User) bool {
	for _, g := range d.Groups {
		if g.IsAssignableToRole && (containsFold(g.Members, u.ID) || containsFold(g.Owners, u.ID)) {
			return true
		}
	}
	for _, r := range d.roles(u) {
		if !limitedRole(r.DisplayName) {
			return true
		}
	}
	return false
}

func limitedRole(name string) bool {
	switch name {
	case "Directory Readers", "Guest Inviter", "Helpdesk Administrator", "Message Center Reader", "Reports Reader":
		return true
	}
	return false
}

// external reports whether u is a guest from another organisation; an internal guest
// has credentials in this tenant.
func (u *User) external() bool {
	return u.CreationType == "Invitation" || strings.Contains(u.UserPrincipalName, "#EXT#")
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, s) })
}
