package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"mfaflow/events"
	"mfaflow/pkg/identity"
	"mfaflow/pkg/schema"
	"mfaflow/pkg/strictjson"
)

// File is a policy file. What is absent is not managed.
type File struct {
	BreakGlass      BreakGlass `json:"breakGlass"`
	Methods         *Methods   `json:"methods,omitempty"`
	Campaign        *Campaign  `json:"registrationCampaign,omitempty"`
	SystemPreferred string     `json:"systemPreferred,omitempty"`
	// SecurityDefaults is enabled, disabled or absent.
	SecurityDefaults string        `json:"securityDefaults,omitempty"`
	Conditional      []Policy      `json:"conditionalAccess,omitempty"`
	PerUser          []PerUserRule `json:"perUserMfa,omitempty"`
	Rollout          *Rollout      `json:"rollout,omitempty"`

	// places is where Parse found what; nil for a file that was made otherwise.
	places places
}

// BreakGlass names the emergency access accounts or says why there are none: exactly one
// of both.
type BreakGlass struct {
	Accounts []string `json:"accounts,omitempty"`
	None     string   `json:"none,omitempty"`
}

// Methods are the managed authentication methods.
type Methods struct {
	Authenticator *Method            `json:"microsoftAuthenticator,omitempty"`
	Passkey       *Method            `json:"fido2,omitempty"`
	Certificate   *Method            `json:"x509Certificate,omitempty"`
	Pass          *Pass              `json:"temporaryAccessPass,omitempty"`
	SoftwareOATH  *Method            `json:"softwareOath,omitempty"`
	HardwareOATH  *Method            `json:"hardwareOath,omitempty"`
	SMS           *Method            `json:"sms,omitempty"`
	Voice         *Method            `json:"voice,omitempty"`
	QRCode        *Method            `json:"qrCodePin,omitempty"`
	External      map[string]*Method `json:"external,omitempty"`
}

// configuration is a method of the file.
type configuration struct {
	// id is that of the tenant's configuration, in lower case.
	id string
	// path is where the file says it.
	path   string
	method *Method
}

// configurations are the managed methods, in the order of their ids.
func (m *Methods) configurations() (all []configuration) {
	if m == nil {
		return nil
	}
	add := func(id, name string, method *Method) {
		if method != nil {
			all = append(all, configuration{id, "methods." + name, method})
		}
	}
	add("microsoftauthenticator", "microsoftAuthenticator", m.Authenticator)
	add("fido2", "fido2", m.Passkey)
	add("x509certificate", "x509Certificate", m.Certificate)
	if m.Pass != nil {
		add(passConfiguration, "temporaryAccessPass", &m.Pass.Method)
	}
	add("softwareoath", "softwareOath", m.SoftwareOATH)
	add("hardwareoath", "hardwareOath", m.HardwareOATH)
	add("sms", "sms", m.SMS)
	add("voice", "voice", m.Voice)
	add("qrcodepin", "qrCodePin", m.QRCode)
	for id, method := range m.External {
		add(strings.ToLower(id), "external."+id, method)
	}
	slices.SortFunc(all, func(a, b configuration) int { return cmp.Compare(a.id, b.id) })
	return all
}

// passConfiguration is the id of the configuration of Temporary Access Passes.
const passConfiguration = "temporaryaccesspass"

// Method is the state of a method and whom it is for.
type Method struct {
	State   string `json:"state,omitempty"`
	Include *Who   `json:"include,omitempty"`
	Exclude *Who   `json:"exclude,omitempty"`
}

// Pass is the configuration of Temporary Access Passes. Lifetimes are in minutes.
type Pass struct {
	Method
	Minimum int   `json:"minimumMinutes,omitempty"`
	Default int   `json:"defaultMinutes,omitempty"`
	Maximum int   `json:"maximumMinutes,omitempty"`
	Length  int   `json:"length,omitempty"`
	Once    *bool `json:"once,omitempty"`
}

