package graph

import (
	"context"

	"mfaflow/pkg/identity"
)

// Registrations are the methods of everybody as the directory's report has them: some
// hours old, without ids and creation times, and without disabled accounts ("List
// userRegistrationDetails"). It takes a request for each page of people, not for each
// person.
func (c *Client) Registrations(ctx context.Context) (map[identity.UserID][]identity.Method, error) {
	all := map[identity.UserID][]identity.Method{}
	q := query{path: versionOne + "/reports/authenticationMethods/userRegistrationDetails"}
	for link := ""; ; {
		page, err := readList(ctx, c, listRegistrations, q, link, registered)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Items {
			all[r.user] = r.methods
		}
		if link = page.Next; link == "" {
			return all, nil
		}
	}
}

type wireRegistration struct {
	ID      string    `json:"id"`
	Methods *[]string `json:"methodsRegistered"`
}

type reportedMethods struct {
	user    identity.UserID
	methods []identity.Method
}

func registered(w wireRegistration) (r reportedMethods, keep, ok bool) {
	id, ok := objectID(w.ID)
	if !ok || w.Methods == nil {
		return r, false, false
	}
	r.user = identity.UserID(id)
	for _, name := range *w.Methods {
		if m, counts := reported(name); counts {
			r.methods = append(r.methods, m)
		}
	}
	return r, true, true
}

// reported is the method that the report means. Names that we do not know are kept as
// kinds that nobody knows, which count as usable. The pass, the password and what an
// Authenticator does beside its push are no methods of their own.
func reported(name string) (identity.Method, bool) {
	switch name {
	case "mobilePhone":
		return identity.Method{Kind: identity.MethodPhone, Phone: identity.PhoneMobile}, true
	case "alternateMobilePhone":
		return identity.Method{Kind: identity.MethodPhone, Phone: identity.PhoneAlternateMobile}, true
	case "officePhone":
		return identity.Method{Kind: identity.MethodPhone, Phone: identity.PhoneOffice}, true
	case "email":
		return identity.Method{Kind: identity.MethodEmail}, true
	case "fido2", "fido2SecurityKey", "passKeyDeviceBound":
		return identity.Method{Kind: identity.MethodFIDO2}, true
	case "windowsHelloForBusiness":
		return identity.Method{Kind: identity.MethodWindowsHello}, true
	case "microsoftAuthenticatorPush":
		return identity.Method{Kind: identity.MethodAuthenticator}, true
	case "microsoftAuthenticatorPasswordless":
		return identity.Method{Kind: identity.MethodPasswordlessAuthenticator}, true
	case "softwareOneTimePasscode":
		return identity.Method{Kind: identity.MethodSoftwareOATH}, true
	case "hardwareOneTimePasscode":
		return identity.Method{Kind: identity.MethodHardwareOATH}, true
	case "temporaryAccessPass", "password", "securityQuestion", "appPassword":
		return identity.Method{}, false
	default:
		return identity.Method{Kind: identity.MethodKind(name)}, true
	}
}
