package grantor_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the pages say is checked as far as a test can read: links, names of files,
// commands with their flags, and make targets.

func pages(t *testing.T) map[string]string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		paths = append(paths, found...)
	}
	require.Contains(t, paths, "README.md")
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		all[path] = string(text)
	}
	return all
}

var (
	link     = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	codePath = regexp.MustCompile("`((?:[a-z0-9_.-]+/)+[A-Za-z0-9_.-]*|[A-Za-z_-]+\\.(?:go|md|yml|txt))`")
	target   = regexp.MustCompile(`\bmake ([a-z]+)( {2,}#|` + "`" + `)`)
)

func TestDocs_links_lead_somewhere(t *testing.T) {
	t.Parallel()
	for path, text := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			require.FileExists(t, filepath.Join(filepath.Dir(path), found[1]), path)
		}
	}
}

func TestDocs_name_only_files_that_exist(t *testing.T) {
	t.Parallel()
	// Made when the program runs, or only meant as an example.
	made := []string{"deploy/secrets", "grantor.db", "testdata/fuzz", "bin/grantor", "server/oauth/"}
	for path, text := range pages(t) {
		if path == filepath.Join("docs", "config.md") {
			continue // its paths are those of an operator
		}
		for _, found := range codePath.FindAllStringSubmatch(text, -1) {
			name := strings.TrimSuffix(found[1], "/")
			first, _, _ := strings.Cut(name, "/")
			if _, err := os.Stat(first); err != nil || slices.Contains(made, name) {
				continue // not a path of this tree: a module, a media type
			}
			_, err := os.Stat(name)
			require.NoError(t, err, "%s names %s", path, name)
		}
	}
}

func TestDocs_make_targets_exist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("Makefile")
	require.NoError(t, err)
	for path, text := range pages(t) {
		for _, found := range target.FindAllStringSubmatch(text, -1) {
			require.Contains(t, string(makefile), "\n"+found[1]+":", path)
		}
	}
}

// A direct dependency is a decision.
func TestDependencies_direct_ones_are_decided(t *testing.T) {
	t.Parallel()
	gomod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	decision, err := os.ReadFile("docs/decisions/0006-direct-dependencies.md")
	require.NoError(t, err)
	direct := regexp.MustCompile(`(?m)^(?:require |\t)(\S+) v\S+$`).FindAllStringSubmatch(string(gomod), -1)
	require.Greater(t, len(direct), 10)
	for _, module := range direct {
		require.Contains(t, string(decision), "`"+module[1]+"`", "a direct dependency without a reason")
	}
}
