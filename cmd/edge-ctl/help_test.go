package main

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

func TestEveryCommand(t *testing.T) { clitest.EveryCommand(t, newRoot, clitest.Exceptions{}) }
