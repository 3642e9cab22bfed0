package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Hold keeps an entry that is about to be appended through the end of the process, at
// the cost of a copy. Entries must be held in the order of their numbers, before
// anybody is told that they are published. HoldLater asks for a sync first, unless
// must is set: then the entry is not held (HoldNever). pressed asks for a sync soon.
func (l *Log) Hold(e *Entry, must bool) (held Held, pressed bool) {
	return l.tail.hold(e, l.durable.Load(), must)
}

// Tail returns why frames that were published may be lost when the process is killed:
// those of the last moment, which are not synced yet. nil: they are held.
func (l *Log) Tail() error {
	if err := l.tail.problem(); err != nil {
		return fmt.Errorf("%s: %w", l.path("tail"), err)
	}
	return nil
}

// openTail takes in what the tail holds beyond the databases, and begins it anew.
func (l *Log) openTail(o Options) error {
	if l.readOnly {
		return nil
	}
	open := o.tail
	if open == nil {
		if l.disk.FS != vfs.Default {
			l.tail.off = errors.ErrUnsupported
			return nil
		}
		path := l.path("tail")
		open = func(size int) (tailFile, error) { return openTailFile(path, size) }
	}
	if err := l.takeTail(open); err != nil {
		return err
	}
	if l.tool { // it publishes nothing
		return nil
	}
	l.tail.lost = func(err error) {
		l.log.Warn("log: no tail: kill -9 takes what was published and is not synced yet", "file", l.path("tail"), "reason", err)
	}
	file, err := open(tailHeader + 2*l.tailHalfSize())
	if err != nil {
		l.tail.drop(err)
		return nil
	}
	_ = l.tail.begin(file, l.Epoch()) // told by lost, and by Tail
	return nil
}

// takeTail appends what the tail of an earlier run holds behind the last block, and
// syncs it.
func (l *Log) takeTail(open func(size int) (tailFile, error)) (err error) {
	file, err := open(0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	var entries []Entry
	if err == nil {
		defer func() { err = errors.Join(err, file.close()) }()
		err = new(tail).guard(func() (err error) { entries, err = l.fromTail(file.mem); return err })
	}
	if err != nil {
		l.log.Warn("log: the tail is of no use", "file", l.path("tail"), "reason", err)
		return nil
	}
	if len(entries) == 0 {
		return nil
	}
	if err := l.Append(entries); err != nil {
		return fmt.Errorf("take in the tail: %w", err)
	}
	if _, err := l.Sync(); err != nil {
		return fmt.Errorf("take in the tail: %w", err)
	}
	l.log.Info("log: frames that were published before the process was killed", "first_seq", entries[0].First, "last_seq", l.Durable())
	return nil
}

// fromTail returns the entries that follow the last block without a hole.
func (l *Log) fromTail(mem []byte) ([]Entry, error) {
	blocks, err := parseTail(mem, l.Epoch())
	if err != nil {
		return nil, err
	}
	next := l.Next()
	for _, b := range blocks {
		if b.first+uint64(b.count) != next {
			continue
		}
		if same, err := l.hasBlock(b); err != nil || !same {
			return nil, errors.Join(errors.New("the log was used without it meanwhile"), err)
		}
	}
	var entries []Entry
	for {
		b, ok := blocks[next]
		if !ok {
			return entries, nil
		}
		e := Entry{First: b.first, Count: b.count, Block: bytes.Clone(b.block)}
		if e.Set, err = frame.DecodeTagSet(b.set); err == nil {
			var batch *frame.Batch
			if batch, err = frame.DecodeBlock(e.Block, e.Set); err == nil && len(batch.Frames) != e.Count {
				err = fmt.Errorf("%d frames instead of %d", len(batch.Frames), e.Count)
			}
		}
		if err != nil { // the checksum was right: this is how it was written
			l.log.Error("log: the tail holds what can't be decoded; it and what follows is lost", "first_seq", b.first, "error", err)
			return entries, nil
		}
		entries = append(entries, e)
		next += uint64(b.count)
	}
}

// hasBlock reports whether the log's block with that number is b, or is deleted already.
func (l *Log) hasBlock(b tailBlock) (bool, error) {
	key := blockKey(b.first)
	v, ok, err := get(l.frames, key)
	if err != nil && !pebble.IsCorruptionError(err) {
		return false, err
	}
	if err != nil || !ok {
		return b.first < l.floor.Load(), nil
	}
	_, block, err := parseEnvelope(key, b.first, v)
	return err == nil && bytes.Equal(block, b.block), nil
}
