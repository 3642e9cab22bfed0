package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// Format is the version of the format in which a part of a gateway's data is.
type Format struct {
	Part   string `json:"part"`
	Path   string `json:"path"`
	Format int    `json:"format"`
	Newest int    `json:"newest"` // that this release writes
}

// Formats returns the formats of the data of a stopped gateway. A part in a format
// that this release doesn't know is an error.
//
// The log has two versions, the others have had one so far. A release that brings another
// one reads both and goes on writing the older, until [Migrate].
func Formats(ctx context.Context, cfg *bootstrap.Gateway, log *slog.Logger) ([]Format, error) {
	return formats(ctx, cfg, log, false)
}

// Migrate brings the data of a stopped gateway into the newest formats, and returns those
// that it found before.
func Migrate(ctx context.Context, cfg *bootstrap.Gateway, log *slog.Logger) ([]Format, error) {
	return formats(ctx, cfg, log, true)
}

func formats(ctx context.Context, cfg *bootstrap.Gateway, log *slog.Logger, migrate bool) (out []Format, err error) {
	archive, err := bus.OpenArchive(cfg.WALDir(), migrate, log)
	switch {
	case errors.Is(err, bus.ErrLocked):
		return nil, fmt.Errorf("the gateway runs: stop it first: %w", err)
	case errors.Is(err, bus.ErrNoLog):
		return nil, fmt.Errorf("there is nothing to migrate: no gateway ever ran with data_dir %s: %w", cfg.DataDir, err)
	case err != nil:
		return nil, err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	found, newest := archive.Format()
	out = []Format{{"log", cfg.WALDir(), found, newest}}
	if migrate && found < newest {
		if err := archive.Migrate(); err != nil {
			return out, err
		}
	}

	path := filepath.Join(cfg.DataDir, cacheFile)
	if found, err := center.CacheFormat(path); err == nil {
		out = append(out, Format{"configuration cache", path, found, center.NewestCacheFormat})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	if c := cfg.Config; c.Source == "etcd" && len(c.Etcd.Endpoints) == 0 {
		f, err := tablesFormat(ctx, cfg, log)
		if err != nil {
			return out, err
		}
		if f.Format > 0 {
			out = append(out, f)
		}
	}
	return out, nil
}

// tablesFormat asks the embedded etcd; Format is 0 where it holds no tables yet.
func tablesFormat(ctx context.Context, cfg *bootstrap.Gateway, log *slog.Logger) (Format, error) {
	f := Format{Part: "tables", Path: etcdDir(cfg)}
	if _, err := os.Stat(f.Path); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	stop, err := serveEmbedded(ctx, cfg, log)
	if err != nil {
		return f, err
	}
	defer stop()
	store, err := center.Open(ctx, center.Config{Endpoints: []string{"unix:" + center.EmbeddedSocket(cfg.DataDir)}, Prefix: cfg.Config.Etcd.Prefix})
	if err != nil {
		return f, err
	}
	defer func() { _ = store.Close() }() // every request has had its answer
	head, err := store.Head(ctx)
	f.Format, f.Newest = head.Format, head.Format // what tables need: those of a fleet have another one, and neither becomes the other
	return f, err
}
