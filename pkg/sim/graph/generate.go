package graph

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// GenerateOptions say what tenant to make up.
type GenerateOptions struct {
	Users int // accounts of all kinds; FewestUsers at least
	Seed  uint64
	Now   time.Time // the sign-in log ends here
}

// FewestUsers is what it takes for somebody of every kind.
const FewestUsers = 20

// logDays is how long sign-in logs are kept with a paid edition.
const logDays = 30

// Generate makes up a tenant in the middle of its way to multifactor authentication. The
// same options give the same tenant.
//
// There are departments in several countries with managers and nested groups; people with
// every mix of methods, and without; administrators who are active, eligible or members of
// a role-assignable group; break-glass accounts with and without a security key; guests of
// other organisations and of this one; shared mailboxes and rooms, which nobody signs in
// to; accounts of scripts that sign in with a password; workload identities; names that
// try to break whatever shows them. Conditional Access is enforced for some, reported for
// others, and excludes some through nested groups.
func Generate(o GenerateOptions) *Tenant {
	base, err := SampleTenant()
	if err != nil {
		panic(err) // it is embedded
	}
	g := &generator{random: rand.New(rand.NewPCG(o.Seed, o.Seed^0x6d666166)), now: o.Now.UTC().Truncate(time.Second), total: max(o.Users, FewestUsers),
		first: firstNames(), last: lastNames(), countries: countries(),
		fold: strings.NewReplacer("ã", "a", "á", "a", "é", "e", "ë", "e", "í", "i", "ó", "o", "ø", "o", "ö", "o", "ü", "u", "ż", "z", "ń", "n")}
	created := g.now.AddDate(-8, 0, 0)
	g.tenant = &Tenant{
		ID: g.id(), DisplayName: "Fabrikam Example", Domains: []string{"fabrikam.example", "fabrikam.onmicrosoft.example"}, ExternalMail: []string{"partner.example", "personal.example"},
		CreatedDateTime: &created, Apps: base.Apps, RoleDefinitions: base.RoleDefinitions,
	}
	g.tenant.fillDefaults()
	g.makeGroups()
	g.makeEmergencyAccounts()
	g.makeServiceAccounts()
	g.makeMailboxes()
	g.makeGuests()
	for len(g.tenant.Users) < g.total {
		g.makeEmployee()
	}
	g.nameWithMalice()
	g.makeRoles()
	g.makePrincipals()
	g.makePolicies(base)
	return g.tenant
}

type generator struct {
	random *rand.Rand
	now    time.Time
	total  int
	tenant *Tenant

	all, emergency, exceptions, automation, scanners, operators, payments, pilot, deskPhones, visitors *Group

	departments []*department
	employees   []*User
	serial      int

	first, last []string
	countries   []country
	fold        *strings.Replacer // makes a name in lower case fit for an address
}

// department is a group of groups, one for each country.
type department struct {
	name   string
	group  *Group
	places []*Group
	people []*User
	titles []string
}

type country struct{ name, code, city, language string }

func countries() []country {
	return []country{{"Germany", "DE", "Berlin", "de-DE"}, {"France", "FR", "Lyon", "fr-FR"}, {"Poland", "PL", "Gdansk", "pl-PL"}, {"United States", "US", "Boston", "en-US"},
		{"India", "IN", "Pune", "en-IN"}, {"Brazil", "BR", "Recife", "pt-BR"}, {"Japan", "JP", "Osaka", "ja-JP"}}
}

// id is a random version 4 GUID.
func (g *generator) id() string {
	a, b := g.random.Uint64(), g.random.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", uint32(a>>32), uint16(a>>16), uint16(a)&0xfff, uint16(b>>48)&0x3fff|0x8000, b&0xffffffffffff)
}

// ago is a moment up to so many days before the end.
func (g *generator) ago(days int) *time.Time {
	t := g.now.Add(-time.Duration(g.random.Int64N(int64(days) * int64(24*time.Hour)))).Truncate(time.Second)
	return &t
}

// chance is true in so many of a thousand cases.
func (g *generator) chance(perMille int) bool { return g.random.IntN(1000) < perMille }

func pick[T any](g *generator, list []T) T { return list[g.random.IntN(len(list))] }

// share is so many per mille of all accounts, and one at least.
func (g *generator) share(perMille int) int { return max(1, g.total*perMille/1000) }

