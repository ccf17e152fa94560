package secevent

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"mfaflow/pkg/identity"
)

// Identifier is a field of identity.Reference. The zero value is invalid.
type Identifier string

// The identifiers that the directory can be asked for.
const (
	ObjectID          Identifier = "objectId"
	EmployeeID        Identifier = "employeeId"
	UserPrincipalName Identifier = "userPrincipalName"
	Mail              Identifier = "mail"
)

// maxIdentifiers bounds the aliases of a subject.
const maxIdentifiers = 16

func checkSubjects(subjects map[string]Identifier) error {
	var problems []error
	for name, as := range subjects {
		switch as {
		case ObjectID, EmployeeID, UserPrincipalName, Mail:
		default:
			problems = append(problems, errors.New("subjects: only objectId, employeeId, userPrincipalName and mail can be looked up"))
		}
		switch name {
		case "email", "account", "opaque":
		default:
			if u, err := url.Parse(name); err != nil || u.Scheme == "" || u.Host == "" {
				problems = append(problems, fmt.Errorf("subjects: %q is neither email, account, opaque nor the URL of an issuer", name))
			}
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// person is whom a subject (RFC 9493, SSF 1.0 section 3) names for the directory. Of a
// complex one only the user is a person.
func (s Stream) person(subject map[string]any) identity.Reference {
	switch subject["format"] {
	case "complex":
		user, _ := subject["user"].(map[string]any)
		if user["format"] == "complex" {
			return identity.Reference{}
		}
		return s.person(user)
	case "aliases":
		list, _ := subject["identifiers"].([]any)
		return s.alias(list)
	default:
		as, value := s.identifier(subject)
		return reference(as, value)
	}
}

// alias puts several names of one person together. Two values for the same identifier
// cannot both be the directory's, so that such a subject names nobody.
func (s Stream) alias(list []any) identity.Reference {
	if len(list) > maxIdentifiers {
		return identity.Reference{}
	}
	values := map[Identifier]string{}
	for _, v := range list {
		one, _ := v.(map[string]any)
		as, value := s.identifier(one)
		if value == "" {
			continue
		}
		if before, twice := values[as]; twice && !strings.EqualFold(before, value) {
			return identity.Reference{}
		}
		values[as] = value
	}
	return identity.Reference{
		ObjectID: values[ObjectID], EmployeeID: values[EmployeeID], UserPrincipalName: values[UserPrincipalName], Mail: values[Mail],
	}
}

// identifier reads a simple subject. Formats that name no account (phone_number, did,
// uri, jwt_id, saml_assertion_id, ip-addresses) have no value: a telephone number is
// what an attacker changes first.
func (s Stream) identifier(subject map[string]any) (Identifier, string) {
	text := func(name string) string { v, _ := subject[name].(string); return v }
	switch format := text("format"); format {
	case "email":
		return s.as(format, Mail), text("email")
	case "account":
		// RFC 9493 section 3.2.1: an acct URI (RFC 7565), user@host.
		address, ok := strings.CutPrefix(text("uri"), "acct:")
		if !ok {
			return "", ""
		}
		address, err := url.PathUnescape(address)
		if err != nil {
			return "", ""
		}
		return s.as(format, UserPrincipalName), address
	case "opaque":
		as := s.as(format, "")
		if as == "" {
			return "", ""
		}
		return as, text("id")
	case "iss_sub":
		return s.ofIssuer(text("iss"), text("sub"))
	default:
		return "", ""
	}
}

// ofIssuer reads the sub of an issuer. That of Microsoft Entra is the object id if it
// is a GUID; otherwise it is a pseudonym for one application
// (learn.microsoft.com/entra/identity-platform/id-token-claims-reference).
func (s Stream) ofIssuer(iss, sub string) (Identifier, string) {
	if as, ok := s.Subjects[iss]; ok {
		return as, sub
	}
	u, err := url.Parse(iss)
	if err != nil || u.Scheme != "https" || !slices.Contains(entra[:], u.Host) || !identity.IsGUID(sub) {
		return "", ""
	}
	return ObjectID, sub
}

// entra are the hosts of issuers whose subjects are accounts of a Microsoft tenant.
// Which tenant does not matter: an object id of another finds nobody in ours.
var entra = [...]string{"login.microsoftonline.com", "sts.windows.net", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}

func (s Stream) as(format string, otherwise Identifier) Identifier {
	if as, ok := s.Subjects[format]; ok {
		return as
	}
	return otherwise
}

func reference(as Identifier, value string) identity.Reference {
	switch as {
	case ObjectID:
		return identity.Reference{ObjectID: value}
	case EmployeeID:
		return identity.Reference{EmployeeID: value}
	case UserPrincipalName:
		return identity.Reference{UserPrincipalName: value}
	case Mail:
		return identity.Reference{Mail: value}
	default:
		return identity.Reference{}
	}
}
