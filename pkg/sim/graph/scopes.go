package graph

import (
	"strings"
)

// methodScope is who may use an authentication method, read from its configuration.
type methodScope struct {
	enabled          bool
	include, exclude []Target
	configuration    Document
}

// scope is that of a configuration, by id; a configuration that is not there allows
// nobody.
func (d *directory) scope(id string) methodScope {
	if d.scopes == nil {
		d.scopes = make(map[string]methodScope)
		for _, c := range d.Policies.MethodConfigurations {
			name, _ := c["id"].(string)
			d.scopes[strings.ToLower(name)] = methodScope{
				enabled: c["state"] == "enabled", include: readTargets(c["includeTargets"]), exclude: readTargets(c["excludeTargets"]), configuration: c,
			}
		}
		p := d.Policies.TemporaryAccessPass
		d.scopes[strings.ToLower(passConfigurationID)] = methodScope{enabled: p.State == "enabled", include: p.IncludeTargets, exclude: p.ExcludeTargets}
	}
	return d.scopes[strings.ToLower(id)]
}

// readTargets reads the targets of a document.
func readTargets(v any) []Target {
	list, _ := v.([]any)
	var targets []Target
	for _, x := range list {
		t, _ := x.(map[string]any)
		id, _ := t["id"].(string)
		kind, _ := t["targetType"].(string)
		targets = append(targets, Target{ID: id, TargetType: kind})
	}
	return targets
}

// allows reports whether a configuration of the methods policy lets u use its method.
func (d *directory) allows(u *User, configuration string) bool {
	s := d.scope(configuration)
	return s.enabled && d.inTargets(s.include, u) && !d.inTargets(s.exclude, u)
}

// configurationsOf are the configurations that can allow a registered method: one is
// enough. A phone has two uses, and an Authenticator app is also a source of codes. known
// is false for a method that the policy has no say in: Windows Hello and platform
// credentials, which other policies govern.
func configurationsOf(m *Method) (ids []string, known bool) {
	switch m.Kind {
	case "phone":
		if m.Properties["phoneType"] == "mobile" {
			return []string{"Sms", "Voice"}, true
		}
		return []string{"Voice"}, true // an alternate or office phone is only called
	case "email":
		return []string{"Email"}, true
	case "fido2":
		return []string{"Fido2"}, true
	case "microsoftAuthenticator", "passwordlessMicrosoftAuthenticator":
		return []string{"MicrosoftAuthenticator"}, true
	case "softwareOath":
		return []string{"SoftwareOath"}, true
	case "hardwareOath":
		return []string{"HardwareOath"}, true
	case "qrCodePin":
		return []string{"QRCodePin"}, true
	case "external":
		id, _ := m.Properties["configurationId"].(string)
		return []string{id}, true
	case "windowsHelloForBusiness", "platformCredential":
		return nil, false
	}
	return nil, true // what nobody knows, nothing allows
}

// allowed reports whether the methods policy lets u use a registered method.
func (d *directory) allowed(u *User, m *Method) bool {
	ids, known := configurationsOf(m)
	for _, id := range ids {
		if d.allows(u, id) {
			return true
		}
	}
	return !known
}
