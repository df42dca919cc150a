package grantor_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
)

// No container engine runs in the tests. What they can see without one: that the
// files parse, and that each thing they name is there.

type compose struct{ root map[string]any }

func readCompose(t *testing.T) compose {
	t.Helper()
	text, err := os.ReadFile("docker-compose.yml")
	require.NoError(t, err)
	root, err := yaml.Parser().Unmarshal(interpolate(text))
	require.NoError(t, err)
	return compose{root}
}

// interpolate does what compose does with ${NAME:-default} where NAME is not set.
func interpolate(text []byte) []byte {
	return regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAll(text, []byte("$1"))
}

func (c compose) services() map[string]any { return mapping(c.root["services"]) }

// ours are the services that run the program.
func (c compose) ours() map[string]map[string]any {
	found := map[string]map[string]any{}
	for name, service := range c.services() {
		if mapping(service)["image"] == "grantor" {
			found[name] = mapping(service)
		}
	}
	return found
}

func mapping(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func texts(v any) []string {
	list, _ := v.([]any)
	var found []string
	for _, item := range list {
		text, _ := item.(string)
		found = append(found, text)
	}
	return found
}

func TestCompose_sets_only_variables_that_exist_to_values_that_hold(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	secrets := madeSecrets(t)
	require.Len(t, c.ours(), 3, "the migration and two replicas")
	for name, service := range c.ours() {
		var environ []string
		for variable, value := range mapping(service["environment"]) {
			text, isText := value.(string)
			require.True(t, isText, "%s: %s is not a text", name, variable)
			environ = append(environ, variable+"="+text)
		}
		cfg, err := config.Load(config.Sources{
			Environ: environ, Serving: true,
			ReadFile: func(path string) ([]byte, error) {
				secret := filepath.Base(path)
				if filepath.Dir(path) != "/run/secrets" || !slices.Contains(texts(service["secrets"]), secret) {
					return nil, fs.ErrNotExist
				}
				return secrets[secret], nil
			},
		})
		require.NoError(t, err, name)
		require.True(t, strings.HasPrefix(string(cfg.Database), "postgres://"), name)
		require.NotEmpty(t, cfg.Issuer, name)
		_, err = keys.ParseSecrets(cfg.Secrets.Reveal())
		require.NoError(t, err, name)
	}
}

// madeSecrets runs deploy/make-secrets in a copy of its folder, twice: the second run
// must not make others.
func madeSecrets(t *testing.T) map[string][]byte {
	t.Helper()
	script, err := os.ReadFile("deploy/make-secrets")
	require.NoError(t, err)
	folder := t.TempDir()
	path := filepath.Join(folder, "make-secrets")
	require.NoError(t, os.WriteFile(path, script, 0o600))
	var runs []map[string][]byte
	for range 2 {
		out, err := exec.CommandContext(t.Context(), "sh", path).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, string(out), "postgres://", "secrets are not for the terminal")
		files := map[string][]byte{}
		entries, err := os.ReadDir(filepath.Join(folder, "secrets"))
		require.NoError(t, err)
		for _, entry := range entries {
			files[entry.Name()], err = os.ReadFile(filepath.Join(folder, "secrets", entry.Name()))
			require.NoError(t, err)
		}
		runs = append(runs, files)
	}
	require.Equal(t, runs[0], runs[1])
	return runs[0]
}