// Who is a choice of people. Users and groups are object ids or names.
type Who struct {
	All    bool     `json:"all,omitempty"`
	Users  []string `json:"users,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// Campaign is the registration campaign.
type Campaign struct {
	State   string `json:"state,omitempty"`
	Snooze  *int   `json:"snoozeDays,omitempty"`
	Method  string `json:"method,omitempty"`
	Include *Who   `json:"include,omitempty"`
	Exclude *Who   `json:"exclude,omitempty"`
}

// Policy is a Conditional Access policy that requires MFA or a strength.
type Policy struct {
	ID      string    `json:"id,omitempty"`
	Name    string    `json:"name"`
	State   string    `json:"state,omitempty"`
	Require string    `json:"require,omitempty"`
	Include *Selected `json:"include,omitempty"`
	Exclude *Selected `json:"exclude,omitempty"`
	Apps    []string  `json:"applications,omitempty"`
}

// Selected is a choice of people as Conditional Access makes it.
type Selected struct {
	Who
	Roles  []string `json:"roles,omitempty"`
	Guests []string `json:"guests,omitempty"`
}

// States of a policy as a file has them.
const (
	stateReportOnly = "report-only"
	stateEnforced   = "enforced"
	stateDisabled   = "disabled"
	stateEnabled    = "enabled"
)

// PerUserRule gives people a state of per-user MFA.
type PerUserRule struct {
	State string `json:"state"`
	For   Who    `json:"for"`
}

// Rollout says how policies come into force.
type Rollout struct {
	Observe Duration `json:"observe,omitempty"`
	Waves   []Wave   `json:"waves,omitempty"`
	Stop    *Stop    `json:"stop,omitempty"`
}

// Wave is a choice of groups for whom policies are enforced earlier than for everybody.
type Wave struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	// Pause is how long to wait after the wave.
	Pause Duration `json:"pause,omitempty"`
}

// Stop is what ends a rollout before the next wave: each is the largest number that is
// still good. FailedSignIns and OpenFlags are not looked at when absent.
type Stop struct {
	NewlyBlocked  int  `json:"newlyBlocked,omitempty"`
	FailedSignIns *int `json:"failedSignIns,omitempty"`
	OpenFlags     *int `json:"openFlags,omitempty"`
}

// Duration is a length of time in hours and minutes, such as 72h or 1h30m.
type Duration time.Duration

// MarshalText writes it as files have it.
func (d Duration) MarshalText() ([]byte, error) {
	h, m := time.Duration(d)/time.Hour, time.Duration(d)%time.Hour/time.Minute
	switch {
	case m == 0:
		return fmt.Appendf(nil, "%dh", h), nil
	case h == 0:
		return fmt.Appendf(nil, "%dm", m), nil
	default:
		return fmt.Appendf(nil, "%dh%dm", h, m), nil
	}
}

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// schemaText is part of the event catalogue: parts of a policy file come as events too.
var schemaText = sync.OnceValue(func() []byte {
	text, err := fs.ReadFile(events.FS(), "schemas/policy-file.v1.json")
	if err != nil {
		panic(err) // it is in the binary
	}
	return text
})

// Schema is the JSON Schema of policy files, for editors.
func Schema() []byte { return slices.Clone(schemaText()) }

// schemaID is the $id of the schema.
const schemaID = "https://mfaflow.dev/schemas/policy-file.v1.json"

// compiled is the schema that Parse goes by.
var compiled = sync.OnceValues(func() (*schema.Schema, error) {
	doc, err := strictjson.Decode(schemaText())
	if err != nil {
		return nil, err
	}
	return schema.Compile(schemaID, schema.Options{
		Load: func(string) (any, error) { return doc, nil },
		Formats: map[string]func(string) error{"uuid": func(s string) error {
			if !identity.IsGUID(s) {
				return errors.New("is no GUID")
			}
			return nil
		}},
	})
})

// ErrFile: the text is no policy file.
var ErrFile = errors.New("not a policy file")

const (
	// maxFile is more than any tenant needs, and little enough to parse whatever it holds.
	maxFile = 256 << 10
	// maxDepth is deeper than the schema goes.
	maxDepth = 16
)

// problem is something wrong at a place of the file.
type problem struct {
	at   *token.Position
	text string
}

// Parse reads a policy file, in YAML or JSON. The error is ErrFile and lists everything
// that is wrong with line and column.
func Parse(text []byte) (File, error) {
	var f File
	if len(text) > maxFile {
		return f, fmt.Errorf("%w: it is larger than %d KiB", ErrFile, maxFile>>10)
	}
	if err := shallow(text); err != nil {
		return f, err
	}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		var bad yaml.Error
		if errors.As(err, &bad) && bad.GetToken() != nil {
			return f, refused([]problem{{bad.GetToken().Position, bad.GetMessage()}})
		}
		return f, fmt.Errorf("%w: it is no YAML", ErrFile)
	}
	var docs []ast.Node
	for _, d := range parsed.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	if len(docs) != 1 {
		return f, fmt.Errorf("%w: it holds %d documents; there must be one", ErrFile, len(docs))
	}
	r := &reader{at: places{}}
	value := r.value(docs[0], nil)
	if len(r.problems) > 0 {
		return f, refused(r.problems)
	}
	rules, err := compiled()
	if err != nil {
		return f, err
	}
	if broken := rules.Validate(value); len(broken) > 0 {
		return f, refused(r.explain(broken))
	}
	plain, err := json.Marshal(value)
	if err != nil {
		return f, fmt.Errorf("%w: %w", ErrFile, err)
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields() // the schema says the same; a test compares them
	if err := dec.Decode(&f); err != nil {
		return f, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if wrong := f.check(); len(wrong) > 0 {
		return File{}, r.at.refuse(wrong)
	}
	f.places = r.at
	return f, nil
}

// shallow refuses nesting that nobody writes, before a parser recurses into it.
func shallow(text []byte) error {
	depth := 0
	for _, line := range bytes.Split(text, []byte("\n")) {
		// Flow collections nest by brackets, block ones by indentation and dashes.
		trimmed := bytes.TrimLeft(line, " -?:\t")
		if n := len(line) - len(trimmed); n > 8*maxDepth {
			return fmt.Errorf("%w: it is nested too deeply", ErrFile)
		}
		depth += bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{"))
		depth -= bytes.Count(line, []byte("]")) + bytes.Count(line, []byte("}"))
		if depth > 4*maxDepth || bytes.Count(line, []byte("["))+bytes.Count(line, []byte("{")) > 1000 {
			return fmt.Errorf("%w: it is nested too deeply", ErrFile)
		}
	}
	return nil
}

func refused(list []problem) error {
	slices.SortStableFunc(list, func(a, b problem) int {
		if a.at == nil || b.at == nil {
			return cmp.Compare(b2i(a.at != nil), b2i(b.at != nil))
		}
		return cmp.Or(cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(a.at.Column, b.at.Column))
	})
	var out strings.Builder
	for i, p := range list {
		if i == 20 {
			fmt.Fprintf(&out, "\n  and %d more", len(list)-i)
			break
		}
		if p.at != nil {
			fmt.Fprintf(&out, "\n  line %d, column %d: %s", p.at.Line, p.at.Column, p.text)
		} else {
			fmt.Fprintf(&out, "\n  %s", p.text)
		}
	}
	return fmt.Errorf("%w:%s", ErrFile, out.String())
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// reader makes JSON values of YAML, and remembers where each stood.
type reader struct {
	at       places
	problems []problem
}

func pointer(path []string) string { return strings.Join(path, "\x00") }

func (r *reader) wrong(n ast.Node, text string, args ...any) any {
	var at *token.Position
	if t := n.GetToken(); t != nil {
		at = t.Position
	}
	r.problems = append(r.problems, problem{at, fmt.Sprintf(text, args...)})
	return nil
}

// value is the JSON value of a node. Anchors, aliases and tags are refused: nobody needs
// them here, and they make small files large.
func (r *reader) value(n ast.Node, path []string) any {
	if n == nil {
		return nil
	}
	if t := n.GetToken(); t != nil {
		if _, named := r.at[pointer(path)]; !named {
			r.at[pointer(path)] = t.Position
		}
	}
	if len(path) > maxDepth {
		return r.wrong(n, "it is nested too deeply")
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		fields := make(map[string]any, len(n.Values))
		for _, v := range n.Values {
			r.field(fields, v, path)
		}
		return fields
	case *ast.MappingValueNode:
		fields := map[string]any{}
		r.field(fields, n, path)
		return fields
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, v := range n.Values {
			list[i] = r.value(v, append(slices.Clip(path), strconv.Itoa(i)))
		}
		return list
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		return json.Number(fmt.Sprint(n.Value))
	case *ast.FloatNode:
		return json.Number(strconv.FormatFloat(n.Value, 'g', -1, 64))
	case *ast.NullNode:
		return r.wrong(n, "there is no value; remove the name, or give it one")
	default:
		return r.wrong(n, "%s is not used here: write it out", strings.ToLower(n.Type().String()))
	}
}

func (r *reader) field(fields map[string]any, v *ast.MappingValueNode, path []string) {
	key, ok := v.Key.(ast.Node)
	name, isText := v.Key.(*ast.StringNode)
	if !ok || !isText {
		r.wrong(key, "a name must be plain text")
		return
	}
	if _, twice := fields[name.Value]; twice {
		r.wrong(key, "%q is there twice", name.Value)
		return
	}
	path = append(slices.Clip(path), name.Value)
	if t := key.GetToken(); t != nil {
		r.at[pointer(path)] = t.Position
	}
	fields[name.Value] = r.value(v.Value, path)
}

// explain says what is wrong in words.
func (r *reader) explain(broken []schema.Violation) []problem {
	var list []problem
	for _, v := range broken {
		name := ""
		if len(v.Path) > 0 {
			name = v.Path[len(v.Path)-1]
		}
		where, parent := strings.Join(v.Path, "."), v.Path[:max(0, len(v.Path)-1)]
		p := problem{at: r.at[pointer(v.Path)]}
		switch v.Keyword {
		case "additionalProperties":
			p.text = fmt.Sprintf("%s is unknown", where)
			if near := nearest(name, names(parent)); near != "" {
				p.text += fmt.Sprintf("; did you mean %s?", near)
			} else if all := names(parent); len(all) > 0 {
				p.text += "; there are " + strings.Join(all, ", ")
			}
		case "required":
			p.at, p.text = r.at[pointer(parent)], fmt.Sprintf("%s is missing", where)
		case "enum", "const":
			p.text = fmt.Sprintf("%s must be %s", where, strings.Join(v.Want, " or "))
		case "type":
			p.text = fmt.Sprintf("%s must be of type %s", cmp.Or(where, "the file"), strings.Join(v.Want, " or "))
		case "minimum":
			p.text = fmt.Sprintf("%s must be at least %s", where, v.Want[0])
		case "maximum":
			p.text = fmt.Sprintf("%s must be at most %s", where, v.Want[0])
		case "minItems", "minProperties":
			p.text = fmt.Sprintf("%s must not be empty", where)
		case "maxItems":
			p.text = fmt.Sprintf("%s must hold at most %s", where, v.Want[0])
		case "format":
			p.text = fmt.Sprintf("%s must be a GUID", where)
		case "maxLength":
			p.text = fmt.Sprintf("%s is too long", where)
		case "pattern":
			p.text = fmt.Sprintf("%s is not in its form: plain text of one line, or a time such as 24h", where)
		default:
			p.text = fmt.Sprintf("%s breaks the rule %s", where, v.Keyword)
		}
		list = append(list, p)
	}
	return list
}

// names are the members that the schema has at a path, in order.
func names(path []string) []string {
	var doc map[string]any
	if json.Unmarshal(schemaText(), &doc) != nil {
		return nil
	}
	at := resolve(doc, doc)
	for _, part := range path {
		fields, _ := at["properties"].(map[string]any)
		next, ok := fields[part]
		if !ok {
			if next = at["items"]; next == nil {
				next = at["additionalProperties"]
			}
		}
		object, _ := next.(map[string]any)
		at = resolve(doc, object)
	}
	fields, _ := at["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(fields))
}

func resolve(doc, at map[string]any) map[string]any {
	ref, _ := at["$ref"].(string)
	if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
		defs, _ := doc["$defs"].(map[string]any)
		target, _ := defs[name].(map[string]any)
		return target
	}
	return at
}

// nearest is the name that is closest to a misspelt one; empty when none is close.
func nearest(name string, all []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, candidate := range all {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// fault is what a file says that makes no sense, at a path.
type fault struct {
	path string // joined by dots
	text string
}

// places is where the values of a file stand, by pointer.
type places map[string]*token.Position

// refuse is the error about values, each at its place or at that of what it belongs to.
func (p places) refuse(list []fault) error {
	out := make([]problem, len(list))
	for i, f := range list {
		parts := strings.Split(f.path, ".")
		for len(parts) > 0 && out[i].at == nil {
			out[i].at = p[pointer(parts)]
			parts = parts[:len(parts)-1]
		}
		out[i].text = f.path + ": " + f.text
	}
	return refused(out)
}

// check finds what the schema cannot say.
func (f File) check() []fault {
	var list []fault
	wrong := func(path, text string, args ...any) { list = append(list, fault{path, fmt.Sprintf(text, args...)}) }
	switch {
	case len(f.BreakGlass.Accounts) > 0 && f.BreakGlass.None != "":
		wrong("breakGlass", "name the accounts or say why there are none, not both")
	case len(f.BreakGlass.Accounts) == 0 && f.BreakGlass.None == "":
		wrong("breakGlass", "name the accounts, or say under none why there are none")
	}
	one := func(path string, w *Who) {
		if w != nil && w.All && len(w.Users)+len(w.Groups) > 0 {
			wrong(path, "everybody includes the others: say all alone")
		}
	}
	if m := f.Methods; m != nil {
		for _, c := range m.configurations() {
			one(c.path+".include", c.method.Include)
		}
		if p := m.Pass; p != nil {
			bounds := []int{p.Minimum, p.Default, p.Maximum}
			set := slices.DeleteFunc(slices.Clone(bounds), func(n int) bool { return n == 0 })
			if !slices.IsSorted(set) {
				wrong("methods.temporaryAccessPass", "the lifetimes must be in order: minimumMinutes, defaultMinutes, maximumMinutes")
			}
		}
	}
	if c := f.Campaign; c != nil {
		one("registrationCampaign.include", c.Include)
	}
	known := map[string]string{}
	enforced := ""
	for i, p := range f.Conditional {
		path := fmt.Sprintf("conditionalAccess.%d", i)
		for _, key := range []string{"name " + strings.ToLower(p.Name), "id " + strings.ToLower(p.ID)} {
			if other, twice := known[key]; twice && key != "id " {
				wrong(path, "is the same policy as %s", other)
			}
			known[key] = path
		}
		if strings.HasSuffix(p.Name, rolloutSuffix) {
			wrong(path+".name", "ends with %q, which is for policies of a rollout", rolloutSuffix)
		}
		for _, s := range []struct {
			name string
			*Selected
		}{{"include", p.Include}, {"exclude", p.Exclude}} {
			if s.Selected == nil {
				continue
			}
			one(path+"."+s.name, &s.Who)
			if s.name == "exclude" && s.All {
				wrong(path+".exclude.all", "a policy that leaves everybody out asks nobody")
			}
		}
		if p.State == stateEnforced {
			enforced = p.Name
		}
	}
	if f.SecurityDefaults == stateEnabled && enforced != "" {
		wrong("securityDefaults", "cannot be enabled beside the enforced policy %q: disable one of both", enforced)
	}
	for i, r := range f.PerUser {
		one(fmt.Sprintf("perUserMfa.%d.for", i), &r.For)
	}
	if r := f.Rollout; r != nil {
		waves := map[string]bool{}
		for i, w := range r.Waves {
			if waves[w.Name] {
				wrong(fmt.Sprintf("rollout.waves.%d.name", i), "two waves are called %q", w.Name)
			}
			waves[w.Name] = true
		}
	}
	return list
}
