package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/event"
	"mfaflow/pkg/hrapi"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/ingest"
	"mfaflow/pkg/mapping"
	"mfaflow/pkg/secevent"
	"mfaflow/pkg/strictjson"
)

func newMapping() *cobra.Command {
	return group("mapping", "Write the mapping of an HR system", newMappingTest())
}

// trial is one mapping tried on one sample.
type trial struct {
	source     string
	timeZone   string
	employeeID string
	receivedAt string
	record     bool

	program string // the mapping: a name of the catalogue, or jq
	at      time.Time
}

// told is what a trial comes to.
type told struct {
	Events []json.RawMessage `json:"events"`
	// Reason is the one that the payload would be parked with, or refused for a record.
	Reason string     `json:"reason,omitempty"`
	Detail string     `json:"detail,omitempty"`
	Faults []toldLine `json:"faults,omitempty"`

	faults []*mapping.FaultError
}

type toldLine struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Problem string `json:"problem"`
}

func newMappingTest() *cobra.Command {
	var x trial
	c := &cobra.Command{
		Use:   "test FILE SAMPLE",
		Short: "Show what a mapping makes of a payload",
		Long: "Map a payload as hr-events would and judge what comes of it, or say why it would be parked and where\n" +
			"in the program the fault is. FILE is a jq program or the name of one in events/mappings; SAMPLE is a\n" +
			"JSON file, or - for standard input. A source of the catalogue lends its scope and time zone.\n\n" +
			"With --record the sample is the answer of an HR API, mapped as identity-router would. The names\n" +
			"record and *-record say so by themselves.",
		Example: "  mfaflow mapping test bamboohr events/hr/bamboohr/terminated.json\n" +
			"  mfaflow mapping test acme.jq payload.json --time-zone Europe/Berlin\n" +
			"  mfaflow mapping test gusto-record answer.json --employee-id 12345",
		Args: checked(cobra.ExactArgs(2)),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return mapping.Names(), cobra.ShellCompDirectiveDefault
			}
			return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			sample, err := x.open(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			result, err := x.run(cmd, sample)
			if err != nil {
				return err
			}
			return result.print(cmd, args[0], args[1])
		},
	}
	c.Flags().StringVar(&x.source, "source", "", "name of the source; default: that of the mapping")
	c.Flags().StringVar(&x.timeZone, "time-zone", "", "IANA time zone that the mapping falls back to; default: that of the source in the catalogue")
	c.Flags().BoolVar(&x.record, "record", false, "the sample is the answer of an HR API")
	c.Flags().StringVar(&x.employeeID, "employee-id", "E1004", "whom the event was about that led to the record")
	c.Flags().StringVar(&x.receivedAt, "received-at", "", "time of the receipt, RFC 3339; default: now")
	_ = c.RegisterFlagCompletionFunc("source", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return mapping.Systems(), cobra.ShellCompDirectiveNoFileComp
	}) // fails for a flag that there is not
	return jsonFlag(c)
}

// open reads the mapping and the sample and fills in what is not given.
func (x *trial) open(stdin io.Reader, args []string) (sample []byte, err error) {
	x.program = args[0]
	if _, err := mapping.Text(x.program); err != nil || strings.ContainsAny(x.program, "./") {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return nil, hint(err, "a file with a jq program, or one of %s", strings.Join(mapping.Names(), ", "))
		}
		// A program is told from a name by its form, which a short one may share.
		x.program = string(text) + "\n"
	} else {
		x.record = x.record || x.program == "record" || strings.HasSuffix(x.program, "-record")
		if x.source == "" {
			x.source = strings.TrimSuffix(x.program, "-record")
		}
	}
	if x.source == "" {
		x.source = "hr"
	}
	if x.at = time.Now(); x.receivedAt != "" {
		if x.at, err = time.Parse(time.RFC3339, x.receivedAt); err != nil {
			return nil, &usageError{errors.New("--received-at is not an RFC 3339 time such as 2026-11-23T08:15:00+01:00")}
		}
	}
	if x.timeZone != "" {
		if _, err := event.ParseTimeZone(x.timeZone); err != nil {
			return nil, &usageError{fmt.Errorf("--time-zone: %w", err)}
		}
	}
	return read(stdin, args[1])
}

