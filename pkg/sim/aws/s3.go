package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// s3Page is how many keys a list gives at once; the service's own is 1000.
const s3Page = 3

// maxObject is what is taken by one request here.
const maxObject = 64 << 20

type s3Error struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

type s3List struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name    string
	Prefix  string
	More    string `xml:"NextContinuationToken,omitempty"`
	// Truncated says that there is more.
	Truncated bool    `xml:"IsTruncated"`
	Contents  []s3Key `xml:"Contents"`
}

type s3Key struct{ Key string }

// bucket answers S3's requests, path-style.
func (a *Account) bucket(w http.ResponseWriter, r *http.Request) {
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_ = xml.NewEncoder(w).Encode(v) // the asker may be gone
	}
	refuse := func(status int, code, text string) { answer(status, s3Error{Code: code, Message: text}) }
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxObject))
	if err != nil {
		refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
		return
	}
	sum := sha256.Sum256(body)
	if r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) {
		refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
		return
	}
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/s3/"), "/")
	action := map[string]string{http.MethodGet: "s3:GetObject", http.MethodPut: "s3:PutObject"}[r.Method]
	list := r.Method == http.MethodGet && key == "" && r.URL.Query().Get("list-type") == "2"
	if list {
		action = "s3:ListBucket"
	}
	if action == "" || !list && key == "" {
		refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
		return
	}
	if _, denied := a.role(r, body, "s3", action+" "+name); denied != nil {
		refuse(denied.status, denied.code, denied.text)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.slow > 0:
		a.slow--
		refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case !slices.Contains(a.Buckets, name):
		refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	case list:
		answer(http.StatusOK, a.keys(name, r.URL.Query().Get("prefix"), r.URL.Query().Get("continuation-token")))
	case r.Method == http.MethodPut:
		a.put(r.Header, name+"/"+key, body, refuse)
	default:
		data, ok := a.objects[name+"/"+key]
		if !ok {
			refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
			return
		}
		_, _ = w.Write(data) // the asker may be gone
	}
}

// put writes an object, under the condition that the request names
// (docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html); the lock is held.
func (a *Account) put(header http.Header, object string, body []byte, refuse func(int, string, string)) {
	_, there := a.objects[object]
	switch condition := header.Get("If-None-Match"); {
	case condition == "" && header.Get("If-Match") == "":
	case condition != "*": // S3 has conditions on ETags too, which nobody here uses
		refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented.")
		return
	case a.conflicts > 0:
		a.conflicts--
		refuse(http.StatusConflict, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.")
		return
	case there:
		refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		return
	}
	a.objects[object] = body
}

// keys is a page of a bucket's keys, in order; the lock is held.
func (a *Account) keys(bucket, prefix, after string) s3List {
	l := s3List{Name: bucket, Prefix: prefix}
	for _, object := range slices.Sorted(maps.Keys(a.objects)) {
		key, ours := strings.CutPrefix(object, bucket+"/")
		if !ours || !strings.HasPrefix(key, prefix) || after != "" && key <= after {
			continue
		}
		if len(l.Contents) == s3Page {
			l.Truncated, l.More = true, l.Contents[s3Page-1].Key
			break
		}
		l.Contents = append(l.Contents, s3Key{key})
	}
	return l
}