func (g *generator) group(name, note string) *Group {
	created := g.tenant.CreatedDateTime.AddDate(0, 1, 0)
	x := &Group{ID: g.id(), DisplayName: name, Note: note, SecurityEnabled: true, CreatedDateTime: &created}
	g.tenant.Groups = append(g.tenant.Groups, x)
	return x
}

func (g *generator) makeGroups() {
	g.all = g.group("All Employees", "holds the departments, which hold their offices")
	for _, d := range []struct {
		name   string
		titles []string
	}{
		{"Engineering", []string{"Engineer", "Senior Engineer", "Architect"}}, {"Operations", []string{"Dispatcher", "Picker", "Shift Lead"}},
		{"Sales", []string{"Account Manager", "Sales Representative"}}, {"Finance", []string{"Accountant", "Controller"}},
		{"Human Resources", []string{"Recruiter", "Generalist"}}, {"Legal", []string{"Counsel", "Paralegal"}},
		{"Marketing", []string{"Writer", "Event Manager"}}, {"IT", []string{"Administrator", "Support Engineer", "Developer"}},
	} {
		x := &department{name: d.name, titles: d.titles, group: g.group(d.name, "")}
		g.all.Members = append(g.all.Members, x.group.ID)
		for _, c := range g.countries {
			place := g.group(d.name+" "+c.name, "")
			x.group.Members = append(x.group.Members, place.ID)
			x.places = append(x.places, place)
		}
		g.departments = append(g.departments, x)
	}
	g.emergency = g.group("Emergency Access Accounts", "excluded from Conditional Access")
	g.exceptions = g.group("MFA Exceptions", "excluded from Conditional Access with the groups in it")
	g.automation = g.group("Automation Accounts", "in MFA Exceptions")
	g.scanners = g.group("Shop Floor Scanners", "in Automation Accounts: three levels down")
	g.exceptions.Members = []string{g.automation.ID}
	g.automation.Members = []string{g.scanners.ID}
	g.operators = g.group("Identity Operators", "role-assignable, holds User Administrator")
	g.operators.IsAssignableToRole = true
	g.payments = g.group("Payments", "must authenticate in a phishing-resistant way")
	g.pilot = g.group("MFA Pilot", "included in a report-only policy")
	g.deskPhones = g.group("Desk Phones", "may be called")
	g.visitors = g.group("Visiting Staff", "internal guests")
}

// account is what all kinds of accounts have.
func (g *generator) account(name, alias string) *User {
	g.serial++
	upn := alias + "@fabrikam.example"
	u := &User{ID: g.id(), UserPrincipalName: upn, DisplayName: name, Mail: upn, ProxyAddresses: []string{"SMTP:" + upn}, MailNickname: alias,
		AccountEnabled: true, UserType: "Member", CreatedDateTime: g.ago(6 * 365), Preferences: SignInPreferences{SystemPreferred: true}}
	g.tenant.Users = append(g.tenant.Users, u)
	return u
}

func (g *generator) makeEmergencyAccounts() {
	for i, methods := range [][]*Method{{g.fido()}, {g.authenticator()}, nil} {
		u := g.account(fmt.Sprint("Emergency Access ", i+1), fmt.Sprint("emergency", i+1))
		u.Note = "break-glass account"
		u.Mail, u.ProxyAddresses, u.NoMailbox = "", nil, true
		g.register(u, methods...)
		g.emergency.Members = append(g.emergency.Members, u.ID)
	}
}

// makeServiceAccounts makes people of scripts: nobody ever sits in front of them.
func (g *generator) makeServiceAccounts() {
	jobs := []string{"backup", "report", "billing-export", "vm-start", "inventory", "deploy", "certificate-check"}
	for i := range g.share(8) {
		job := pick(g, jobs)
		u := g.account(fmt.Sprintf("Service %s %d", job, i+1), fmt.Sprintf("svc-%s-%d", job, i+1))
		u.Note = "user identity used as a service account"
		u.Mail, u.ProxyAddresses, u.NoMailbox = "", nil, true
		u.Preferences.SystemPreferred = false
		switch {
		case g.chance(600):
			g.automation.Members = append(g.automation.Members, u.ID)
		case g.chance(300):
			g.scanners.Members = append(g.scanners.Members, u.ID)
		}
		app := pick(g, []string{azureCLI, azurePowerShell})
		nights := 5 + g.random.IntN(15)
		first := g.random.IntN(logDays - nights)
		for night := range nights {
			at := g.now.Truncate(24*time.Hour).AddDate(0, 0, -night-first-1).Add(2*time.Hour + time.Duration(g.random.IntN(300))*time.Second)
			in := &SignIn{ID: g.id(), User: u.ID, Time: &at, AppID: app, Client: "Mobile Apps and Desktop clients", Event: eventNonInteractive, IP: "198.51.100.77", Agent: "python-requests/2.32"}
			if g.chance(700) {
				in.Protocol = "ropc"
			}
			g.tenant.SignIns = append(g.tenant.SignIns, in)
			if u.SignInActivity == nil {
				u.SignInActivity = &SignInActivity{LastNonInteractiveSignInDateTime: &at, LastSuccessfulSignInDateTime: &at}
			}
		}
	}
}

