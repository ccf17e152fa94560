package lambdafn

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	awsevents "github.com/aws/aws-lambda-go/events"
)

// Whatever comes in is refused as unknown or answered, and a handler that runs
// sees the body that was sent, byte for byte.
func FuzzInvoke(f *testing.F) {
	f.Add(fmt.Appendf(nil, httpEvent, `"body":"a"`))
	f.Add(fmt.Appendf(nil, httpEvent, `"body":"eyJhIjogMX0K","isBase64Encoded":true`))
	f.Add([]byte(`{"detail-type":"x"}`))
	f.Add([]byte(`{"requestContext":{"http":{"method":"P ST"}},"rawPath":"x"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var body []byte
		ran := false
		h := handler{log: quiet(), Handlers: Handlers{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ran = true
			body, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusAccepted)
		})}}
		out, err := h.Invoke(t.Context(), payload)
		if err != nil {
			if !errors.Is(err, ErrUnknownEvent) || ran {
				t.Fatalf("ran %v, error %v", ran, err)
			}
			return
		}
		var answer awsevents.APIGatewayV2HTTPResponse
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: http.StatusAccepted, false: http.StatusBadRequest}[ran]; answer.StatusCode != want {
			t.Fatalf("ran %v, answer %d", ran, answer.StatusCode)
		}
		if !ran {
			return
		}
		var e awsevents.APIGatewayV2HTTPRequest
		if err := json.Unmarshal(payload, &e); err != nil {
			t.Fatal(err)
		}
		want := []byte(e.Body)
		if e.IsBase64Encoded {
			want, _ = base64.StdEncoding.DecodeString(e.Body)
		}
		if string(body) != string(want) {
			t.Fatalf("body %q, want %q", body, want)
		}
	})
}
