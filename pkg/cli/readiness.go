package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/awsrole"
	"mfaflow/pkg/azauth"
	"mfaflow/pkg/config"
	"mfaflow/pkg/files"
	"mfaflow/pkg/graph"
	"mfaflow/pkg/operateapi"
	"mfaflow/pkg/policy"
	"mfaflow/pkg/posture"
	"mfaflow/pkg/readiness"
)

// readinessFlags are those of the command.
type readinessFlags struct {
	date      string
	phase     int
	whatIf    []string
	html, csv string
	limit     int
	maxAge    time.Duration
}

func newReadiness(env []string) *cobra.Command {
	var o readinessFlags
	c := &cobra.Command{
		Use:   "readiness",
		Short: "Find out whom the enforcement of MFA will block, and why",
		Long: "Read the tenant, in bulk and within Microsoft's limits, and judge everybody: blocked, prompted to register, fine or out of scope.\n" +
			"Nothing is changed. A run that is ended goes on when the command is given again.\n\n" +
			"The tenant is that of the MFAFLOW_ settings of readiness-report in the environment; without them, of the stack on this machine.\n\n" +
			"--what-if shows the tenant after a change: security-defaults=on|off, enforce=POLICY, report-only=POLICY, disable=POLICY, remove=POLICY,\n" +
			"method:ID=on|off, campaign=run, per-user-mfa=STATE. POLICY is an id or a display name.",
		Example: "  mfaflow readiness\n  mfaflow readiness --html readiness.html --csv readiness.csv\n" +
			"  mfaflow readiness --what-if security-defaults=off --what-if 'enforce=Require MFA for everybody'",
		Args: checked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			question, changes, err := o.parse(time.Now().UTC())
			if err != nil {
				return &usageError{err}
			}
			return o.run(cmd, env, question, changes)
		},
	}
	f := c.Flags()
	f.StringVar(&o.date, "date", "", "day to judge, such as 2026-07-01; default: today")
	f.IntVar(&o.phase, "phase", 0, "phase of the enforcement up to which to judge, 1 or 2; default: MFAFLOW_READINESS_PHASE")
	f.StringArrayVar(&o.whatIf, "what-if", nil, "judge the tenant after this change (repeatable)")
	f.StringVar(&o.html, "html", "", "write the report as one page of HTML")
	f.StringVar(&o.csv, "csv", "", "write the report as CSV")
	f.IntVar(&o.limit, "limit", 20, "how many people to list at most; 0 lists all")
	f.DurationVar(&o.maxAge, "max-age", time.Hour, "take what was read no longer ago than this; 0 reads the tenant anew")
	complete(c, "what-if", func(context.Context) []string {
		return []string{"security-defaults=on", "security-defaults=off", "enforce=", "report-only=", "disable=", "remove=", "method:sms=off", "method:voice=off", "campaign=run", "per-user-mfa=disabled"}
	})
	return jsonFlag(c)
}

// parse reads what can be told without the tenant. A phase of 0 is left to the settings.
func (o readinessFlags) parse(now time.Time) (posture.Question, []posture.Change, error) {
	q := posture.Question{At: now, Phase: posture.Phase(o.phase)}
	if o.date != "" {
		at, err := time.Parse(time.DateOnly, o.date)
		if err != nil {
			return q, nil, errors.New("--date is not a day such as 2026-07-01")
		}
		q.At = at
	}
	if o.phase < 0 || o.phase > 2 {
		return q, nil, errors.New("--phase is neither 1 nor 2")
	}
	if o.limit < 0 {
		return q, nil, errors.New("--limit is negative")
	}
	if o.maxAge < 0 {
		return q, nil, errors.New("--max-age is negative")
	}
	var changes []posture.Change
	for _, text := range o.whatIf {
		change, err := posture.ParseChange(text)
		if err != nil {
			return q, nil, fmt.Errorf("--what-if: %w", err)
		}
		changes = append(changes, change)
	}
	return q, changes, nil
}

