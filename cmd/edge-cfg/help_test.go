package main

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

func TestHelpFits(t *testing.T) { clitest.HelpFits(t, newRoot) }
