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

func TestNobodysAccount_hides_the_name(t *testing.T) {
	t.Parallel()
	account := users.NobodysAccount("Correct Horse")
	require.NotContains(t, account, "orse")
	require.Equal(t, account, users.NobodysAccount(" correct horse"))
	require.NotEqual(t, account, users.NobodysAccount("correct horses"))
}
