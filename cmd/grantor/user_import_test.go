package main

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/users"
)

func newImportReader() *importReader {
	made := 0
	return &importReader{
		newID:     func() (string, error) { made++; return fmt.Sprintf("made-%d", made), nil },
		checkHash: func(string) error { return users.ErrUnknownHash },
		now:       time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), seen: map[string]int{},
	}
}

// The lists of members are written by hand: a new claim that is not in them could
// not be imported.
func TestImport_members_are_those_of_its_types(t *testing.T) {
	t.Parallel()
	var names func(t reflect.Type) []string
	names = func(t reflect.Type) (list []string) {
		for i := range t.NumField() {
			field := t.Field(i)
			if field.Anonymous {
				list = append(list, names(field.Type)...)
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			list = append(list, name)
		}
		return list
	}
	require.ElementsMatch(t, names(reflect.TypeFor[importLine]()), importMembers)
	require.ElementsMatch(t, names(reflect.TypeFor[users.Address]()), addressMembers)
	for _, name := range importMembers {
		require.NotContains(t, serverMembers, name)
	}
}

// U-09: no claim of the server, and nothing that only looks like a member.
func TestImport_refuses_members_U09(t *testing.T) {
	t.Parallel()
	for _, member := range []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "nonce", "acr", "amr", "azp", "sid", "at_hash", "c_hash", "client_id", "scope",
		"preferred_username", "updated_at", "roles", "v", "Sub", "Email", "EMAIL_VERIFIED", "email\u0000", "", "passwordHash", "profiles", "ſcope",
	} {
		_, err := readImportFile(strings.NewReader(fmt.Sprintf(`{"username":"a",%q:"hunter2"}`, member)), newImportReader())
		require.ErrorContains(t, err, "line 1: ", member)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestImport_lines(t *testing.T) {
	t.Parallel()
	for line, fault := range map[string]string{
		`{}`: "no username", `[]`: "one JSON object", `null`: "one JSON object", `"a"`: "one JSON object", `1`: "one JSON object", `{`: "one JSON object", `{"username"`: "one JSON object",
		`{"username":"a"}{"username":"b"}`: "one JSON object", `{"username":"a"} x`: "one JSON object", `{"username":"a",}`: "one JSON object", `{"username":'a'}`: "one JSON object",
		`{"username":{"sub":1}}`:                                 `"username" is of the wrong kind`,
		`{"username":"a","email_verified":"true"}`:               "of the wrong kind",
		`{"username":"a","address":"Road 1"}`:                    "of the wrong kind",
		`{"username":"a","address":{"region":"\u0000"}}`:         "address.region has a control character",
		`{"username":"a","address":{"region":"x","region":"y"}}`: `"address.region" is there twice`,
		`{"username":"a\ud800"}`:                                 "control character",
		`{"username":"a","id":"?x"}`:                             "the id is not",
		`{"username":"a","password":"short"}`:                    "at least 8",
		`{"username":"a","password_hash":"hunter2"}`:             "of no kind that is supported",
		`{"username":"a","` + strings.Repeat("x", 100) + `":1}`:  `unknown member "(long)"`,
	} {
		_, err := readImportFile(strings.NewReader(line), newImportReader())
		require.ErrorContains(t, err, fault, line)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "short")
	}
	list, err := readImportFile(strings.NewReader("\n \n{\"username\":\" a \",\"id\":null,\"address\":null,\"disabled\":true}\n\n"), newImportReader())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, imported{line: 3, User: users.User{ID: "made-1", Name: "a", DisabledAt: newImportReader().now}}, list[0])
}

func TestImport_bounds(t *testing.T) {
	t.Parallel()
	pad := func(n int) string {
		line := `{"username":"a"}`
		return line + strings.Repeat(" ", n-len(line))
	}
	for _, end := range []string{"", "\n"} {
		_, err := readImportFile(strings.NewReader(pad(maxImportLine)+end), newImportReader())
		require.NoError(t, err)
	}
	_, err := readImportFile(strings.NewReader("\n"+pad(maxImportLine+2)), newImportReader())
	require.ErrorContains(t, err, "line 2: is longer than 64 KiB")
	_, err = readImportFile(strings.NewReader(strings.Repeat("x\n", 1000)), newImportReader())
	require.ErrorContains(t, err, "line 10: ")
	require.NotContains(t, err.Error(), "line 11: ")
	broken := errors.New("the disk is broken")
	_, err = readImportFile(iotest.ErrReader(broken), newImportReader())
	require.ErrorIs(t, err, broken)
}
