package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// repaired damages the log of a stopped gateway with harm, repairs it, and starts
// the gateway again.
func (r *busBench) repaired(dir string, harm func(dir string)) {
	r.t.Helper()
	if err := errors.Join(r.bus.Archive().Flush(r.t.Context()), r.bus.Close()); err != nil {
		r.t.Fatal(err)
	}
	harm(dir)
	a, err := bus.OpenArchive(dir, true, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	report, err := a.Repair(r.t.Context())
	if err := errors.Join(err, a.Close()); err != nil || !report.Repaired {
		r.t.Fatalf("repair: %+v, %v", report, err)
	}
	r.open(dir)
	r.reopen()
}

// open opens the bus in dir and its consumer.
func (r *busBench) open(dir string) {
	r.t.Helper()
	cfg := bus.DefaultConfig(dir)
	cfg.WALFlush, cfg.MinFree, cfg.Retain = time.Millisecond, 0, time.Hour // what gapsTold reads stays
	b, err := bus.Open(cfg, bus.Deps{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { b.Close() })
	c, err := b.OpenReader("mqtt", bus.StartOldest)
	if err != nil {
		r.t.Fatal(err)
	}
	r.bus, r.c = b, c
}

// loseBlocks takes the blocks that begin at the seqs out of the log.
func loseBlocks(t *testing.T, seqs ...uint64) func(dir string) {
	return func(dir string) {
		t.Helper()
		db, err := pebble.Open(filepath.Join(dir, "frames"), &pebble.Options{FormatMajorVersion: pebble.FormatTableFormatV6, Logger: quiet{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range seqs {
			if err := db.Delete(append(binary.BigEndian.AppendUint64(nil, seq), 1), pebble.Sync); err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// window makes one window of what the log holds and has the sender send it.
func (r *busBench) window() []string {
	r.t.Helper()
	w, err := r.reader.next(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.reader.windows <- w
	return r.turn()
}

// drain has the broker answer everything until the whole log is delivered, and
// returns the seqs of new messages. PUBCOMPs are 0x92 for what it never had.
func (r *busBench) drain(had ...uint16) (seqs []uint64) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); r.c.Acked() < r.bus.Head() || len(r.session.inflight) > 0; {
		if time.Now().After(end) {
			r.t.Fatalf("acknowledged up to %d of %d, %d messages in flight", r.c.Acked(), r.bus.Head(), len(r.session.inflight))
		}
		if len(r.session.inflight) == 0 && r.c.Acked() < r.bus.Head() {
			w, err := r.reader.next(r.t.Context())
			if err != nil {
				r.t.Fatal(err)
			}
			r.reader.windows <- w
		}
		if _, err := r.sender.turn(true); err != nil {
			r.t.Fatal(err)
		}
		for r.wire.buf.Len() > 0 {
			p, err := packets.ReadPacket(&r.wire.buf)
			if err != nil {
				r.t.Fatal(err)
			}
			switch c := p.Content.(type) {
			case *packets.Publish:
				samples, err := frame.DecodeJSON(c.Payload, frame.Milliseconds)
				if err != nil {
					r.t.Fatal(err)
				}
				for _, s := range samples {
					if !strings.HasPrefix(s.Tag, "sys.") {
						seqs = append(seqs, s.Seq)
					}
				}
				had = append(had, c.PacketID)
				r.ack(packets.PUBREC, c.PacketID, 0)
			case *packets.Pubrel:
				code := byte(codeNotFound)
				if slices.Contains(had, c.PacketID) {
					code = 0
				}
				r.ack(packets.PUBCOMP, c.PacketID, code)
			}
		}
	}
	return seqs
}

// gapsTold waits until all gaps are told and returns what the sys.gap frames say.
func (r *busBench) gapsTold() (gaps []string) {
	r.t.Helper()
	untold := func(g bus.Gap) bool { return !g.Told }
	for end := time.Now().Add(10 * time.Second); slices.ContainsFunc(r.bus.Archive().Gaps(), untold); time.Sleep(2 * time.Millisecond) { // the collector tells
		if time.Now().After(end) {
			r.t.Fatalf("gaps %+v are not told", r.bus.Archive().Gaps())
		}
	}
	_, err := r.bus.Archive().Replay(r.t.Context(), bus.Selection{Filter: frame.Filter{Tags: []string{"sys.gap"}}}, func(b *frame.Batch) error {
		for _, f := range b.Frames {
			gaps = append(gaps, f.Value.Text())
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return gaps
}

// TestRepairUnderMessages has a repair take frames out of messages in flight: what
// is left goes out, what the broker has is completed, and delivery goes on.
func TestRepairUnderMessages(t *testing.T) {
	dir := t.TempDir()
	r := newBusBench(t, "t", func(c *bus.Config) { c.WALDir = dir })
	r.connect(false)
	for range 3 { // 1…30 in three messages
		r.pub(t, frames(10))
		r.window()
	}
	r.pub(t, frames(10)) // 31…40 and 41…50 in one
	r.pub(t, frames(10))
	r.window()
	r.ack(packets.PUBREC, 1, 0)
	r.expect("released", r.turn(), "PUBREL 1")
	r.pub(t, frames(10)) // 51…60 wait

	r.repaired(dir, loseBlocks(t, 1, 11, 31))
	r.connect(true)
	r.expect("after the repair", r.turn(), "PUBREL 1", "PUBREL 2", "PUBLISH 3 dup", "PUBLISH 4 dup")
	if _, err := r.c.Fetch(11, 20); !errors.Is(err, bus.ErrGone) {
		t.Errorf("fetch of what is gone: %v", err)
	}
	// The broker has had message 2, and answers.
	r.ack(packets.PUBCOMP, 1, 0)
	r.ack(packets.PUBCOMP, 2, 0)
	r.ack(packets.PUBREC, 3, 0)
	r.ack(packets.PUBREC, 4, 0)
	r.expect("then", r.turn(), "PUBREL 3", "PUBREL 4")
	r.ack(packets.PUBCOMP, 3, 0)
	r.ack(packets.PUBCOMP, 4, 0)
	if got := r.drain(); !slices.Equal(got, seqRange(51, 60)) {
		t.Errorf("sent after that: %v", got)
	}
	told := r.gapsTold()
	if want := []string{`"from":1,"reason":"damaged","to":20`, `"from":31,"reason":"damaged","to":40`}; len(told) != 2 || !strings.Contains(told[0], want[0]) || !strings.Contains(told[1], want[1]) {
		t.Errorf("told: %v", told)
	}
}

func seqRange(first, last uint64) (seqs []uint64) {
	for s := first; s <= last; s++ {
		seqs = append(seqs, s)
	}
	return seqs
}

// TestRepairUnderWindow has a repair take frames out of a window of several
// messages of which one was stored.
func TestRepairUnderWindow(t *testing.T) {
	for _, tc := range []struct {
		name string
		lost []uint64 // blocks: 1…3 of t0 t1 t2, 4…6 of t0 t1 t2, 7 of t0
		want []uint64
	}{
		{"the beginning", []uint64{1}, []uint64{4, 7, 5, 6}},
		{"a middle part", []uint64{4}, []uint64{1, 7, 2, 3}},
		{"whole messages", []uint64{1, 4}, []uint64{7}},
		{"all of it", []uint64{1, 4, 7}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			r := newBusBench(t, "t/{tag}", func(c *bus.Config) { c.WALDir = dir })
			r.limits.inflight = 1
			r.connect(false)
			for _, n := range []int{3, 3, 1} {
				r.pub(t, frames(n))
			}
			r.expect("first", r.window(), "PUBLISH 1")
			r.repaired(dir, loseBlocks(t, tc.lost...))
			r.connect(true)
			if got := r.drain(); !slices.Equal(got, tc.want) {
				t.Errorf("sent: %v, want %v", got, tc.want)
			}
			if records, err := r.c.Records(); err != nil || slices.ContainsFunc(records, func(c bus.Record) bool { return c.Pin != bus.Range{} }) {
				t.Errorf("records left: %+v, %v", records, err)
			}
		})
	}
}
