// Package packaging turns built functions into what is deployed: a zip for AWS Lambda,
// its bill of materials, the licences of what is in it, and a table of sizes that fails
// above the bounds. The same binaries always give the same bytes.
//
// It builds nothing and knows nothing of what functions do.
package packaging

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"debug/elf"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Bounds of sizes in bytes. That of functions which take webhooks is the design's, since
// senders wait for their cold start; the others are Lambda's:
// docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const (
	maxWebhookBinary = 12 << 20
	maxBinary        = 250 << 20
	maxZip           = 50 << 20
)

// Function is one built function.
type Function struct {
	Name string
	// Bootstrap is the path of its executable, whose name must be bootstrap.
	Bootstrap string
	// Webhooks: it takes HTTP from the internet.
	Webhooks bool
}

// Inventory writes the CycloneDX bill of materials of an executable, as JSON with the
// licences of its modules.
type Inventory func(ctx context.Context, executable, output string) error

// Size is what one package takes.
type Size struct {
	Function string
	Binary   int64
	Zip      int64
	Modules  int
}

// ErrBound: something is larger than it may be.
var ErrBound = errors.New("above the bound")

// Write packages the functions for an architecture of GOARCH into a folder: NAME.zip,
// NAME.cdx.json, licences.csv and sizes.txt. What is there already is replaced. It fails
// after everything was written when a bound is missed.
func Write(ctx context.Context, folder, arch string, functions []Function, inventory Inventory) ([]Size, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	var sizes []Size
	used := licences{}
	for _, f := range functions {
		if err := checkFile(f.Bootstrap, arch); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		archive, bill := filepath.Join(folder, f.Name+".zip"), filepath.Join(folder, f.Name+".cdx.json")
		if err := errors.Join(writeZip(archive, f.Bootstrap), Verify(archive, arch)); err != nil {
			return nil, fmt.Errorf("zip %s: %w", f.Name, err)
		}
		if err := inventory(ctx, f.Bootstrap, bill); err != nil {
			return nil, fmt.Errorf("bill of materials of %s: %w", f.Name, err)
		}
		text, err := os.ReadFile(bill)
		if err != nil {
			return nil, err
		}
		modules, err := used.add(f.Name, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bill, err)
		}
		binary, err := os.Stat(f.Bootstrap)
		if err != nil {
			return nil, err
		}
		zipped, err := os.Stat(archive)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, Size{f.Name, binary.Size(), zipped.Size(), modules})
	}
	list, err := used.csv()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "licences.csv"), list, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "sizes.txt"), []byte(Table(sizes)), 0o600); err != nil {
		return nil, err
	}
	return sizes, check(sizes, functions)
}

func check(sizes []Size, functions []Function) error {
	var errs []error
	for i, s := range sizes {
		limit := int64(maxBinary)
		if functions[i].Webhooks {
			limit = maxWebhookBinary
		}
		if s.Binary > limit {
			errs = append(errs, fmt.Errorf("%s has %s, at most %s: %w", s.Function, mebibytes(s.Binary), mebibytes(limit), ErrBound))
		}
		if s.Zip > maxZip {
			errs = append(errs, fmt.Errorf("%s.zip has %s, at most %s: %w", s.Function, mebibytes(s.Zip), mebibytes(maxZip), ErrBound))
		}
	}
	return errors.Join(errs...)
}

// Table is for people.
func Table(sizes []Size) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "function\tbinary\tzip\tmodules\t")
	for _, s := range sizes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t\n", s.Function, mebibytes(s.Binary), mebibytes(s.Zip), s.Modules)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

func mebibytes(n int64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// Verify refuses a zip that Lambda would only refuse when the function is invoked:
// anything but one executable bootstrap at the root, which everybody may run, another
// architecture of GOARCH, or a binary that looks for a C library.
func Verify(archive, arch string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	defer func() { _ = z.Close() }() // it was only read
	if len(z.File) != 1 || z.File[0].Name != bootstrap {
		names := []string{}
		for _, f := range z.File {
			names = append(names, f.Name)
		}
		return fmt.Errorf("%s holds %q and not %s alone, at the root", archive, names, bootstrap)
	}
	if mode := z.File[0].Mode(); mode != bootstrapMode {
		return fmt.Errorf("%s: %s has the mode %s, not %s", archive, bootstrap, mode, bootstrapMode)
	}
	in, err := z.File[0].Open()
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxBinary+1))
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	return checkExecutable(bytes.NewReader(text), filepath.Join(archive, bootstrap), arch)
}

const (
	bootstrap     = "bootstrap"
	bootstrapMode = fs.FileMode(0o755)
)

