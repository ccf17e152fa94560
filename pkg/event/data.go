package event

import (
	"encoding/json"
	"fmt"
	"time"

	// A function has no zone files of its own; the same names must be known there.
	_ "time/tzdata"
)

// ParseTimeZone finds an IANA zone by its name. It refuses what only this machine
// understands: the empty name, "Local", and files outside the zone areas.
func ParseTimeZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" || name[0] < 'A' || name[0] > 'Z' {
		return nil, ErrBadTimeZone
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, ErrBadTimeZone
	}
	return zone, nil
}

// decodeData reads the data of an event whose type the caller has checked. The
// error does not quote the data.
func decodeData[T any](e Event) (T, error) {
	var d T
	if err := json.Unmarshal(e.Data, &d); err != nil {
		var none T
		return none, fmt.Errorf("%w: %s", ErrBadData, e.Type)
	}
	return d, nil
}

// setEnum reads one of the known values and refuses every other.
func setEnum[T ~string](to *T, text []byte, known ...T) error {
	for _, v := range known {
		if string(v) == string(text) {
			*to = v
			return nil
		}
	}
	return ErrBadData
}
