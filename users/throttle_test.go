package users_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/users"
)

func TestDelay_grows_and_has_an_end(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int64]time.Duration{
		0: 0, 1: 0, 9: 0, 10: time.Second, 11: 2 * time.Second, 15: 32 * time.Second, 16: time.Minute, 17: time.Minute, 1 << 40: time.Minute,
	} {
		require.Equal(t, want, users.Delay(failures), "%d failures", failures)
	}
}

func TestAddressDelay_is_for_many_people(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int64]time.Duration{
		0: 0, 99: 0, 100: time.Second, 101: 2 * time.Second, 105: 32 * time.Second, 106: time.Minute, 1 << 40: time.Minute,
	} {
		require.Equal(t, want, users.AddressDelay(failures), "%d failures", failures)
	}
}

func TestAddressAccount_is_what_one_household_has(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "@192.0.2.1", "::ffff:192.0.2.1": "@192.0.2.1", "192.0.2.2": "@192.0.2.2",
		"2001:db8::1": "@2001:db8::/64", "2001:DB8:0:0:ffff::1": "@2001:db8::/64", "2001:db8:0:1::1": "@2001:db8:0:1::/64", "fe80::1%eth0": "@fe80::/64", "::1": "@::/64",
		"": "", "alice": "", "192.0.2.1:80": "", "192.0.2.01": "", "192.0.2.0/24": "", "\x00": "",
	} {
		require.Equal(t, want, users.AddressAccount(address), address)
	}
}

func TestNobodysAccount_hides_the_name(t *testing.T) {
	t.Parallel()
	account := users.NobodysAccount("Correct Horse")
	require.NotContains(t, account, "orse")
	require.Equal(t, account, users.NobodysAccount(" correct horse"))
	require.NotEqual(t, account, users.NobodysAccount("correct horses"))
}
