package gateway

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/backup"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
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

// A backup is a file that anybody may have made: one that unpacks to more than the disk has
// room for is refused before anything is written, and so is one that is another when it is
// read again.
func TestMakerOfABackupFillsNoDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "backup")
	pack := func(parts ...string) {
		t.Helper()
		var file bytes.Buffer
		w, err := backup.NewWriter(&file, backup.Manifest{Gateway: "gw"})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range parts {
			s, err := w.Stream(name)
			if err == nil {
				_, err = s.Write(bytes.Repeat([]byte{0}, 16<<20))
			}
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), os.WriteFile(path, file.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	_, free, err := diskOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &bootstrap.Gateway{GatewayID: "gw", DataDir: filepath.Join(dir, "data"), SecretsDir: filepath.Join(dir, "secrets")}
	for _, parts := range [][]string{{"data/instance"}, {"log"}, {"etcd"}, {"config/drivers.yml"}, {"secrets/x"}, {"policy/x"}, {"of another release"}} {
		// Others use this disk too: no room at all is what can be told for certain.
		cfg.Bus = map[string]any{"wal_dir": filepath.Join(dir, "log"), "min_free": strconv.FormatUint(2*free, 10)}
		pack(parts...)
		_, err := Restore(t.Context(), cfg, path, nil)
		if err == nil || !strings.Contains(err.Error(), parts[0]+": there is no room for it") || !strings.Contains(err.Error(), "nothing was restored") {
			t.Errorf("%s: %v", parts, err)
		}
	}
	for _, made := range []string{"data", "log", "secrets"} {
		if _, err := os.Lstat(filepath.Join(dir, made)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made: %v", made, err)
		}
	}

	cfg.Bus["min_free"] = "0"
	pack("data/instance", "secrets/b")
	contents, err := checkRoom(t.Context(), cfg, path)
	if err == nil {
		err = os.Mkdir(cfg.DataDir, 0o700)
	}
	if err != nil {
		t.Fatalf("with room: %v", err)
	}
	r := &restorer{cfg: cfg, done: &Restored{Contents: *contents}}
	contents.Names["data/instance"]--
	if err := r.read(t.Context(), path); err == nil || !strings.Contains(err.Error(), "more than the 16777215 bytes that were checked") {
		t.Errorf("a part that has grown: %v", err)
	}
	delete(contents.Names, "data/instance")
	if err := r.read(t.Context(), path); err == nil || !strings.Contains(err.Error(), "data/instance was not in it") {
		t.Errorf("a part that is new: %v", err)
	}
}

// TestModesOfABackup: whoever makes a backup opens no file of the gateway to others by it.
func TestModesOfABackup(t *testing.T) {
	dir := t.TempDir()
	cfg := &bootstrap.Gateway{GatewayID: "gw", DataDir: filepath.Join(dir, "data"), SecretsDir: filepath.Join(dir, "secrets")}
	cfg.Config.Dir = filepath.Join(dir, "config")
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, backup.Manifest{Gateway: "gw"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data/instance", "secrets/x", "config/drivers.yml"} {
		err = errors.Join(err, w.File(name, 0o777, []byte("x")))
	}
	if err := errors.Join(err, w.Close(), os.Mkdir(cfg.DataDir, 0o700)); err != nil {
		t.Fatal(err)
	}
	r := &restorer{cfg: cfg, done: &Restored{}}
	if _, err := backup.Read(&file, nil, r.part); err != nil {
		t.Fatal(err)
	}
	for name, most := range map[string]fs.FileMode{"data/instance": 0o750, "secrets/x": 0o750, "config/drivers.yml": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm()&^most != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestRoomOfAPackedLog: the log's part is packed by itself; it counts as what it unpacks to.
func TestRoomOfAPackedLog(t *testing.T) {
	cfg := bus.DefaultConfig(t.TempDir())
	cfg.MinFree = 0
	b, err := bus.Open(cfg, bus.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	for range 8 {
		f := frame.Frame{Value: frame.StringValue(strings.Repeat("x", 1<<20)), TS: 1}
		if err := b.PublishSync(t.Context(), frame.Single(frame.Data, "d", frame.Tag{Name: "a"}, f)); err != nil {
			t.Fatal(err)
		}
	}
	var export bytes.Buffer
	if _, err := b.Archive().Export(t.Context(), &export, 0, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unpacked(backup.Part{Name: partLog}, bytes.NewReader(export.Bytes()), math.MaxInt64)
	if err != nil || n < 8<<20 || export.Len() > 1<<20 {
		t.Errorf("%d bytes that unpack to 8 MiB count as %d: %v", export.Len(), n, err)
	}
	if n, err := unpacked(backup.Part{Name: partEtcd}, bytes.NewReader(export.Bytes()), math.MaxInt64); err != nil || n != int64(export.Len()) {
		t.Errorf("a part that isn't packed: %d of %d, %v", n, export.Len(), err)
	}
}

// A part takes all the room that there is and no byte more; a snapshot of etcd needs it twice.
func TestRoomOfAPart(t *testing.T) {
	for _, x := range []struct {
		left, size int64
		ok         bool
	}{{10, 10, true}, {10, 11, false}, {0, 0, true}, {0, 1, false}} {
		_, err := io.Copy(io.Discard, &bounded{in: strings.NewReader(strings.Repeat("x", int(x.size))), left: x.left, err: fs.ErrInvalid})
		if (err == nil) != x.ok {
			t.Errorf("%d bytes where %d have room: %v", x.size, x.left, err)
		}
	}
	cfg := &bootstrap.Gateway{DataDir: "data", SecretsDir: "secrets"}
	if dir, copies := destination(cfg, backup.Part{Name: partEtcd}); dir != "data" || copies != 2 {
		t.Errorf("etcd goes to %s %d times", dir, copies)
	}
}
