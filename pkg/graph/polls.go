package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/sweep"
)

// instant is a time as a filter writes it: to the microsecond, which Graph's own
// answers exceed only for sign-ins and detections. It is cut and never rounded up, so
// that "since" leaves nothing out.
func instant(t time.Time) string {
	return t.UTC().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.999999Z")
}

// advanced marks a query on directory objects that needs the index (Graph concepts,
// "Advanced query capabilities"), which lags by minutes.
func advanced(path, filter, selected string) query {
	return query{
		path:   versionOne + path,
		params: url.Values{"$filter": {filter}, "$select": {selected}, "$count": {"true"}, "$top": {"999"}},
		header: []string{"ConsistencyLevel", "eventual"},
	}
}

// DeletedUsers is one page of the users that were deleted since and can be restored.
func (c *Client) DeletedUsers(ctx context.Context, since time.Time, link string) (sweep.Page[sweep.Deleted], error) {
	q := advanced("/directory/deletedItems/microsoft.graph.user", "deletedDateTime ge "+instant(since), "id,deletedDateTime")
	return readList(ctx, c, listDeleted, q, link, deletedUser)
}

type wireDeleted struct {
	ID string     `json:"id"`
	At *time.Time `json:"deletedDateTime"`
}

func deletedUser(w wireDeleted) (d sweep.Deleted, keep, ok bool) {
	id, ok := objectID(w.ID)
	ok = ok && !moment(w.At).IsZero()
	return sweep.Deleted{ID: identity.UserID(id), At: moment(w.At)}, ok, ok
}

// allMembers asks for the members of enumerations that Graph added later, instead of
// unknownFutureValue (Graph concepts, "Best practices", evolvable enumerations).
var allMembers = []string{"Prefer", "include-unknown-enum-members"}

// RiskyUsers is one page of the users whose risk was updated since. A level or state
// that we do not know is told as the cautious one, hidden or at risk: whoever acts
// reads the risk again, and Risk refuses what it does not know.
func (c *Client) RiskyUsers(ctx context.Context, since time.Time, link string) (sweep.Page[sweep.RiskyUser], error) {
	return readList(ctx, c, listRisks, query{
		path:   versionOne + "/identityProtection/riskyUsers",
		params: url.Values{"$filter": {"riskLastUpdatedDateTime ge " + instant(since)}, "$top": {"500"}},
		header: allMembers,
	}, link, riskyUser)
}

type wireRiskyUser struct {
	ID         string             `json:"id"`
	Level      identity.RiskLevel `json:"riskLevel"`
	State      identity.RiskState `json:"riskState"`
	Detail     string             `json:"riskDetail"`
	UpdatedAt  *time.Time         `json:"riskLastUpdatedDateTime"`
	Deleted    *bool              `json:"isDeleted"`
	Processing *bool              `json:"isProcessing"`
}

func riskyUser(w wireRiskyUser) (r sweep.RiskyUser, keep, ok bool) {
	id, ok := objectID(w.ID)
	ok = ok && w.Level != "" && w.State != "" && w.UpdatedAt != nil
	return sweep.RiskyUser{
		ID: identity.UserID(id), Level: cautiousLevel(w.Level), State: cautiousState(w.State), Detail: w.Detail, UpdatedAt: moment(w.UpdatedAt),
		Deleted: flag(w.Deleted), Processing: flag(w.Processing),
	}, ok, ok
}

// Detections is one page of what was detected since. Unknown levels and states are
// told as RiskyUsers does.
func (c *Client) Detections(ctx context.Context, since time.Time, link string) (sweep.Page[sweep.Detection], error) {
	return readList(ctx, c, listDetections, query{
		path: versionOne + "/identityProtection/riskDetections",
		// 500 is the largest page, 20 the usual one (riskdetection-list).
		params: url.Values{"$filter": {"detectedDateTime ge " + instant(since)}, "$top": {"500"}},
		header: allMembers,
	}, link, detection)
}

type wireDetection struct {
	ID         string             `json:"id"`
	UserID     string             `json:"userId"`
	RequestID  string             `json:"requestId"`
	Kind       string             `json:"riskEventType"`
	Activity   string             `json:"activity"`
	Level      identity.RiskLevel `json:"riskLevel"`
	State      identity.RiskState `json:"riskState"`
	Detail     string             `json:"riskDetail"`
	DetectedAt *time.Time         `json:"detectedDateTime"`
	UpdatedAt  *time.Time         `json:"lastUpdatedDateTime"`
}

func detection(w wireDetection) (d sweep.Detection, keep, ok bool) {
	user, ok := somebody(w.UserID)
	ok = ok && w.ID != "" && w.Level != "" && w.State != "" && w.DetectedAt != nil
	return sweep.Detection{
		ID: w.ID, UserID: user, Kind: w.Kind, Activity: w.Activity, Level: cautiousLevel(w.Level), State: cautiousState(w.State), Detail: w.Detail,
		SignInID: w.RequestID, DetectedAt: moment(w.DetectedAt), UpdatedAt: latest(moment(w.DetectedAt), moment(w.UpdatedAt)),
	}, ok, ok
}

// cautiousLevel is l if it is known, and hidden otherwise: there is a risk, and its
// height is not told.
func cautiousLevel(l identity.RiskLevel) identity.RiskLevel {
	if !knownLevel(l) {
		return identity.RiskHidden
	}
	return l
}

// cautiousState is s if it is known, and at risk otherwise.
func cautiousState(s identity.RiskState) identity.RiskState {
	if !knownState(s) {
		return identity.RiskStateAtRisk
	}
	return s
}

