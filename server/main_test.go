package server_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What a request or Run started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
