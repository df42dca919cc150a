package grantor_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

// The unit, the package and the manifests, as far as they can be read without a service
// manager, a build of the package and a cluster.

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

const unitFile = "deploy/systemd/grantor.service"

func TestUnit_is_one_that_systemd_takes(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	// The program is not installed where the unit names it.
	path := filepath.Join(t.TempDir(), "grantor.service")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(read(t, unitFile), "/usr/bin/grantor", "/bin/true")), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out), "what it does not know it passes over with a warning")
}

func TestUnit_stops_later_than_the_server(t *testing.T) {
	t.Parallel()
	unit := read(t, unitFile)
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
	require.NotNil(t, stop)
	limit, err := time.ParseDuration(stop[1] + "s")
	require.NoError(t, err)
	require.Greater(t, limit, config.Default().DrainTimeout)
	require.Contains(t, unit, "\nKillMode=mixed\n", "SIGTERM is for the server only")
	require.Contains(t, unit, "\nProtectSystem=strict\n")
	require.Contains(t, unit, "\nNoNewPrivileges=yes\n")
	require.Contains(t, unit, "\nExecReload=/bin/kill -HUP $MAINPID\n")
	require.NotContains(t, unit, "ProcSubset=all")
}

// The settings that the package brings are good, as they are and with every line that is
// only a proposal.
func TestPackage_settings_hold(t *testing.T) {
	t.Parallel()
	text := read(t, "deploy/package/grantor.yaml")
	proposal := regexp.MustCompile(`(?m)^#(\w+: )`)
	require.Len(t, proposal.FindAllString(text, -1), 4)
	for _, settings := range []string{text, proposal.ReplaceAllString(text, "$1")} {
		_, err := config.Load(config.Sources{File: "grantor.yaml", Serving: true, ReadFile: func(string) ([]byte, error) { return []byte(settings), nil }})
		require.NoError(t, err)
	}
}

func TestPackage_holds_what_the_unit_needs(t *testing.T) {
	t.Parallel()
	plan, err := yaml.Parser().Unmarshal([]byte(read(t, "deploy/package/nfpm.yaml")))
	require.NoError(t, err)
	placed := map[string]string{}
	contents, _ := plan["contents"].([]any)
	for _, entry := range contents {
		source, _ := mapping(entry)["src"].(string)
		target, _ := mapping(entry)["dst"].(string)
		placed[target] = source
		if source != "" && source != "bin/grantor" { // made by make package
			require.FileExists(t, source)
		}
	}
	command := regexp.MustCompile(`(?m)^ExecStart=(\S+) serve --config (\S+)$`).FindStringSubmatch(read(t, unitFile))
	require.NotNil(t, command)
	require.Contains(t, placed, command[1])
	require.Contains(t, placed, command[2])
	require.Equal(t, unitFile, placed["/lib/systemd/system/grantor.service"])
	require.Regexp(t, `(?m)^u grantor `, read(t, placed["/usr/lib/sysusers.d/grantor.conf"]))
	require.Contains(t, read(t, unitFile), "\nUser=grantor\n")
	for _, script := range mapping(plan["scripts"]) {
		path, _ := script.(string)
		out, err := exec.CommandContext(t.Context(), "sh", "-n", path).CombinedOutput()
		require.NoError(t, err, "%s: %s", path, out)
	}
	gomod := read(t, "go.mod")
	require.NotContains(t, gomod, "nfpm", "a tool must not choose the versions of what the program links")
}

func TestKubernetes_sets_only_variables_that_exist_to_values_that_hold(t *testing.T) {
	t.Parallel()
	kinds := map[string]map[string]any{}
	for document := range bytes.SplitSeq([]byte(read(t, "deploy/kubernetes/grantor.yaml")), []byte("\n---\n")) {
		object, err := yaml.Parser().Unmarshal(document)
		require.NoError(t, err)
		kind, _ := object["kind"].(string)
		kinds[kind] = object
		require.Equal(t, "grantor", mapping(object["metadata"])["name"], kind)
	}
	var environ []string
	for name, value := range mapping(kinds["ConfigMap"]["data"]) {
		text, isText := value.(string)
		require.True(t, isText, "%s is not a text, which is all that a ConfigMap holds", name)
		environ = append(environ, name+"="+text)
	}
	made := madeSecrets(t)
	cfg, err := config.Load(config.Sources{Environ: environ, Serving: true, ReadFile: func(path string) ([]byte, error) {
		content, ok := made[filepath.Base(path)]
		if !ok || filepath.Dir(path) != "/run/secrets/grantor" {
			return nil, fs.ErrNotExist
		}
		return content, nil
	}})
	require.NoError(t, err)

	pod := mapping(mapping(mapping(kinds["Deployment"]["spec"])["template"])["spec"])
	grace, _ := pod["terminationGracePeriodSeconds"].(int)
	require.Greater(t, time.Duration(grace)*time.Second, cfg.DrainTimeout)
	require.Equal(t, true, mapping(pod["securityContext"])["runAsNonRoot"])
	for _, list := range []string{"initContainers", "containers"} {
		all, _ := pod[list].([]any)
		require.Len(t, all, 1)
		container := mapping(all[0])
		require.Equal(t, true, mapping(container["securityContext"])["readOnlyRootFilesystem"], list)
		require.Equal(t, "grantor", container["image"], "an image without a registry's host")
		if list == "containers" {
			probe := mapping(container["readinessProbe"])
			period, _ := probe["periodSeconds"].(int)
			require.Less(t, time.Duration(period)*time.Second, cfg.DrainTimeout/10, "the probe notices a drain in its first tenth")
			require.Equal(t, "/readyz", mapping(probe["httpGet"])["path"])
		}
	}
}
