package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/backup"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// The parts of a backup.
const (
	partLog     = "log"         // stream: an export of the log, with the consumers' places
	partEtcd    = "etcd"        // stream: a snapshot of the embedded etcd
	partConfig  = "gateway.yml" // to look at: restore is told which one to use
	dirTables   = "config"      // files: the tables in config.dir
	dirSecrets  = "secrets"     // files: those of secrets_dir
	dirPolicy   = "policy"      // files: those of policy.secrets_dir
	dirData     = "data"        // files: those of data_dir that are kept as they are
	restoringAt = "RESTORING"   // in data_dir: a restore isn't complete
)

// keptFiles are the files of data_dir that a backup takes as they are.
func keptFiles() []string {
	return []string{instanceFile, cacheFile, center.SignedFile(cacheFile), center.RolloutFile(cacheFile), historyFile, feed.LastGoodFile, feed.PreviousFile, feed.HoldFile}
}

// BackupOptions say what to back up.
type BackupOptions struct {
	File    string // of cfg: gateway.yml
	Secrets bool   // with secrets_dir and policy.secrets_dir, and with gateway.yml as it stands
	Log     *slog.Logger
}

// Backup writes everything that the gateway of cfg needs to go on elsewhere: tables
// with their history, log, consumers' places, identity. The gateway may run
// meanwhile; its drivers and connectors are not disturbed. A stopped one can't be
// started before Backup returns.
//
// The parts are not of the very same moment. The log is exported before the tables
// are, so that no frame refers to a configuration that the backup hasn't got.
func Backup(ctx context.Context, cfg *bootstrap.Gateway, w io.Writer, o BackupOptions) error {
	src, err := openBackupSource(ctx, cfg, o.Log)
	if err != nil {
		return err
	}
	defer src.close()
	host, _ := os.Hostname() // only shown
	out, err := backup.NewWriter(w, backup.Manifest{
		Gateway: cfg.GatewayID, Host: host, Version: version.String(), Time: time.Now().UTC().Truncate(time.Second),
		Secrets: o.Secrets, Running: src.running != nil,
	})
	if err != nil {
		return err
	}
	b := &backupWriter{cfg: cfg, opts: o, src: src, out: out}
	for _, step := range []func(context.Context) error{b.log, b.data, b.etcd, b.tables, b.settings, b.secrets} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return out.Close()
}

// backupSource is the gateway that is backed up: one that runs, or its directories.
type backupSource struct {
	running *admin.Client
	stopped *bus.Archive
}

func openBackupSource(ctx context.Context, cfg *bootstrap.Gateway, log *slog.Logger) (backupSource, error) {
	archive, err := bus.OpenArchive(cfg.WALDir(), false, log)
	switch {
	case err == nil:
		return backupSource{stopped: archive}, nil
	case errors.Is(err, bus.ErrLocked):
		client, err := admin.Dial(ctx, cfg.Admin.Socket)
		if err != nil {
			return backupSource{}, fmt.Errorf("the gateway runs, but can't be asked for its log: %w", err)
		}
		return backupSource{running: client}, nil
	case errors.Is(err, bus.ErrNoLog):
		return backupSource{}, fmt.Errorf("there is nothing to back up: no gateway ever ran with data_dir %s: %w", cfg.DataDir, err)
	}
	return backupSource{}, err
}

func (s backupSource) close() {
	if s.running != nil {
		_ = s.running.Close() // every call has had its answer
	} else {
		_ = s.stopped.Close() // it was only read
	}
}

// export writes the log, all that is durable of it.
func (s backupSource) export(ctx context.Context, w io.Writer) (missing int, err error) {
	if s.running != nil {
		sum, err := s.running.Bus.Export(ctx, 0, 0, w)
		return len(sum.GetMissing()), err
	}
	sum, err := s.stopped.Export(ctx, w, 0, 0)
	return len(sum.Missing), err
}

type backupWriter struct {
	cfg  *bootstrap.Gateway
	opts BackupOptions
	src  backupSource
	out  *backup.Writer
}

// stream adds a part that write makes.
func (b *backupWriter) stream(name string, write func(io.Writer) error) error {
	w, err := b.out.Stream(name)
	if err == nil {
		err = errors.Join(write(w), w.Close())
	}
	if err != nil {
		return fmt.Errorf("back up the %s: %w", name, err)
	}
	return nil
}