func checkFile(path, arch string) error {
	if filepath.Base(path) != bootstrap {
		return fmt.Errorf("%s is not named %s", path, bootstrap)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkExecutable(f, path, arch)
}

func checkExecutable(text io.ReaderAt, path, arch string) error {
	want, ok := machines[arch]
	if !ok {
		return fmt.Errorf("architecture %q is neither arm64 nor amd64", arch)
	}
	f, err := elf.NewFile(text)
	if err != nil {
		return fmt.Errorf("%s is no Linux executable: %w", path, err)
	}
	if f.Machine != want {
		return fmt.Errorf("%s is built for %s, not for %s", path, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: build with CGO_ENABLED=0", path)
		}
	}
	return nil
}

// writeZip writes an archive that depends on the executable's bytes and name alone.
func writeZip(archive, executable string) error {
	in, err := os.Open(executable)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer out.Close()

	z := zip.NewWriter(out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	header := &zip.FileHeader{
		Name:   filepath.Base(executable),
		Method: zip.Deflate,
		// The oldest time the format can hold: no build has a newer one.
		Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	header.SetMode(bootstrapMode)
	f, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, in); err != nil {
		return err
	}
	return errors.Join(z.Close(), out.Close())
}

// module is one at one version.
type module struct{ name, version string }

// licences are those of all modules, and who uses them.
type licences map[module]*licence

type licence struct {
	ids       []string
	functions []string
}

// allowed are licences that ask for no more than to be named and kept along.
var allowed = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unlicense"}

// ErrLicence: a module has none that is known to be harmless.
var ErrLicence = errors.New("licence")

// readings correct what the detector reads wrongly, by the module, or the beginning of its
// name up to a slash, and what was detected. Each of these texts was read.
var readings = []struct{ module, detected, is string }{
	{"golang.org/x/", "BSD-Source-Code", "BSD-3-Clause"}, // the text of Go itself
	{"std", "", "BSD-3-Clause"},                          // comes without one in the module cache
}

func reading(module, detected string) string {
	for _, r := range readings {
		within := strings.HasSuffix(r.module, "/") && strings.HasPrefix(module, r.module)
		if (module == r.module || within) && detected == r.detected {
			return r.is
		}
	}
	return detected
}

// own is our module, whose licence is the repository's.
const own = "mfaflow"

// add reads a bill of materials and says how many modules it lists. A module without a
// licence that we know is refused.
func (l licences) add(function string, bill []byte) (int, error) {
	var doc struct {
		Format     string `json:"bomFormat"`
		Components []struct {
			Name     string `json:"name"`
			Version  string `json:"version"`
			Evidence struct {
				Licenses []struct {
					License struct {
						ID string `json:"id"`
					} `json:"license"`
				} `json:"licenses"`
			} `json:"evidence"`
		} `json:"components"`
	}
	if err := json.Unmarshal(bill, &doc); err != nil {
		return 0, fmt.Errorf("no JSON: %w", err)
	}
	if doc.Format != "CycloneDX" {
		return 0, fmt.Errorf("its format is %q, not CycloneDX", doc.Format)
	}
	for _, c := range doc.Components {
		if c.Name == own {
			continue
		}
		m := module{c.Name, c.Version}
		if l[m] == nil {
			l[m] = &licence{}
		}
		l[m].functions = append(l[m].functions, function)
		detected := []string{}
		for _, x := range c.Evidence.Licenses {
			detected = append(detected, x.License.ID)
		}
		if len(detected) == 0 {
			detected = []string{""}
		}
		for _, d := range detected {
			id := reading(c.Name, d)
			switch {
			case id == "":
				return 0, fmt.Errorf("%w: %s %s has none that was found; read its text, and decide", ErrLicence, c.Name, c.Version)
			case !slices.Contains(allowed, id):
				return 0, fmt.Errorf("%w: %s %s is under %s, which is none of %s", ErrLicence, c.Name, c.Version, id, strings.Join(allowed, ", "))
			case !slices.Contains(l[m].ids, id):
				l[m].ids = append(l[m].ids, id)
			}
		}
		slices.Sort(l[m].ids)
	}
	return len(doc.Components), nil
}

func (l licences) csv() ([]byte, error) {
	rows := make([][]string, 0, len(l))
	for m, x := range l {
		rows = append(rows, []string{m.name, m.version, strings.Join(x.ids, " "), strings.Join(x.functions, " ")})
	}
	slices.SortFunc(rows, slices.Compare)
	var b strings.Builder
	w := csv.NewWriter(&b)
	err := w.Write([]string{"module", "version", "licences", "functions"})
	err = errors.Join(err, w.WriteAll(rows))
	return []byte(b.String()), err
}
