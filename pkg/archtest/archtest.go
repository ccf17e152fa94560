// Package archtest holds the layout and the dependency rules of the module. Its
// tests check the source tree against them.
//
// It parses the source itself instead of asking the go command, so that the test
// cache sees every file a verdict rests on.
package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "mfaflow"

// Tree is the source of a module: its packages by their folder.
type Tree map[string]*Package

// Package is one folder with Go files.
type Package struct {
	Name string
	// Lines counts lines of code in files that are no tests: no comments, no empty
	// lines, nothing up to the last import.
	Lines int
	Files []string
	// Imports and TestImports map an import path to one place that has it.
	Imports, TestImports map[string]string
}

// Load reads all Go files, whatever their build constraints, but for those in
// folders that the go command skips.
func Load(source fs.FS) (Tree, error) {
	tree := Tree{}
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "dist" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		return tree.add(source, name)
	})
	return tree, err
}

func (t Tree) add(source fs.FS, name string) error {
	text, err := fs.ReadFile(source, name)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ImportsOnly)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	p := t[dir]
	if p == nil {
		p = &Package{Imports: map[string]string{}, TestImports: map[string]string{}}
		t[dir] = p
	}
	imports := p.TestImports
	if !strings.HasSuffix(name, "_test.go") {
		imports = p.Imports
		p.Name = file.Name.Name
		p.Files = append(p.Files, name)
		p.Lines += codeLines(text[set.Position(end(file)).Offset:])
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		imports[imported] = set.Position(spec.Pos()).String()
	}
	return nil
}

// end is where the imports of a file end.
func end(file *ast.File) token.Pos {
	at := file.Name.End()
	for _, d := range file.Decls {
		at = d.End() // the parser stops after the imports
	}
	return at
}

func codeLines(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			n++
		}
	}
	return n
}

// ours returns the folder of an import path of this module.
func ours(imported string) (dir string, ok bool) {
	return strings.CutPrefix(imported, module+"/")
}

// external reports whether an import path is of another module: the first element
// of the standard library's paths has no dot.
func external(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".")
}

// reach follows the imports of a package through the module. It returns all import
// paths, ours and others', each with the chain of folders that leads there.
func (t Tree) reach(dir string) map[string]string {
	found := map[string]string{}
	var visit func(dir, chain string)
	visit = func(dir, chain string) {
		p := t[dir]
		if p == nil {
			return
		}
		for _, imported := range slices.Sorted(maps.Keys(p.Imports)) {
			if _, seen := found[imported]; seen {
				continue
			}
			found[imported] = chain
			if next, ok := ours(imported); ok {
				visit(next, chain+" -> "+next)
			}
		}
	}
	visit(dir, dir)
	return found
}

// under are the folders of the tree that are the folder or lie in it; "x/*" are
// the folders directly in x.
func (t Tree) under(pattern string) []string {
	var dirs []string
	for _, dir := range slices.Sorted(maps.Keys(t)) {
		if matches(pattern, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func matches(pattern, dir string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path.Dir(dir) == parent
	}
	return dir == pattern || strings.HasPrefix(dir, pattern+"/")
}

// Check returns every breach of the rules, sorted.
func (t Tree) Check(r Rules) []string {
	var breaches []string
	add := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	t.checkLayers(r, add)
	t.checkOwners(r, add)
	t.checkBans(r, add)
	slices.Sort(breaches)
	return slices.Compact(breaches)
}

func (t Tree) checkLayers(r Rules, add func(string, ...any)) {
	layerOf := func(dir string) int {
		return slices.IndexFunc(r.Layers, func(l Layer) bool {
			return slices.ContainsFunc(l.Folders, func(f string) bool { return matches(f, dir) })
		})
	}
	for _, l := range r.Layers {
		for _, folder := range l.Folders {
			if len(t.under(folder)) == 0 {
				add("layer %s names %s, which does not exist", l.Name, folder)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(t)) {
		from := layerOf(dir)
		if from < 0 {
			add("%s belongs to no layer: say in pkg/archtest which one", dir)
			continue
		}
		for imported, at := range t[dir].Imports {
			to, ok := ours(imported)
			if !ok || layerOf(to) < 0 {
				continue
			}
			layer, target := r.Layers[from], r.Layers[layerOf(to)]
			switch {
			case layer.Name == target.Name && layer.Strangers && !sameFolder(layer, dir, to):
				add("%s: %s imports %s: %s packages do not import one another", at, dir, to, layer.Name)
			case layer.Name != target.Name && !slices.Contains(layer.Imports, target.Name):
				add("%s: %s imports %s: %s must not know %s", at, dir, to, layer.Name, target.Name)
			}
		}
	}
}

// sameFolder reports whether both lie under one folder that the layer lists.
func sameFolder(l Layer, a, b string) bool {
	return slices.ContainsFunc(l.Folders, func(f string) bool { return matches(f, a) && matches(f, b) })
}

func (t Tree) checkOwners(r Rules, add func(string, ...any)) {
	for _, o := range r.Owners {
		for _, folder := range o.Folders {
			used := slices.ContainsFunc(t.under(folder), func(dir string) bool {
				return imports(t[dir].Imports, o.Imported) || o.TestsOnly && imports(t[dir].TestImports, o.Imported)
			})
			if !used {
				add("%s may import %s and does not", folder, o.Imported)
			}
		}
	}
	// The owner of an import is the entry with the longest prefix.
	owner := func(imported string) *Owner {
		var best *Owner
		for i, o := range r.Owners {
			if within(imported, o.Imported) && (best == nil || len(o.Imported) > len(best.Imported)) {
				best = &r.Owners[i]
			}
		}
		return best
	}
	allowed := func(o *Owner, dir string) bool {
		return slices.ContainsFunc(o.Folders, func(f string) bool { return matches(f, dir) })
	}
	for _, dir := range slices.Sorted(maps.Keys(t)) {
		for imported, at := range t[dir].Imports {
			if !external(imported) {
				continue
			}
			switch o := owner(imported); {
			case o == nil:
				add("%s: nobody may import %s: say in pkg/archtest who does", at, imported)
			case o.TestsOnly:
				add("%s: %s is for tests", at, imported)
			case !allowed(o, dir):
				add("%s: %s imports %s: only %s may", at, dir, imported, strings.Join(o.Folders, ", "))
			}
		}
		for imported, at := range t[dir].TestImports {
			if o := owner(imported); o != nil && o.TestsToo && !allowed(o, dir) {
				add("%s: tests of %s import %s: only %s may", at, dir, imported, strings.Join(o.Folders, ", "))
			}
		}
	}
}

func (t Tree) checkBans(r Rules, add func(string, ...any)) {
	for _, b := range r.Bans {
		from := t.under(b.From)
		if len(from) == 0 {
			add("a ban is about %s, which does not exist", b.From)
		}
		for _, dir := range from {
			for imported, chain := range t.reach(dir) {
				if imported == b.Imported || !b.Exact && within(imported, b.Imported) {
					add("%s reaches %s: %s (%s)", dir, imported, b.Why, chain)
				}
			}
		}
	}
}

func imports(list map[string]string, prefix string) bool {
	for imported := range list {
		if within(imported, prefix) {
			return true
		}
	}
	return false
}

// within reports whether an import path is the prefix or lies under it. A prefix
// may end inside an element, as in github.com/microsoft/kiota-.
func within(imported, prefix string) bool {
	if strings.HasSuffix(prefix, "/") || strings.HasSuffix(prefix, "-") {
		return strings.HasPrefix(imported, prefix)
	}
	return imported == prefix || strings.HasPrefix(imported, prefix+"/")
}
