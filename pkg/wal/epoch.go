package wal

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// turnKey holds the epoch that NewEpoch is about to begin.
func turnKey() []byte { return []byte("m/turn") }

// NewEpoch has the log go on under a new name: frames, places and records stay as they
// are, and the numbers go on. It is for a log whose numbers were used before, since its
// storage went back to an earlier state. The new epoch sorts behind the present one
// and those of after. Nobody may send frames meanwhile, or hold an Epoch that was read
// before. On return it is durable.
//
// The intent comes first, synced, then the epoch of frames, then, with the intent's
// end, that of state: an open after a crash in between goes on to the end.
func (l *Log) NewEpoch(after ...string) (string, error) {
	if err := l.beginWrite(); err != nil {
		return "", err
	}
	defer l.end()
	l.gc.mu.Lock() // one at a time
	defer l.gc.mu.Unlock()
	at := l.now().UnixMilli()
	if made, err := epochTime(l.Epoch(), 2*latestEpoch); err == nil { // one that followed the latest
		at = max(at, made.UnixMilli()+1)
	}
	for _, e := range after {
		if made, err := EpochTime(e); err == nil {
			at = max(at, made.UnixMilli()+1)
		}
	}
	next := newEpoch(time.UnixMilli(at))
	err := l.state.Set(turnKey(), []byte(next), pebble.Sync)
	if err == nil {
		err = l.turn(next)
	}
	if err != nil {
		return "", fmt.Errorf("begin a new epoch: %w", err)
	}
	l.setEpoch(next)
	_ = l.tail.rename(next) // told by lost, and by Tail
	return next, nil
}

// turn gives both databases the epoch whose beginning is noted.
func (l *Log) turn(next string) error {
	if err := l.frames.Set(epochKey(), l.epochValue(next), pebble.Sync); err != nil {
		return err
	}
	b := l.state.NewBatch()
	defer func() { _ = b.Close() }() // nothing to lose: a committed batch is empty, another one was given up
	if err := b.Set(stateEpochKey(), l.epochValue(next), nil); err != nil {
		return err
	}
	if err := b.Delete(turnKey(), nil); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// finishTurn completes what a crash has interrupted.
func (l *Log) finishTurn() error {
	next, ok, err := get(l.state, turnKey())
	if err != nil || !ok || l.readOnly {
		return err
	}
	return l.turn(string(next))
}

// turning reports whether the epochs of the databases may differ, since a crash has
// interrupted NewEpoch and the log is open for reading only.
func (l *Log) turning() (bool, error) {
	_, ok, err := get(l.state, turnKey())
	return ok && l.readOnly, err
}

// latestEpoch bounds the epochs that are believed. What claims to be of a later time
// was made by somebody else.
const latestEpoch = 1 << 43 // Unix ms, in the year 2248

// EpochTime returns when an epoch was begun; an error for what is no epoch.
func EpochTime(epoch string) (time.Time, error) { return epochTime(epoch, latestEpoch) }

func epochTime(epoch string, latest uint64) (time.Time, error) {
	p, err := hex.DecodeString(epoch)
	if err != nil || len(p) != 8 {
		return time.Time{}, fmt.Errorf("%q is not an epoch: expected 16 hexadecimal digits", epoch)
	}
	ms := binary.BigEndian.Uint64(p) >> 16
	if ms >= latest {
		return time.Time{}, fmt.Errorf("%q is not an epoch: it is of the year %d", epoch, time.UnixMilli(int64(ms)).UTC().Year())
	}
	return time.UnixMilli(int64(ms)), nil
}
