package graph

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Class groups operations that share a documented throttling budget and an error style.
type Class int

// The classes of Graph's page on throttling limits. Whether authentication methods of a
// user count as "authenticationMethod" of the reports class is unverified; the simulator
// takes the cautious reading.
const (
	ClassDirectory     Class = iota + 1 // users, groups, roles: resource units and writes
	ClassPolicy                         // policies: resource units and writes
	ClassMethods                        // authentication methods and reports
	ClassProtection                     // identity protection and Conditional Access
	ClassMail                           // Outlook; its limits are out of reach here
	ClassSubscriptions                  // change notifications
	ClassReports                        // logs; on one budget with ClassMethods
)

// String is the name used in logs and in the control API.
func (c Class) String() string {
	switch c {
	case ClassDirectory:
		return "directory"
	case ClassPolicy:
		return "policy"
	case ClassMethods:
		return "methods"
	case ClassProtection:
		return "protection"
	case ClassMail:
		return "mail"
	case ClassSubscriptions:
		return "subscriptions"
	case ClassReports:
		return "reports"
	}
	return fmt.Sprintf("Class(%d)", int(c))
}

// denied is the 403 that the service behind the class gives.
func (c Class) denied() *apiError {
	switch c {
	case ClassMethods: // observed: msgraph-sdk-powershell#2602
		return &apiError{status: http.StatusForbidden, code: "accessDenied", message: "Request Authorization failed", inner: true}
	case ClassPolicy, ClassProtection:
		return &apiError{status: http.StatusForbidden, code: "AccessDenied", message: "You cannot perform the requested operation, required scopes are missing in the token."}
	case ClassMail:
		return &apiError{status: http.StatusForbidden, code: "ErrorAccessDenied", message: "Access is denied. Check credentials and try again."}
	case ClassReports:
		return &apiError{status: http.StatusForbidden, code: "Authentication_MSGraphPermissionMissing",
			message: "Calling principal does not have required MSGraph permissions AuditLog.Read.All"}
	case ClassSubscriptions:
		return errExtension(http.StatusForbidden, "Operation: Read; Exception: [Status Code: Forbidden; Reason: The application lacks a permission that the resource needs.]")
	case ClassDirectory:
	}
	return errDenied()
}

// Throttle configures the limits. The zero value switches them off.
type Throttle struct {
	// Factor scales the documented budgets: 1 is as documented, 200 allows 100 method
	// calls a second. 0 switches throttling off.
	Factor float64 `json:"factor"`
	// NoRetryAfter leaves Retry-After out of every 429; identity protection never sends it.
	NoRetryAfter bool `json:"noRetryAfter"`
	// CountRejected lets refused calls use up budget too, so that a client that does not
	// wait stays throttled.
	CountRejected bool `json:"countRejected"`
}

// limit is one budget: amount per window, for one key of callers.
type limit struct {
	name       string
	amount     float64
	window     time.Duration
	perTenant  bool // all apps share it
	retryAfter bool
}

// limits are the budgets a call of class c draws on, with what it costs.
// Source: learn.microsoft.com/graph/throttling-limits.
func limits(rt *route, r *request, users int) []charge {
	cost := 1
	if rt.cost != nil {
		cost = rt.cost(r)
	}
	switch rt.class {
	case ClassMethods, ClassReports:
		return []charge{{limit{name: "authenticationMethod", amount: 5, window: 10 * time.Second, retryAfter: true}, 1}}
	case ClassProtection:
		return []charge{{limit{name: "identityProtection", amount: 1, window: time.Second, perTenant: true}, 1}}
	case ClassDirectory, ClassPolicy:
		units := 8000.0
		switch {
		case users < 50:
			units = 3500
		case users <= 500:
			units = 5000
		}
		charges := []charge{{limit{name: "ResourceUnitLimitExceeded", amount: units, window: 10 * time.Second, retryAfter: true}, float64(cost)}}
		if r.method != http.MethodGet {
			charges = append(charges, charge{limit{name: "WriteLimitExceeded", amount: 3000, window: 150 * time.Second, retryAfter: true}, 1})
		}
		return charges
	case ClassSubscriptions:
		l := limit{name: "subscriptions", amount: 500, window: 20 * time.Second, retryAfter: true}
		switch {
		case r.method == http.MethodGet && len(r.path) == 1:
			l.name, l.amount = "subscriptions/list", 25
		case r.method == http.MethodGet:
			l.name = "subscriptions/get"
		case len(r.path) == 3:
			l.name, l.amount = "subscriptions/reauthorize", 1000
		}
		return []charge{{l, 1}}
	case ClassMail:
	}
	return nil
}

