package gateway

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestListenHint: the port that node_exporter has too is told to the start and to
// config check.
func TestListenHint(t *testing.T) {
	inUse := fmt.Errorf("bind: %w", syscall.EADDRINUSE)
	for _, c := range []struct {
		addr  string
		err   error
		names bool
	}{{":9100", inUse, true}, {"127.0.0.1:9100", inUse, true}, {":9101", inUse, false}, {":9100", fs.ErrPermission, false}} {
		if got := listenHint(c.addr, c.err); strings.Contains(got, "node_exporter") != c.names {
			t.Errorf("%s, %v: %q", c.addr, c.err, got)
		}
	}
}
