package media

import (
	"testing"

	"go.uber.org/goleak"
)

// Workers end with their engine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
