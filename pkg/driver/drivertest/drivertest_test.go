package drivertest_test

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
)

// The suite on a small driver of its own. See line_test.go for what a driver
// needs to pass.
func TestSuite(t *testing.T) { drivertest.Run(t, newLineDevice) }