// run tries the mapping.
func (x *trial) run(cmd *cobra.Command, sample []byte) (told, error) {
	schemas, err := catalog.New()
	if err != nil {
		return told{}, err
	}
	if x.record {
		return x.runRecord(cmd, schemas, sample)
	}
	src := x.recommended()
	tried, err := ingest.Try(cmd.Context(), src, schemas, sample, x.at)
	if faults := mapping.Faults(err); len(faults) > 0 {
		return told{Reason: "mapping does not compile", faults: faults}, nil
	} else if err != nil {
		return told{}, err
	}
	out := told{Reason: string(tried.Reason), Detail: tried.Detail}
	if err := out.add(tried.Events); err != nil {
		return told{}, err
	}
	if tried.Reason == ingest.ReasonMapping {
		x.explain(cmd, &out, sample, map[string]any{"name": src.Name, "timeZone": src.TimeZone})
	}
	return out, nil
}

// recommended is the source as the catalogue knows it, or one that may send anything.
func (x *trial) recommended() ingest.Source {
	src := ingest.Source{Types: []string{"employee.*", "mfa.*", string(event.MethodPolicy), "risk.*", "account.*", "session.*", "credential.*"}}
	if raw, _, err := mapping.Recommended(x.source); err == nil {
		if list, err := ingest.ParseSources([]byte("[" + string(raw) + "]")); err == nil && len(list) == 1 {
			src = list[0]
		}
	}
	src.Name, src.Mapping = x.source, x.program
	if x.program == "ssf" { // the sample is the claims of a token
		src.Format, src.Stream = ingest.SecurityEvents, &secevent.Stream{}
	}
	if x.timeZone != "" {
		src.TimeZone = x.timeZone
	}
	return src
}

// runRecord derives events from a record, as the router does.
func (x *trial) runRecord(cmd *cobra.Command, schemas *catalog.Catalog, sample []byte) (told, error) {
	api := hrapi.API{Source: x.source, URL: "https://hr.invalid/{employeeId}", Mapping: x.program, TimeZone: x.recommended().TimeZone}
	client, err := hrapi.New([]hrapi.API{api}, schemas, nil)
	if faults := mapping.Faults(err); len(faults) > 0 {
		return told{Reason: "mapping does not compile", faults: faults}, nil
	} else if err != nil {
		return told{}, err
	}
	defer client.Close()
	ref := event.RecordRef{Person: identity.Reference{EmployeeID: x.employeeID}, Change: "mapping test"}
	data, err := json.Marshal(ref)
	if err != nil {
		return told{}, err
	}
	thin := event.Event{
		ID: "test", Source: "/hr/" + x.source, Origin: x.source, Key: x.source + ":test", Type: event.Ref, Time: x.at, ReceivedAt: x.at, Data: data,
	}
	events, err := client.Derive(cmd.Context(), thin, sample)
	if err != nil && cmd.Context().Err() == nil {
		out := told{Reason: "refused", Detail: err.Error()}
		if errors.Is(err, mapping.ErrMapping) {
			x.explain(cmd, &out, sample, api.Facts(ref))
		}
		return out, nil
	}
	out := told{}
	return out, errors.Join(err, out.add(events))
}

// explain replaces the detail of a mapping that failed by where and why.
func (x *trial) explain(cmd *cobra.Command, out *told, sample []byte, facts map[string]any) {
	payload, err := strictjson.Decode(sample)
	if err != nil {
		return
	}
	_, err = mapping.Explain(cmd.Context(), x.program, payload, facts, x.at)
	if out.faults = mapping.Faults(err); len(out.faults) > 0 {
		out.Detail = ""
	}
}

func (r *told) add(events []event.Event) error {
	for _, e := range events {
		raw, err := e.Encode()
		if err != nil {
			return err
		}
		r.Events = append(r.Events, raw)
	}
	return nil
}

// print shows the result; an error means that not all of the payload is usable.
func (r told) print(cmd *cobra.Command, program, sample string) error {
	out := cmd.OutOrStdout()
	if wantsJSON(cmd) {
		if r.Events == nil {
			r.Events = []json.RawMessage{}
		}
		for _, f := range r.faults {
			r.Faults = append(r.Faults, toldLine{f.Line, f.Column, f.Err.Error()})
		}
		if err := printJSON(out, r); err != nil {
			return err
		}
	} else {
		for _, e := range r.Events {
			if err := printJSON(out, e); err != nil {
				return err
			}
		}
		if len(r.Events) == 0 && r.Reason == "" {
			fmt.Fprintf(out, "%s: nothing: the payload does not concern us\n", sample)
		}
		for _, f := range r.faults {
			fmt.Fprintf(out, "%s: %v\n%s", program, f, f.Excerpt())
		}
	}
	if r.Reason == "" {
		return nil
	}
	text := sample + " would be parked: "
	if len(r.faults) > 0 || r.Reason == "refused" {
		text = sample + ": "
	}
	text += r.Reason
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return hint(errors.New(text), "what a mapping gets and gives is in events/README.md")
}
