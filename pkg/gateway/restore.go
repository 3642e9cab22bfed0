package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/backup"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// CheckBackup reads a backup to its end and returns what is in it.
func CheckBackup(path string) (*backup.Contents, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	c, err := backup.Read(f, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Restored is what a restore did.
type Restored struct {
	backup.Contents
	Log    bus.ExportReport
	Kept   []string // files that were there already and stayed as they were
	Placed []string // files outside data_dir that were made
}

// Restore puts a backup where the gateway of cfg keeps its data. The whole file is
// checked first; data_dir and the log's directory must be empty. Tables and secrets
// that are there stay as they are.
//
// A restored gateway is the one that was backed up, at the time of the backup. Since
// that one may have gone further, a new epoch of the log begins, no MQTT session
// survives, and the revisions of the embedded etcd jump.
func Restore(ctx context.Context, cfg *bootstrap.Gateway, path string, log *slog.Logger) (*Restored, error) {
	contents, err := checkRoom(ctx, cfg, path)
	if err != nil {
		return nil, err
	}
	if contents.Gateway != cfg.GatewayID {
		return nil, fmt.Errorf("%s is a backup of gateway %q, but gateway.yml says gateway_id %q; nothing was restored", path, contents.Gateway, cfg.GatewayID)
	}
	for _, dir := range []struct{ key, path string }{{"data_dir", cfg.DataDir}, {"bus.wal_dir", cfg.WALDir()}} {
		if err := mustBeEmpty(dir.key, dir.path); err != nil {
			return nil, err
		}
	}
	// The log is made beside its directory and renamed into its place, on the disk
	// that a link leads to.
	walDir := cfg.WALDir()
	if target, err := filepath.EvalSymlinks(walDir); err == nil {
		walDir = target
	}
	if err := os.Remove(walDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bus.wal_dir: %w: nothing was restored; if it is a mount point, let bus.wal_dir be a directory in it", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	marker := filepath.Join(cfg.DataDir, restoringAt)
	if err := durable.WriteFile(marker, []byte(path+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	r := &restorer{cfg: cfg, walDir: walDir, log: log, done: &Restored{Contents: *contents}}
	if err := r.read(ctx, path); err != nil {
		return nil, fmt.Errorf("%w\nthe restore is not complete, and edge-gw run will refuse it: empty %s and %s, then try again", err, cfg.DataDir, walDir)
	}
	if err := errors.Join(os.Remove(marker), durable.SyncDir(cfg.DataDir)); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return r.done, nil
}

// mustBeEmpty refuses a directory with something in it.
func mustBeEmpty(key, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == "lost+found" || strings.HasPrefix(e.Name(), "."+restoringAt+".") // of a restore that was killed as it began
	})
	if len(entries) > 0 {
		return fmt.Errorf("%s %s is not empty (%s): nothing was restored; stop the gateway and move it away first", key, dir, entries[0].Name())
	}
	return nil
}

// checkRestored refuses a data_dir whose restore was cut off.
func checkRestored(dataDir string) error {
	file, err := regular.ReadFile(filepath.Join(dataDir, restoringAt), 64<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data_dir %s: this user may not use it; run edge-gw as the user to whom it belongs: %w", dataDir, err)
	}
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", dataDir, err)
	}
	return fmt.Errorf("data_dir %s: the restore of %s is not complete: empty the directory, and bus.wal_dir if it is elsewhere, and restore again", dataDir, strings.TrimSpace(string(file)))
}

type restorer struct {
	cfg    *bootstrap.Gateway
	walDir string // the log's, without links
	log    *slog.Logger
	done   *Restored
}

func (r *restorer) read(ctx context.Context, path string) error {
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	_, err = backup.Read(f, nil, func(p backup.Part, in io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The file may be another one by now.
		size, known := r.done.Names[p.Name]
		if !known {
			return fmt.Errorf("%s: %s was not in it when it was checked", path, p.Name)
		}
		in = &bounded{in: in, left: size, err: fmt.Errorf("it has more than the %d bytes that were checked", size)}
		if err := r.part(p, in); err != nil {
			return fmt.Errorf("restore %s: %w", p.Name, err)
		}
		return nil
	})
	return err
}

func (r *restorer) part(p backup.Part, in io.Reader) error {
	dir, name, _ := strings.Cut(p.Name, "/")
	switch {
	case p.Name == partLog:
		return r.frames(in)
	case p.Name == partEtcd:
		return r.etcd(in)
	case dir == dirData && slices.Contains(keptFiles(), name):
		return r.file(filepath.Join(r.cfg.DataDir, name), p, in)
	case dir == dirTables && config.IsTablePath(name):
		return r.missing(filepath.Join(r.cfg.Config.Dir, name), p, in)
	case dir == dirSecrets && filepath.IsLocal(name):
		return r.missing(filepath.Join(r.cfg.SecretsDir, name), p, in)
	case dir == dirPolicy && filepath.IsLocal(name):
		return r.missing(filepath.Join(r.cfg.Policy.SecretsDir, name), p, in)
	case p.Name != partConfig:
		r.log.Warn("the backup has a part that this release does not know", "part", p.Name)
	}
	return nil
}

func (r *restorer) frames(in io.Reader) (err error) {
	if err := os.MkdirAll(filepath.Dir(r.walDir), 0o700); err != nil {
		return err
	}
	log, err := bus.ParseConfig(r.cfg.Bus)
	if err != nil {
		return err
	}
	r.done.Log, err = bus.Restore(r.walDir, in, log.MinFree, r.log)
	return err
}

// revisionsSkipped is how far etcd's revisions jump at least. A busy fleet writes
// some hundred thousand a day.
const revisionsSkipped = 1_000_000

func (r *restorer) etcd(in io.Reader) error {
	snapshot := filepath.Join(r.cfg.DataDir, "etcd.snapshot")
	if err := durable.Write(snapshot, 0o600, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	}); err != nil {
		return err
	}
	defer func() { _ = os.Remove(snapshot) }() // it is in place, or the restore has failed
	// With the seconds, two restores of one backup don't begin at the same revision.
	skip := revisionsSkipped + max(0, time.Since(r.done.Time)/time.Second)
	return embedded.Restore(etcdDir(r.cfg), snapshot, uint64(skip))
}

func (r *restorer) file(path string, p backup.Part, in io.Reader) error {
	mode := p.Mode &^ 0o022 // whoever made the backup gives nobody a right to change what is in it
	if !strings.HasPrefix(p.Name, dirTables+"/") {
		mode &^= 0o007
	}
	return durable.Write(path, mode, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// missing restores a file that isn't there.
func (r *restorer) missing(path string, p backup.Part, in io.Reader) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		r.done.Kept = append(r.done.Kept, path)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	r.done.Placed = append(r.done.Placed, path)
	return r.file(path, p, in)
}
