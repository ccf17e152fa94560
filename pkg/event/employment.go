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

// Move is the data of employee.mover. Settings decide what a role or a department
// asks for; without a setting the event changes nothing.
type Move struct {
	Person identity.Reference `json:"person"`
	// Role and Department are HR's names for where the person goes.
	Role       string `json:"role,omitempty"`
	Department string `json:"department,omitempty"`
	// EffectiveDate is a local date in TimeZone; zero means at once.
	EffectiveDate Date   `json:"effectiveDate,omitzero"`
	TimeZone      string `json:"timeZone,omitempty"`
}

// RecordRef is the data of employee.ref: whose record to read in the HR system.
type RecordRef struct {
	Person identity.Reference `json:"person"`
	// Company is the HR system's id of its customer, when it serves several.
	Company string `json:"company,omitempty"`
	// Change is the sender's own word for what happened. The record decides, this
	// is for people who read the trail.
	Change string `json:"change,omitempty"`
}

// ErrBadTimeZone: not an IANA time zone name.
var ErrBadTimeZone = errors.New("not an IANA time zone")

// ErrBadData: the data of the event does not fit its type.
var ErrBadData = errors.New("event data does not fit its type")

// Employment decodes the data of an employee.* statement.
func (e Event) Employment() (Employment, error) {
	if !e.Type.IsStatement() {
		return Employment{}, fmt.Errorf("%w: %s is no employment statement", ErrBadData, e.Type)
	}
	return decodeData[Employment](e)
}

// Move decodes the data of employee.mover.
func (e Event) Move() (Move, error) {
	if e.Type != Mover {
		return Move{}, fmt.Errorf("%w: %s is no move", ErrBadData, e.Type)
	}
	return decodeData[Move](e)
}

// RecordRef decodes the data of employee.ref.
func (e Event) RecordRef() (RecordRef, error) {
	if e.Type != Ref {
		return RecordRef{}, fmt.Errorf("%w: %s is no reference", ErrBadData, e.Type)
	}
	return decodeData[RecordRef](e)
}

// Person decodes who the event is about; every type carries data.person but those about the
// tenant, which are about nobody.
func (e Event) Person() (identity.Reference, error) {
	var d struct {
		Person identity.Reference `json:"person"`
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return identity.Reference{}, fmt.Errorf("%w: person", ErrBadData)
	}
	return d.Person, nil
}
