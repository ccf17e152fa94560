// Command function does on request what functions do wrong and right.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"mfaflow/pkg/lambdafn"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx := context.Background()
	switch os.Getenv("FN_INIT") {
	case "exit":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour) // an empty select would be a deadlock here
	}
	switch os.Getenv("FN_MODE") {
	case "drain":
		_ = lambdafn.Drain(ctx, drain, time.Second, log)
		return
	case "sigterm":
		lambda.StartWithOptions(printed, lambda.WithEnableSIGTERM(closing))
	}
	_ = lambdafn.Serve(ctx, lambdafn.Handlers{
		HTTP:        http.HandlerFunc(serve),
		EventBridge: eventBridge,
	}, "127.0.0.1:0", log)
}

// printed answers any event with a line on each stream.
func printed(context.Context, json.RawMessage) (string, error) {
	fmt.Println("to stdout")
	fmt.Fprintln(os.Stderr, "to stderr")
	return "", nil
}

func closing() {
	fmt.Println("closed")
	if os.Getenv("FN_CLOSE") == "hang" {
		select {}
	}
	os.Exit(0)
}

func serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	case "/signature":
		_, _ = io.WriteString(w, r.Header.Get("Webhook-Signature"))
	case "/pid":
		_, _ = fmt.Fprint(w, os.Getpid())
	case "/env":
		_, _ = io.WriteString(w, strings.Join(os.Environ(), "\n"))
	case "/log":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "/big":
		_, _ = io.WriteString(w, strings.Repeat("x", 7<<20))
	case "/panic":
		panic("boom")
	case "/exit":
		os.Exit(3)
	case "/write": // of which the answer does not tell
		_ = os.WriteFile(os.Getenv("LAMBDA_TASK_ROOT")+"/cache", []byte("x"), 0o600)
	case "/hang":
		select {}
	}
}

func eventBridge(_ context.Context, event json.RawMessage) error {
	var e struct {
		Detail struct {
			Fail bool `json:"fail"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(event, &e); err != nil || e.Detail.Fail {
		return errors.New("refused")
	}
	return nil
}

func drain(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return errors.New("no deadline")
	}
	fmt.Printf("%d ms to work\n", time.Until(deadline).Milliseconds())
	<-ctx.Done()
	return nil
}