type charge struct {
	limit limit
	cost  float64
}

// throttle keeps the use of each budget in a sliding window. The server's lock guards it.
type throttle struct {
	config Throttle
	used   map[string]*window
}

// window is what was spent in the last stretch of time, oldest first.
type window struct {
	spent []expense
	sum   float64
}

type expense struct {
	at   time.Time
	cost float64
}

func (w *window) forget(before time.Time) {
	n := 0
	for n < len(w.spent) && !w.spent[n].at.After(before) {
		w.sum -= w.spent[n].cost
		n++
	}
	w.spent = w.spent[n:]
	if len(w.spent) == 0 {
		w.spent, w.sum = nil, 0
	}
}

func (w *window) spend(at time.Time, cost float64) {
	w.spent = append(w.spent, expense{at, cost})
	w.sum += cost
}

// wait is how long until cost fits under amount.
func (w *window) wait(now time.Time, window time.Duration, cost, amount float64) time.Duration {
	sum := w.sum
	for _, e := range w.spent {
		sum -= e.cost
		if sum+cost <= amount {
			return e.at.Add(window).Sub(now)
		}
	}
	return window
}

// admit spends the cost of a call, or refuses it with 429. The first limit reached wins.
// The header reports the cost, and the use above 80 %.
func (t *throttle) admit(r *request, rt *route, users int) (http.Header, error) {
	header := make(http.Header)
	if rt.class == ClassDirectory || rt.class == ClassPolicy {
		cost := 1
		if rt.cost != nil {
			cost = rt.cost(r)
		}
		header.Set("x-ms-resource-unit", strconv.Itoa(cost))
	}
	if t.config.Factor <= 0 {
		return header, nil
	}
	charges := limits(rt, r, users)
	windows := make([]*window, len(charges))
	for i, c := range charges {
		key := c.limit.name
		if !c.limit.perTenant {
			key += "/" + r.caller.clientID
		}
		w := t.used[key]
		if w == nil {
			w = new(window)
			t.used[key] = w
		}
		windows[i] = w
		w.forget(r.now.Add(-c.limit.window))
		amount := c.limit.amount * t.config.Factor
		if w.sum+c.cost > amount {
			if t.config.CountRejected {
				w.spend(r.now, c.cost)
			}
			return nil, t.refusal(r, c, w.wait(r.now, c.limit.window, c.cost, amount))
		}
	}
	for i, c := range charges {
		windows[i].spend(r.now, c.cost)
		if share := windows[i].sum / (c.limit.amount * t.config.Factor); share > 0.8 && (rt.class == ClassDirectory || rt.class == ClassPolicy) {
			header.Set("x-ms-throttle-limit-percentage", strconv.FormatFloat(math.Round(share*100)/100, 'f', -1, 64))
		}
	}
	return header, nil
}

func (t *throttle) refusal(r *request, c charge, wait time.Duration) error {
	e := &apiError{status: http.StatusTooManyRequests, code: "TooManyRequests", message: "Too many requests.", header: make(http.Header)}
	if c.limit.retryAfter && !t.config.NoRetryAfter {
		e.header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	}
	access := "Read"
	if r.method != http.MethodGet {
		access = "ReadWrite"
	}
	scope := "Tenant_Application/" + access + "/" + r.caller.clientID
	if c.limit.perTenant {
		scope = "Tenant/" + access
	}
	e.header.Set("x-ms-throttle-scope", scope)
	if c.limit.name == "ResourceUnitLimitExceeded" || c.limit.name == "WriteLimitExceeded" {
		e.header.Set("x-ms-throttle-information", c.limit.name)
	}
	return e
}
