package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/config"
	"mfaflow/pkg/doctor"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/operateapi"
)

func newDoctor(env []string) *cobra.Command {
	var (
		t       target
		p       place
		timeout time.Duration
	)
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check a deployment: what is not as it should be, and what to do about it",
		Long: "Look at the settings of the functions, their apps and permissions, the queues, the tenant's policies, what can be reached and\n" +
			"what lies there for an operator. Nothing is changed, no message is taken and no secret is shown. It fails when a check fails.\n\n" +
			"Settings come from --settings, a folder with a file for each function: FUNCTION.env with lines NAME=VALUE, FUNCTION.json with a\n" +
			"JSON object, as `aws lambda get-function-configuration --query Environment.Variables` prints it, and FUNCTION.secret.json with what\n" +
			"MFAFLOW_SETTINGS_SECRET names. MFAFLOW_ settings in the environment are then those of an app of your own, which reads what a\n" +
			"function's app can only be asked for by the function. Without --settings they are the settings of all functions, and without any the\n" +
			"stack on this machine is looked at.",
		Example: "  mfaflow doctor\n  mfaflow doctor --settings deployment --reach hr-events=https://hooks.contoso.example --url https://abc123.lambda-url.eu-west-1.on.aws",
		Args:    checked(cobra.NoArgs),
	}
	t.flags(c)
	f := c.Flags()
	f.StringVar(&p.settings, "settings", "", "folder with the settings of the functions")
	f.StringSliceVar(&p.functions, "function", nil, "only this function (repeatable); default: all")
	f.StringToStringVar(&p.origins, "reach", nil, "where a function is reached, FUNCTION=URL (repeatable)")
	f.StringVar(&p.management, "management", "", "URL of the management API of a Service Bus emulator")
	f.StringArrayVar(&p.logs, "log", nil, "file with the lines of functions (repeatable)")
	f.DurationVar(&timeout, "timeout", 20*time.Second, "how long all checks may take together")
	complete(c, "function", func(context.Context) []string { return config.Functions() })
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if timeout <= 0 {
			return &usageError{errors.New("--timeout is not positive")}
		}
		if err := p.find(env); err != nil {
			return err
		}
		deployment, closing, err := p.deployment(env)
		if err != nil {
			return err
		}
		defer closing()
		if d, closing, err := t.open(cmd, env); err == nil {
			defer closing()
			deployment.Desk = replay{d}
		} else if t.url != "" || p.operations != "" {
			deployment.Desk = nowhere{err}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		results := doctor.Examine(ctx, deployment)
		if wantsJSON(cmd) {
			err = printJSON(cmd.OutOrStdout(), results)
		} else {
			printResults(cmd.OutOrStdout(), results)
		}
		if err != nil {
			return err
		}
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		return judged(results)
	}
	return jsonFlag(c)
}

// judged is an error when a check failed.
func judged(results []doctor.Result) error {
	failed := 0
	for _, r := range results {
		if r.Status == doctor.Fail {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(results))
	}
	return nil
}

// printResults is one line for each check, and one with the fix where there is one.
func printResults(out io.Writer, results []doctor.Result) {
	count := map[doctor.Status]int{}
	for _, r := range results {
		count[r.Status]++
		line := fmt.Sprintf("%-8s%-20s%s", r.Status, r.Check, r.Title)
		if r.Detail != "" {
			line += ": " + r.Detail
		}
		fmt.Fprintln(out, printable(line))
		if r.Fix != "" {
			fmt.Fprintf(out, "%28s-> %s\n", "", r.Fix)
		}
	}
	fmt.Fprintf(out, "\n%d checks: %d ok, %d warn, %d fail, %d skipped\n", len(results), count[doctor.OK], count[doctor.Warn], count[doctor.Fail], count[doctor.Skipped])
}

// replay is the event-replay that was found.
type replay struct{ *desk }

// WhoAmI implements doctor.Desk.
func (r replay) WhoAmI(ctx context.Context) (operate.Operator, error) {
	by, err := r.whoAmI(ctx)
	if errors.Is(err, operateapi.ErrNobody) {
		err = doctor.ErrNobody
	}
	return by, err
}

// nowhere is an event-replay that was named and could not be asked.
type nowhere struct{ err error }

func (n nowhere) WhoAmI(context.Context) (operate.Operator, error)  { return "", n.err }
func (n nowhere) Overview(context.Context) (doctor.Overview, error) { return doctor.Overview{}, n.err }

// logs opens files.
func logs(names []string) (list []doctor.Log) {
	for _, name := range names {
		list = append(list, doctor.Log{Name: name, Open: func() (io.ReadCloser, error) { return os.Open(name) }})
	}
	return list
}

// web asks URLs for the doctor.
type web struct{ transport http.RoundTripper }

// probeTimeout bounds one question, so that one host does not take the time of all.
const probeTimeout = 8 * time.Second

// Do implements doctor.Web.
func (w web) Do(ctx context.Context, method, url string) (doctor.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return doctor.Answer{}, errors.New("it is no URL")
	}
	began := time.Now()
	response, err := w.transport.RoundTrip(r) // no redirect is followed
	if err != nil {
		return doctor.Answer{}, err
	}
	defer response.Body.Close()
	answered := time.Now()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return doctor.Answer{}, errors.New("the answer ends early")
	}
	a := doctor.Answer{
		Status: response.StatusCode, ContentType: response.Header.Get("Content-Type"), Body: string(text), Asked: began.Add(answered.Sub(began) / 2),
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		a.Date = date
	}
	return a, nil
}

// Resolve implements doctor.Web.
func (w web) Resolve(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := resolver.LookupHost(ctx, strings.TrimSuffix(host, "."))
	return err
}
