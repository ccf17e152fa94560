// Command image writes container images of long-lived functions and of the console, each as
// an OCI layout, without a container engine: an executable, certificates and a user. The
// same executables and certificates give the same digest.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	bin := flag.String("bin", "dist/image/bin", "folder with ARCH/NAME of every executable")
	out := flag.String("out", "dist/image", "folder to write NAME to, an OCI layout")
	certificates := flag.String("certificates", "/etc/ssl/certs/ca-certificates.crt", "PEM bundle of who is trusted")
	flag.Parse()
	if err := run(*bin, *out, *certificates, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run takes names, each with the arguments that the image gives its executable, such as
// mfaflow,console.
func run(bin, out, certificates string, names []string, w io.Writer) error {
	pem, err := os.ReadFile(certificates)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("name what to make images of")
	}
	for _, n := range names {
		words := strings.Split(n, ",")
		builds, err := filepath.Glob(filepath.Join(bin, "*", words[0]))
		if err != nil {
			return err
		}
		image := image{name: words[0], arguments: words[1:], certificates: pem, executables: map[string]string{}}
		for _, path := range builds {
			image.executables[filepath.Base(filepath.Dir(path))] = path
		}
		digest, err := image.write(filepath.Join(out, image.name))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s  %s\n", digest, image.name)
	}
	return nil
}

// image is one of a static executable, for as many architectures as there are builds of it.
type image struct {
	name string
	// executables are the paths by architecture of GOARCH.
	executables map[string]string
	// arguments come behind the executable; who runs the image may replace them.
	arguments []string
	// certificates is the PEM bundle of who is trusted.
	certificates []byte
}

// nobody is the user that the executable runs as; it owns nothing in the image.
const nobody = 65532

// write writes an OCI layout into a folder that is not there yet, and returns its digest.
func (image image) write(folder string) (digest string, err error) {
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is there already (%w)", folder, fs.ErrExist)
	}
	if !bytes.Contains(image.certificates, []byte("-----BEGIN CERTIFICATE-----")) {
		return "", errors.New("no certificates: Entra, Graph and Service Bus could not be told from others")
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	arches := make([]string, 0, len(image.executables))
	for arch := range image.executables {
		arches = append(arches, arch)
	}
	slices.Sort(arches)
	if len(arches) == 0 {
		return "", fmt.Errorf("%s is not built", image.name)
	}
	for _, arch := range arches {
		one, err := image.build(arch)
		if err != nil {
			return "", fmt.Errorf("%s for %s: %w", image.name, arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	hash, err := index.Digest()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", err
	}
	_, err = layout.Write(folder, index)
	return hash.String(), err
}

func (image image) build(arch string) (v1.Image, error) {
	executable := image.executables[arch]
	if err := checkExecutable(executable, arch); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(executable)
	if err != nil {
		return nil, err
	}
	layer, err := archive([]file{
		{"etc/passwd", fmt.Appendf(nil, "nobody:x:%d:%d:nobody:/:/none\n", nobody, nobody), 0o444},
		{"etc/ssl/certs/ca-certificates.crt", image.certificates, 0o444},
		{"usr/bin/" + image.name, program, 0o555},
	})
	if err != nil {
		return nil, err
	}
	one := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if one, err = mutate.AppendLayers(one, layer); err != nil {
		return nil, err
	}
	config, err := one.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.User = fmt.Sprintf("%d:%d", nobody, nobody)
	config.Config.Entrypoint = []string{"/usr/bin/" + image.name}
	config.Config.Cmd = image.arguments
	return mutate.ConfigFile(one, config)
}

type file struct {
	name string
	text []byte
	mode int64
}

// archive is a layer that depends on the files alone.
func archive(files []file) (v1.Layer, error) {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	seen := map[string]bool{}
	for _, f := range files {
		var above []string
		for dir := path.Dir(f.name); dir != "."; dir = path.Dir(dir) {
			above = append(above, dir+"/")
		}
		slices.Reverse(above)
		for _, dir := range above {
			if seen[dir] {
				continue
			}
			seen[dir] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o555, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
				return nil, err
			}
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(plain.Bytes())), nil },
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithMediaType(types.OCILayer))
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkExecutable refuses what would not start in an image that has nothing else.
func checkExecutable(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is no Linux executable: %w", path, err)
	}
	defer f.Close()
	if want, ok := machines[arch]; !ok || f.Machine != want {
		return fmt.Errorf("%s is built for %s, not for %s", path, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: build with CGO_ENABLED=0", path)
		}
	}
	return nil
}
