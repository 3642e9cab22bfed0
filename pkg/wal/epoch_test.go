package wal

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestNewEpoch: the log goes on under another name, behind all that were seen, with its
// frames and places, whenever a crash comes in between.
func TestNewEpoch(t *testing.T) {
	fs := vfs.NewMem()
	then := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	l, err := Open("log", Options{FS: fs, Now: func() time.Time { return then }})
	if err != nil {
		t.Fatal(err)
	}
	old := l.Epoch()
	if made, err := EpochTime(old); err != nil || !made.Equal(then) {
		t.Errorf("epoch of %v, %v", made, err)
	}
	seen := newEpoch(then.Add(time.Hour))
	next, err := l.NewEpoch(seen, "nonsense", "ffffffffffffffff")
	if err != nil {
		t.Fatal(err)
	}
	if next <= seen || l.Epoch() != next {
		t.Errorf("epoch %s, expected one behind %s; the log says %s", next, seen, l.Epoch())
	}
	reopen := func(want string, o Options) {
		t.Helper()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS = fs
		if l, err = Open("log", o); err != nil {
			t.Fatal(err)
		}
		if l.Epoch() != want {
			t.Errorf("epoch %s, expected %s", l.Epoch(), want)
		}
	}
	reopen(next, Options{})
	// A crash right behind the intent, and one between the databases.
	third := newEpoch(then.Add(2 * time.Hour))
	if err := l.state.Set(turnKey(), []byte(third), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	reopen(third, Options{})
	fourth := newEpoch(then.Add(3 * time.Hour))
	if err := errors.Join(l.state.Set(turnKey(), []byte(fourth), pebble.Sync), l.frames.Set(epochKey(), l.epochValue(fourth), pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	reopen(third, Options{ReadOnly: true}) // looks, and changes nothing
	reopen(fourth, Options{})
	if _, ok, err := get(l.state, turnKey()); ok || err != nil {
		t.Errorf("the intent stays: %v, %v", ok, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
