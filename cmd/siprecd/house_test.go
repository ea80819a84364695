package main

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the import path of the checkout's root.
const module = "siprecd"

// doors are the packages that may be imported from outside their room, and by
// whom: rooms, not packages. siprec, media and store never meet but in the
// recorder; the one exception is that a segment is an Ogg file.
var doors = map[string][]string{
	"siprec":                  {"recorder", "cmd"},
	"siprec/sdp":              {"recorder"},
	"siprec/trace":            {"recorder", "cmd"},
	"siprec/siprectest":       {"cmd"},
	"siprec/siprectest/audio": {"cmd"},
	"media":                   {"recorder", "cmd"},
	"media/ogg":               {"store", "cmd"},
	"media/floor":             {"cmd"},
	"store":                   {"recorder", "recorder/web", "cmd"},
	"store/policy":            {"recorder", "cmd"},
	"store/seal":              {"cmd"},
	"store/audit":             {"cmd"},
	"store/audit/prove":       {"cmd"},
	"store/audit/sinks":       {"cmd"},
	"store/fill":              {"cmd"},
	"store/tamper":            {"cmd"},
	"recorder":                {"recorder/web", "cmd"},
	"recorder/alarm":          {"recorder/web", "cmd"},
	"recorder/tally":          {"cmd"},
	"recorder/web":            {"cmd"},
	"testdata/speech":         {"siprec"},
}

// inner are arrows inside a room that must not exist: package → the packages
// of its room that it may import. Packages that are not here may import any.
var inner = map[string][]string{
	"siprec/sdp":                {},
	"siprec/rsmeta":             {},
	"siprec/transport":          {},
	"siprec/mailbox":            {},
	"siprec/siprectest/audio":   {},
	"siprec/siprectest/offer":   {},
	"siprec/siprectest/rtpsend": {"siprec/siprectest/audio"},
	"siprec/siprectest/link":    {},
	"siprec/siprectest/keying":  {"siprec/siprectest/offer", "siprec/siprectest/rtpsend"},
	"media/ogg":                 {},
	"media/g722":                {},
	"media/g729":                {},
	"media/resample":            {},
	"media/rtcp":                {},
	"media/payload":             {"media/g722", "media/g729", "media/ogg"},
	"media/secure":              {},
	"recorder/keying":           {},
	"recorder/facts":            {},
	"recorder/alarm":            {},
	"recorder/faults":           {"recorder/facts"},
	"recorder/guard":            {"recorder/facts"},
	"recorder/tally":            {"recorder/facts"},
	"store/seal":                {},
	"store/audit":               {"store/audit/merkle", "store/disk", "store/seal", "store/trouble"},
	"store/audit/merkle":        {},
	"store/audit/prove":         {"store/audit", "store/audit/merkle", "store/seal"},
	"store/audit/sinks":         {},
	"store/policy":              {},
	"cmd/siprecd/config":        {},
	"cmd/siprecd/reconcile":     {},
	"cmd/siprecd/sentinel":      {},
	"cmd/siprecd/app":           {"cmd/siprecd/config", "cmd/siprecd/sentinel"},
	"cmd/siprecd/doctor":        {"cmd/siprecd/config", "cmd/siprecd/app"},
}

// room is the room that a package is in.
func room(dir string) string {
	if dir == "recorder/web" || strings.HasPrefix(dir, "recorder/web/") {
		return "recorder/web"
	}
	top, _, _ := strings.Cut(dir, "/")
	return top
}

