package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mfaflow/pkg/identity"
)

// Date is a calendar date as HR means it: no time of day, no zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ErrBadDate: not a date of the form 2006-01-02.
var ErrBadDate = errors.New("not a calendar date (YYYY-MM-DD)")

// ParseDate reads YYYY-MM-DD and refuses dates that do not exist.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, ErrBadDate
	}
	return Date{t.Year(), t.Month(), t.Day()}, nil
}

// IsZero reports whether the date is unset.
func (d Date) IsZero() bool { return d == Date{} }

func (d Date) String() string {
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)
}

// At is the instant of a local time of day on the date. A time that daylight
// saving skips moves forward, as time.Date does.
func (d Date) At(hour, minute int, zone *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, hour, minute, 0, 0, zone)
}

// MarshalText renders YYYY-MM-DD.
func (d Date) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads YYYY-MM-DD.
func (d *Date) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDate(string(b))
	return err
}

// Employment is the data of the employee.* statements. Which fields a type
// requires is in its schema (events/schemas).
type Employment struct {
	Person identity.Reference `json:"person"`
	// StartDate and LastDay are local dates in TimeZone.
	StartDate Date `json:"startDate,omitzero"`
	LastDay   Date `json:"lastDay,omitzero"`
	// TimeZone is an IANA name.
	TimeZone string `json:"timeZone,omitempty"`
	// Immediate shuts a leaver out at once, whatever LastDay says.
	Immediate bool `json:"immediate,omitempty"`
	// Cancels names what an employee.cancelled event withdraws: "joiner" or "leaver".
	Cancels string `json:"cancels,omitempty"`
}

// ErrBadData: the data of the event does not fit its type.
var ErrBadData = errors.New("event data does not fit its type")

// Employment decodes the data of an employee.* statement.
func (e Event) Employment() (Employment, error) {
	if !e.Type.IsStatement() {
		return Employment{}, fmt.Errorf("%w: %s is no employment statement", ErrBadData, e.Type)
	}
	var d Employment
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return Employment{}, fmt.Errorf("%w: %s", ErrBadData, e.Type)
	}
	return d, nil
}

// Person decodes who the event is about; every type carries data.person.
func (e Event) Person() (identity.Reference, error) {
	var d struct {
		Person identity.Reference `json:"person"`
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return identity.Reference{}, fmt.Errorf("%w: person", ErrBadData)
	}
	return d.Person, nil
}
