package grantor_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A command in a page or in a deployment file is tried with --help: its verbs and
// its flags must be there.

var (
	command = regexp.MustCompile(`(?m)^    (?:go run \./cmd/)?grantor ([a-z].*)$|` + "`grantor ([a-z][^`]*)`")
	verb    = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

func TestCommands_in_pages_and_deployment_exist_with_their_flags(t *testing.T) {
	t.Parallel()
	help := helpOf(buildProgram(t))

	lines := map[string][]string{"Dockerfile": {strings.Join(dockerfile(t).cmd, " ")}}
	for _, service := range readCompose(t).ours() {
		lines["docker-compose.yml"] = append(lines["docker-compose.yml"], strings.Join(texts(service["command"]), " "))
	}
	text, err := os.ReadFile("docker-compose.yml")
	require.NoError(t, err)
	for _, found := range regexp.MustCompile(`exec grantor-1 /grantor (.*)`).FindAllStringSubmatch(string(text), -1) {
		lines["docker-compose.yml"] = append(lines["docker-compose.yml"], found[1])
	}
	require.Len(t, lines["docker-compose.yml"], 4)
	for path, text := range pages(t) {
		for _, found := range command.FindAllStringSubmatch(text, -1) {
			lines[path] = append(lines[path], found[1]+found[2])
		}
	}
	require.Greater(t, len(lines["README.md"]), 10)

	for path, commands := range lines {
		for _, line := range commands {
			line, _, _ := strings.Cut(line, " >")
			words := strings.Fields(line)
			name := words[:1]
			if len(words) > 1 && verb.MatchString(words[1]) {
				name = words[:2]
			}
			page := help(t, name)
			require.Contains(t, page, "grantor "+strings.Join(name, " "), "%s: grantor %s", path, line)
			for _, word := range words {
				if strings.HasPrefix(word, "--") {
					flag, _, _ := strings.Cut(word, "=")
					require.Contains(t, page, flag+" ", "%s: grantor %s", path, line)
				}
			}
		}
	}
	require.NotContains(t, help(t, []string{"migrate", "upwards"}), "grantor migrate upwards", "or this test would see nothing")
}

func helpOf(program string) func(*testing.T, []string) string {
	return func(t *testing.T, words []string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), program, append(append([]string{}, words...), "--help")...).CombinedOutput()
		require.NoError(t, err, "grantor %v: %s", words, out)
		return string(out)
	}
}

// buildProgram builds as the other tests do, so that most of it is in the cache.
func buildProgram(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "grantor")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/grantor").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}
