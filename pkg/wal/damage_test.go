package wal

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"
)

// damagedLog has frames 1–10,000 in blocks of 100, of which a consumer has had
// 2,000, and in which harm has been done.
func damagedLog(t *testing.T, harm func(dir string)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir, Options{})
	c := consumer(t, l, "mqtt")
	appendFrames(t, l, testSet("plc", 50), 1, 100, 100)
	if err := c.Commit(Commit{Ack: []Range{{1, 2000}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	harm(dir)
	return dir
}

// overwrite changes what the frames database holds at key.
func overwrite(t *testing.T, dir string, key []byte, change func([]byte) []byte) {
	t.Helper()
	db, err := pebble.Open(filepath.Join(dir, "frames"), &pebble.Options{FormatMajorVersion: pebble.FormatTableFormatV6, Logger: pebbleLogger{&Log{log: slog.New(slog.DiscardHandler)}}})
	if err != nil {
		t.Fatal(err)
	}
	v, ok, err := get(db, key)
	if err != nil || !ok {
		t.Fatalf("%x: %v, %v", key, ok, err)
	}
	if v = change(v); v == nil {
		err = db.Delete(key, pebble.Sync)
	} else {
		err = db.Set(key, v, pebble.Sync)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(p []byte) []byte {
		p = bytes.Clone(p)
		p[(at+len(p))%len(p)] ^= 0x40
		return p
	}
}

// TestDamage: whatever is damaged, check says exactly which frames are gone,
// reading does not skip them silently, and after repair everything else is there.
func TestDamage(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(t *testing.T, dir string)
		gone []Range // nil: at least some, whatever they are
		next uint64  // 0: 10001
	}{
		{"block body", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(5001), flip(-20)) }, []Range{{5001, 5100}}, 0},
		{"envelope", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(5001), flip(1)) }, []Range{{5001, 5100}}, 0},
		{"block missing", func(t *testing.T, dir string) {
			overwrite(t, dir, blockKey(5001), func([]byte) []byte { return nil })
		}, []Range{{5001, 5100}}, 0},
		{"first block", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(1), flip(-1)) }, []Range{{1, 100}}, 0},
		{"last block's body", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(9901), flip(-1)) }, []Range{{9901, 10000}}, 0},
		{"last block's envelope", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(9901), flip(0)) }, []Range{{9901, 9900 + 1<<14}}, 9901 + 1<<14},
		{"two blocks", func(t *testing.T, dir string) {
			overwrite(t, dir, blockKey(3001), flip(2))
			overwrite(t, dir, blockKey(3201), flip(-9))
		}, []Range{{3001, 3100}, {3201, 3300}}, 0},
		{"tag set", func(t *testing.T, dir string) { overwrite(t, dir, setKey(1, 0), flip(5)) }, nil, 0},
		{"a table's bytes", func(t *testing.T, dir string) { flipInTable(t, dir) }, nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := damagedLog(t, func(dir string) { tc.harm(t, dir) })
			l := openLog(t, dir, Options{})
			next := max(tc.next, 10001)
			if l.Next() != next {
				t.Errorf("next seq %d, expected %d", l.Next(), next)
			}
			if _, err := readAll(l, 1, 10000); err == nil {
				t.Error("the damage was not noticed in reading")
			}
			report, err := l.Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			gone := damagedRanges(report)
			if len(gone) == 0 {
				t.Fatal("the damage was not noticed by check")
			}
			if d := cmp.Diff(tc.gone, gone); tc.gone != nil && d != "" {
				t.Fatalf("check: %s", d)
			}
			if report, err = l.Repair(t.Context()); err != nil || !report.Repaired {
				t.Fatalf("repair: %+v, %v", report, err)
			}
			if tc.name != "block missing" {
				if names, err := os.ReadDir(report.Preserved); err != nil || len(names) == 0 {
					t.Errorf("quarantine %s: %v, %v", report.Preserved, names, err)
				}
			}
			closeLog(t, l)

			l = openLog(t, dir, Options{})
			defer closeLog(t, l)
			if report, err = l.Check(t.Context()); err != nil || len(report.Damaged) > 0 {
				t.Errorf("after the repair: %v, %v", report.Damaged, err)
			}
			if l.Next() != next {
				t.Errorf("next seq %d after the repair, expected %d", l.Next(), next)
			}
			at := uint64(1)
			for _, r := range append(gone, Range{next, next}) { // all that is not gone is there
				if r.First > at && r.First <= next {
					mustReadAll(t, l, at, min(r.First-1, next-1))
				}
				at = r.Last + 1
			}
			told := 0
			for _, g := range l.Gaps() {
				if g.Reason == "damaged" && !g.Told {
					told++
				}
			}
			if told != len(gone) {
				t.Errorf("%d gaps to be told, expected %d", told, len(gone))
			}
			// The consumer can get past.
			c := consumer(t, l, "mqtt")
			if err := c.Commit(Commit{Ack: []Range{{2001, next - 1}}}); err != nil || c.Acked() != next-1 {
				t.Errorf("position %d, %v", c.Acked(), err)
			}
			appendFrames(t, l, testSet("plc", 50), 2, 1, 10)
			mustReadAll(t, l, next, next+9)
		})
	}
}

