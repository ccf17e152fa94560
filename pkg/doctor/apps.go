package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"mfaflow/pkg/identity"
)

func appChecks() []Check {
	return []Check{
		{"credentials", "Entra gives every app a token", "Correct MFAFLOW_TENANT_ID, MFAFLOW_CLIENT_ID or the proof of the app named; make a new secret or certificate if it has ended", (*exam).credentials},
		{"permissions", "Every app has the Graph permissions it needs", "Grant the application permissions named, with admin consent; a token has them within the hour", (*exam).permissions},
		{"excess-permissions", "No app has Graph permissions it does not need", "Remove the application permissions named from the app", (*exam).excessPermissions},
	}
}

// granted are the permissions in the token of a function's app.
func (e *exam) granted(f *Function) ([]string, error) {
	return e.roles.get(f.Name, func() ([]string, error) { return f.App.Permissions(e.ctx) })
}

func (e *exam) credentials(f *finding) {
	n := 0
	e.eachApp(f, func(fn *Function) {
		if _, err := e.granted(fn); err != nil {
			f.fail("%s: %s", fn.Name, plainly(err))
			return
		}
		n++
	})
	if n > 0 {
		f.note("%s", plural(n, "app", "apps"))
	}
}

// eachApp shows the functions whose apps can be asked for a token, side by side, and
// skips the others.
func (e *exam) eachApp(f *finding, see func(*Function)) {
	var asked []*Function
	for _, fn := range e.readable() {
		if fn.App == nil {
			if fn.Why != "" {
				f.skip("%s: %s", fn.Name, fn.Why)
			}
			continue
		}
		asked = append(asked, fn)
	}
	done := make(chan struct{})
	for _, fn := range asked {
		go func() {
			_, _ = e.granted(fn) // read once, judged below
			done <- struct{}{}
		}()
	}
	for range asked {
		<-done
	}
	for _, fn := range asked {
		see(fn)
	}
}

func (e *exam) permissions(f *finding) {
	e.eachGranted(f, missing, func(fn *Function, list []string) {
		f.fail("%s lacks %s", fn.Name, strings.Join(list, ", "))
	})
}

func (e *exam) excessPermissions(f *finding) {
	e.eachGranted(f, excess, func(fn *Function, list []string) {
		if len(needs(fn.Name)) == 0 && fn.Sender == "" {
			f.fail("%s, which needs none, has %s", fn.Name, strings.Join(list, ", "))
			return
		}
		f.warn("%s has %s", fn.Name, strings.Join(list, ", "))
	})
}

func (e *exam) eachGranted(f *finding, judge func(*Function, []string) []string, bad func(*Function, []string)) {
	n := 0
	e.eachApp(f, func(fn *Function) {
		granted, err := e.granted(fn)
		if err != nil {
			f.skip("%s: no token", fn.Name)
			return
		}
		n++
		if list := judge(fn, granted); len(list) > 0 {
			bad(fn, slices.Sorted(slices.Values(list)))
		}
	})
	if n > 0 {
		f.note("%s", plural(n, "app", "apps"))
	}
}

// reader is an app that may read what takes a permission, the worker's first: what it
// sees is what counts.
func (e *exam) reader(permission string) App {
	for _, name := range []string{"identity-worker", "event-replay", "tenant-sweep", "identity-router"} {
		f := e.function(name)
		if f == nil || f.App == nil {
			continue
		}
		if granted, err := e.granted(f); err == nil && slices.Contains(granted, permission) {
			return f.App
		}
	}
	return e.Reader // Graph knows what it may
}

// read reads of the tenant what takes a permission. Without anybody who may, it is
// skipped.
func read[T any](e *exam, f *finding, permission string, do func(context.Context, App) (T, error)) (got T, ok bool) {
	by := e.reader(permission)
	if by == nil {
		f.skip("no app whose token is to be had here has %s", permission)
		return got, false
	}
	got, err := do(e.ctx, by)
	if err != nil {
		f.skip("%s", plainly(err))
		return got, false
	}
	return got, true
}

// plainly is an error for people. A limit of time is that of the whole examination.
func plainly(err error) string {
	switch retry := (*identity.RetryError)(nil); {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &retry):
		return retry.Err.Error()
	default:
		return err.Error()
	}
}
