package identity_test

import (
	"context"
	"testing"

	"mfaflow/pkg/identity"
)

var (
	app       = identity.Method{ID: "a", Kind: identity.MethodAuthenticator}
	token     = identity.Method{ID: "t", Kind: identity.MethodSoftwareOATH}
	mobile    = identity.Method{ID: "m", Kind: identity.MethodPhone, Phone: identity.PhoneMobile}
	alternate = identity.Method{ID: "n", Kind: identity.MethodPhone, Phone: identity.PhoneAlternateMobile}
	office    = identity.Method{ID: "o", Kind: identity.MethodPhone, Phone: identity.PhoneOffice}
	key       = identity.Method{ID: "k", Kind: identity.MethodFIDO2}
	password  = identity.Method{ID: "p", Kind: identity.MethodPassword}
	strange   = identity.Method{ID: "s", Kind: "retinaScan"}
)

func TestLikelyDefault(t *testing.T) {
	all := []identity.Method{password, key, office, alternate, mobile, token, app, strange}
	for name, c := range map[string]struct {
		registration identity.Registration
		want         string // id; empty for none
	}{
		"by preference":               {identity.Registration{Methods: all, PreferenceKnown: true, Default: identity.PreferVoiceOffice}, "o"},
		"the preferred is not there":  {identity.Registration{Methods: []identity.Method{mobile, office}, PreferenceKnown: true, Default: identity.PreferPush}, "m"},
		"codes come from the app too": {identity.Registration{Methods: []identity.Method{app, mobile}, PreferenceKnown: true, Default: identity.PreferOATH}, "a"},
		"preference not known":        {identity.Registration{Methods: all, Default: identity.PreferVoiceOffice}, "a"},
		"no preference":               {identity.Registration{Methods: all, PreferenceKnown: true, SystemPreferred: true}, "a"},
		"a preference of tomorrow":    {identity.Registration{Methods: []identity.Method{token, mobile}, PreferenceKnown: true, Default: "retina"}, "t"},
		"nothing that can be":         {identity.Registration{Methods: []identity.Method{password, key, strange}}, ""},
		"a phone of unknown type":     {identity.Registration{Methods: []identity.Method{{ID: "x", Kind: identity.MethodPhone, Phone: "satellite"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, ok := c.registration.LikelyDefault()
			if m.ID != c.want || ok != (c.want != "") {
				t.Errorf("got %+v, %v", m, ok)
			}
		})
	}
}

// Making a method the default means that the preference then names it.
func TestPreferenceNamesItsMethod(t *testing.T) {
	for _, m := range []identity.Method{app, token, mobile, alternate, office, {Kind: identity.MethodHardwareOATH}, {Kind: identity.MethodPasswordlessAuthenticator}} {
		if p := m.Preference(); p == "" || !p.Names(m) {
			t.Errorf("%+v has preference %q", m, p)
		}
	}
	for _, m := range []identity.Method{key, password, strange, {}} {
		if p := m.Preference(); p != "" {
			t.Errorf("%+v has preference %q", m, p)
		}
	}
	if identity.Preference("").Names(identity.Method{}) || identity.PreferSMS.Names(alternate) {
		t.Error("a preference names a method that does not serve it")
	}
}

func TestUrgent(t *testing.T) {
	if identity.IsUrgent(context.Background()) || !identity.IsUrgent(identity.Urgent(context.Background())) {
		t.Error("urgency is not carried")
	}
}
