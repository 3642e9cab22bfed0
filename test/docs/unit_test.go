package docs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestUnitIsHardened: whoever finds a fault in the gateway gets no more of the machine by
// it than the gateway needs, and nobody ends it for good by having it crash.
func TestUnitIsHardened(t *testing.T) {
	text, err := os.ReadFile("../../packaging/edge-gw.service")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, want := range []string{
		"User=edge-gw", "UMask=0077", "LimitCORE=0", "MemoryMax=2G", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "StateDirectoryMode=0700",
		"ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "DevicePolicy=closed", "SystemCallFilter=@system-service", "RestrictNamespaces=yes",
		"Restart=always", "StartLimitIntervalSec=0",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for _, line := range lines {
		if device, ok := strings.CutPrefix(line, "DeviceAllow="); ok && !strings.HasPrefix(device, "char-tty") {
			t.Errorf("the unit allows %s, which is no serial line", device)
		}
		if line == "StartLimitIntervalSec=0" && slices.Index(lines, line) > slices.Index(lines, "[Service]") {
			t.Error("StartLimitIntervalSec has no effect in [Service]")
		}
	}
}
