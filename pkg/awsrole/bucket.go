package awsrole

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mfaflow/pkg/identity"
	"mfaflow/pkg/pause"
	"mfaflow/pkg/readiness"
)

// maxFile bounds a file that is read: a report of 100,000 people has about 60 MiB.
const maxFile = 512 << 20

// tries is how often S3 is asked; it sheds load by 503 and wants to be asked again
// (docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html).
const tries = 3

// Bucket is a store in an S3 bucket, under a prefix. An object is replaced at once or not at
// all. Encryption and versions are the bucket's.
type Bucket struct {
	role   *Role
	base   string // URL of the bucket
	prefix string // empty, or with a slash at its end
	pause  func(context.Context, time.Duration) error
}

var _ readiness.Store = (*Bucket)(nil)

// Bucket is the bucket of this name; prefix may be empty. It does no network. Requests take
// as long as their context lets them.
func (r *Role) Bucket(name, prefix string) *Bucket {
	b := &Bucket{role: r, base: "https://" + name + ".s3." + r.region + "." + r.domain + "/", prefix: strings.Trim(prefix, "/"), pause: pause.For}
	if r.s3 != "" {
		b.base = strings.TrimSuffix(r.s3, "/") + "/" + name + "/"
	}
	if b.prefix != "" {
		b.prefix += "/"
	}
	patient := *r
	client := *r.http
	client.Timeout = 0
	patient.http = &client
	b.role = &patient
	return b
}

// Put implements readiness.Store.
func (b *Bucket) Put(ctx context.Context, name string, data []byte) error {
	at, err := b.object(name)
	if err != nil {
		return err
	}
	_, err = b.ask(ctx, http.MethodPut, at, data)
	return err
}

// Get implements readiness.Store.
func (b *Bucket) Get(ctx context.Context, name string) ([]byte, error) {
	at, err := b.object(name)
	if err != nil {
		return nil, err
	}
	data, err := b.ask(ctx, http.MethodGet, at, nil)
	if errors.Is(err, readiness.ErrNoFile) {
		return nil, fmt.Errorf("%s: %w", name, readiness.ErrNoFile)
	}
	return data, err
}

// List implements readiness.Store.
func (b *Bucket) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	for more := ""; ; {
		q := url.Values{"list-type": {"2"}, "prefix": {b.prefix + prefix}}
		if more != "" {
			q.Set("continuation-token", more)
		}
		// A space is %20 in what is signed, and + would be another name.
		answer, err := b.ask(ctx, http.MethodGet, b.base+"?"+strings.ReplaceAll(q.Encode(), "+", "%20"), nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Truncated bool     `xml:"IsTruncated"`
			More      string   `xml:"NextContinuationToken"`
			Keys      []string `xml:"Contents>Key"`
		}
		if err := xml.Unmarshal(answer, &page); err != nil {
			return nil, &identity.RetryError{Err: errors.New("list of files: S3's answer is none")}
		}
		for _, key := range page.Keys {
			if name, ours := strings.CutPrefix(key, b.prefix); ours && name != "" {
				names = append(names, name)
			}
		}
		if !page.Truncated {
			slices.Sort(names)
			return names, nil
		}
		if more = page.More; more == "" {
			return nil, &identity.RetryError{Err: errors.New("list of files: S3's answer goes on nowhere")}
		}
	}
}

// object is the URL of a file.
func (b *Bucket) object(name string) (string, error) {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		if p == "" || p == "." || p == ".." {
			return "", fmt.Errorf("%q is no name of a file", name)
		}
		// Everything but unreserved letters is escaped, as it is in what is signed.
		parts[i] = strings.ReplaceAll(url.QueryEscape(p), "+", "%20")
	}
	return b.base + b.prefix + strings.Join(parts, "/"), nil
}

// ask sends a request until it is answered.
func (b *Bucket) ask(ctx context.Context, method, at string, body []byte) (answer []byte, err error) {
	for try := 1; ; try++ {
		answer, err = b.once(ctx, method, at, body)
		if retry := (*identity.RetryError)(nil); !errors.As(err, &retry) || try == tries {
			return answer, err
		}
		if err := b.pause(ctx, time.Duration(try*try)*300*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (b *Bucket) once(ctx context.Context, method, at string, body []byte) ([]byte, error) {
	const what = "file in S3"
	request, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	status, answer, err := b.role.send(ctx, "s3", request, body, maxFile)
	if err != nil {
		return nil, retry(ctx, what, err)
	}
	if status == http.StatusOK {
		return answer, nil
	}
	var refusal struct {
		Code string `xml:"Code"`
	}
	_ = xml.Unmarshal(answer, &refusal) // the status speaks for itself
	if refusal.Code == "NoSuchKey" {
		return nil, readiness.ErrNoFile
	}
	return nil, refused(what, status, refusal.Code)
}