func (o readinessFlags) run(cmd *cobra.Command, env []string, q posture.Question, changes []posture.Change) error {
	ctx := cmd.Context()
	var cfg config.ReadinessTool
	transport, err := tenantSettings(env, "readiness-report", &cfg)
	if err != nil {
		return err
	}
	q.Phase = cmp.Or(q.Phase, cfg.Phase())
	tenant, pace, err := openTenant(cfg, transport)
	if err != nil {
		return err
	}
	defer tenant.Close()
	store, err := reportStore(cfg, env)
	if err != nil {
		return err
	}
	bar := newReading(cmd.ErrOrStderr(), widthOf(cmd.ErrOrStderr(), env))
	defer bar.end()
	snapshot, err := readiness.Gatherer{
		Tenant: tenant, Store: store, BreakGlass: cfg.BreakGlassAccounts, Window: cfg.SignInWindow, Reuse: o.maxAge, Pace: pace, Now: time.Now, Progress: bar.show,
	}.Snapshot(ctx)
	bar.end()
	if err != nil {
		if ctx.Err() != nil {
			return hint(err, "the same command again, which goes on with what was read")
		}
		return err
	}
	trend, err := readiness.Trend(ctx, store, readiness.TrendLength)
	if err != nil {
		return err
	}
	report, err := readiness.NewReport(snapshot, q, trend, changes...)
	switch {
	case errors.Is(err, posture.ErrDefaultsBesidePolicies):
		return hint(err, "--what-if disable=POLICY for each of them as well")
	case errors.Is(err, posture.ErrNoSuchPolicy):
		return hint(err, "an id or a display name as the Entra admin center shows it")
	case err != nil:
		return err
	}
	if len(changes) == 0 && o.date == "" {
		// As the function does, which takes a report of today for its own.
		if err := readiness.KeepSnapshot(ctx, store, snapshot); err != nil {
			return err
		}
		if err := readiness.Keep(ctx, store, report); err != nil {
			return err
		}
	}
	for name, write := range map[string]func(io.Writer) error{o.html: report.HTML, o.csv: report.CSV} {
		if name == "" {
			continue
		}
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			return err
		}
	}
	if wantsJSON(cmd) {
		return report.JSON(cmd.OutOrStdout())
	}
	printReadiness(cmd.OutOrStdout(), report, o.limit, widthOf(cmd.OutOrStdout(), env))
	return nil
}

// namesTenant reports whether the environment is about a tenant. One setting is enough: with
// the others forgotten, the stack on this machine is not what is meant.
func namesTenant(env []string) bool {
	return slices.ContainsFunc([]string{"MFAFLOW_TENANT_ID", "MFAFLOW_CLIENT_ID", "MFAFLOW_AUTHORITY_URL", "MFAFLOW_GRAPH_URL"}, func(name string) bool {
		value, _ := lookup(env, name)
		return value != ""
	})
}

