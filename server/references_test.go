package server_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/refusals"
)

// A new route gets a number, or grantor explain could not say where it was.
func TestReferences_can_tell_every_route(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("routes.go")
	require.NoError(t, err)
	routes := regexp.MustCompile(`path: "([^"]+)"`).FindAllStringSubmatch(string(table), -1)
	require.Greater(t, len(routes), 15)
	for _, route := range routes {
		require.True(t, refusals.NumberedRoute(route[1]), "add %s to refusals/causes.go", route[1])
	}
}
