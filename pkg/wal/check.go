package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Report is what a check of the log found.
type Report struct {
	Epoch     string
	First     uint64 // first seq held
	Last      uint64 // last durable seq
	Blocks    int
	Frames    uint64 // readable
	Bytes     uint64
	Damaged   []*DamageError // runs of frames that cannot be read and that no gap tells of, with the first cause
	Gaps      []Gap          // known
	Repaired  bool
	Preserved string // where the damaged parts were put, "" if nowhere
}

// Check reads the whole log and verifies every checksum.
func (l *Log) Check(ctx context.Context) (Report, error) {
	r := Report{Epoch: l.Epoch(), First: l.Floor(), Last: l.Durable(), Gaps: l.Gaps()}
	s := Scan{
		block: func(blk *block) error {
			r.Blocks++
			r.Frames += uint64(blk.env.count)
			r.Bytes += uint64(len(blk.value))
			return nil
		},
		Damaged: func(d *DamageError) error {
			if n := len(r.Damaged); n > 0 && r.Damaged[n-1].Last+1 == d.First {
				r.Damaged[n-1].Last = d.Last
				return nil
			}
			r.Damaged = append(r.Damaged, d)
			return nil
		},
	}
	if err := s.runAll(ctx, l); err != nil {
		return r, fmt.Errorf("check log: %w", err)
	}
	return r, nil
}

// Repair makes a log usable that has damaged frames. They are copied as they are
// to the directory quarantine beside the databases and taken out; a gap for each
// run is noted, which is told by a sys.gap frame at the next start; consumers get
// past them. The log must not be in use otherwise. If Pebble's own files are
// damaged, what can be read is copied to a new database, which needs the space.
func (l *Log) Repair(ctx context.Context) (Report, error) {
	if err := l.beginWrite(); err != nil {
		return Report{}, err
	}
	defer l.end()
	r, err := l.Check(ctx)
	if err != nil || len(r.Damaged) == 0 {
		return r, err
	}
	rebuild := false
	for _, d := range r.Damaged {
		rebuild = rebuild || pebble.IsCorruptionError(d.Err)
	}
	quarantine := l.path("quarantine")
	r.Preserved = l.fs.PathJoin(quarantine, fmt.Sprintf("%s-%d", l.Epoch(), l.now().UnixMilli()))
	if err := l.fs.MkdirAll(r.Preserved, 0o750); err != nil {
		return r, fmt.Errorf("repair: %w", err)
	}
	// First the gaps, durably: from here on the frames are known to be lost.
	if err := l.giveUpDamaged(r.Damaged); err != nil {
		return r, fmt.Errorf("repair: %w", err)
	}
	if rebuild {
		err = l.rebuild(ctx, r.Preserved)
	} else {
		err = l.takeOut(r.Damaged, r.Preserved)
	}
	if err != nil {
		return r, fmt.Errorf("repair: %w", err)
	}
	r.Repaired, r.Gaps = true, l.Gaps()
	return r, nil
}

// giveUpDamaged notes the gaps and lets every consumer past them. What a record
// pins stays open for its owner to settle.
func (l *Log) giveUpDamaged(damaged []*DamageError) error {
	var gaps []Gap
	for _, d := range damaged {
		gaps = append(gaps, Gap{Range: d.Range, Reason: ReasonDamaged, Time: l.now().UnixMilli()})
	}
	if err := l.addGaps(gaps); err != nil {
		return err
	}
	for _, c := range l.Bookmarks() {
		var acks []Range
		for _, d := range damaged {
			acks = append(acks, subtract(d.Range, c.pinned())...)
		}
		if err := c.Commit(Commit{Ack: acks}); err != nil {
			return err
		}
	}
	return l.syncState()
}

// takeOut moves damaged blocks, and what else lies in damaged ranges, to files.
func (l *Log) takeOut(damaged []*DamageError, dir string) error {
	for _, d := range damaged {
		b := l.frames.NewBatch()
		err := l.walk(d.First, d.Last, func(blk *block) (bool, error) {
			name := fmt.Sprintf("%020d-%d.block", blk.First, blk.Last)
			if err := l.writeFile(l.fs.PathJoin(dir, name), blk.value); err != nil {
				return false, err
			}
			return true, b.Delete(blk.key, nil)
		})
		if err = errors.Join(err, b.Commit(pebble.Sync), b.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) writeFile(path string, p []byte) error {
	f, err := l.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// Pebble's files may change what they are given.
	_, err = f.Write(append([]byte(nil), p...))
	return errors.Join(err, f.Sync(), f.Close())
}

// rebuild copies the readable blocks and their tag sets to frames.new and puts it
// in the place of frames, which goes to the quarantine. The epoch is written last:
// a frames.new with an epoch is complete, and open finishes what a crash
// interrupts.
func (l *Log) rebuild(ctx context.Context, dir string) error {
	path := l.path("frames.new")
	if err := l.fs.RemoveAll(path); err != nil {
		return err
	}
	fresh, err := pebble.Open(path, l.framesOptions())
	if err != nil {
		return err
	}
	if err := l.copyTo(ctx, fresh); err != nil {
		return errors.Join(err, fresh.Close())
	}
	if err := errors.Join(fresh.Set(epochKey(), l.epochValue(l.Epoch()), pebble.Sync), fresh.Close(), l.frames.Close()); err != nil {
		return err
	}
	l.frames = nil
	if err := l.fs.Rename(l.path("frames"), l.fs.PathJoin(dir, "frames")); err != nil {
		return err
	}
	if err := l.finishRebuild(); err != nil {
		return err
	}
	l.frames, err = pebble.Open(l.path("frames"), l.framesOptions())
	return err
}

func (l *Log) copyTo(ctx context.Context, to *pebble.DB) error {
	b := to.NewBatch()
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	copied := map[setRef]bool{}
	s := Scan{Damaged: func(*DamageError) error { return nil }}
	s.block = func(blk *block) error {
		ref := setRef{blk.env.segment, blk.env.setID}
		if blk.env.inline == nil && !copied[ref] {
			copied[ref] = true
			set, err := l.tagSet(&blk.env)
			if err != nil {
				return err
			}
			if err := b.Set(setKey(ref.segment, ref.id), frame.AppendTagSet(nil, set), nil); err != nil {
				return err
			}
		}
		if err := b.Set(blk.key, blk.value, nil); err != nil {
			return err
		}
		if b.Len() < groupBytes {
			return nil
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			return err
		}
		b.Reset()
		return nil
	}
	if err := s.runAll(ctx, l); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// finishRebuild puts frames.new in the place of frames if there is no frames.
func (l *Log) finishRebuild() error {
	if _, err := l.fs.Stat(l.path("frames")); err == nil {
		return nil
	}
	if _, err := l.fs.Stat(l.path("frames.new")); err != nil {
		return nil
	}
	if err := l.fs.Rename(l.path("frames.new"), l.path("frames")); err != nil {
		return err
	}
	dir, err := l.fs.OpenDir(filepath.Clean(l.dir))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