func TestCompose_mounts_only_what_is_there(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	made := madeSecrets(t)
	declared := mapping(c.root["secrets"])
	for name, secret := range declared {
		file, _ := mapping(secret)["file"].(string)
		require.Equal(t, "./deploy/secrets/"+name, file, "what deploy/make-secrets makes")
		require.Contains(t, made, name)
	}
	ignored, err := os.ReadFile(".gitignore")
	require.NoError(t, err)
	require.Contains(t, string(ignored), "/deploy/secrets/\n", "secrets are never committed")

	volumes := mapping(c.root["volumes"])
	for name, service := range c.services() {
		s := mapping(service)
		for _, secret := range texts(s["secrets"]) {
			require.Contains(t, declared, secret, name)
		}
		for _, volume := range texts(s["volumes"]) {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, ".") {
				require.FileExists(t, source, name)
			} else {
				require.Contains(t, slices.Collect(maps.Keys(volumes)), source, name)
			}
		}
		for variable, value := range mapping(s["environment"]) {
			if text, _ := value.(string); strings.HasPrefix(text, "/run/secrets/") {
				require.Contains(t, texts(s["secrets"]), filepath.Base(text), "%s: %s", name, variable)
			}
		}
	}
}

func TestCompose_services_fit_together(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for name, service := range c.services() {
		s := mapping(service)
		image, _ := s["image"].(string)
		require.NotEmpty(t, image, name)
		require.NotContains(t, image, "/", "%s: an image without a registry's host", name)
		needed := texts(s["depends_on"])
		for other := range mapping(s["depends_on"]) {
			needed = append(needed, other)
		}
		for _, other := range needed {
			require.Contains(t, c.services(), other, name)
		}
		if _, ours := c.ours()[name]; !ours {
			require.NotEmpty(t, mapping(s["healthcheck"])["test"], "%s has no health check", name)
		}
	}
	caddyfile, err := os.ReadFile("deploy/Caddyfile")
	require.NoError(t, err)
	for name, service := range c.ours() {
		if name == "migrate" {
			continue
		}
		address, _ := mapping(service["environment"])["GRANTOR_ADDRESS"].(string)
		_, port, _ := strings.Cut(address, ":")
		require.Contains(t, string(caddyfile), name+":"+port, "the proxy knows every replica")
		require.True(t, service["read_only"].(bool), name)
	}
}

type dockerImage struct{ entrypoint, user, cmd []string }

var instruction = regexp.MustCompile(`(?m)^(\w+) (.*)$`)

func dockerfile(t *testing.T) dockerImage {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	var image dockerImage
	words := func(s string) []string {
		return strings.Fields(strings.NewReplacer(`"`, "", "[", "", "]", "", ",", " ").Replace(s))
	}
	for _, line := range instruction.FindAllStringSubmatch(string(text), -1) {
		switch line[1] {
		case "ENTRYPOINT":
			image.entrypoint = words(line[2])
		case "CMD":
			image.cmd = words(line[2])
		case "USER":
			image.user = strings.Split(line[2], ":")
		}
	}
	return image
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	image := dockerfile(t)
	require.Equal(t, []string{"/grantor"}, image.entrypoint)
	require.Len(t, image.user, 2)
	for _, id := range image.user {
		require.Regexp(t, `^[1-9][0-9]+$`, id, "a number: an empty image knows no names, and Kubernetes checks that it is not 0")
	}
	require.Contains(t, string(text), "\nFROM scratch\n")
	require.Contains(t, string(text), "CGO_ENABLED=0 go build -tags "+releaseTags(t)+" -trimpath")
	require.Contains(t, string(text), "COPY --from=build /out/grantor /grantor\n")

	gomod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(gomod)
	require.NotNil(t, version)
	require.Contains(t, string(text), "FROM golang:"+string(version[1])+"-", "the compiler that go.mod asks for")
	require.False(t, bytes.Contains(text, []byte("ADD ")), "nothing is downloaded but modules")
}

// releaseTags are those of `make build`.
func releaseTags(t *testing.T) string {
	t.Helper()
	tags := regexp.MustCompile(`(?m)^TAGS := (\S+)$`).FindStringSubmatch(read(t, "Makefile"))
	require.NotNil(t, tags)
	return tags[1]
}

// Else what is tried and measured is not what is released.
func TestTags_are_everywhere_those_of_the_release(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"scripts/test", "test/bench/build.go", "test/e2e/norace_test.go"} {
		require.Contains(t, read(t, path), releaseTags(t), path)
	}
}
