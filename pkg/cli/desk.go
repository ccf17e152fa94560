package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/awssign"
	"mfaflow/pkg/config"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
)

// desk is the operations that a command works with, and where it prints.
type desk struct {
	operate.Operations
	whoAmI        func(context.Context) (operate.Operator, error)
	out, problems io.Writer
	json          bool
	width         int
}

// target are the flags that say which event-replay is meant.
type target struct{ url, region, tokenFile string }

func (t *target) flags(c *cobra.Command) {
	c.Flags().StringVar(&t.url, "url", "", "URL of event-replay; default: "+config.OperationsURL+", or the stack that runs on this machine")
	c.Flags().StringVar(&t.region, "region", "", "AWS region, if the URL is a domain of your own")
	c.Flags().StringVar(&t.tokenFile, "token-file", "", "token of a stack on this machine that was not found by itself")
}

// operating adds a command's flags for reaching event-replay, and runs do with it. With
// --watch it runs again and again, until Ctrl-C.
func operating(env []string, c *cobra.Command, watch bool, do func(ctx context.Context, d *desk, args []string) error) *cobra.Command {
	var (
		t     target
		every string
	)
	t.flags(c)
	if watch {
		c.Flags().StringVar(&every, "watch", "", "show it again every so often, until Ctrl-C")
		c.Flags().Lookup("watch").NoOptDefVal = "2s"
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		d, closing, err := t.open(cmd, env)
		if err != nil {
			return err
		}
		defer closing()
		if every == "" {
			return advise(do(cmd.Context(), d, args))
		}
		pause, err := time.ParseDuration(every)
		if err != nil || pause < 100*time.Millisecond {
			return &usageError{errors.New("--watch is not a duration such as 2s")}
		}
		return advise(d.watch(cmd.Context(), pause, func(ctx context.Context) error { return do(ctx, d, args) }))
	}
	return jsonFlag(c)
}

// watch repeats until ctx ends, which is no error.
func (d *desk) watch(ctx context.Context, pause time.Duration, show func(context.Context) error) error {
	for tick := time.NewTicker(pause); ; {
		if isTerminal(d.out) {
			fmt.Fprint(d.out, "\x1b[H\x1b[2J") // home, erase the screen
		}
		if err := show(ctx); err != nil && ctx.Err() == nil {
			tick.Stop()
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return nil
		}
	}
}

// open finds event-replay and proves who asks: with the token of a stack on this machine,
// or with the caller's AWS credentials.
func (t target) open(cmd *cobra.Command, env []string) (*desk, func(), error) {
	base := t.url
	if base == "" {
		base, _ = lookup(env, config.OperationsURL)
	}
	tokenFile := t.tokenFile
	if base == "" {
		local, err := operateapi.Find(announcement(env))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, hint(errors.New("no stack runs on this machine, and no other event-replay is named"),
				"set %s or --url to its function URL, or start a stack with make run", config.OperationsURL)
		} else if err != nil {
			return nil, nil, err
		}
		base, tokenFile = local.URL, local.TokenFile
	}
	connections := &http.Transport{Proxy: http.ProxyFromEnvironment}
	var transport http.RoundTripper
	switch u, err := url.Parse(base); {
	case err == nil && u.Scheme == "https":
		if transport, err = awssign.Lambda(cmd.Context(), t.region, connections); err != nil {
			return nil, nil, advise(err)
		}
	case tokenFile == "":
		return nil, nil, &usageError{errors.New("a URL that is not https is of a stack on this machine: --token-file is missing")}
	default:
		token, err := operateapi.ReadToken(tokenFile)
		if err != nil {
			return nil, nil, hint(err, "is the stack still running? make run starts one")
		}
		transport = operateapi.Bearer(token, connections)
	}
	client, err := operateapi.New(base, transport)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	d := &desk{Operations: client, whoAmI: client.WhoAmI, out: cmd.OutOrStdout(), problems: cmd.ErrOrStderr(), json: wantsJSON(cmd)}
	d.width = widthOf(d.out, env)
	return d, connections.CloseIdleConnections, nil
}

// widthOf is how many columns a terminal has; 0 for what is none.
func widthOf(out any, env []string) int {
	if columns, ok := lookup(env, "COLUMNS"); ok {
		if n, err := strconv.Atoi(columns); err == nil {
			return n
		}
	}
	return terminalWidth(out)
}

