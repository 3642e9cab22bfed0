package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// TestPassingSettings sets every setting of the bus until the process ends: it is above
// the settings of the config center, and stays there when those change; what the schema
// refuses is refused and changes nothing; and status tells of it.
func TestPassingSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gateway.yml")
	text := fmt.Sprintf("gateway_id: g\ndata_dir: %s/data\nmetrics: {listen: \"\"}\nadmin: {socket: %s/a.sock}\nconfig: {source: dir, dir: %s/config}\n", dir, dir, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg, err := bootstrap.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	a := adminBus{busadmin.Running(g.bus, nil), g}
	push := func(groups map[string]map[string]any) {
		t.Helper()
		if err := (*settings)(g).Set(t.Context(), groups); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ key, value, old, now string }{
		{"wal_flush_ms", "20", "100", "20"},
		{"ring_pow", "14", "16", "14"},
		{"pause_hi", "0.9", "0.8", "0.9"},
		{"resume_lo", "0.5", "0.6", "0.5"},
		{"wal_max_bytes", "8G", "4G", "8G"},
		{"min_free", "1M", "256M", "1M"},
		{"overflow", "drop_oldest", "spill", "drop_oldest"},
		{"retain", "30m", "1h", "30m"},
		{"retain_bytes", "512M", "1G", "512M"},
	} {
		if got, err := a.Set(t.Context(), c.key, c.value); err != nil || got.GetOldValue() != c.old || got.GetNewValue() != c.now {
			t.Errorf("%s: %v, %v; want %s → %s", c.key, got, err, c.old, c.now)
		}
	}
	before := g.bus.Config()
	for key, value := range map[string]string{
		"nonsense": "1", "wal_dir": "/x", "wal_flush_ms": "soon", "pause_hi": "0.4", "wal_max_bytes": "64K", "overflow": "explode", "retain": "-1s", "ring_pow": "30", "min_free": "",
	} {
		if _, err := a.Set(t.Context(), key, value); !errors.Is(err, errkind.Invalid) {
			t.Errorf("%s = %s: %v", key, value, err)
		}
	}
	if now := g.bus.Config(); now != before {
		t.Errorf("what was refused changed something: %+v", now)
	}
	push(map[string]map[string]any{"bus": {"wal_flush_ms": int64(50), "ring_pow": int64(15)}})
	if now := g.bus.Config(); now != before {
		t.Errorf("a push of settings has taken it away: %+v", now)
	}
	if text := g.passingText(); !strings.Contains(text, "bus.wal_flush_ms: 20") {
		t.Errorf("status: %q", text)
	}
	if now, err := g.withSettings(nil); err != nil || now.Origin("bus.wal_flush_ms") != bootstrap.OriginPassing {
		t.Errorf("origin %q, %v", now.Origin("bus.wal_flush_ms"), err)
	}
	if got, err := a.Set(t.Context(), "wal_flush_ms", "null"); err != nil || got.GetNewValue() != "50" {
		t.Errorf("taken away: %v, %v", got, err)
	}
}
