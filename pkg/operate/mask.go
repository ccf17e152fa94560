package operate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// masked stands for a value that may be personal.
const masked = "*****"

// shown are the members whose values say nothing of a person. Every other value is
// masked, since what lies in the quarantine may be of any form.
var shown = map[string]bool{
	"specversion": true, "source": true, "type": true, "time": true, "dataschema": true, "datacontenttype": true,
	"receivedat": true, "origin": true, "key": true, "correlationid": true, "userid": true, "objectid": true,
	"startdate": true, "lastday": true, "timezone": true, "immediate": true, "level": true, "state": true, "mode": true,
	"kind": true, "channel": true, "repeated": true, "passrequested": true, "registeredafter": true, "cause": true, "reason": true,
	"nextstep": true, "queue": true, "sequence": true, "attempt": true, "at": true, "unlocksat": true, "user": true,
}

// body is the text of a message, with everything masked that may be personal unless
// reveal is set. The structure stays.
func body(raw []byte, reveal bool) string {
	if reveal || len(raw) == 0 {
		return string(raw)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out strings.Builder
	err := mask(dec, &out, false, 0)
	if _, end := dec.Token(); err != nil || !errors.Is(end, io.EOF) {
		return fmt.Sprintf("%d bytes that are no JSON, shown only when asked for", len(raw))
	}
	return out.String()
}

// maxDepth keeps hostile nesting from using up the stack; encoding/json itself stops at
// 10,000.
const maxDepth = 200

// mask copies one value, member by member in its order.
func mask(dec *json.Decoder, out *strings.Builder, show bool, depth int) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return scalar(out, t, show)
	}
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	out.WriteString(open.String())
	for n := 0; dec.More(); n++ {
		if n > 0 {
			out.WriteByte(',')
		}
		named := false
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			named = shown[strings.ToLower(name.(string))]
			if err := scalar(out, name, true); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := mask(dec, out, named, depth+1); err != nil {
			return err
		}
	}
	end, err := dec.Token()
	if err != nil {
		return err
	}
	out.WriteString(end.(json.Delim).String())
	return nil
}

// scalar writes a value that holds no others. True, false and null say nothing of
// anybody.
func scalar(out *strings.Builder, t json.Token, show bool) error {
	switch t.(type) {
	case string, json.Number:
		if !show {
			t = masked
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t); err != nil {
		return err
	}
	out.Write(bytes.TrimSpace(b.Bytes()))
	return nil
}

// hide masks a value that is personal, unless reveal is set.
func hide(value string, reveal bool) string {
	if reveal || value == "" {
		return value
	}
	return masked
}