func (b *backupWriter) log(ctx context.Context) error {
	return b.stream(partLog, func(w io.Writer) error {
		missing, err := b.src.export(ctx, w)
		if missing > 0 {
			b.opts.Log.Warn("some frames of the log are damaged and are not in the backup; edge-bus check shows them", "ranges", missing)
		}
		return err
	})
}

// maxKept bounds a file that goes into a backup whole, in bytes.
const maxKept = 1 << 30

// file adds a file, if it is there.
func (b *backupWriter) file(name, path string) error {
	fi, err := os.Stat(path)
	if err == nil && !fi.Mode().IsRegular() {
		return nil
	}
	content, err := regular.ReadFile(path, maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return b.out.File(name, fi.Mode(), content)
}

func (b *backupWriter) data(context.Context) error {
	for _, name := range keptFiles() {
		if err := b.file(dirData+"/"+name, filepath.Join(b.cfg.DataDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// etcd adds a snapshot of the embedded server. That of a stopped gateway is started
// for it: what it has acknowledged last may stand in its log alone.
func (b *backupWriter) etcd(ctx context.Context) error {
	c := b.cfg.Config
	if c.Source != "etcd" || len(c.Etcd.Endpoints) > 0 {
		return nil
	}
	if _, err := os.Stat(etcdDir(b.cfg)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if b.src.stopped != nil {
		stop, err := serveEmbedded(ctx, b.cfg, b.opts.Log)
		if err != nil {
			return err
		}
		defer stop()
	}
	store, err := center.Open(ctx, center.Config{Endpoints: []string{"unix:" + center.EmbeddedSocket(b.cfg.DataDir)}, Prefix: c.Etcd.Prefix})
	if err != nil {
		return fmt.Errorf("back up the tables: %w", err)
	}
	defer func() { _ = store.Close() }() // every request has had its answer
	return b.stream(partEtcd, func(w io.Writer) error { return store.SaveTo(ctx, w) })
}

func etcdDir(cfg *bootstrap.Gateway) string { return filepath.Join(cfg.DataDir, "etcd") }

// serveEmbedded runs the etcd of a stopped gateway until stop is called.
func serveEmbedded(ctx context.Context, cfg *bootstrap.Gateway, log *slog.Logger) (stop func(), err error) {
	srv, err := embedded.New(embedded.Config{Dir: etcdDir(cfg), Socket: center.EmbeddedSocket(cfg.DataDir), Log: log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
		return func() {
			cancel()
			if err := <-done; err != nil {
				log.Warn("the embedded etcd did not stop cleanly", "error", err)
			}
		}, nil
	case err := <-done:
		defer cancel()
		return nil, cmp.Or(err, ctx.Err())
	}
}

// tables adds the directory of the tables, which a gateway with source dir runs
// from and an empty store is seeded with.
func (b *backupWriter) tables(context.Context) error {
	for _, t := range config.AllTables() {
		files, err := config.TableFiles(b.cfg.Config.Dir, t)
		if err != nil {
			return fmt.Errorf("back up: %w", err)
		}
		for _, path := range files {
			name, err := filepath.Rel(b.cfg.Config.Dir, path)
			if err == nil {
				err = b.file(dirTables+"/"+filepath.ToSlash(name), path)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// settings adds gateway.yml: as it stands with secrets, else what it amounts to,
// with passwords masked.
func (b *backupWriter) settings(context.Context) error {
	if b.opts.Secrets {
		return b.file(partConfig, b.opts.File)
	}
	var text bytes.Buffer
	if err := b.cfg.Print(&text, false); err != nil {
		return err
	}
	return b.out.File(partConfig, 0o600, text.Bytes())
}

func (b *backupWriter) secrets(context.Context) error {
	if !b.opts.Secrets {
		return nil
	}
	for part, dir := range map[string]string{dirSecrets: b.cfg.SecretsDir, dirPolicy: b.cfg.Policy.SecretsDir} {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("back up the secrets: %w", err)
		}
		for _, f := range files {
			if err := b.file(part+"/"+f.Name(), filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
