package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// craft makes an export as somebody would who means harm: its checksums are right.
func craft(t testing.TB, write func(e exportWriter) error) []byte {
	t.Helper()
	out := bytes.NewBufferString(exportMagic)
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err == nil {
		err = errors.Join(write(exportWriter{w: z}), z.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func craftedBatch(seq, logged uint64, block []byte) []byte {
	p := binary.AppendUvarint(binary.AppendUvarint(nil, seq), logged)
	return append(binary.AppendUvarint(p, 0), block...)
}

// TestMakerOfAnExport: who makes an export fills no memory with it, and no log that is made
// of it is other than a gateway's.
func TestMakerOfAnExport(t *testing.T) {
	head := []byte(`{"format":1,"epoch":"e","first_seq":1,"last_seq":1000000}`)
	set := testSet("d", 2)
	block := entry(set, 1, 1, 1).Block
	crowd := &frame.TagSet{Driver: "d"}
	for range 200 {
		crowd.Tags = append(crowd.Tags, frame.Tag{Name: strings.Repeat("x", 64<<10)})
	}
	large := frame.AppendTagSet([]byte{0}, crowd)
	for name, x := range map[string]struct {
		write func(e exportWriter) error
		says  string
	}{
		"tag sets without end": {func(e exportWriter) error {
			for range 100 {
				if err := e.record('s', large); err != nil {
					return err
				}
			}
			return nil
		}, "tag sets take more than"},
		"holes without end": {func(e exportWriter) error {
			if err := e.record('s', frame.AppendTagSet([]byte{0}, set)); err != nil {
				return err
			}
			for seq := uint64(1); seq < 3*maxExportHoles; seq += 2 {
				if err := e.record('b', craftedBatch(seq, 1, block)); err != nil {
					return err
				}
			}
			return nil
		}, "holes"},
		"consumers without end": {func(e exportWriter) error {
			return e.record('e', []byte(`{"batches":0,"consumers":[`+strings.Repeat(`{"name":"c"},`, maxExportPlaces)+`{"name":"c"}]}`))
		}, "consumers"},
		"a trailer without end": {func(e exportWriter) error { return e.record('e', bytes.Repeat([]byte(" "), maxExportTrailer+1)) }, "record of"},
	} {
		t.Run(name, func(t *testing.T) {
			file := craft(t, func(e exportWriter) error { return errors.Join(e.record('h', head), x.write(e)) })
			_, err := ReadExport(bytes.NewReader(file), func(ExportHeader) error { return nil }, func(*frame.Batch, int64) error { return nil })
			if !errors.Is(err, ErrBadExport) || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%v, want %q", err, x.says)
			}
		})
	}
	for _, last := range []uint64{maxExportSeq + 1, math.MaxUint64 - 1} {
		header := fmt.Appendf(nil, `{"format":1,"epoch":"e","first_seq":%d,"last_seq":%d}`, last, last)
		if _, err := Restore(filepath.Join(t.TempDir(), "log"), bytes.NewReader(craft(t, func(e exportWriter) error { return e.record('h', header) })), Options{}); !errors.Is(err, ErrBadExport) {
			t.Errorf("frame %d, behind which the numbers end: %v", last, err)
		}
	}
	if _, err := Restore(filepath.Join(t.TempDir(), "log"), bytes.NewReader(craft(t, func(e exportWriter) error {
		return e.record('h', bytes.Repeat([]byte(" "), maxExportHeader+1))
	})), Options{}); !errors.Is(err, ErrBadExport) {
		t.Errorf("a header without end: %v", err)
	}
}

// TestExportOfTheFuture: frames that claim to be logged in a time to come don't have all
// after them logged then, which would keep retention from ever taking any.
func TestExportOfTheFuture(t *testing.T) {
	set := testSet("d", 2)
	file := craft(t, func(e exportWriter) error {
		return errors.Join(e.record('h', []byte(`{"format":1,"epoch":"e","first_seq":1,"last_seq":2}`)), e.record('s', frame.AppendTagSet([]byte{0}, set)),
			e.record('b', craftedBatch(1, math.MaxInt64, entry(set, 1, 1, 1).Block)), e.record('b', craftedBatch(2, math.MaxUint64, entry(set, 1, 1, 1).Block)),
			e.record('e', []byte(`{"batches":2}`)))
	})
	dir := filepath.Join(t.TempDir(), "log")
	if _, err := Restore(dir, bytes.NewReader(file), Options{}); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir, Options{})
	defer func() { _ = l.Close() }()
	appendFrames(t, l, set, 1, 1, 1)
	if ahead := time.Until(time.UnixMilli(l.w.logged)); ahead > time.Minute {
		t.Errorf("what is logged now counts as logged in %v", ahead)
	}
}

// TestMakerOfAnExportFillsNoDisk: what an export unpacks to is known before, and a log that
// is made of it leaves room on the disk, and nothing behind where there is none.
func TestMakerOfAnExportFillsNoDisk(t *testing.T) {
	set := testSet("d", 1)
	b := &frame.Batch{Set: set, Frames: []frame.Frame{{Value: frame.StringValue(strings.Repeat("\x00", 1<<20))}}}
	block, err := frame.AppendBlock(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	file := craft(t, func(e exportWriter) error {
		err := errors.Join(e.record('h', []byte(`{"format":1,"epoch":"e","first_seq":1,"last_seq":16}`)), e.record('s', frame.AppendTagSet([]byte{0}, set)))
		for seq := uint64(1); seq <= 16; seq++ {
			err = errors.Join(err, e.record('b', craftedBatch(seq, 1, block)))
		}
		return errors.Join(err, e.record('e', []byte(`{"batches":16}`)))
	})
	if n, err := ExportSize(bytes.NewReader(file), math.MaxInt64); err != nil || n < 16<<20 || n > 17<<20 || len(file) > 1<<20 {
		t.Errorf("%d bytes of %d: %v", n, len(file), err)
	}
	if n, err := ExportSize(bytes.NewReader(file), 1<<20); err != nil || n <= 1<<20 || n > 3<<20 {
		t.Errorf("it reads %d bytes where 1 MiB is asked for: %v", n, err)
	}
	if _, err := ExportSize(bytes.NewReader(file[:len(file)-10]), math.MaxInt64); err == nil {
		t.Error("an export that was cut off has a size")
	}
	dir := filepath.Join(t.TempDir(), "log")
	if _, err := Restore(dir, bytes.NewReader(file), Options{Reserve: 1 << 60}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("without room: %v", err)
	}
	for _, left := range []string{dir, dir + ".partial"} {
		if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", left, err)
		}
	}
	if _, err := Restore(dir, bytes.NewReader(file), Options{Reserve: 1}); err != nil {
		t.Errorf("with room: %v", err)
	}
}
