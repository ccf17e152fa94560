package awsrole_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mfaflow/pkg/awsrole"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/readiness"
)

const bucket = "mfaflow-files"

func newBucket(t testing.TB) (*world, *awsrole.Bucket) {
	t.Helper()
	w := newWorld(t)
	w.aws.Buckets = []string{bucket}
	w.aws.Allowed[worker] = []string{"s3:GetObject " + bucket, "s3:PutObject " + bucket, "s3:ListBucket " + bucket}
	w.env["AWS_ENDPOINT_URL_S3"] = w.aws.S3URL()
	return w, w.role().Bucket(bucket, "/reports/")
}

// A bucket keeps files as a folder does.
func TestBucket(t *testing.T) {
	w, b := newBucket(t)
	ctx := t.Context()
	if _, err := b.Get(ctx, "a/b.json"); !errors.Is(err, readiness.ErrNoFile) {
		t.Errorf("%v", err)
	}
	if names, err := b.List(ctx, ""); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	all := []string{"a/b.json", "a/c.json", "ab.json", "a b+c/é.json", "a/d.json", "a/e.json", "z'(1)*~.json", "a/f.json"}
	for _, name := range append(all, "a/b.json") {
		if err := b.Put(ctx, name, []byte("of "+name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	slices.Sort(all)
	if err := w.role().Bucket(bucket, "other").Put(ctx, "a/x.json", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if data, err := b.Get(ctx, name); err != nil || string(data) != "of "+name {
			t.Errorf("%s: %s, %v", name, data, err)
		}
		if data, ok := w.aws.Object(bucket, "reports/"+name); !ok || string(data) != "of "+name {
			t.Errorf("%s is not where it should be", name)
		}
	}
	for prefix, want := range map[string][]string{"": all, "a/": {"a/b.json", "a/c.json", "a/d.json", "a/e.json", "a/f.json"}, "a b+c/": {"a b+c/é.json"}, "x": nil} {
		if names, err := b.List(ctx, prefix); err != nil || !slices.Equal(names, want) {
			t.Errorf("%q: %v, %v", prefix, names, err)
		}
	}
	for _, name := range []string{"", "/", "a//b", "../a", "a/..", "."} {
		if err := b.Put(ctx, name, nil); err == nil {
			t.Errorf("%q is written", name)
		}
	}
	if err := w.role().Bucket(bucket, "").Put(ctx, "top.json", nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.aws.Object(bucket, "top.json"); !ok {
		t.Error("without a prefix")
	}
}

// Of all who create a file one does, and the others do not change it. A conflict with another
// one is asked again.
func TestOneCreates(t *testing.T) {
	w, b := newBucket(t)
	var (
		all     sync.WaitGroup
		created atomic.Int32
		by      atomic.Int32
	)
	for i := range int32(8) {
		all.Go(func() {
			switch err := b.Create(t.Context(), "a/claim", []byte{byte(i)}); {
			case err == nil:
				created.Add(1)
				by.Store(i)
			case !errors.Is(err, readiness.ErrExists):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if data, err := b.Get(t.Context(), "a/claim"); err != nil || created.Load() != 1 || len(data) != 1 || int32(data[0]) != by.Load() {
		t.Errorf("%v of %d, created %d times, %v", data, by.Load(), created.Load(), err)
	}
	if err := b.Put(t.Context(), "a/claim", []byte("renewed")); err != nil {
		t.Error(err)
	}
	w.aws.Conflict(2)
	if err := b.Create(t.Context(), "b", []byte("x")); err != nil {
		t.Errorf("after conflicts: %v", err)
	}
	w.aws.Conflict(3)
	if err := b.Create(t.Context(), "c", nil); !errors.As(err, new(*identity.RetryError)) || !strings.Contains(err.Error(), "ConditionalRequestConflict") {
		t.Errorf("conflicts for long: %v", err)
	}
	if _, there := w.aws.Object(bucket, "reports/c"); there {
		t.Error("refused and written")
	}
	if err := w.role().Bucket("another", "").Create(t.Context(), "a", nil); !errors.Is(err, awsrole.ErrRefused) || errors.Is(err, readiness.ErrExists) {
		t.Errorf("another's bucket: %v", err)
	}
}

// Shedding load is waited for, a moment; a refusal is told at once.
func TestBucketInTrouble(t *testing.T) {
	w, b := newBucket(t)
	w.aws.SlowDown(2)
	if err := b.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Errorf("after slowing down: %v", err)
	}
	w.aws.SlowDown(3)
	if err := b.Put(t.Context(), "a", nil); !errors.As(err, new(*identity.RetryError)) || !strings.Contains(err.Error(), "SlowDown") {
		t.Errorf("slow for long: %v", err)
	}
	if _, err := w.role().Bucket("another", "").Get(t.Context(), "a"); !errors.Is(err, awsrole.ErrRefused) || errors.Is(err, readiness.ErrNoFile) {
		t.Errorf("another's bucket: %v", err)
	}
	w.aws.Buckets = nil
	if _, err := b.Get(t.Context(), "a"); !errors.Is(err, awsrole.ErrRefused) || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("no such bucket: %v", err)
	}
}

// Whatever a file is called, it is found under that name, or refused.
func FuzzNames(f *testing.F) {
	_, outer := newBucket(f)
	for _, name := range []string{"a", "a/b", "../a", "a?b#c", "%2e%2e/x", "a b", "a+b", "\x00", "é/ü", "a//b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		data := []byte(fmt.Sprintf("of %q", name))
		if err := outer.Put(t.Context(), name, data); err != nil {
			return
		}
		if got, err := outer.Get(t.Context(), name); err != nil || string(got) != string(data) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	})
}