// tenantSettings loads the settings from the environment, and without any those of the app
// in the stack on this machine, whose certificate the transport trusts then.
func tenantSettings(env []string, app string, cfg *config.ReadinessTool) (*http.Transport, error) {
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	if namesTenant(env) {
		return transport, config.Load(cfg)
	}
	place, err := operateapi.Find(announcement(env))
	if errors.Is(err, fs.ErrNotExist) || err == nil && place.Settings == "" {
		return nil, hint(errors.New("no tenant: MFAFLOW_TENANT_ID is not set, and no stack runs on this machine"),
			"mfaflow config readiness-report shows the settings; make run starts a stack on this machine")
	} else if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(place.Settings, app+".env"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch {
		case strings.HasPrefix(name, "MFAFLOW_"):
			if err := os.Setenv(name, value); err != nil { // which is what Load reads
				return nil, err
			}
		case name == "SSL_CERT_FILE":
			certificates, err := os.ReadFile(value)
			if err != nil {
				return nil, err
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(certificates) {
				return nil, fmt.Errorf("%s holds no certificate", value)
			}
			transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		}
	}
	return transport, config.Load(cfg)
}

// openTenant makes the client, and says how much time it leaves between two requests for
// reports.
func openTenant(cfg config.ReadinessTool, transport *http.Transport) (*graph.Client, time.Duration, error) {
	credential, err := azauth.New(azauth.Settings{
		TenantID: cfg.TenantID, ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret.Secret, ClientCertificate: cfg.ClientCertificate.Secret,
		AuthorityHost: cfg.AuthorityURL, DisableInstanceDiscovery: cfg.PrivateAuthority(), HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		return nil, 0, err
	}
	var budget graph.Budget
	if cfg.GraphBudget == config.BudgetDocumented {
		budget = graph.DocumentedBudget()
	}
	budget.Workers = cfg.GraphWorkers
	client, err := graph.New(graph.Options{Credential: credential, BaseURL: cfg.GraphURL, Budget: budget, Transport: transport})
	return client, budget.ReportPace(), err
}

// reportStore is the configured folder or bucket, or a folder of the user's for this tenant.
func reportStore(cfg config.ReadinessTool, env []string) (policy.Store, error) {
	bucket, prefix, ok := cfg.ReportsURL.Bucket()
	if !ok {
		return reportFolder(cfg, env)
	}
	role, err := awsrole.FromEnvironment(func(name string) string { value, _ := lookup(env, name); return value }, nil)
	if err != nil {
		return nil, hint(err, `eval "$(aws configure export-credentials --format env)" sets them`)
	}
	return role.Bucket(bucket, prefix), nil
}

// reportFolder is the configured folder, or one of the user's for this tenant.
func reportFolder(cfg config.ReadinessTool, env []string) (files.Folder, error) {
	if folder, ok := cfg.ReportsURL.Folder(); ok {
		return files.Folder(folder), nil
	}
	cache, _ := lookup(env, "XDG_CACHE_HOME")
	if home, ok := lookup(env, "HOME"); cache == "" && ok && home != "" {
		cache = filepath.Join(home, ".cache")
	}
	tenant := strings.ToLower(cfg.TenantID)
	if !filepath.IsAbs(cache) || !filepath.IsLocal(tenant) || strings.ContainsRune(tenant, filepath.Separator) {
		return "", errors.New("MFAFLOW_REPORTS_URL names no folder, and there is none of the user's to keep files in")
	}
	return files.Folder(filepath.Join(cache, "mfaflow", "readiness", tenant)), nil
}

// printReadiness writes the summary for people.
func printReadiness(out io.Writer, r readiness.Report, limit, width int) {
	fmt.Fprintf(out, "Readiness of %s for %s, enforcement up to phase %d, read %s\n", printable(cmp.Or(r.Tenant.DisplayName, r.Tenant.ID)),
		r.Question.At.Format(time.DateOnly), r.Question.Phase, stamp(r.TakenAt))
	meaning := map[posture.Verdict]string{
		posture.Blocked: "a sign-in fails and no prompt helps", posture.Prompted: "must register a method at the next sign-in",
		posture.Fine: "can answer with what is registered", posture.OutOfScope: "nothing asks for MFA",
	}
	header := []string{"VERDICT", "PEOPLE", "AT BEST", "MEANING"}
	if r.Before != nil {
		fmt.Fprintf(out, "What if: %s\n", printable(strings.Join(r.Changes, ", ")))
		header = []string{"VERDICT", "PEOPLE", "AT BEST", "NOW", "MEANING"}
	}
	fmt.Fprintln(out)
	t := table{header: header}
	for _, v := range posture.Verdicts() {
		row := []string{string(v), number(r.Summary.Verdicts[v]), number(r.Summary.AtBest[v])}
		if r.Before != nil {
			row = append(row, number(r.Before.Verdicts[v]))
		}
		t.add(append(row, meaning[v])...)
	}
	t.print(out, width)
	for _, m := range posture.Marks() {
		marked := r.Marked(m)
		if len(marked) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s: %s\n", m.Title(), number(len(marked)))
		for _, p := range first(marked, limit) {
			fmt.Fprintf(out, "  %s\n", printable(p.UserPrincipalName))
		}
		more(out, len(marked), limit)
		fmt.Fprintf(out, "  -> %s\n", m.NextStep())
	}
	if r.Before != nil {
		printShifts(out, r, limit, width)
	} else {
		printUnready(out, r, limit, width)
	}
	fmt.Fprintln(out)
	for _, n := range r.Notes {
		fmt.Fprintf(out, "Note: %s.\n", printable(n.Detail))
	}
}

func printUnready(out io.Writer, r readiness.Report, limit, width int) {
	for _, v := range []posture.Verdict{posture.Blocked, posture.Prompted} {
		n := r.Summary.Verdicts[v]
		if n == 0 {
			continue
		}
		fmt.Fprintln(out)
		t := table{header: []string{strings.ToUpper(string(v)), "AT BEST", "BECAUSE"}}
		for _, p := range r.People {
			if p.Verdict == v && (limit == 0 || len(t.rows) < limit) {
				t.add(p.UserPrincipalName, string(p.AtBest), because(r, p))
			}
		}
		t.print(out, width)
		more(out, n, limit)
	}
}

func printShifts(out io.Writer, r readiness.Report, limit, width int) {
	if len(r.Shifts) == 0 {
		fmt.Fprintln(out, "\nThe change makes no difference to anybody.")
		return
	}
	fmt.Fprintln(out)
	t := table{header: []string{"CHANGED", "FROM", "AT BEST", "TO", "AT BEST"}}
	for _, s := range first(r.Shifts, limit) {
		t.add(s.UserPrincipalName, string(s.From), string(s.FromAtBest), string(s.To), string(s.ToAtBest))
	}
	t.print(out, width)
	more(out, len(r.Shifts), limit)
}

// because are the reasons that led to the verdict, without those that only say who the
// person is.
func because(r readiness.Report, p readiness.Person) string {
	var list []string
	for _, x := range p.Reasons {
		switch x.Code {
		case posture.NoEnforcedSignIn, posture.HasMethods, posture.WritesOnly, posture.CanRegister, posture.Excluded:
		default:
			list = append(list, r.Sentence(x))
		}
	}
	return strings.Join(list, "; ")
}

func first[T any](list []T, limit int) []T {
	if limit > 0 && len(list) > limit {
		return list[:limit]
	}
	return list
}

func more(out io.Writer, n, limit int) {
	if limit > 0 && n > limit {
		fmt.Fprintf(out, "  ... and %s more (--limit 0 lists all)\n", number(n-limit))
	}
}

// number separates thousands.
func number(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// reading is a line on a terminal that says how far a run has come; elsewhere it is
// silent.
type reading struct {
	out   io.Writer
	shows bool
	began time.Time
	width int
	drawn bool
}

// usualWidth is that of a terminal that does not tell.
const usualWidth = 120

func newReading(out io.Writer, width int) *reading {
	return &reading{out: out, shows: isTerminal(out), began: time.Now(), width: width}
}

func (r *reading) show(p readiness.Progress) {
	if r.shows {
		fmt.Fprintf(r.out, "\r%s\x1b[K", cut(readingLine(p, time.Since(r.began)), max(cmp.Or(r.width, usualWidth), barWidth)-1))
		r.drawn = true
	}
}

// readingLine is how far a run has come, by the time that it has taken and will take.
func readingLine(p readiness.Progress, took time.Duration) string {
	share := float64(p.Done) / float64(max(1, p.Steps))
	if p.Left > 0 {
		share = float64(took) / float64(took+p.Left)
	}
	filled := int(share * barWidth)
	line := fmt.Sprintf("[%s%s] %.0f %%  %s people, %s calls", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), 100*share, number(p.People), number(p.Calls))
	if p.Resumed > 0 {
		line += fmt.Sprintf(", %s pages from before", number(p.Resumed))
	}
	if p.Left > 0 {
		line += fmt.Sprintf("  about %s left", p.Left.Round(time.Second))
	}
	return line + "  " + p.Step
}

func (r *reading) end() {
	if r.drawn {
		fmt.Fprint(r.out, "\r\x1b[K")
		r.drawn = false
	}
}
