package gateway

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/edge-gateway/edge-gateway/pkg/backup"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// checkRoom reads a backup to its end and refuses one whose parts have no room on the
// disks that they go to. A backup is a file that anybody may have made: some kilobytes
// of it can unpack to more than any disk holds.
func checkRoom(ctx context.Context, cfg *bootstrap.Gateway, path string) (*backup.Contents, error) {
	log, err := bus.ParseConfig(cfg.Bus)
	if err != nil {
		return nil, err
	}
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	disks := map[uint64]int64{}      // what is left of each, by its number
	c, err := backup.Read(f, nil, func(p backup.Part, in io.Reader) error {
		dir, copies := destination(cfg, p)
		id, free, err := diskOf(existing(dir))
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		left, seen := disks[id]
		if !seen {
			left = int64(free) - int64(log.MinFree)
		}
		full := fmt.Errorf("%s: there is no room for it on the disk of %s, which has %s free, and %s of that stay free (bus.min_free): make room; nothing was restored",
			p.Name, dir, wholeMiB(free), config.Size(log.MinFree))
		room := max(0, left) / copies
		n, err := unpacked(p, &bounded{ctx: ctx, in: in, left: room, err: full}, room)
		disks[id] = left - n*copies
		if err == nil && n > room {
			err = full
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// unpacked returns how many bytes a part takes where it goes. The log's part is packed
// once more by itself. It stops beyond most.
func unpacked(p backup.Part, in io.Reader, most int64) (int64, error) {
	if p.Name == partLog {
		return bus.ExportSize(in, most)
	}
	return io.Copy(io.Discard, in)
}

// destination is where a part goes, and how often it stands there while it is restored:
// etcd's snapshot is on the disk next to what is made of it.
func destination(cfg *bootstrap.Gateway, p backup.Part) (dir string, copies int64) {
	switch top, _, _ := strings.Cut(p.Name, "/"); {
	case p.Name == partLog:
		return cfg.WALDir(), 1
	case p.Name == partEtcd:
		return cfg.DataDir, 2
	case top == dirTables:
		return cfg.Config.Dir, 1
	case top == dirSecrets:
		return cfg.SecretsDir, 1
	case top == dirPolicy:
		return cfg.Policy.SecretsDir, 1
	}
	return cfg.DataDir, 1
}

// diskOf returns the number of the file system that holds a path, and its free bytes.
func diskOf(path string) (id, free uint64, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, 0, err
	}
	free, err = freeOf(path)
	return uint64(st.Dev), free, err //nolint:unconvert // other systems number them otherwise
}

// freeOf returns how many bytes are free for the gateway on the file system of a path.
func freeOf(path string) (uint64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(path, &st)
	return st.Bavail * uint64(st.Bsize), err
}

// wholeMiB is n bytes as people are told of them.
func wholeMiB(n uint64) config.Size { return config.Size(n/uint64(config.MiB)) * config.MiB }

// bounded reads until more than left has come, and fails with err then.
type bounded struct {
	ctx  context.Context // nil: none
	in   io.Reader
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.ctx != nil && b.ctx.Err() != nil {
		return 0, b.ctx.Err()
	}
	n, err := b.in.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}
