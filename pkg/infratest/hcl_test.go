package infratest_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// root is the module.
const root = "../.."

// tree are the blocks of the .tf files below a folder.
type tree struct {
	dir    string
	blocks []block
}

// block is one block, at the top of a file or within another.
type block struct {
	*hclsyntax.Block
	src []byte
}

func parse(t *testing.T, dir string) tree {
	t.Helper()
	all := tree{dir: dir}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".tf" || strings.Contains(path, "/.terraform/") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file, problems := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
		if problems.HasErrors() {
			return problems
		}
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			all.blocks = append(all.blocks, block{b, src})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all.blocks) == 0 {
		t.Fatalf("%s holds no Terraform", dir)
	}
	return all
}

// resources are those of the types; a type that ends in * is a beginning.
func (t tree) resources(types ...string) (list []block) {
	for _, b := range t.blocks {
		for _, typ := range types {
			begin, open := strings.CutSuffix(typ, "*")
			if b.Type == "resource" && (b.Labels[0] == typ || open && strings.HasPrefix(b.Labels[0], begin)) {
				list = append(list, b)
			}
		}
	}
	return list
}

// String is where the block is and what.
func (b block) String() string {
	return fmt.Sprintf("%s:%d %s", b.DefRange().Filename, b.DefRange().Start.Line, strings.Join(append([]string{b.Type}, b.Labels...), "."))
}

// attr is the text of an argument; empty when there is none.
func (b block) attr(name string) string {
	a := b.Body.Attributes[name]
	if a == nil {
		return ""
	}
	return string(a.Expr.Range().SliceBytes(b.src))
}

// child is the block within b, or within a dynamic block; nil when there is none.
func (b block) child(name string) *block {
	for _, inner := range b.Body.Blocks {
		if inner.Type == name {
			return &block{inner, b.src}
		}
		if inner.Type == "dynamic" && inner.Labels[0] == name {
			return (&block{inner, b.src}).child("content")
		}
	}
	return nil
}

// nested is an argument of a block in b, both "" when something is missing.
func (b block) nested(child, name string) string {
	if c := b.child(child); c != nil {
		return c.attr(name)
	}
	return ""
}

// texts are the string literals anywhere in the block, parts of templates included.
func (b block) texts() (list []string) {
	problems := hclsyntax.VisitAll(b.Body, func(n hclsyntax.Node) hcl.Diagnostics {
		if l, ok := n.(*hclsyntax.LiteralValueExpr); ok && l.Val.Type() == cty.String {
			list = append(list, l.Val.AsString())
		}
		return nil
	})
	if problems.HasErrors() {
		panic(problems)
	}
	return list
}

// objects are the object expressions in the block, each as the texts of its items by key:
// statements of policies, mostly.
func (b block) objects() (list []map[string]string) {
	problems := hclsyntax.VisitAll(b.Body, func(n hclsyntax.Node) hcl.Diagnostics {
		if o, ok := n.(*hclsyntax.ObjectConsExpr); ok {
			items := map[string]string{}
			for _, item := range o.Items {
				key := strings.Trim(string(item.KeyExpr.Range().SliceBytes(b.src)), `"`)
				items[key] = string(item.ValueExpr.Range().SliceBytes(b.src))
			}
			list = append(list, items)
		}
		return nil
	})
	if problems.HasErrors() {
		panic(problems)
	}
	return list
}