// regionOf is the region of a function URL: the one that was named, or the one in the URL.
func (t target) regionOf(operations string) string {
	if t.region != "" {
		return t.region
	}
	u, err := url.Parse(operations)
	if err != nil {
		return ""
	}
	return awssign.RegionOf(u.Hostname())
}

// announcement is the file that says where the user's stack is.
func announcement(env []string) string {
	if dir, ok := lookup(env, "XDG_RUNTIME_DIR"); ok && dir != "" {
		return filepath.Join(dir, "mfaflow", "operations.json")
	}
	dir, ok := lookup(env, "TMPDIR")
	if !ok || dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, fmt.Sprintf("mfaflow-operations-%d", os.Getuid()), "operations.json")
}

// advise adds the next step to what goes wrong on the way to event-replay and there.
func advise(err error) error {
	for _, known := range []struct {
		err error
		try string
	}{
		{awssign.ErrNoCredentials, "aws sso login, or choose the profile with AWS_PROFILE"},
		{awssign.ErrNoRegion, "--region, or set AWS_REGION"},
		{operateapi.ErrNobody, "sign in with a role of operators; on this machine, as the user who runs the stack"},
		{operateapi.ErrDenied, "sign in again with a role of operators, whose policy allows the function URL (infra/README.md, Operators), or check " + config.OperationsURL + " or --url"},
		{operateapi.ErrUnreachable, "check " + config.OperationsURL + " or --url; make run starts a stack on this machine"},
		{operate.ErrStale, "mfaflow dead plan again, and read what has changed"},
		{operate.ErrNotFound, "mfaflow dead list, mfaflow quarantine list or mfaflow flag list shows what there is"},
	} {
		if errors.Is(err, known.err) && !errors.As(err, new(*hintedError)) {
			return hint(err, "%s", known.try)
		}
	}
	return err
}

// everything hands the items of a list to each, page by page, until there are limit; 0
// takes all. more says that there may be more.
func everything[T any](limit int, page func(cursor string, limit int) (operate.Page[T], error)) (items []T, more bool, err error) {
	const most = 500 // of one page
	for cursor := ""; ; {
		want := most
		if limit > 0 {
			want = min(most, limit-len(items))
		}
		p, err := page(cursor, want)
		if err != nil {
			return items, true, err
		}
		items = append(items, p.Items...)
		cursor = p.Next
		if cursor == "" {
			return items, false, nil
		}
		if limit > 0 && len(items) >= limit {
			return items, true, nil
		}
	}
}

// moment reads a time, or how long ago it was.
func moment(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	return time.Time{}, &usageError{fmt.Errorf("--%s is neither a time such as 2026-11-23T08:00:00Z nor a duration such as 24h", flag)}
}

// needReason is why operators change something; it goes into the audit trail.
func needReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return &usageError{errors.New("--reason says why, for the audit trail, and is missing")}
	}
	return nil
}

// outcomes prints what became of each and fails when something is not as it should be.
func (d *desk) outcomes(list []operate.Outcome) error {
	if d.json {
		if err := printJSON(d.out, list); err != nil {
			return err
		}
	} else {
		t := table{header: []string{"ENTRY", "KEY", "OUTCOME", "DETAIL"}}
		for _, o := range list {
			t.add(name(o.ID), o.Key, o.Outcome, o.Detail)
		}
		t.print(d.out, d.width)
	}
	return undone(list)
}

func undone(list []operate.Outcome) error {
	bad, stale := 0, false
	for _, o := range list {
		switch o.Outcome {
		case "replayed", "discarded", "resolved", "sent", "gone":
		default:
			bad++
			stale = stale || o.Outcome == "stale"
		}
	}
	if bad == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d were not done", bad, len(list))
	if stale {
		return hint(err, "mfaflow dead plan again: the stale ones would now do something else")
	}
	return err
}

// name is how an entry is written on the command line.
func name(id operate.ID) string {
	if id.Place == "" {
		return strconv.FormatInt(id.Sequence, 10)
	}
	return string(id.Place) + "/" + strconv.FormatInt(id.Sequence, 10)
}
