package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// exported returns an export of a log with 10 batches of 10 frames, of which those
// before 31 are deleted, and two consumers.
func exported(t testing.TB) (file []byte, epoch string) {
	t.Helper()
	l := openLog(t, t.TempDir(), Options{})
	appendFrames(t, l, testSet("d", 10), 1, 10, 10)
	fast, _, err := l.OpenBookmark("fast", false)
	if err == nil {
		err = fast.Commit(Commit{Ack: []Range{{1, 40}, {51, 60}, {75, 80}}, Put: []Record{{Key: "flying", Value: []byte("x"), Pin: Range{41, 50}}}, Sync: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	slow, _, err := l.OpenBookmark("slow", false)
	if err == nil {
		err = slow.Commit(Commit{Ack: []Range{{1, 30}}, Sync: true})
	}
	if err == nil {
		err = l.Collect(31, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := l.Export(t.Context(), &out, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), l.Epoch()
}

func TestRestore(t *testing.T) {
	file, epoch := exported(t)
	dir := filepath.Join(t.TempDir(), "log")
	if _, err := Restore(dir, bytes.NewReader(file), Options{}); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir, Options{})
	defer func() { _ = l.Close() }()
	if l.Epoch() == epoch || l.Epoch() == "" {
		t.Errorf("epoch %q, that of the export was %q", l.Epoch(), epoch)
	}
	if l.Next() != 101 || l.Floor() != 31 {
		t.Errorf("frames %d to before %d", l.Floor(), l.Next())
	}
	if gens, err := readAll(l, 31, 100); err != nil || len(gens) != 70 {
		t.Errorf("%d frames, %v", len(gens), err)
	}
	want := map[string]Place{
		"fast": {"fast", 40, []Range{{51, 60}, {75, 80}}},
		"slow": {"slow", 30, nil},
	}
	for _, c := range l.Bookmarks() {
		if got := (Place{c.Name(), c.Acked(), c.Finished()}); !reflect.DeepEqual(got, want[c.Name()]) {
			t.Errorf("%+v, want %+v", got, want[c.Name()])
		}
		if records, err := c.Records(); err != nil || len(records) > 0 {
			t.Errorf("%s has records %v, %v: sessions must not survive", c.Name(), records, err)
		}
	}
	if len(l.Bookmarks()) != 2 {
		t.Errorf("%d consumers", len(l.Bookmarks()))
	}
	appendFrames(t, l, testSet("d", 10), 2, 1, 10)
	if l.Durable() != 110 {
		t.Errorf("durable %d after ten more", l.Durable())
	}
	if _, err := Restore(dir, bytes.NewReader(file), Options{}); err == nil {
		t.Error("it went into a log that is there")
	}
}

// A log without frames goes on where it was.
func TestRestoreEmptied(t *testing.T) {
	l := openLog(t, t.TempDir(), Options{})
	appendFrames(t, l, testSet("d", 10), 1, 1, 10)
	c, _, err := l.OpenBookmark("c", true)
	if err == nil {
		err = l.Collect(11, false)
	}
	var out bytes.Buffer
	if err == nil {
		_, err = l.Export(t.Context(), &out, 0, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	if _, err := Restore(dir, &out, Options{}); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, Options{})
	defer func() { _ = l.Close() }()
	if l.Next() != 11 || l.Bookmarks()[0].Acked() != 10 || c.Acked() != 10 {
		t.Errorf("next %d, consumer at %d", l.Next(), l.Bookmarks()[0].Acked())
	}
}

// A power cut just after a restore leaves what was restored.
func TestRestoreIsDurable(t *testing.T) {
	file, _ := exported(t)
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll("disk", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore("disk/log", bytes.NewReader(file), Options{FS: mem}); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, "disk/log", Options{FS: clone(mem)})
	defer func() { _ = l.Close() }()
	if gens, err := readAll(l, 31, 100); l.Next() != 101 || err != nil || len(gens) != 70 {
		t.Errorf("next %d, %d frames, %v", l.Next(), len(gens), err)
	}
}

// A restore onto a disk that is too small says so and does not wait for space.
func TestRestoreDiskFull(t *testing.T) {
	file, _ := exported(t)
	for k := int64(1); k <= 200; k += 20 {
		var count atomic.Int64
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) && count.Add(1) >= k {
				return syscall.ENOSPC
			}
			return nil
		}))
		done := make(chan error, 1)
		go func() {
			_, err := Restore("log", bytes.NewReader(file), Options{FS: fs})
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil && count.Load() < k {
				return // all of it went in before
			}
			if !errors.Is(err, ErrDiskFull) {
				t.Fatalf("full at write %d: %v", k, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("full at write %d: the restore waits", k)
		}
	}
}

// Header and trailer are what somebody who means harm could write; the checksums
// are right.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"format":1,"epoch":"e","first_seq":5,"last_seq":14}`),
		[]byte(`{"batches":1,"frames":10,"consumers":[{"name":"c","acked":7,"finished":[{"First":9,"Last":10}]}]}`), uint64(5))
	f.Add([]byte(`{"first_seq":1,"last_seq":18446744073709551614}`), []byte(`{"batches":1}`), uint64(1<<64-20))
	f.Fuzz(func(t *testing.T, header, trailer []byte, seq uint64) {
		o := Options{FS: vfs.NewMem()}
		_, err := Restore("log", bytes.NewReader(forge(t, header, trailer, seq)), o)
		if err != nil {
			if !errors.Is(err, ErrBadExport) && !errors.Is(err, ErrNewerFormat) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		l := openLog(t, "log", o)
		defer func() { _ = l.Close() }()
		for _, c := range l.Bookmarks() {
			if c.Acked() >= l.Next() {
				t.Errorf("%s is at %d, the next is %d", c.Name(), c.Acked(), l.Next())
			}
		}
	})
}

// forge makes an export of one batch of ten frames.
func forge(t testing.TB, header, trailer []byte, seq uint64) []byte {
	t.Helper()
	out := bytes.NewBufferString(exportMagic)
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	e, set := exportWriter{w: z}, testSet("d", 10)
	batch := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, seq), 1), 0)
	for _, r := range []struct {
		kind byte
		p    []byte
	}{{'h', header}, {'s', frame.AppendTagSet([]byte{0}, set)}, {'b', append(batch, entry(set, 1, 1, 10).Block...)}, {'e', trailer}} {
		if err := e.record(r.kind, r.p); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
