package operateapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"mfaflow/pkg/correlation"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/operate"
	"mfaflow/pkg/queue"
	"mfaflow/pkg/telemetry"
)

// packFrom is the size from which an answer is compressed, for who takes that.
const packFrom = 16 << 10

// longest is how long a plan may take to be made where no Lambda bounds it.
const longest = 15 * time.Minute

// operation is one method: it decodes what it takes and calls.
type operation func(ctx context.Context, to operate.Operations, by operate.Operator, body []byte) (any, error)

// acts is takes for what changes something. It goes on when who asked has gone, as it
// does under Lambda: an entry that is in hand is not let fall.
func acts[In, Out any](call func(context.Context, operate.Operations, operate.Operator, In) (Out, error)) operation {
	do := takes(call)
	return func(ctx context.Context, to operate.Operations, by operate.Operator, body []byte) (any, error) {
		deadline, bounded := ctx.Deadline()
		if ctx = context.WithoutCancel(ctx); bounded {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, deadline)
			defer cancel()
		}
		return do(ctx, to, by, body)
	}
}

func takes[In, Out any](call func(context.Context, operate.Operations, operate.Operator, In) (Out, error)) operation {
	return func(ctx context.Context, to operate.Operations, by operate.Operator, body []byte) (any, error) {
		var in In
		if err := decode(body, &in); err != nil {
			return nil, err
		}
		return call(ctx, to, by, in)
	}
}

// operations are the methods by the names they have in the path.
func operations() map[string]operation {
	type (
		c  = context.Context
		o  = operate.Operations
		by = operate.Operator
	)
	return map[string]operation{
		"whoami":   takes(func(_ c, _ o, b by, _ nothing) (whoAmI, error) { return whoAmI{b}, nil }),
		"overview": takes(func(ctx c, to o, _ by, _ nothing) (operate.Overview, error) { return to.Overview(ctx) }),
		"list": takes(func(ctx c, to o, _ by, in listRequest) (operate.Page[operate.Entry], error) {
			return to.List(ctx, in.Filter, in.Cursor, in.Limit)
		}),
		"show": takes(func(ctx c, to o, _ by, in showRequest) (operate.Detail, error) { return to.Show(ctx, in.ID, in.Reveal) }),
		"flags": takes(func(ctx c, to o, _ by, in flagsRequest) (operate.Page[operate.OpenFlag], error) {
			return to.Flags(ctx, in.Filter, in.Cursor, in.Limit)
		}),
		"person": takes(func(ctx c, to o, _ by, in personRequest) (operate.PersonView, error) {
			return to.Person(ctx, in.Who, in.Reveal)
		}),
		"plan":   takes(func(ctx c, to o, _ by, in operate.Selection) (operate.Plan, error) { return to.Plan(ctx, in) }),
		"replay": acts(func(ctx c, to o, b by, in operate.Replay) ([]operate.Outcome, error) { return to.Replay(ctx, b, in) }),
		"discard": acts(func(ctx c, to o, b by, in discardRequest) ([]operate.Outcome, error) {
			return to.Discard(ctx, b, in.IDs, in.Reason)
		}),
		"decide": acts(func(ctx c, to o, b by, in operate.Word) (operate.Outcome, error) { return to.Decide(ctx, b, in) }),
		"resolve": acts(func(ctx c, to o, b by, in resolveRequest) ([]operate.Outcome, error) {
			return to.Resolve(ctx, b, in.Flags, in.Reason)
		}),
		"let-in": acts(func(ctx c, to o, b by, in letInRequest) (operate.Outcome, error) {
			return to.LetIn(ctx, b, in.User, in.Reason)
		}),
	}
}

// Handler serves operations to whom who lets in; everybody else learns nothing, not even
// which methods there are. Every request is one line in the log: operator, method and
// how it went, never what it said.
func Handler(to operate.Operations, who Authenticator, log *slog.Logger) http.Handler {
	all := operations()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, ctx := time.Now(), correlation.Accept(r.Context(), r.Header)
		id := correlation.ID(ctx)
		w.Header().Set(correlationHeader, id)
		w.Header().Set("Cache-Control", "no-store")
		by, name, result, err := serve(ctx, r.WithContext(ctx), all, to, who, w)
		status := http.StatusOK
		if err == nil {
			err = answer(w, r, result)
		}
		level := slog.LevelInfo
		if err != nil {
			if status = refuse(w, id, result, err); status >= http.StatusInternalServerError {
				level = slog.LevelError
			}
		}
		attrs := []any{"operator", by, "operation", name, "status", status, telemetry.Duration(time.Since(began))}
		if err != nil {
			attrs = append(attrs, telemetry.Error(err))
		}
		log.Log(ctx, level, "operation", attrs...)
	})
}

func serve(ctx context.Context, r *http.Request, all map[string]operation, to operate.Operations, who Authenticator, w http.ResponseWriter) (by operate.Operator, name string, result any, err error) {
	if by, err = who(r); err == nil && by == "" {
		err = ErrNobody
	}
	if err != nil {
		return "", "", nil, fmt.Errorf("%w: %w", ErrNobody, err)
	}
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	do := all[path]
	if !ok || do == nil || r.Method != http.MethodPost {
		return by, "", nil, fmt.Errorf("%w: there is no such method", errMalformed)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return by, path, nil, fmt.Errorf("%w: the body ends early", errMalformed)
	}
	if len(body) > maxRequest {
		return by, path, nil, fmt.Errorf("%w: that is more than %d MiB at once; take fewer", operate.ErrRefused, maxRequest>>20)
	}
	// Outside Lambda the server ends slow answers; under Lambda there is no such thing.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longest))
	result, err = do(ctx, to, by, body)
	return by, path, result, err
}

// answer writes a result, or nothing when it is too long.
func answer(w http.ResponseWriter, r *http.Request, result any) error {
	body, err := json.Marshal(result)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept-Encoding")
	if len(body) > packFrom && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err = z.Write(body); err == nil {
			err = z.Close()
		}
		if err != nil {
			return err
		}
		body = packed.Bytes()
		w.Header().Set("Content-Encoding", "gzip")
	}
	if len(body) > maxAnswer {
		w.Header().Del("Content-Encoding")
		return fmt.Errorf("%w: the answer has more than %d MiB; select fewer", operate.ErrRefused, maxAnswer>>20)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the asker may be gone
	return nil
}

// refuse writes an error. What is none of the operator's business stays in the log.
func refuse(w http.ResponseWriter, id string, result any, err error) (status int) {
	p := problem{Type: "about:blank", Status: http.StatusInternalServerError, Correlation: id}
	_, throttled := errors.AsType[*identity.RetryError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		p.Status, p.Detail = http.StatusServiceUnavailable, "it took too long"
	case errors.Is(err, queue.ErrUnavailable):
		p.Status, p.Detail = http.StatusServiceUnavailable, "the broker does not answer"
	case throttled:
		p.Status, p.Detail = http.StatusServiceUnavailable, "the directory does not answer, or has had enough for now"
	case errors.Is(err, identity.ErrForbidden):
		p.Detail = "the directory refuses our app" // the log says which permission it needs
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			p.Type, p.Status, p.Detail = k.name, k.status, err.Error()
			break
		}
	}
	if p.Status == http.StatusForbidden {
		p.Detail = ErrNobody.Error()
	}
	p.Title = http.StatusText(p.Status)
	p.Outcomes, _ = result.([]operate.Outcome)
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the asker may be gone
	return p.Status
}
