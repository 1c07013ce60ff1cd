// Package docs_test holds the documents in this folder against what they are about.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dogpile-go/dogpile/internal/pythontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is a line of a table in from-python.md, and where it stands.
type row struct {
	line  int
	cells []string
}

// span is what stands in backticks.
var span = regexp.MustCompile("`([^`]+)`")

// readMap returns the rows of the map's tables and all of its code spans outside of
// fenced blocks.
func readMap(t *testing.T) (rows []row, spans []string) {
	t.Helper()
	text, err := os.ReadFile("from-python.md")
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		for _, m := range span.FindAllStringSubmatch(line, -1) {
			spans = append(spans, m[1])
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			t.Errorf("from-python.md:%d has %d columns, want 3", i+1, len(cells))
			continue
		}
		if strings.TrimSpace(cells[1]) == "" {
			t.Errorf("from-python.md:%d does not say what it is here; write none if there is nothing", i+1)
		}
		rows = append(rows, row{i + 1, cells})
	}
	if len(rows) < 50 {
		t.Fatalf("%d rows of tables, so they are not understood any more", len(rows))
	}
	return rows, spans
}

// called is a name with parameters, as it stands in the map.
var called = regexp.MustCompile(`^([\w.]+)(?:\(([^)]*)\))?$`)

// Whatever dogpile.cache has is in the map: its names, what they are called with, the
// backends and their arguments.
func TestEveryPythonNameIsInTheMap(t *testing.T) {
	w := pythontest.Start(t)
	_, spans := readMap(t)
	mapped := make(map[string]map[string]bool) // names, and the parameters that are told of them
	for _, s := range spans {
		m := called.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		if mapped[m[1]] == nil {
			mapped[m[1]] = make(map[string]bool)
		}
		for p := range strings.SplitSeq(m[2], ", ") {
			mapped[m[1]][p] = true
		}
	}
	names, skipped := w.Public(t)
	for _, module := range skipped {
		// mako is not needed for anything else.
		if !strings.HasPrefix(module, "dogpile.cache.plugins.mako_cache:") {
			t.Errorf("a module of dogpile.cache cannot be imported: %s", module)
		}
	}
	if len(names) < 200 {
		t.Fatalf("dogpile.cache %s has %d names, so they are not found any more", w.Versions["dogpile.cache"], len(names))
	}
	for _, n := range names {
		short := inTheMap(n)
		params, ok := mapped[short]
		if !ok {
			t.Errorf("%s of dogpile.cache %s is not in the map, as `%s`", n.Name, w.Versions["dogpile.cache"], short)
			continue
		}
		for _, p := range n.Params {
			// A backend's arguments are one dict, with names of their own.
			if backend := strings.HasSuffix(short, "Backend") || short == "MemcacheArgs"; !params[p] && (!backend || p != "arguments") {
				t.Errorf("the parameter %s of %s is not in the map, as `%s(%s)`", p, n.Name, short, p)
			}
		}
	}
}

// inTheMap is how a name is written in the map: without its module.
func inTheMap(n pythontest.Name) string {
	parts := strings.Split(n.Name, ".")
	last := parts[len(parts)-1]
	switch {
	case n.Kind == "backend":
		return n.Name
	case strings.HasPrefix(n.Name, "decorated."):
		return "fn." + last
	case n.Kind == "method" || n.Kind == "attribute":
		return parts[len(parts)-2] + "." + last
	default:
		return last
	}
}

// named is an exported name of a Go package: region.Config.Backend, lock/redis.New.
var named = regexp.MustCompile(`^((?:[a-z0-9]+/)*[a-z0-9]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?$`)

// What the map says is called here exists here.
func TestEveryGoNameInTheMapExists(t *testing.T) {
	rows, _ := readMap(t)
	packages := exported(t)
	checked := 0
	for _, r := range rows {
		for i, cell := range r.cells[1:] {
			for _, s := range span.FindAllStringSubmatch(cell, -1) {
				m := named.FindStringSubmatch(s[1])
				if m == nil {
					continue
				}
				name := m[2]
				if m[3] != "" {
					name += "." + m[3]
				}
				of := slices.DeleteFunc(slices.Sorted(maps.Keys(packages)), func(path string) bool {
					return path != m[1] && !strings.HasSuffix(path, "/"+m[1])
				})
				switch {
				case len(of) == 0 && i == 0:
					t.Errorf("from-python.md:%d: there is no package %s, of `%s`", r.line, m[1], s[1])
				case len(of) > 1:
					t.Errorf("from-python.md:%d: `%s` may be of %v; write more of the path", r.line, s[1], of)
				case len(of) == 1 && !packages[of[0]][name]:
					t.Errorf("from-python.md:%d: package %s has no %s", r.line, of[0], name)
				}
				checked++
			}
		}
	}
	if checked < 100 {
		t.Errorf("%d names of Go were found, so they are not understood any more", checked)
	}
}

// exported returns the exported names of each package of the root module by its folder:
// those at its top, and their fields and methods as Type.Name.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	packages := make(map[string]map[string]bool)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		folder, name := filepath.Split(path)
		switch folder = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(folder)), "../"); {
		case entry.IsDir() && path != ".." && (name == "internal" || name == "examples" || name == "testdata" || strings.HasPrefix(name, ".")):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if packages[folder] == nil {
			packages[folder] = make(map[string]bool)
		}
		for _, d := range file.Decls {
			declared(d, packages[folder])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// declared notes what a declaration declares.
func declared(d ast.Decl, names map[string]bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names[d.Name.Name] = true
		} else {
			names[typeName(d.Recv.List[0].Type)+"."+d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names[n.Name] = true
				}
			case *ast.TypeSpec:
				names[s.Name.Name] = true
				var fields *ast.FieldList
				switch of := s.Type.(type) {
				case *ast.StructType:
					fields = of.Fields
				case *ast.InterfaceType:
					fields = of.Methods
				default:
					continue
				}
				for _, f := range fields.List {
					for _, n := range f.Names {
						names[s.Name.Name+"."+n.Name] = true
					}
				}
			}
		}
	}
}

// typeName returns the name of a receiver's type, without its star and parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