// somebody is the user id of a report; sign-ins with a name that nobody has are those
// of no user.
func somebody(s string) (identity.UserID, bool) {
	if s == "" || s == "00000000-0000-0000-0000-000000000000" {
		return "", true
	}
	id, ok := objectID(s)
	return identity.UserID(id), ok
}

// FailedSignIns is one page of the interactive sign-ins that ended with the error code,
// newest first; v1.0 tells no others. The filter joins what is documented to work
// together: a code, and times by ge and le. A page holds up to 1000.
func (c *Client) FailedSignIns(ctx context.Context, code int, since, until time.Time, link string) (sweep.Page[sweep.SignIn], error) {
	filter := fmt.Sprintf("createdDateTime ge %s and createdDateTime le %s and status/errorCode eq %d", instant(since), instant(until), code)
	return readList(ctx, c, listSignIns, query{path: versionOne + "/auditLogs/signIns", params: url.Values{"$filter": {filter}}}, link,
		func(w wireSignIn) (s sweep.SignIn, keep, ok bool) {
			s, ok = signIn(w)
			return s, s.At.Before(until) && s.Code == code, ok
		})
}

type wireSignIn struct {
	ID     string     `json:"id"`
	UserID string     `json:"userId"`
	At     *time.Time `json:"createdDateTime"`
	App    string     `json:"appDisplayName"`
	Status *struct {
		Code    int    `json:"errorCode"`
		Reason  string `json:"failureReason"`
		Details string `json:"additionalDetails"`
	} `json:"status"`
}

func signIn(w wireSignIn) (sweep.SignIn, bool) {
	user, ok := somebody(w.UserID)
	if !ok || w.ID == "" || w.At == nil || w.Status == nil {
		return sweep.SignIn{}, false
	}
	return sweep.SignIn{ID: w.ID, UserID: user, At: moment(w.At), Code: w.Status.Code, Reason: w.Status.Reason, Details: w.Status.Details, App: w.App}, true
}

const hireFields = "id,employeeId,employeeHireDate,accountEnabled,createdDateTime,userType"

// Hires is one page of the members whose employeeHireDate is in [from, to). LeaveAt is
// not told: it needs a permission of its own.
func (c *Client) Hires(ctx context.Context, from, to time.Time, link string) (sweep.Page[sweep.Employment], error) {
	return c.employments(ctx, listHires, "employeeHireDate", hireFields, from, to, link,
		func(e sweep.Employment) time.Time { return e.HireDate })
}

// Leavers is one page of the members whose employeeLeaveDateTime is in [from, to).
func (c *Client) Leavers(ctx context.Context, from, to time.Time, link string) (sweep.Page[sweep.Employment], error) {
	return c.employments(ctx, listLeavers, "employeeLeaveDateTime", hireFields+",employeeLeaveDateTime", from, to, link,
		func(e sweep.Employment) time.Time { return e.LeaveAt })
}

// employments filters by ge and le, as neither property supports lt (Graph, "user
// resource type").
func (c *Client) employments(ctx context.Context, op operation, property, selected string, from, to time.Time, link string, date func(sweep.Employment) time.Time) (sweep.Page[sweep.Employment], error) {
	q := advanced("/users", fmt.Sprintf("%s ge %s and %s le %s", property, instant(from), property, instant(to)), selected)
	return readList(ctx, c, op, q, link, func(w wireEmployment) (e sweep.Employment, keep, ok bool) {
		e, ok = employment(w)
		return e, !strings.EqualFold(w.UserType, "Guest") && !date(e).Before(from) && date(e).Before(to), ok
	})
}

type wireEmployment struct {
	ID         string     `json:"id"`
	EmployeeID string     `json:"employeeId"`
	HireDate   *time.Time `json:"employeeHireDate"`
	LeaveAt    *time.Time `json:"employeeLeaveDateTime"`
	Enabled    *bool      `json:"accountEnabled"`
	CreatedAt  *time.Time `json:"createdDateTime"`
	UserType   string     `json:"userType"`
}

// employment translates a user. Null where Graph always has a value means that the app
// may not read it.
func employment(w wireEmployment) (sweep.Employment, bool) {
	id, ok := objectID(w.ID)
	if !ok || w.Enabled == nil {
		return sweep.Employment{}, false
	}
	return sweep.Employment{
		ID: identity.UserID(id), EmployeeID: w.EmployeeID, HireDate: moment(w.HireDate), LeaveAt: moment(w.LeaveAt), Enabled: *w.Enabled, CreatedAt: moment(w.CreatedAt),
	}, true
}

// Employment is that of one user. Without permission to read the day of leaving it is
// ErrForbidden, never an employment without end.
func (c *Client) Employment(ctx context.Context, id identity.UserID) (sweep.Employment, error) {
	guid, ok := objectID(string(id))
	if !ok {
		return sweep.Employment{}, readEmployment.refuse("user id is not a GUID")
	}
	q := query{path: versionOne + "/users/" + guid, params: url.Values{"$select": {hireFields + ",employeeLeaveDateTime"}}}
	body, err := call(ctx, c, readEmployment, func(ctx context.Context) ([]byte, error) {
		return c.raw(ctx, abstractions.GET, q.String(), nil)
	})
	if err != nil {
		return sweep.Employment{}, err
	}
	e, ok := parseEmployment(body)
	if !ok {
		return sweep.Employment{}, readEmployment.unreadable("an employment that cannot be read")
	}
	return e, nil
}

func parseEmployment(body []byte) (sweep.Employment, bool) {
	var w wireEmployment
	if json.Unmarshal(body, &w) != nil {
		return sweep.Employment{}, false
	}
	return employment(w)
}
