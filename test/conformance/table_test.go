package conformance_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rows of docs/conformance.md are | plan | module | what it asserts | our test |, where
// plan and test may be several.
var (
	row    = regexp.MustCompile("(?m)^\\| ([A-Za-z ,-]+) \\| `(oidcc-[a-z0-9-]+)` \\| ([^|]+) \\| (`[^|]+`) \\|$")
	legend = regexp.MustCompile("(?m)^\\| ([A-Za-z -]+) \\| `(oidcc-[a-z-]+-plan)` \\| ([0-9]+) \\|$")
	quoted = regexp.MustCompile("`([^`]+)`")
)

// The document names every module of every plan with a test that is run, and no other.
func TestTable_has_every_module_and_only_tests_that_exist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	require.NoError(t, err)
	names := map[string]string{} // the suite's name of a plan, by the one in the table
	for _, found := range legend.FindAllStringSubmatch(string(text), -1) {
		names[found[1]] = found[2]
	}

	run := map[string]bool{} // plan, module and test, as they are here
	for _, pl := range plans {
		for _, m := range pl.modules {
			run[pl.name+" "+m.name+" "+pl.test+"/"+m.name] = true
		}
	}
	described := map[string]bool{}
	for _, found := range row.FindAllStringSubmatch(string(text), -1) {
		in, tests := strings.Split(found[1], ", "), quoted.FindAllStringSubmatch(found[4], -1)
		require.Len(t, tests, len(in), "one test for each plan: %s", found[0])
		for i, plan := range in {
			require.Contains(t, names, plan, found[0])
			described[names[plan]+" "+found[2]+" "+tests[i][1]] = true
		}
	}
	for described := range described {
		require.True(t, run[described], "in the document, and not run: %s", described)
	}
	for run := range run {
		require.True(t, described[run], "run, and not in the document: %s", run)
	}
}

// The plans are whole: as many modules as the suite has, none twice, each plan run by a
// test of its name.
func TestTable_plans_are_whole(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance.md"))
	require.NoError(t, err)
	source, err := os.ReadFile("plans_test.go")
	require.NoError(t, err)
	want := map[string]int{
		"oidcc-basic-certification-test-plan": 38, "oidcc-formpost-basic-certification-test-plan": 38, "oidcc-config-certification-test-plan": 1,
		"oidcc-rp-initiated-logout-certification-test-plan": 11, "oidcc-backchannel-rp-initiated-logout-certification-test-plan": 2,
	}
	require.Len(t, plans, len(want))
	require.Len(t, legend.FindAllString(string(text), -1), len(want))
	for _, pl := range plans {
		require.Len(t, pl.modules, want[pl.name], pl.name)
		seen := map[string]bool{}
		for _, m := range pl.modules {
			require.False(t, seen[m.name], m.name)
			seen[m.name] = true
			require.NotNil(t, m.run)
		}
		require.Regexp(t, `(?m)^func `+pl.test+`\(t \*testing\.T\)`, string(source))
	}
}
