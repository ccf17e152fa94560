package graph

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
)

// MethodsAndDefault reads all methods, those that exist in beta only included, and the
// sign-in preferences, in one round trip and two requests. Preferences that cannot be
// read leave PreferenceKnown false; methods that cannot be read are an error.
func (c *Client) MethodsAndDefault(ctx context.Context, id identity.UserID) (identity.Registration, error) {
	root, err := authentication(readMethods, id)
	if err != nil {
		return identity.Registration{}, err
	}
	answers, err := c.batch(ctx, readMethods, versionBeta, []batchItem{
		{Method: http.MethodGet, URL: root + "/methods"},
		{Method: http.MethodGet, URL: root + "/signInPreferences"},
	})
	if err != nil {
		return identity.Registration{}, err
	}
	if err := answers[0].failure(readMethods); err != nil {
		return identity.Registration{}, err
	}
	methods, err := c.pages(ctx, answers[0].body)
	if err != nil {
		return identity.Registration{}, err
	}
	r := identity.Registration{Methods: methods}
	var preferences struct {
		SystemPreferred *bool   `json:"isSystemPreferredAuthenticationMethodEnabled"`
		Preferred       *string `json:"userPreferredMethodForSecondaryAuthentication"`
	}
	if answers[1].failure(readMethods) != nil || json.Unmarshal(answers[1].body, &preferences) != nil || preferences.SystemPreferred == nil {
		return r, nil
	}
	r.PreferenceKnown, r.SystemPreferred = true, *preferences.SystemPreferred
	if p := text(preferences.Preferred); p != "none" {
		r.Default = identity.Preference(p)
	}
	return r, nil
}

// AllMethods lists the person's methods as beta knows them, in one request: those of
// v1.0 and the types that exist in beta only.
func (c *Client) AllMethods(ctx context.Context, id identity.UserID) ([]identity.Method, error) {
	root, err := authentication(readMethods, id)
	if err != nil {
		return nil, err
	}
	first, err := call(ctx, c, readMethods, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, versionBeta+root+"/methods", nil)
	})
	if err != nil {
		return nil, err
	}
	return c.pages(ctx, first)
}

// pages reads a list of methods that begins with a page already here.
func (c *Client) pages(ctx context.Context, first []byte) ([]identity.Method, error) {
	var all []identity.Method
	body := first
	for range maxPages {
		methods, next, err := parseMethods(body)
		if err != nil {
			return nil, readMethods.unreadable(err.Error())
		}
		all = append(all, methods...)
		if next == "" {
			return all, nil
		}
		path, ok := strings.CutPrefix(next, c.origin)
		if !ok || !strings.HasPrefix(path, "/") {
			return nil, readMethods.unreadable("a next page at another host")
		}
		body, err = call(ctx, c, readMethods, func(ctx context.Context) ([]byte, error) {
			return c.raw(ctx, abstractions.GET, path, nil)
		})
		if err != nil {
			return nil, err
		}
	}
	return nil, readMethods.unreadable("a list without end")
}

// parseMethods reads one page of authentication methods. It does not use the SDK's
// models, which are those of v1.0 and drop the creation time of other types. Its
// errors say what is wrong and quote nothing.
func parseMethods(body []byte) (methods []identity.Method, next string, err error) {
	var page struct {
		Next  string `json:"@odata.nextLink"`
		Value []*struct {
			Type      string             `json:"@odata.type"`
			ID        string             `json:"id"`
			CreatedAt *time.Time         `json:"createdDateTime"`
			PhoneType identity.PhoneType `json:"phoneType"`
		} `json:"value"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, "", errors.New("a list that cannot be read")
	}
	if page.Value == nil {
		return nil, "", errors.New("a page without a list")
	}
	for _, m := range page.Value {
		if m == nil || m.ID == "" || kind(m.Type) == "" {
			return nil, "", errors.New("a method without id or type")
		}
		method := identity.Method{ID: m.ID, Kind: kind(m.Type), CreatedAt: moment(m.CreatedAt)}
		if method.Kind == identity.MethodPhone {
			method.Phone = m.PhoneType
		}
		methods = append(methods, method)
	}
	return methods, page.Next, nil
}

// SetDefaultMethod makes a registered method the default one, so that the default of
// before can be deleted while others stay. The directory may accept it and go on
// with its own choice (see identity.Registration). Beta only. Repeating it changes
// nothing.
func (c *Client) SetDefaultMethod(ctx context.Context, id identity.UserID, m identity.Method) error {
	root, err := authentication(setDefault, id)
	if err != nil {
		return err
	}
	preference := m.Preference()
	if preference == "" {
		return setDefault.refuse("a method of this kind cannot be the default")
	}
	_, err = call(ctx, c, setDefault, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.PATCH, versionBeta+root+"/signInPreferences",
			map[string]identity.Preference{"userPreferredMethodForSecondaryAuthentication": preference})
	})
	return err
}

// authentication is the path of a person's methods, below the version.
func authentication(op operation, id identity.UserID) (string, error) {
	guid, ok := objectID(string(id))
	if !ok {
		return "", op.refuse("user id is not a GUID")
	}
	return "/users/" + guid + "/authentication", nil
}