// makeMailboxes makes shared mailboxes and rooms: accounts that are disabled.
func (g *generator) makeMailboxes() {
	for i := range g.share(35) {
		kind := pick(g, []string{"Room", "Shared", "Equipment"})
		u := g.account(fmt.Sprint(kind, " ", i+1), fmt.Sprint(strings.ToLower(kind), "-", i+1))
		u.AccountEnabled, u.Note = false, "mailbox without a person"
	}
}

// partnerTenant is where the guests come from.
const partnerTenant = "70000000-0000-4000-8000-000000000001"

func (g *generator) makeGuests() {
	for i := range max(2, g.share(60)) {
		first, last := pick(g, g.first), pick(g, g.last)
		u := g.account(first+" "+last, fmt.Sprintf("%s.%s.guest%d", g.address(first), g.address(last), i+1))
		u.GivenName, u.Surname, u.UserType = first, last, "Guest"
		if i%5 == 1 {
			u.Note = "internal guest"
			g.visitors.Members = append(g.visitors.Members, u.ID)
			g.register(u, g.mix()...)
			g.seen(u, 300)
			continue
		}
		u.Note, u.CreationType, u.ExternalUserState, u.HomeTenant = "external guest", "Invitation", "Accepted", partnerTenant
		u.Mail = fmt.Sprintf("%s.%s%d@partner.example", g.address(first), g.address(last), i+1)
		u.ProxyAddresses = nil
		u.UserPrincipalName = strings.ReplaceAll(u.Mail, "@", "_") + "#EXT#@fabrikam.example"
		if g.chance(200) {
			g.register(u, g.phone("mobile"))
		}
		if g.chance(80) {
			g.exceptions.Members = append(g.exceptions.Members, u.ID)
		}
		g.seen(u, 200)
	}
}

func (g *generator) makeEmployee() {
	d := g.departments[len(g.employees)%len(g.departments)]
	if len(g.employees) >= len(g.departments) && g.chance(500) {
		d = g.departments[g.random.IntN(2)] // most work in the first two
	}
	where := g.random.IntN(len(d.places))
	c := g.countries[where]
	first, last := pick(g, g.first), pick(g, g.last)
	u := g.account(first+" "+last, fmt.Sprintf("%s.%s%d", g.address(first), g.address(last), g.serial+1))
	u.GivenName, u.Surname, u.EmployeeID = first, last, fmt.Sprintf("F%06d", g.serial)
	u.Department, u.JobTitle = d.name, pick(g, d.titles)
	u.Country, u.UsageLocation, u.City, u.PreferredLanguage = c.name, c.code, c.city, c.language
	switch {
	case len(d.people) > 0:
		u.Manager = d.people[g.random.IntN(1+len(d.people)/8)].ID
	case len(g.employees) > 0:
		u.Manager = g.employees[0].ID // heads report to the head of the first department
	}
	d.places[where].Members = append(d.places[where].Members, u.ID)
	d.people, g.employees = append(d.people, u), append(g.employees, u)
	if g.chance(400) {
		synced := true
		u.OnPremisesSyncEnabled, u.OnPremisesSamAccountName = &synced, fmt.Sprint("u", g.serial)
	}
	if g.chance(30) {
		u.AccountEnabled, u.Note = false, "has left"
		return
	}
	g.register(u, g.mix()...)
	switch n := g.random.IntN(100); {
	case n < 3:
		u.PerUserMFA = "enforced"
	case n < 4:
		u.PerUserMFA = "enabled"
	}
	switch n := g.random.IntN(1000); {
	case n < 5:
		g.scanners.Members = append(g.scanners.Members, u.ID)
	case n < 15:
		g.pilot.Members = append(g.pilot.Members, u.ID)
	case n < 25:
		g.payments.Members = append(g.payments.Members, u.ID)
	case n < 35:
		g.deskPhones.Members = append(g.deskPhones.Members, u.ID)
	}
	enforced := 15
	if d.name == "IT" || d.name == "Engineering" {
		enforced = 150
	}
	g.seen(u, enforced)
}

