package gateway

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/backup"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// A log's directory that can't be replaced, such as the root of a file system, is
// refused before anything is made.
func TestRestoreRefusesMountPointOfLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w, err := backup.NewWriter(f, backup.Manifest{Gateway: "gw"})
	if err == nil {
		err = errors.Join(w.Close(), f.Close())
	}
	cfg := &bootstrap.Gateway{GatewayID: "gw", DataDir: filepath.Join(dir, "data")}
	cfg.Bus = map[string]any{"wal_dir": filepath.Join(dir, "log")}
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(dir, "ssd", "lost+found"), 0o700), os.Symlink("ssd", cfg.WALDir()))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), cfg, file, nil); err == nil || !strings.Contains(err.Error(), "nothing was restored") {
		t.Errorf("error: %v", err)
	}
	if _, err := os.Lstat(cfg.WALDir()); err != nil {
		t.Errorf("the link to the log's disk: %v", err)
	}
	if _, err := os.Stat(cfg.DataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("data_dir was made: %v", err)
	}
}
