package login_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What a page started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
