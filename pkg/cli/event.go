package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mfaflow/pkg/catalog"
	"mfaflow/pkg/config"
	"mfaflow/pkg/event"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/webhook"
)

func newEvent(env []string) *cobra.Command {
	return group("event", "Validate, sign and send events", newValidate(), newSign(env), newSend(env))
}

// read returns the content of a file, or of stdin for "-".
func read(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// verdict is what validation says of one file.
type verdict struct {
	File     string               `json:"file"`
	Valid    bool                 `json:"valid"`
	Type     event.Type           `json:"type,omitempty"`
	Problem  string               `json:"problem,omitempty"`
	Problems []catalog.FieldError `json:"problems,omitempty"`
}

func newValidate() *cobra.Command {
	return jsonFlag(&cobra.Command{
		Use:     "validate FILE...",
		Short:   "Say everything that is wrong with events, as hr-events would",
		Long:    "Check CloudEvents against the catalogue. FILE is a path, or - for standard input.",
		Example: "  mfaflow event validate joiner.json",
		Args:    checked(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := catalog.New()
			if err != nil {
				return err
			}
			verdicts := []verdict{}
			for _, name := range args {
				text, err := read(cmd.InOrStdin(), name)
				if err != nil {
					return err
				}
				verdicts = append(verdicts, judge(c, name, text))
			}
			if err := printVerdicts(cmd, verdicts); err != nil {
				return err
			}
			if slices.ContainsFunc(verdicts, func(v verdict) bool { return !v.Valid }) {
				return hint(errors.New("not all events are valid"), "compare with the samples in events/README.md")
			}
			return nil
		},
	})
}

func judge(c *catalog.Catalog, name string, text []byte) verdict {
	e, err := c.Parse(text)
	if err == nil {
		return verdict{File: name, Valid: true, Type: e.Type}
	}
	if invalid := (*catalog.InvalidError)(nil); errors.As(err, &invalid) {
		return verdict{File: name, Problems: invalid.Fields}
	}
	return verdict{File: name, Problem: err.Error()}
}

func printVerdicts(cmd *cobra.Command, verdicts []verdict) error {
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), verdicts)
	}
	for _, v := range verdicts {
		switch {
		case v.Valid:
			fmt.Fprintf(cmd.OutOrStdout(), "%s: valid %s\n", v.File, v.Type)
		case v.Problem != "":
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", v.File, v.Problem)
		default:
			for _, p := range v.Problems {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", v.File, p)
			}
		}
	}
	return nil
}

// signing are the flags that say how a delivery is signed.
type signing struct {
	keyFile string
	id      string
	at      string
}

func (s *signing) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.keyFile, "key-file", "", "file with the key (whsec_... or whsk_...); default: "+config.SigningKey)
	c.Flags().StringVar(&s.id, "id", "", "id of the delivery; default: the id of the event, so that sending twice is one delivery")
	c.Flags().StringVar(&s.at, "at", "", "time of the attempt, RFC 3339; default: now")
}

// headers signs the body.
func (s *signing) headers(env []string, body []byte) (http.Header, error) {
	signer, err := s.signer(env)
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if s.at != "" {
		if at, err = time.Parse(time.RFC3339, s.at); err != nil {
			return nil, &usageError{errors.New("--at is not an RFC 3339 time such as 2026-11-23T08:15:00+01:00")}
		}
	}
	id := s.id
	if id == "" {
		c, err := catalog.New()
		if err != nil {
			return nil, err
		}
		e, err := c.Parse(body)
		if err != nil {
			return nil, hint(fmt.Errorf("the event has no id to take for the delivery: %w", err), "--id, or mfaflow event validate")
		}
		id = strings.ReplaceAll(e.ID, ".", "-")
	}
	h := http.Header{}
	return h, signer.Sign(h, id, at, body)
}

func (s *signing) signer(env []string) (*webhook.Signer, error) {
	key, _ := lookup(env, config.SigningKey)
	if s.keyFile != "" {
		text, err := os.ReadFile(s.keyFile)
		if err != nil {
			return nil, err
		}
		key = strings.TrimSpace(string(text))
	}
	if key == "" {
		return nil, hint(errors.New("no key to sign with"), "--key-file FILE, or set %s", config.SigningKey)
	}
	return webhook.NewSigner(identity.NewSecret(key))
}

// signed are the headers in the order of the specification.
func signed() []string { return []string{"webhook-id", "webhook-timestamp", "webhook-signature"} }

func newSign(env []string) *cobra.Command {
	var s signing
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Print the Standard Webhooks headers for an event",
		Long: "Sign the exact bytes of FILE (- is standard input) and print the three headers, one per line,\n" +
			"in the form that curl -H @file reads. A signature is good for five minutes.",
		Example: "  mfaflow event sign --key-file key joiner.json > headers\n" +
			"  curl -H @headers -H 'content-type: application/cloudevents+json' --data-binary @joiner.json URL",
		Args: checked(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := read(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			h, err := s.headers(env, body)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				flat := map[string]string{}
				for _, name := range signed() {
					flat[name] = h.Get(name)
				}
				return printJSON(cmd.OutOrStdout(), flat)
			}
			for _, name := range signed() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, h.Get(name))
			}
			return nil
		},
	}
	s.flags(c)
	return jsonFlag(c)
}

// answer is what a receiver says to a delivery.
type answer struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

func newSend(env []string) *cobra.Command {
	var (
		s           signing
		url         string
		contentType string
		timeout     time.Duration
	)
	c := &cobra.Command{
		Use:     "send FILE",
		Short:   "Sign an event and post it to a function",
		Example: "  mfaflow event send --key-file key --url http://127.0.0.1:8080/hr/demo joiner.json",
		Args:    checked(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if url == "" {
				return &usageError{errors.New("--url says where to post and is missing")}
			}
			body, err := read(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			h, err := s.headers(env, body)
			if err != nil {
				return err
			}
			h.Set("Content-Type", contentType)
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			a, err := post(ctx, url, h, body)
			if err != nil {
				return hint(err, "check that the function listens at %s", url)
			}
			if wantsJSON(cmd) {
				err = printJSON(cmd.OutOrStdout(), a)
			} else {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d %s\n%s\n", a.Status, http.StatusText(a.Status), strings.TrimSpace(a.Body))
			}
			if err == nil && a.Status >= http.StatusBadRequest {
				err = refused(a.Status, url)
			}
			return err
		},
	}
	s.flags(c)
	c.Flags().StringVar(&url, "url", "", "where to post")
	c.Flags().StringVar(&contentType, "content-type", "application/cloudevents+json", "type of the body")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the answer")
	return jsonFlag(c)
}

// refused is the error for an answer; the functions tell a sender who is not known no more
// than the status.
func refused(status int, url string) error {
	err := fmt.Errorf("the event was refused with %d", status)
	switch status {
	case http.StatusUnauthorized:
		return hint(err, "--key-file with the key that MFAFLOW_SOURCE_KEYS has for this source; the log of the function names the reason")
	case http.StatusNotFound:
		return hint(err, "a URL that ends in /hr/NAME or /risk/NAME, as MFAFLOW_SOURCES of the function has it, instead of %s", url)
	}
	return err
}

func post(ctx context.Context, url string, h http.Header, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header = h
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	return answer{response.StatusCode, string(text)}, err
}