// seen logs what a person did in the last month; of a thousand, so many use what Microsoft
// demands multifactor authentication for.
func (g *generator) seen(u *User, enforced int) {
	if g.chance(60) {
		return // has not come for long
	}
	add := func(in SignIn) {
		in.ID, in.User, in.Time = g.id(), u.ID, g.ago(logDays)
		in.IP = fmt.Sprintf("203.0.113.%d", 1+g.random.IntN(250))
		if u.SignInActivity == nil || u.SignInActivity.LastSignInDateTime.Before(*in.Time) {
			u.SignInActivity = &SignInActivity{LastSignInDateTime: in.Time, LastNonInteractiveSignInDateTime: in.Time, LastSuccessfulSignInDateTime: in.Time}
		}
		g.tenant.SignIns = append(g.tenant.SignIns, &in)
	}
	if g.chance(500) {
		add(SignIn{AppID: pick(g, []string{exchangeOnline, sharePoint, teamsServices})})
	} else {
		last := g.ago(logDays)
		u.SignInActivity = &SignInActivity{LastSignInDateTime: last, LastNonInteractiveSignInDateTime: last, LastSuccessfulSignInDateTime: last}
	}
	if !g.chance(enforced) {
		return
	}
	for range 1 + g.random.IntN(5) {
		in := SignIn{AppID: pick(g, []string{azurePortal, azurePortal, azurePortal, azureCLI, azurePowerShell, azureMobile})}
		if in.AppID != azurePortal {
			in.Client = "Mobile Apps and Desktop clients"
		}
		in.Requirement = multiFactor
		if len(u.Methods) == 0 {
			in.Code, in.Reason = codeMustRegister, "The user must register for multifactor authentication."
		}
		add(in)
	}
}

// mix is what people have registered, from nothing to more than enough.
func (g *generator) mix() []*Method {
	switch n := g.random.IntN(100); {
	case n < 12:
		return nil
	case n < 27:
		return []*Method{g.phone("mobile")}
	case n < 29:
		return []*Method{g.phone("office")}
	case n < 62:
		return []*Method{g.authenticator()}
	case n < 82:
		return []*Method{g.authenticator(), g.phone("mobile")}
	case n < 89:
		return []*Method{g.authenticator(), g.fido()}
	case n < 97:
		return []*Method{g.authenticator(), {Kind: "windowsHelloForBusiness", ID: g.id(), CreatedDateTime: g.ago(900), Properties: map[string]any{"displayName": "Laptop", "keyStrength": "normal"}}}
	case n < 99:
		return []*Method{{Kind: "softwareOath", ID: g.id()}}
	}
	return []*Method{{Kind: "email", ID: g.id(), Properties: map[string]any{"emailAddress": "somebody@personal.example"}}}
}

func (g *generator) register(u *User, methods ...*Method) {
	u.Methods = methods
	for _, m := range methods {
		if secondFactor(m.Kind) {
			u.DefaultMethod = m.ID
			return
		}
	}
}

func (g *generator) authenticator() *Method {
	return &Method{Kind: "microsoftAuthenticator", ID: g.id(), CreatedDateTime: g.ago(900), Properties: map[string]any{"displayName": pick(g, []string{"iPhone", "Pixel", "Galaxy"})}}
}

func (g *generator) fido() *Method {
	return &Method{Kind: "fido2", ID: g.id(), CreatedDateTime: g.ago(900), Properties: map[string]any{"displayName": "Security key", "passkeyType": "deviceBound"}}
}

func (g *generator) phone(kind string) *Method {
	id := mobilePhoneID
	if kind == "office" {
		id = officePhoneID
	}
	return &Method{Kind: "phone", ID: id, Properties: map[string]any{"phoneType": kind, "phoneNumber": fmt.Sprintf("+1 555%07d", g.random.IntN(10_000_000))}}
}

