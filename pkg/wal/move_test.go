package wal

import (
	"errors"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestMoveConsumer: a consumer under another name has all that it had, also after a
// restart; the old name is free.
func TestMoveConsumer(t *testing.T) {
	fs := vfs.NewMem()
	l, err := Open("log", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	set := &frame.TagSet{Driver: "plc", Tags: []frame.Tag{{Name: "plc.a"}}}
	for seq := uint64(1); seq <= 20; seq++ {
		block, err := frame.AppendBlock(nil, frame.Single(frame.Data, "plc", set.Tags[0], frame.Frame{Value: frame.IntValue(7)}))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append([]Entry{{First: seq, Count: 1, Set: set, Block: block}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	c, _, err := l.OpenBookmark("mqtt", false)
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{{Key: "m/1", Value: []byte("in flight"), Pin: Range{6, 8}}, {Key: "session", Value: []byte{0, 1, 2}}}
	if err := c.Commit(Commit{Ack: []Range{{1, 5}, {11, 12}}, Put: records}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.OpenBookmark("other", false); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		from, to string
		want     error
	}{{"nobody", "x", ErrNoConsumer}, {"mqtt", "other", ErrConsumerExists}, {"mqtt", "mqtt", ErrConsumerExists}} {
		if err := l.MoveConsumer(bad.from, bad.to); !errors.Is(err, bad.want) {
			t.Errorf("%s to %s: %v", bad.from, bad.to, err)
		}
	}
	if err := l.MoveConsumer("mqtt", "cloud"); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(Commit{Ack: []Range{{6, 6}}}); err == nil {
		t.Error("the old name can still be used")
	}
	for range 2 {
		cloud, isNew, err := l.OpenBookmark("cloud", true)
		if err != nil || isNew {
			t.Fatalf("new %v, %v", isNew, err)
		}
		got, err := cloud.Records()
		if err != nil || !reflect.DeepEqual(got, records) {
			t.Errorf("records %v, %v", got, err)
		}
		if cloud.Acked() != 5 || !reflect.DeepEqual(cloud.Finished(), []Range{{11, 12}}) || !reflect.DeepEqual(cloud.pinned(), []Range{{6, 8}}) {
			t.Errorf("at %d, finished %v, pins %v", cloud.Acked(), cloud.Finished(), cloud.pinned())
		}
		if names := l.Bookmarks(); len(names) != 2 {
			t.Errorf("%d consumers", len(names))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = Open("log", Options{FS: fs}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
