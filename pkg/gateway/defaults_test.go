package gateway

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// TestBusDefaultsAreTheSchemas: the bus knows no schema, so its defaults stand twice;
// they are the same.
func TestBusDefaultsAreTheSchemas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yml")
	if err := os.WriteFile(path, []byte("gateway_id: gw-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := bootstrap.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bus.DefaultConfig(cfg.Bus.WALDir), busConfig(&cfg.Bus)); diff != "" {
		t.Errorf("-bus +schema:\n%s", diff)
	}
}