// nameWithMalice gives some people names that try to break a page, a spreadsheet or a
// terminal.
func (g *generator) nameWithMalice() {
	names := hostileNames()
	count := min(max(len(names), len(g.employees)/500), len(g.employees))
	for i := range count {
		u := g.employees[i*len(g.employees)/count]
		u.DisplayName, u.Note = names[i%len(names)], "hostile display name"
	}
}

func hostileNames() []string {
	return []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `=HYPERLINK("https://evil.example","click")`, `+1+1`, `-2+3`, `@SUM(A1:A9)`, "\t=1+1",
		"Anna\u202egnp.exe", "\u2067\u05e9\u05dc\u05d5\u05dd", "O'Neil, \"Bob\"; DROP TABLE users", "Line\nBreak", "\x1b[31mRed", "Zero\u200bWidth", strings.Repeat("Long ", 50), "{{template}} ${env}", "& < > ' \""}
}

func (g *generator) makeRoles() {
	role := func(name string) string {
		for _, d := range g.tenant.RoleDefinitions {
			if d.DisplayName == name {
				return d.ID
			}
		}
		panic("generate: the sample has no role " + name) // the sample tenant is embedded
	}
	assign := func(principal, name string) {
		g.tenant.RoleAssignments = append(g.tenant.RoleAssignments, &RoleAssignment{ID: g.id(), PrincipalID: principal, RoleDefinitionID: role(name)})
	}
	for _, id := range g.emergency.Members {
		assign(id, "Global Administrator")
	}
	assign(g.operators.ID, "User Administrator")
	staff := g.departments[len(g.departments)-1].people // IT
	if len(staff) == 0 {
		staff = g.employees
	}
	for i := range min(len(staff), g.share(4)) {
		switch u := staff[i]; i % 4 {
		case 0:
			assign(u.ID, "Global Administrator")
		case 1:
			g.operators.Members = append(g.operators.Members, u.ID)
		case 2:
			assign(u.ID, "Helpdesk Administrator")
		default:
			from, until := g.now.AddDate(0, -6, 0), g.now.AddDate(0, 6, 0)
			g.tenant.RoleEligibilities = append(g.tenant.RoleEligibilities, &RoleAssignment{ID: g.id(), PrincipalID: u.ID, RoleDefinitionID: role("Privileged Role Administrator"),
				StartDateTime: &from, EndDateTime: &until})
		}
	}
}

func (g *generator) makePrincipals() {
	for i := range max(4, g.share(8)) {
		kind := []string{"Application", "ManagedIdentity"}[i%2]
		g.tenant.ServicePrincipals = append(g.tenant.ServicePrincipals, &ServicePrincipal{ID: g.id(), AppID: g.id(), DisplayName: fmt.Sprint(kind, " ", i+1), Type: kind,
			AccountEnabled: !g.chance(50), CreatedDateTime: g.ago(5 * 365)})
	}
}

