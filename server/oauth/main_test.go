package oauth_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What a request started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