func damagedRanges(r Report) (out []Range) {
	for _, d := range r.Damaged {
		out = append(out, d.Range)
	}
	return out
}

// flipInTable damages the middle of the largest table file.
func flipInTable(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "frames", "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	largest, size := "", int64(0)
	for _, f := range files {
		if s, err := os.Stat(f); err == nil && s.Size() > size {
			largest, size = f, s.Size()
		}
	}
	f, err := os.OpenFile(largest, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1)
	_, err1 := f.ReadAt(p, size/3)
	p[0] ^= 0x80
	_, err2 := f.WriteAt(p, size/3)
	if err := errors.Join(err1, err2, f.Close()); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestEpochMismatch: databases of two logs are not mixed.
func TestEpochMismatch(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a", "b"} {
		l := openLog(t, filepath.Join(root, name), Options{})
		appendFrames(t, l, testSet("plc", 5), 1, 1, 10)
		closeLog(t, l)
	}
	move := func(from, to string) {
		if err := errors.Join(os.RemoveAll(to), os.Rename(from, to)); err != nil {
			t.Fatal(err)
		}
	}
	move(filepath.Join(root, "b", "frames"), filepath.Join(root, "a", "frames"))
	if _, err := Open(filepath.Join(root, "a"), Options{}); !errors.Is(err, ErrEpochMismatch) {
		t.Errorf("frames of another log: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "a", "frames")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(root, "a"), Options{}); !errors.Is(err, ErrEpochMismatch) {
		t.Errorf("frames taken away: %v", err)
	}
}

func TestNewerFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openLog(t, dir, Options{})
	if err := l.state.Set(stateEpochKey(), append([]byte{formatVersion + 1}, l.Epoch()...), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("opened a newer log: %v", err)
	}
}

