package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// TestStartsUnderPressure: the log wants the endpoints paused as soon as it is open,
// whatever is built after it.
func TestStartsUnderPressure(t *testing.T) {
	for _, c := range []struct {
		name, bus string
		fill      int // frames in the log before the start
	}{
		{"room", "{}", 0},
		{"below min_free", "{min_free: 1000000G}", 0},
		{"over the high mark", "{wal_max_bytes: 1M, pause_hi: 0.02, resume_lo: 0.01}", 40000},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.fill > 0 {
				fillLog(t, filepath.Join(dir, "data", "log"), c.fill)
			}
			file := filepath.Join(dir, "gateway.yml")
			text := fmt.Sprintf("gateway_id: g\ndata_dir: %s/data\nmetrics: {listen: \"\"}\nadmin: {socket: %s/a.sock}\n"+
				"config: {source: dir, dir: %s/config}\nbus: %s\n", dir, dir, dir, c.bus)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
				t.Fatal(err)
			}
			for table, none := range map[string]string{"endpoints": "{}", "drivers": "{}", "variables": "[]"} {
				if err := os.WriteFile(filepath.Join(dir, "config", table+".yml"), []byte(none+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 10 {
				startAndStop(t, file)
			}
		})
	}
}

func startAndStop(t *testing.T, file string) {
	t.Helper()
	cfg, err := bootstrap.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// fillLog writes frames that nobody has acknowledged.
func fillLog(t *testing.T, dir string, frames int) {
	t.Helper()
	b, err := bus.Open(bus.Config{RingPow: 14, PauseHi: 0.8, ResumeLo: 0.6, WALDir: dir, WALFlush: 10 * time.Millisecond,
		WALMaxBytes: 1 << 30, Overflow: bus.Spill, Retain: time.Hour, RetainBytes: 1 << 30}, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range frames {
		if err := b.PublishSys("sys.start", map[string]any{"filler": "0123456789abcdefghijklmnopqrstuvwxyz"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
