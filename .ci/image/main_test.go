package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func build(t *testing.T, bin string, arches ...string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range arches {
		c := exec.Command("go", "build", "-o", filepath.Join(bin, arch, "worker"), source)
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOOS=linux", "GOARCH="+arch)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

func bundle(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImage(t *testing.T) {
	bin, out, again, ca := t.TempDir(), t.TempDir(), t.TempDir(), bundle(t)
	build(t, bin, "amd64", "arm64")
	var first, second bytes.Buffer
	if err := run(bin, out, ca, []string{"worker,serve"}, &first); err != nil {
		t.Fatal(err)
	}
	if err := run(bin, again, ca, []string{"worker,serve"}, &second); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() || !strings.HasPrefix(first.String(), "sha256:") {
		t.Errorf("digests %q and %q", &first, &second)
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(out, "worker"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("%v, %v", manifest, err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		one, err := index.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := one.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if p := manifest.Manifests[i].Platform; p.OS != "linux" || p.Architecture != arch || config.Architecture != arch {
			t.Errorf("platform %v, configured for %s", p, config.Architecture)
		}
		if d := cmp.Diff([]string{"65532:65532", "/usr/bin/worker", "serve"}, append([]string{config.Config.User}, append(config.Config.Entrypoint, config.Config.Cmd...)...)); d != "" {
			t.Error(d)
		}
		layers, err := one.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		r, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for files := tar.NewReader(r); ; {
			h, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
		}
		if d := cmp.Diff([]string{"etc/", "etc/passwd", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt", "usr/", "usr/bin/", "usr/bin/worker"}, names); d != "" {
			t.Error(d)
		}
	}
}

func TestRefused(t *testing.T) {
	bin, ca := t.TempDir(), bundle(t)
	build(t, bin, "amd64")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificates"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := t.TempDir()
	if err := os.CopyFS(filepath.Join(wrong, "arm64"), os.DirFS(filepath.Join(bin, "amd64"))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ bin, ca, image, want string }{
		"not built":            {bin, ca, "router", "router is not built"},
		"no certificates":      {bin, text, "worker", "no certificates"},
		"another architecture": {wrong, ca, "worker", "is built for EM_X86_64, not for arm64"},
	} {
		if err := run(c.bin, t.TempDir(), c.ca, []string{c.image}, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