// TestDamageUnderPins: frames of a message in flight that lie before all that others
// need are checked too, survive a repair of everything else, and are told of when
// they are gone themselves.
func TestDamageUnderPins(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(t *testing.T, dir string)
		gone []Range // nil: at least some, whatever they are
	}{
		{"the pinned block", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(301), flip(-20)) }, []Range{{301, 350}}},
		{"the pinned block's envelope", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(301), flip(1)) }, []Range{{301, 350}}},
		{"the pinned block is missing", func(t *testing.T, dir string) {
			overwrite(t, dir, blockKey(301), func([]byte) []byte { return nil })
		}, []Range{{301, 350}}},
		{"another block", func(t *testing.T, dir string) { overwrite(t, dir, blockKey(5001), flip(-20)) }, []Range{{5001, 5100}}},
		{"a table", func(t *testing.T, dir string) { flipInTable(t, dir) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := damagedLog(t, func(dir string) {
				l := openLog(t, dir, Options{})
				c := consumer(t, l, "mqtt")
				pin := Range{250, 350} // the end of one block and the beginning of another
				if err := c.Commit(Commit{Put: []Record{{Key: "m/1", Pin: pin}, {Key: "w/1", Pin: pin}}}); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(l.Collect(2001, false), l.Flush()); err != nil {
					t.Fatal(err)
				}
				closeLog(t, l)
				tc.harm(t, dir)
			})
			l := openLog(t, dir, Options{})
			report, err := l.Repair(t.Context())
			if err != nil || !report.Repaired {
				t.Fatalf("repair: %+v, %v", report, err)
			}
			if d := cmp.Diff(tc.gone, damagedRanges(report)); tc.gone != nil && d != "" {
				t.Error(d)
			}
			closeLog(t, l)
			l = openLog(t, dir, Options{})
			defer closeLog(t, l)
			if report, err := l.Check(t.Context()); err != nil || len(report.Damaged) > 0 {
				t.Errorf("after the repair: %v, %v", report.Damaged, err)
			}
			gone := damagedRanges(report)
			for seq := uint64(250); seq <= 350; seq++ {
				got, err := l.Read(seq, seq, 1)
				lost := overlaps(gone, Range{seq, seq})
				if err != nil || len(got) == 1 == lost {
					t.Fatalf("pinned frame %d: %d batches, %v; reported as gone: %v", seq, len(got), err, lost)
				}
			}
			if err := l.MarkTold(l.Gaps()); err != nil {
				t.Fatal(err)
			}
			if len(tc.gone) == 1 && len(l.Gaps()) != 1 {
				t.Errorf("gaps %+v: one that a message in flight runs into is kept", l.Gaps())
			}
		})
	}
}

// TestBeyondRepair: what can't be opened is left as it is, and the error says what
// to do.
func TestBeyondRepair(t *testing.T) {
	for _, name := range []string{"state", "frames"} {
		for what, harm := range map[string]func(t *testing.T, dir string){
			"marker lost": func(t *testing.T, dir string) {
				markers, err := filepath.Glob(filepath.Join(dir, name, "marker.manifest.*"))
				if err != nil || len(markers) != 1 {
					t.Fatal(markers, err)
				}
				if err := os.Remove(markers[0]); err != nil {
					t.Fatal(err)
				}
			},
			"manifest": func(t *testing.T, dir string) {
				manifests, err := filepath.Glob(filepath.Join(dir, name, "MANIFEST-*"))
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range manifests {
					if err := os.WriteFile(path, bytes.Repeat([]byte{0x5a}, 300), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			},
			"table cut short": func(t *testing.T, dir string) {
				tables, err := filepath.Glob(filepath.Join(dir, name, "*.sst"))
				if err != nil || len(tables) == 0 {
					t.Fatal(tables, err)
				}
				if err := os.Truncate(tables[0], 0); err != nil {
					t.Fatal(err)
				}
			},
			"manifest lost": func(t *testing.T, dir string) {
				manifests, err := filepath.Glob(filepath.Join(dir, name, "MANIFEST-*"))
				if err != nil || len(manifests) == 0 {
					t.Fatal(manifests, err)
				}
				for _, path := range manifests {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				}
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := damagedLog(t, func(dir string) { harm(t, dir) })
				tables := func() (names []string) {
					names, err := filepath.Glob(filepath.Join(dir, "*", "*.sst"))
					if err != nil {
						t.Fatal(err)
					}
					return names
				}
				before := tables()
				for _, readOnly := range []bool{true, false} {
					_, err := Open(dir, Options{ReadOnly: readOnly})
					if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move it away") || strings.Contains(err.Error(), "\n") {
						t.Errorf("read only %v: %v", readOnly, err)
					}
				}
				if d := cmp.Diff(before, tables()); d != "" || len(before) < 2 {
					t.Errorf("tables: %s", d)
				}
			})
		}
	}
}