// stays names libraries and the only folders that may import them.
var stays = map[string][]string{
	"github.com/emiago/sipgo":     {"siprec"},
	"github.com/hraban/opus":      {"media"},
	"github.com/pion/webrtc":      {"media/live"},
	"go.etcd.io/bbolt":            {"store"},
	"filippo.io/age":              {"store", "cmd"},
	"golang.org/x/mod":            {"store/audit", "store/seal"},
	"github.com/alecthomas/kong":  {"cmd"},
	"go.yaml.in/yaml":             {"cmd"},
	"github.com/prometheus":       {"recorder/web"},
	"github.com/pion/rtp":         {"media", "siprec/siprectest"},
	"github.com/pion/srtp":        {"media/secure", "siprec/siprectest"},
	"github.com/pion/dtls":        {"media/secure", "siprec/siprectest"},
	"github.com/rogpeppe/go-inte": {},
}

// The caps. What outgrows one is split, not excused.
const (
	maxFunction = 80   // lines
	maxBranches = 12   // cyclomatic complexity
	maxFile     = 500  // lines
	maxPackage  = 1800 // lines
	maxFields   = 25
	maxMethods  = 4 // of an interface
	maxParams   = 5
	maxDirect   = 14 // modules that go.mod requires directly and the program imports
)

// source is one Go file that ships.
type source struct {
	path, dir string // relative to the root
	file      *ast.File
	lines     int
}

// root is the checkout, seen from this package.
const root = "../.."

// sources parses every non-test file of the checkout.
func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	fset := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || rel == "data" || rel == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, source{rel, filepath.Dir(rel), f, fset.File(f.Pos()).LineCount()})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("found only %d source files under %s", len(out), root)
	}
	return fset, out
}

func TestArrowsPointDown(t *testing.T) {
	_, all := sources(t)
	for _, s := range all {
		for _, i := range s.file.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if ours, ok := strings.CutPrefix(path, module+"/"); ok {
				checkArrow(t, s, ours)
			} else {
				checkLibrary(t, s, path)
			}
		}
	}
}

// checkArrow refuses an import of ours that the house does not know.
func checkArrow(t *testing.T, s source, ours string) {
	t.Helper()
	if room(s.dir) != room(ours) {
		if !slices.Contains(doors[ours], room(s.dir)) {
			t.Errorf("%s imports %s: no door leads there from %s", s.path, ours, room(s.dir))
		}
		return
	}
	if allowed, limited := inner[s.dir]; limited && !slices.Contains(allowed, ours) {
		t.Errorf("%s imports %s, which it must not know", s.path, ours)
	}
}

// checkLibrary refuses a library outside its room.
func checkLibrary(t *testing.T, s source, path string) {
	t.Helper()
	for lib, rooms := range stays {
		if !strings.HasPrefix(path, lib) {
			continue
		}
		if !slices.ContainsFunc(rooms, func(r string) bool { return s.dir == r || strings.HasPrefix(s.dir, r+"/") }) {
			t.Errorf("%s imports %s, which stays in %v", s.path, path, rooms)
		}
	}
}

func TestCaps(t *testing.T) {
	fset, all := sources(t)
	packages := map[string]int{}
	for _, s := range all {
		packages[s.dir] += s.lines
		if s.lines > maxFile {
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, maxFile)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			checkNode(t, fset, n)
			return true
		})
	}
	for dir, n := range packages {
		if n > maxPackage {
			t.Errorf("package %s has %d lines, more than %d", dir, n, maxPackage)
		}
	}
}

// checkNode holds one declaration against the caps.
func checkNode(t *testing.T, fset *token.FileSet, n ast.Node) {
	t.Helper()
	switch n := n.(type) {
	case *ast.FuncDecl:
		if l := lines(fset, n); l > maxFunction {
			t.Errorf("%s: %s has %d lines, more than %d", fset.Position(n.Pos()), n.Name, l, maxFunction)
		}
		if b := branches(n); b > maxBranches {
			t.Errorf("%s: %s branches %d ways, more than %d", fset.Position(n.Pos()), n.Name, b, maxBranches)
		}
		if p := n.Type.Params.NumFields(); p > maxParams {
			t.Errorf("%s: %s takes %d parameters, more than %d", fset.Position(n.Pos()), n.Name, p, maxParams)
		}
	case *ast.StructType:
		if f := n.Fields.NumFields(); f > maxFields {
			t.Errorf("%s: a struct of %d fields, more than %d", fset.Position(n.Pos()), f, maxFields)
		}
	case *ast.InterfaceType:
		if m := n.Methods.NumFields(); m > maxMethods {
			t.Errorf("%s: an interface of %d methods, more than %d", fset.Position(n.Pos()), m, maxMethods)
		}
	}
}

