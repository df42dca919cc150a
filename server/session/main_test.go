package session_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What a sign-in started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
