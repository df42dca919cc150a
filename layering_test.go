// Package grantor_test holds what is true of the whole tree: who may import whom,
// what the program links, and that the deployment files mean something.
package grantor_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/grantorhq/grantor/"

// layers is the direction of design: which of our packages a package may import. A
// new package gets a line here. Tests may import more, production code may not.
var layers = map[string][]string{
	// The nouns and the rest of the ground floor know nobody.
	"audit":      {},
	"clients":    {},
	"config":     {},
	"grants":     {},
	"keys":       {},
	"migrations": {},
	"users":      {},

	// Why a request was refused: of what, by which rule, and the words for it.
	"refusals": {"clients", "grants", "keys", "users"},

	"storage":             {"audit", "clients", "grants", "keys", "migrations", "users"},
	"storage/storagetest": {"storage", "test/postgres"},

	// What is called from outside. They know the nouns and the store, and
	// server puts them together.
	// server puts them together. Pages know nothing but their own data. login takes a
	// person through oauth's requests, so it knows oauth; never the other way round.
	"server/ui":      {},
	"server/session": {"grants", "keys", "storage", "users"},
	"server/oauth":   {"clients", "config", "grants", "keys", "refusals", "server/session", "server/ui", "storage", "users"},
	"server/login":   {"clients", "grants", "server/oauth", "server/session", "server/ui", "storage", "users"},
	"server":         {"audit", "clients", "config", "grants", "keys", "refusals", "server/login", "server/oauth", "server/session", "server/ui", "storage", "users"},

	// Tests start the whole server with it.
	"server/servertest": {"clients", "config", "grants", "keys", "refusals", "server", "storage", "storage/storagetest", "users"},

	// It reads what the others tell of themselves, and they do not know it.
	"telemetry": {"grants", "server", "storage", "users"},

	// It examines a deployment from outside, by HTTP, and from inside, through the store.
	// It never calls the server's code: that would be asking the patient.
	"doctor": {"clients", "config", "keys", "storage", "users"},

	// The program knows all.
	"cmd/grantor": {"audit", "clients", "config", "doctor", "grants", "keys", "migrations", "refusals", "server", "storage", "telemetry", "users"},

	// They run the program from outside, and have no code but tests.
	"test/browser": {},
	"test/e2e":     {},

	// Temporary servers for all that need one. It knows nothing of ours.
	"test/postgres": {},

	// A checker that called the code it checks would share its mistakes.
	"test/faults": {"test/postgres"},

	// It has no code but tests, too.
	"test/conformance": {},

	// It measures the program from outside, prepares databases through the store, and
	// counts within itself. What it is measured against is none of ours.
	"test/bench":       {"config", "grants", "keys", "server", "storage", "storage/storagetest", "test/postgres", "users"},
	"test/bench/floor": {},

	// An example that needed our packages would be no example for others.
	"examples/resource-server": {},
	"examples/spa":             {},
}

// fence keeps a dependency where it belongs, so that replacing it is one job in one place.
type fence struct {
	pkg   string   // the import path, and everything below it
	files []string // path.Match patterns of files that may import it
	why   string
}

var fences = []fence{
	{
		"github.com/ory/fosite",
		[]string{"server/oauth/*.go", "storage/tokens*.go", "clients/fosite.go"},
		"its standalone repository has not moved since July 2025: one day somebody will want to replace it (docs/decisions/0002)",
	},
	{
		"github.com/go-jose/go-jose/v3",
		[]string{"server/oauth/*.go", "clients/fosite.go"},
		"only fosite's interfaces need it, and its support ends in 2027; use v4",
	},
	{"gorm.io", []string{"storage/*.go"}, "the store is the only user of gorm: rows stay at home"},
	{
		"github.com/jackc/pgx",
		[]string{"storage/*.go", "storage/storagetest/*.go", "test/bench/*.go", "test/bench/floor/*.go", "test/postgres/*.go", "test/faults/*.go"},
		"database drivers are the store's business",
	},
	{
		"modernc.org/sqlite",
		[]string{"storage/*.go", "storage/storagetest/*.go", "test/faults/*.go"},
		"database drivers are the store's business",
	},
	{"github.com/mattn/go-sqlite3", nil, "it needs a C compiler (docs/decisions/0003)"},
	{
		"database/sql",
		[]string{"storage/*.go", "storage/storagetest/*.go", "migrations/*.go", "test/bench/*.go", "test/faults/*.go"},
		"SQL lives in storage and migrations: ask the store",
	},
	{"github.com/pressly/goose", []string{"migrations/*.go"}, "package migrations is the one door to the schema"},
	{
		"net/http",
		[]string{"server/*.go", "server/*/*.go", "doctor/*.go", "cmd/grantor/*.go", "telemetry/*.go", "examples/*/*.go", "test/bench/*.go", "test/bench/floor/*.go", "test/faults/*.go"},
		"nouns and store do not know HTTP",
	},
	{"github.com/gorilla/mux", []string{"server/*.go"}, "all routes stand in server/routes.go"},
	{"github.com/spf13/cobra", []string{"cmd/grantor/*.go"}, "the command line is cmd/grantor"},
	{"github.com/knadh/koanf", []string{"config/*.go"}, "settings are loaded in one place"},
	{"github.com/prometheus", []string{"telemetry/*.go"}, "every metric is in one place; the others only tell how they stand"},
	{"go.opentelemetry.io", []string{"telemetry/*.go"}, "what a span may say is decided in one place"},
	{"math/rand", []string{"storage/statement.go", "test/faults/*.go"}, "tokens and ids come from crypto/rand, handed in by cmd/grantor; only the pause before a retry may be guessed, and faults come again from their seed"},
	{"github.com/stretchr/testify", []string{"storage/storagetest/*.go", "server/servertest/*.go"}, "it is for tests"},
	{"testing", []string{"storage/storagetest/*.go", "server/servertest/*.go"}, "it is for tests"},
	{"embed", []string{"migrations/*.go", "server/*/*.go", "server/*.go", "examples/*/*.go"}, "only the schema and the pages are carried along"},
}

// file is one Go file of the tree with what it imports.
type file struct {
	path    string // with slashes, from the root
	imports []string
}

func (f file) dir() string  { return path.Dir(f.path) }
func (f file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		allowed, known := layers[f.dir()]
		if !known {
			t.Errorf("%s: the package %q is not in the table of layering_test.go: say there whom it may import", f.path, f.dir())
			continue
		}
		for _, name := range f.imports {
			ours, isOurs := strings.CutPrefix(name, module)
			if isOurs && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which %s may not (layering_test.go)", f.path, ours, f.dir())
			}
		}
	}
}

// A line for a package that is gone would look like a rule.
func TestLayers_name_only_packages_that_exist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	for _, f := range goFiles(t) {
		exists[f.dir()] = true
	}
	for name, allowed := range layers {
		for _, name := range append([]string{name}, allowed...) {
			if !exists[name] {
				t.Errorf("the table of layering_test.go names %q, which holds no Go file", name)
			}
		}
	}
}

func TestFences(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		for _, name := range f.imports {
			for _, fence := range fences {
				if (name == fence.pkg || strings.HasPrefix(name, fence.pkg+"/")) && !matches(f.path, fence.files) {
					t.Errorf("%s imports %s: %s", f.path, name, fence.why)
				}
			}
		}
	}
}

func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// goFiles reads every Go file of the tree, whatever system it is for.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(name)}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
