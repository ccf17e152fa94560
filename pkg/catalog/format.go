package catalog

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"mfaflow/pkg/event"
)

// errFormat is all that a check needs to say: the description of the field says
// what would be right.
var errFormat = errors.New("not in the format")

// formats make the schemas accept what package event can read, no more and no
// less.
func formats() map[string]func(string) error {
	return map[string]func(string) error{
		"date": func(s string) error {
			_, err := event.ParseDate(s)
			return err
		},
		"date-time": func(s string) error {
			return new(time.Time).UnmarshalText([]byte(s))
		},
		"iana-time-zone": timeZones(),
		"uri-reference":  uriReference,
		"uuid":           uuid,
	}
}

// timeZones keeps the good names, since loading a zone reads files. There are a
// few hundred of them.
func timeZones() func(string) error {
	var known sync.Map
	return func(s string) error {
		if _, ok := known.Load(s); ok {
			return nil
		}
		if _, err := event.ParseTimeZone(s); err != nil {
			return err
		}
		known.Store(s, nil)
		return nil
	}
}

// uriReference follows RFC 3986, as far as package net/url does.
func uriReference(s string) error {
	u, err := url.Parse(s)
	if err != nil || strings.Contains(s, `\`) {
		return errFormat // the cause quotes the value
	}
	if host := u.Hostname(); strings.Contains(host, ":") {
		if a, err := netip.ParseAddr(host); err != nil || a.Zone() != "" || !strings.HasPrefix(u.Host, "[") {
			return errFormat
		}
	}
	return nil
}

// uuid follows RFC 9562 in its text form, in upper and lower case.
func uuid(s string) error {
	for i, c := range []byte(s) {
		switch hyphen := i == 8 || i == 13 || i == 18 || i == 23; {
		case hyphen && c == '-':
		case !hyphen && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'):
		default:
			return errFormat
		}
	}
	if len(s) != len("00000000-0000-0000-0000-000000000000") {
		return errFormat
	}
	return nil
}