// makePolicies: administrators and half of the departments must use multifactor
// authentication, the rest is only reported, and old clients are blocked.
func (g *generator) makePolicies(base *Tenant) {
	p := &g.tenant.Policies
	p.AuthenticationMethods = base.Policies.AuthenticationMethods
	p.AuthenticationStrengths = base.Policies.AuthenticationStrengths
	p.TemporaryAccessPass = defaultPassPolicy()
	p.TemporaryAccessPass.State = stateEnabled
	p.TemporaryAccessPass.IncludeTargets = []Target{{TargetType: "group", ID: g.all.ID}, {TargetType: "group", ID: g.visitors.ID}}
	for _, id := range []string{"Fido2", "MicrosoftAuthenticator", "Sms", "Voice", "SoftwareOath", "HardwareOath", "Email", "X509Certificate", "QRCodePin"} {
		c := defaultConfiguration(id)
		switch id {
		case "Fido2", "MicrosoftAuthenticator", "Sms", "SoftwareOath":
			c["state"] = stateEnabled
		case "Voice":
			c["state"], c["includeTargets"] = stateEnabled, []any{map[string]any{"targetType": "group", "id": g.deskPhones.ID, "isRegistrationRequired": false}}
		}
		p.MethodConfigurations = append(p.MethodConfigurations, c)
	}
	p.PasswordReset = PasswordReset{Targets: []Target{{TargetType: "group", ID: g.all.ID}}, Methods: 1}
	p.NamedLocations = []Document{{"@odata.type": "#microsoft.graph.ipNamedLocation", "id": g.id(), "displayName": "Headquarters", "isTrusted": true,
		"createdDateTime": "2021-03-01T08:00:00Z", "modifiedDateTime": "2021-03-01T08:00:00Z",
		"ipRanges": []any{map[string]any{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "198.51.100.0/24"}}}}

	excluded := []string{g.emergency.ID, g.exceptions.ID}
	var half []string
	for i, d := range g.departments {
		if i%2 == 1 {
			half = append(half, d.group.ID)
		}
	}
	var administrators []string
	for _, d := range g.tenant.RoleDefinitions {
		if !limitedRole(d.DisplayName) {
			administrators = append(administrators, d.ID)
		}
	}
	mfa := grantControls{Operator: "OR", BuiltIn: []string{controlMFA}}
	resistant := grantControls{Operator: "OR", Strength: &strengthOfUse{ID: "00000000-0000-0000-0000-000000000004"}}
	block := grantControls{Operator: "OR", BuiltIn: []string{controlBlock}}
	anyway := []string{anyClient}
	g.policy("Require MFA for administrators", stateEnabled, accessUsers{IncludeRoles: administrators, ExcludeGroups: []string{g.emergency.ID}}, anyway, mfa)
	g.policy("Require MFA for half of the departments", stateEnabled, accessUsers{IncludeGroups: half, ExcludeGroups: excluded}, anyway, mfa)
	g.policy("Require MFA for everybody", stateReportOnly, accessUsers{IncludeUsers: []string{everybody}, ExcludeGroups: excluded}, anyway, mfa)
	g.policy("Require MFA for the pilot", stateReportOnly, accessUsers{IncludeGroups: []string{g.pilot.ID}}, anyway, mfa)
	g.policy("Phishing-resistant MFA for payments", stateEnabled, accessUsers{IncludeGroups: []string{g.payments.ID}, ExcludeGroups: excluded}, anyway, resistant)
	g.policy("Require MFA for guests", stateDisabled, accessUsers{IncludeUsers: []string{guestsOfAll}, ExcludeGroups: excluded}, anyway, mfa)
	g.policy("Block old clients", stateEnabled, accessUsers{IncludeUsers: []string{everybody}, ExcludeGroups: excluded}, []string{"exchangeActiveSync", ClientLegacy}, block)
}

func (g *generator) policy(name, state string, users accessUsers, clients []string, grant grantControls) {
	created := g.ago(700)
	p := accessPolicy{ID: g.id(), DisplayName: name, State: state, Created: created.Format(time.RFC3339), GrantControls: &grant,
		Conditions: accessConditions{ClientAppTypes: clients, Users: users, Applications: accessApplications{Include: []string{everybody}}}}
	d, err := p.document()
	if err != nil {
		panic(fmt.Sprintf("generate: %v", err)) // plain fields always encode
	}
	g.tenant.Policies.ConditionalAccess = append(g.tenant.Policies.ConditionalAccess, d)
}

func firstNames() []string {
	return strings.Fields(`Ada Aino Akira Amara Amina Anders Anja Bela Bruno Carla Chen Chidi Clara Dalia Daniel Diego Ebba Elif Emeka Erik Esra Farah Fatima Felix Freya Gabor
		Hana Hugo Ibrahim Ines Ingrid Ivan Jana João Jonas José Kaja Karim Keiko Kofi Lars Leila Lena Lucía Magda Malik Mei Milan Nadia Nils Noor Olga Omar Paula Pavel
		Priya Rafael Ravi Rosa Sara Selma Søren Tariq Tomás Ulla Victor Wanda Xavier Yara Yuki Zoë`)
}

func lastNames() []string {
	return strings.Fields(`Abe Adeyemi Ahmed Almeida Andersson Bauer Berg Blanc Bianchi Carvalho Chen Costa Demir Diallo Dubois Eriksen Farkas Fischer Fontaine García Haddad
		Hansen Hofmann Horváth Ibarra Ito Ivanova Jansen Kaya Keller Khan Kim Kovács Kowalski Kumar Lehtonen Lindgren López Mensah Meyer Moreau Müller Nagy Nair Novák Nowak
		Okafor Osei Park Patel Pereira Petrov Popescu Rossi Saito Santos Schmidt Silva Singh Sørensen Suzuki Tanaka Torres Ueda Vega Virtanen Wagner Weber Wójcik Yamamoto Zhang Żak`)
}

func (g *generator) address(name string) string { return g.fold.Replace(strings.ToLower(name)) }
