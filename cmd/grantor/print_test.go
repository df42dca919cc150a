package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// evil is what a stranger may call itself.
func evil() []string {
	return []string{
		"\x1b[2J\x1b[31mred", "a\nb", "a\r\nid  admin", "tab\tbed", "bell\a", "nul\x00", "c1 \u009b31m", "rtl \u202egro.elpmaxe", "isolate \u2066x",
		"separator \u2028 x", "zero\u200bwidth", "bad \xff utf8", "del\x7f", "tag \U000e0041",
	}
}

func requireHarmless(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' {
			require.True(t, unicode.IsGraphic(r), "%U reached the terminal in %q", r, text)
		}
	}
}

func TestTablesStayTablesWhateverANameIs(t *testing.T) {
	for _, name := range evil() {
		var b bytes.Buffer
		require.NoError(t, table(&b, []string{"ID", "NAME"}, [][]string{{"1", name}, {"2", "plain"}}))
		require.NoError(t, pairs(&b, [2]string{"name", name}))
		requireHarmless(t, b.String())
		require.Equal(t, 4, strings.Count(b.String(), "\n"), "%q made a line of its own: %s", name, b.String())
	}
	require.Equal(t, "Łukasz 日本 & Sons <b>", plain("Łukasz 日本 & Sons <b>"), "what only looks foreign stays as it is")
	require.Equal(t, "-", plain(""))
}

func TestJSONLosesNothingAndHarmsNothing(t *testing.T) {
	for _, name := range evil() {
		name = strings.ToValidUTF8(name, "")
		var b bytes.Buffer
		require.NoError(t, writeJSON(&b, map[string]string{"name": name}))
		requireHarmless(t, b.String())
		var back map[string]string
		require.NoError(t, json.Unmarshal(b.Bytes(), &back))
		require.Equal(t, name, back["name"])
	}
	var b bytes.Buffer
	require.NoError(t, writeJSON(&b, map[string]string{"name": "<a & b>"}))
	require.Contains(t, b.String(), "<a & b>")
}

func TestEveryFailureIsOneLineAndOneHint(t *testing.T) {
	for _, row := range []struct {
		err  error
		code int
		hint string
	}{
		{nil, 0, ""},
		{errors.New("anything"), 1, ""},
		{fmt.Errorf("show client %q: %w", "x\ny", clients.ErrNotFound), 1, "grantor client list"},
		{fmt.Errorf("%w: no grant", clients.ErrInvalid), 2, "--help"},
		{fmt.Errorf("%w: too short", users.ErrInvalid), 2, "--help"},
		{errors.Join(storage.ErrSchemaOld, errors.New("close")), 1, "grantor migrate up"},
		{fmt.Errorf("open: %w", storage.ErrUnavailable), 1, "is the database running"},
		{&usageError{message: "a\nb", hint: "c\nd"}, 2, "c; d"},
		{&fs.PathError{Op: "open", Path: "/x/y", Err: syscall.ENOENT}, 1, "make the folder"},
		{hintDatabase(errors.New("anything")), 1, "which database is it?"},
		{hintDatabase(storage.ErrSchemaOld), 1, "grantor migrate up"},
		{fmt.Errorf("wrapped: %w", withHint(clients.ErrConflict, "own %s", "hint")), 1, "own hint"},
		{config.Faults{{Setting: "a", Problem: "is b", Hint: "do c"}}, 2, "do c"},
	} {
		var b bytes.Buffer
		require.Equal(t, row.code, report(&b, row.err), "%v", row.err)
		if row.err == nil {
			require.Empty(t, b.String())
			continue
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		require.True(t, strings.HasPrefix(lines[0], "grantor: "), b.String())
		if row.hint == "" {
			require.Len(t, lines, 1)
			continue
		}
		require.Len(t, lines, 2, b.String())
		require.True(t, strings.HasPrefix(lines[1], "hint: "), b.String())
		require.Contains(t, lines[1], row.hint)
	}
	require.Equal(t, `failed: one; two`, oneLine("failed:\n\tone\n\ttwo\n\ttwo"), "a driver's list is one line")
	for _, name := range evil() {
		var b bytes.Buffer
		report(&b, errors.New(name))
		requireHarmless(t, b.String())
		require.Equal(t, 1, strings.Count(b.String(), "\n"))
	}
}

func TestOneLineOfStandardInput(t *testing.T) {
	for text, want := range map[string]string{
		"secret\n": "secret", "secret": "secret", "secret\r\n": "secret", " se cret \n": " se cret ", "first\nsecond\n": "first", "secret\n\n": "secret",
		strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 64) + "\r\n": strings.Repeat("x", 64),
	} {
		have, err := readLine(strings.NewReader(text), "password", 64)
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
	for _, text := range []string{"", "\n", "\r\n", strings.Repeat("x", 65), strings.Repeat("x", 65) + "\n", strings.Repeat("x", 1<<20)} {
		_, err := readLine(strings.NewReader(text), "password", 64)
		var usage *usageError
		require.ErrorAs(t, err, &usage)
		require.NotContains(t, err.Error(), "xxxx")
	}
}
