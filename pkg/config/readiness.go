package config

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"mfaflow/pkg/posture"
)

// Readiness says how a tenant's readiness for MFA is judged.
type Readiness struct {
	BreakGlassAccounts ObjectIDs     `split_words:"true" desc:"Object ids of the emergency access accounts"`
	SignInWindow       time.Duration `split_words:"true" default:"720h" desc:"How far back the sign-in log is read, 1h to 720h"`
	ReadinessPhase     int           `split_words:"true" default:"2" desc:"Phase of Microsoft's enforcement up to which people are judged, 1 or 2"`
}

// Phase is the phase that people are judged for.
func (c Readiness) Phase() posture.Phase { return posture.Phase(c.ReadinessPhase) }

func (c Readiness) check(p *SettingsError) {
	p.duration("SIGN_IN_WINDOW", c.SignInWindow, time.Hour, 30*24*time.Hour)
	if c.Phase() != posture.Phase1 && c.Phase() != posture.Phase2 {
		p.add("READINESS_PHASE", "is neither 1 nor 2")
	}
}

// ReportsURL is where files are kept: in a folder, or under a prefix of an S3 bucket.
type ReportsURL string

// notStore is what is wrong with a URL that is neither.
const notStore = "is neither the URL of a folder such as file:///var/lib/mfaflow/reports nor of a bucket such as s3://bucket/prefix"

// Bucket is the name of the bucket, and the prefix of its files.
func (u ReportsURL) Bucket() (name, prefix string, ok bool) {
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Scheme != "s3" || !bucketName.MatchString(parsed.Host) || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return "", "", false
	}
	return parsed.Host, strings.Trim(parsed.Path, "/"), true
}

// bucketName follows docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html,
// without the dots, with which TLS does not work.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

func (u ReportsURL) check(p *SettingsError) {
	_, folder := u.Folder()
	if _, _, bucket := u.Bucket(); !folder && !bucket {
		p.add("REPORTS_URL", notStore)
	}
}

// Folder is the path of the folder.
func (u ReportsURL) Folder() (string, bool) {
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Scheme != "file" || parsed.Host != "" || parsed.RawQuery != "" || parsed.Fragment != "" || !filepath.IsAbs(parsed.Path) {
		return "", false
	}
	return filepath.Clean(parsed.Path), true
}

// ReadinessReport are the settings of the readiness-report function.
type ReadinessReport struct {
	Logging
	Broker
	App
	Directory
	FlagsQueue string `split_words:"true" default:"flags" desc:"Queue of what a human must look at"`
	Locking
	Readiness
	ReportsURL        ReportsURL    `split_words:"true" desc:"Where reports, their history and unfinished work are kept: file:///folder or s3://bucket/prefix; readiness-report needs it"`
	PolicyFile        string        `split_words:"true" desc:"Path of the policy file that the tenant is managed by; what differs from it is flagged"`
	ReadinessInterval time.Duration `split_words:"true" default:"24h" desc:"Time between two reports, 1h to 720h; a run in between goes on with an unfinished one"`
}

func (c *ReadinessReport) problems() SettingsError {
	var p SettingsError
	c.Broker.check(&p)
	c.App.check(&p)
	c.Directory.check(&p)
	p.queues([]string{"FLAGS_QUEUE"}, c.FlagsQueue)
	c.Locking.check(&p)
	c.Readiness.check(&p)
	if c.ReportsURL == "" {
		p.add("REPORTS_URL", "is required")
	} else {
		c.ReportsURL.check(&p)
	}
	p.duration("READINESS_INTERVAL", c.ReadinessInterval, time.Hour, 30*24*time.Hour)
	return p
}

// ReadinessTool are the settings of mfaflow readiness and mfaflow policy, which are those of
// the function as far as they need them.
type ReadinessTool struct {
	App
	Directory
	Readiness
	ReportsURL ReportsURL `split_words:"true" desc:"Where reports, their history and unfinished work are kept: file:///folder or s3://bucket/prefix; readiness-report needs it"`
}

func (c *ReadinessTool) problems() SettingsError {
	var p SettingsError
	c.App.check(&p)
	c.Directory.check(&p)
	c.Readiness.check(&p)
	if c.ReportsURL != "" {
		c.ReportsURL.check(&p)
	}
	return p
}
