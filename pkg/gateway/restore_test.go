package gateway

import (
	"bytes"
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

// The secrets that tables use are in a backup with secrets, wherever policy.secrets_dir
// is, and come back to where gateway.yml says by then.
func TestBackupHoldsThePolicysSecrets(t *testing.T) {
	dir := t.TempDir()
	cfg := &bootstrap.Gateway{SecretsDir: filepath.Join(dir, "secrets"), Policy: bootstrap.Policy{SecretsDir: filepath.Join(dir, "elsewhere")}}
	for path, text := range map[string]string{"secrets/own": "of the gateway", "secrets/tables/old": "of no use", "elsewhere/psk": "of tables"} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, with := range []bool{false, true} {
		var file bytes.Buffer
		w, err := backup.NewWriter(&file, backup.Manifest{Gateway: "gw", Secrets: with})
		if err != nil {
			t.Fatal(err)
		}
		b := &backupWriter{cfg: cfg, opts: BackupOptions{Secrets: with}, out: w}
		if err := errors.Join(b.secrets(t.Context()), w.Close()); err != nil {
			t.Fatal(err)
		}
		now := t.TempDir()
		r := &restorer{done: &Restored{}, cfg: &bootstrap.Gateway{SecretsDir: filepath.Join(now, "s"), Policy: bootstrap.Policy{SecretsDir: filepath.Join(now, "p")}}}
		if _, err := backup.Read(&file, nil, r.part); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{"s/own": "of the gateway", "p/psk": "of tables"} {
			got, err := os.ReadFile(filepath.Join(now, path))
			if with && (err != nil || string(got) != text) || !with && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("secrets %v: %s: %q, %v", with, path, got, err)
			}
		}
	}
}
