package notify_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const anna = "5b0e9c1e-0000-4000-8000-000000001042"
