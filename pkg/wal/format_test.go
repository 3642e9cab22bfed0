package wal

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// format1 unpacks a log that the last release with format 1 wrote: 100 frames of driver
// d, a sys.start frame, and a consumer that has 1-40 and 51-60.
func format1(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	f, err := os.Open("testdata/format1.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o750)
		} else {
			var content []byte
			if content, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// appendNews appends a bad frame with a status and an array, and returns what the log's
// readers are going to find.
func appendNews(t *testing.T, l *Log) *frame.Batch {
	t.Helper()
	set := testSet("d", 2)
	b := &frame.Batch{Set: set, FirstSeq: l.Next(), Frames: []frame.Frame{
		{Value: frame.ArrayValue("[1,18446744073709551615]"), TS: 5}, {TS: 6, Tag: 1, Quality: frame.Bad},
	}}
	b.Frames[1].Status = b.AddStatus("0x80340000 BadNodeIdUnknown")
	block, err := l.Encode(nil, b)
	if err == nil {
		err = l.Append([]Entry{{First: b.FirstSeq, Count: 2, Set: set, Block: block}})
	}
	if err == nil {
		_, err = l.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantNews(t *testing.T, l *Log, want *frame.Batch, status string) {
	t.Helper()
	got, err := l.Read(want.FirstSeq, want.LastSeq(), 10)
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Frames, want.Frames) || got[0].Status(1) != status || want.Status(1) != status {
		t.Errorf("%+v, %v; want %+v with status %q", got, err, want, status)
	}
}

// blockVersions returns the versions of the blocks from seq on, and that of the epochs.
func blockVersions(t *testing.T, l *Log, from uint64) (blocks []byte, state byte) {
	t.Helper()
	it, err := l.frames.NewIter(&pebble.IterOptions{LowerBound: blockKey(from), UpperBound: endKey()})
	if err != nil {
		t.Fatal(err)
	}
	for valid := it.First(); valid; valid = it.Next() {
		first, isBlock := isBlockKey(it.Key())
		if !isBlock {
			continue
		}
		_, block, err := parseEnvelope(it.Key(), first, it.Value())
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, block[0])
	}
	v, _, err := get(l.state, stateEpochKey())
	if err := errors.Join(err, it.Close()); err != nil {
		t.Fatal(err)
	}
	return blocks, v[0]
}

// TestFormat1GoesOn: a log of format 1 is read, and nothing is written to it that the
// release before can't read, whatever is published, until it is migrated.
func TestFormat1GoesOn(t *testing.T) {
	dir := format1(t)
	l := openLog(t, dir, Options{})
	mustReadAll(t, l, 1, 100)
	if sys, err := l.Read(101, 101, 1); err != nil || sys[0].Frames[0].Value != frame.ObjectValue(`{"reason":"start"}`) {
		t.Errorf("%v, %v", sys, err)
	}
	if c := consumer(t, l, "mqtt"); c.Acked() != 40 || !slices.Equal(c.Finished(), []Range{{51, 60}}) {
		t.Errorf("the consumer is at %d, %v", c.Acked(), c.Finished())
	}
	wantNews(t, l, appendNews(t, l), "")
	if _, err := l.NewEpoch(); err != nil { // writes the epochs anew
		t.Fatal(err)
	}
	if blocks, state := blockVersions(t, l, 102); !bytes.Equal(blocks, []byte{1}) || state != 1 {
		t.Errorf("blocks of versions %v, log of format %d", blocks, state)
	}
	var export bytes.Buffer
	if _, err := l.Export(t.Context(), &export, 0, 0); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)

	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := Restore(restored, &export, Options{}); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, restored, Options{})
	if blocks, state := blockVersions(t, l, 1); bytes.IndexByte(blocks, 2) >= 0 || state != 1 {
		t.Errorf("restored: blocks of versions %v, log of format %d", blocks, state)
	}
	closeLog(t, l)
}

// TestMigrate: from then on, what is published is kept whole.
func TestMigrate(t *testing.T) {
	dir := format1(t)
	l := openLog(t, dir, Options{})
	before := appendNews(t, l)
	if err := l.Migrate(); err != nil {
		t.Fatal(err)
	}
	after := appendNews(t, l)
	closeLog(t, l)

	l = openLog(t, dir, Options{})
	defer closeLog(t, l)
	if found, newest := l.Format(); found != 2 || newest != 2 {
		t.Errorf("format %d, newest %d", found, newest)
	}
	mustReadAll(t, l, 1, 100)
	wantNews(t, l, before, "")
	wantNews(t, l, after, "0x80340000 BadNodeIdUnknown")
	if blocks, _ := blockVersions(t, l, after.FirstSeq); !bytes.Equal(blocks, []byte{2}) {
		t.Errorf("blocks of versions %v", blocks)
	}
	var export bytes.Buffer
	if _, err := l.Export(t.Context(), &export, 0, 0); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := Import(restored, &export, Options{}); err != nil {
		t.Fatal(err)
	}
	copied := openLog(t, restored, Options{})
	defer closeLog(t, copied)
	wantNews(t, copied, after, "0x80340000 BadNodeIdUnknown")
}

// TestMigrateCutShort: state has the new format, frames has not.
func TestMigrateCutShort(t *testing.T) {
	dir := format1(t)
	l := openLog(t, dir, Options{})
	if err := l.state.Set(stateEpochKey(), append([]byte{2}, l.Epoch()...), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	l = openLog(t, dir, Options{})
	defer closeLog(t, l)
	mustReadAll(t, l, 1, 100)
	wantNews(t, l, appendNews(t, l), "0x80340000 BadNodeIdUnknown")
	if err := l.Migrate(); err != nil { // again
		t.Fatal(err)
	}
	wantNews(t, l, appendNews(t, l), "0x80340000 BadNodeIdUnknown")
}