func lines(fset *token.FileSet, n ast.Node) int {
	return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1
}

// branches counts the ways through a function: 1 + decisions.
func branches(f *ast.FuncDecl) int {
	n := 1
	ast.Inspect(f, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.CommClause:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

func TestEveryPackageHasADesignNote(t *testing.T) {
	_, all := sources(t)
	notes := map[string]int{}
	for _, s := range all {
		notes[s.dir] += 0
		if s.file.Doc != nil {
			notes[s.dir] += len(s.file.Doc.Text())
		}
	}
	for dir, n := range notes {
		if n < 60 {
			t.Errorf("package %s has no comment that tells what it is for", dir)
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		for _, d := range s.file.Decls {
			if name := undocumented(d); name != "" {
				t.Errorf("%s: %s has no comment", fset.Position(d.Pos()), name)
			}
		}
	}
}

// undocumented is the exported name of a declaration without a comment.
func undocumented(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d)) {
			return d.Name.Name
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
				return ts.Name.Name
			}
			if vs, ok := spec.(*ast.ValueSpec); ok && vs.Names[0].IsExported() && d.Doc == nil && vs.Doc == nil && vs.Comment == nil {
				return vs.Names[0].Name
			}
		}
	}
	return ""
}

func exportedReceiver(d *ast.FuncDecl) bool {
	typ := d.Recv.List[0].Type
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// forbidden are calls that have no place below cmd, and the only files where
// one is justified.
var forbidden = map[string][]string{
	"context.Background": {"cmd/siprecd/main.go", "cmd/bench/main.go", "cmd/torture/main.go"},
	"context.TODO":       {},
	"time.Sleep":         {},
	"os.Exit":            {"cmd/siprecd/main.go", "cmd/bench/main.go", "cmd/torture/main.go"},
}

func TestForbiddenCalls(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			call := x.Name + "." + sel.Sel.Name
			if files, bad := forbidden[call]; bad && !slices.Contains(files, s.path) {
				t.Errorf("%s: %s", fset.Position(n.Pos()), call)
			}
			return true
		})
	}
}

func TestNoSleepInTests(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "house_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), "time.Sleep(") {
			t.Errorf("%s sleeps", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFewDirectDependencies counts the modules that ship: what only tests import
// (goroutine leaks, test scripts, a second Ogg reader as a judge of ours) is in
// nobody's recorder.
func TestFewDirectDependencies(t *testing.T) {
	_, all := sources(t)
	shipped := map[string]bool{}
	for _, module := range direct(t) {
		for _, s := range all {
			for _, i := range s.file.Imports {
				path := strings.Trim(i.Path.Value, `"`)
				if path == module || strings.HasPrefix(path, module+"/") {
					shipped[module] = true
				}
			}
		}
	}
	if n := len(shipped); n == 0 || n > maxDirect {
		t.Errorf("the program imports from %d modules, at most %d are allowed: %v", n, maxDirect, slices.Sorted(maps.Keys(shipped)))
	}
}

// direct lists the modules that go.mod requires directly.
func direct(t *testing.T) (modules []string) {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		switch {
		case strings.HasPrefix(line, "require ("):
			block = true
		case line == ")":
			block = false
		case (block || strings.HasPrefix(line, "require ")) && line != "" && !strings.Contains(line, "// indirect"):
			modules = append(modules, strings.Fields(strings.TrimPrefix(line, "require "))[0])
		}
	}
	return modules
}
