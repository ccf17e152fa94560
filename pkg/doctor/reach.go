package doctor

import (
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/change"
)

func reachChecks() []Check {
	return []Check{
		{"clock", "Our clock and those of Graph and the broker agree", "Set the clock (NTP): tokens and webhook signatures are refused when it is minutes off", (*exam).clock},
		{"webhooks", "hr-events and risk-signals answer and know their sources", "See that the URL is that of the function's HTTP API, that it is deployed with these settings, and what its log says", (*exam).webhooks},
		{"notifications", "graph-notifications proves to Graph that it is ours", "MFAFLOW_NOTIFICATION_URL of tenant-sweep must lead to graph-notifications from the internet", (*exam).notifications},
		{"operations", "event-replay answers", "See that it is deployed and what its log says; MFAFLOW_OPERATIONS_URL or --url says where it is; what AWS refuses takes lambda:InvokeFunctionUrl and lambda:InvokeFunction, as infra/README.md says for operators", (*exam).operations},
		{"operator", "event-replay knows us as an operator", "Sign in with a role of MFAFLOW_OPERATOR_ROLES or MFAFLOW_NAMED_OPERATORS; on this machine, as the user who runs the stack", (*exam).operator},
		{"channels", "The hosts that flags and passes go to have an address", "Correct the URL of the channel", (*exam).channels},
	}
}

// The lane takes a minute of skew for nothing (pkg/lane), Entra five (tokens), Standard
// Webhooks five (signatures).
const (
	skewed     = time.Minute
	intolerant = 5 * time.Minute
)

func (e *exam) clock(f *finding) {
	if e.Web == nil || len(e.Clocks) == 0 {
		f.skip("nobody to ask for the time")
		return
	}
	for _, c := range e.Clocks {
		a, err := e.Web.Do(e.ctx, http.MethodGet, c.URL)
		if err != nil {
			f.skip("%s: %s", c.Name, plainly(err))
			continue
		}
		if a.Date.IsZero() {
			f.skip("%s does not tell the time", c.Name)
			continue
		}
		// A Date has whole seconds.
		off := a.Asked.Truncate(time.Second).Sub(a.Date).Abs()
		switch {
		case off >= intolerant:
			f.fail("%s is %s away from ours", c.Name, span(off))
		case off >= skewed:
			f.warn("%s is %s away from ours", c.Name, span(off))
		default:
			f.note("%s within %s", c.Name, span(max(off, time.Second)))
		}
	}
}

// webhooks delivers nothing: what it posts is empty and nobody signed it. The function that
// belongs there refuses that of every source that it knows, and has no path for a source
// that nobody has; another function has neither path, and another program says the same to
// both. A gateway that knows only POST would answer 404 to a GET, wherever it leads.
func (e *exam) webhooks(f *finding) {
	for _, name := range []string{"hr-events", "risk-signals"} {
		fn := e.function(name)
		switch {
		case fn == nil:
			continue
		case fn.URL == "" || e.Web == nil:
			f.skip("nobody says where %s is: --reach %s=URL", name, name)
			continue
		case len(fn.Posters) == 0:
			f.skip("no source posts to %s", name)
			continue
		}
		base := strings.TrimSuffix(fn.URL, "/") + map[string]string{"hr-events": "/hr/", "risk-signals": "/risk/"}[name]
		known := true
		for _, source := range fn.Posters {
			if known = e.refuses(f, name, source, base+source); !known {
				break // the others would say the same
			}
		}
		switch a, err := e.Web.Do(e.ctx, http.MethodPost, base+rand.Text()); {
		case !known:
		case err != nil:
			f.fail("%s: %s", name, plainly(err))
		case a.Status != http.StatusNotFound:
			f.fail("the URL of %s leads elsewhere: it answers %d to a source that there is not", name, a.Status)
		case !ours(a):
			f.fail("the URL of %s leads elsewhere: it answers %d, and not as our functions do", name, a.Status)
		default:
			f.note("%s knows %s", name, strings.Join(fn.Posters, ", "))
		}
	}
}

// refuses reports whether a function knows a source and takes nothing unsigned from it.
func (e *exam) refuses(f *finding, function, source, url string) bool {
	switch a, err := e.Web.Do(e.ctx, http.MethodPost, url); {
	case err != nil:
		f.fail("%s: %s", function, plainly(err))
	case a.Status == http.StatusNotFound:
		f.fail("the URL of %s answers 404 to %s: it leads elsewhere, or the deployed function has other sources", function, source)
	case a.Status < http.StatusMultipleChoices:
		f.fail("%s answers %d to %s, whatever is posted", function, a.Status, source)
	case a.Status < http.StatusBadRequest || a.Status >= http.StatusInternalServerError:
		f.fail("%s answers %d", function, a.Status)
	default:
		return true
	}
	return false
}

// ours reports whether an error is told as our functions tell it.
func ours(a Answer) bool { return strings.HasPrefix(a.ContentType, "application/problem+json") }

func (e *exam) notifications(f *finding) {
	sweeper := e.function("tenant-sweep")
	switch {
	case sweeper == nil:
		f.skip("no settings of tenant-sweep")
		return
	case sweeper.NotificationURL == "":
		f.skip("nothing is subscribed to: tenant-sweep has no MFAFLOW_NOTIFICATION_URL")
		return
	case e.Web == nil:
		f.skip("nobody to ask with")
		return
	}
	for _, path := range []string{change.NotificationPath, change.LifecyclePath} {
		token := "Validation: doctor " + rand.Text()
		a, err := e.Web.Do(e.ctx, http.MethodPost, sweeper.NotificationURL+path+"?validationToken="+url.QueryEscape(token))
		switch {
		case err != nil:
			f.fail("%s: %s", path, plainly(err))
		case a.Status != http.StatusOK || a.Body != token || !strings.HasPrefix(a.ContentType, "text/plain"):
			f.fail("%s answers %d and not with the token that it was given", path, a.Status)
		default:
			f.note("%s", path)
		}
	}
}

// known is who event-replay takes us for.
func (e *exam) known() (string, error) {
	return e.who.get("", func() (string, error) {
		by, err := e.Desk.WhoAmI(e.ctx)
		return string(by), err
	})
}

const noDesk = "no event-replay is named: MFAFLOW_OPERATIONS_URL or --url"

func (e *exam) operations(f *finding) {
	if e.Desk == nil {
		f.skip(noDesk)
		return
	}
	if _, err := e.known(); err != nil && !errors.Is(err, ErrNobody) {
		f.fail("%s", plainly(err))
		return
	}
	f.note("event-replay answers")
}

func (e *exam) operator(f *finding) {
	if e.Desk == nil {
		f.skip(noDesk)
		return
	}
	switch by, err := e.known(); {
	case errors.Is(err, ErrNobody):
		f.fail("%v", err)
	case err != nil:
		f.skip("event-replay does not answer")
	default:
		f.note("%s", by)
	}
}

func (e *exam) channels(f *finding) {
	n := 0
	for _, fn := range e.readable() {
		for _, channel := range slices.Sorted(maps.Keys(fn.Channels)) {
			if e.Web == nil {
				f.skip("nobody to ask with")
				return
			}
			host := fn.Channels[channel]
			if err := e.Web.Resolve(e.ctx, host); err != nil {
				f.fail("%s: %s has no address", channel, host)
				continue
			}
			n++
		}
	}
	switch {
	case n > 0:
		f.note("%s", plural(n, "host", "hosts"))
	case len(f.fails) == 0:
		f.skip("mail is the only channel")
	}
}
