package bus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
	"github.com/edge-gateway/edge-gateway/pkg/wal"
)

// Archive is what a log holds, for people who look at it, trim it or mend it: the
// log of a running bus, or that of a stopped gateway.
type Archive struct {
	log   *wal.Log
	owned bool // by this Archive, which closes it
	bus   *Bus // nil: the gateway is stopped
}

type (
	// CheckReport is what Check and Repair return.
	CheckReport = wal.Report
	// ExportReport is what Export and Import return.
	ExportReport = wal.ExportTrailer
	// DamageError tells of frames that can't be read.
	DamageError = wal.DamageError
	// Gap is a run of frames that is known to be lost.
	Gap = wal.Gap
	// Place is where a consumer stands in an export.
	Place = wal.Place
	// ExportHeader begins an export.
	ExportHeader = wal.ExportHeader
)

// OpenArchive opens the log of a stopped gateway; ErrLocked says that it runs.
// With write, GC, Repair and RemoveConsumer work.
func OpenArchive(dir string, write bool, log *slog.Logger) (*Archive, error) {
	l, err := wal.OpenExisting(dir, wal.Options{ReadOnly: !write, Log: log, Tool: true})
	if err != nil {
		return nil, err
	}
	return &Archive{log: l, owned: true}, nil
}

// Archive returns the running bus's log.
func (b *Bus) Archive() *Archive { return &Archive{log: b.log, bus: b} }

// Failed is closed when the log failed, and Err then says why. Calls that are under
// way may never return: the process must end.
func (a *Archive) Failed() <-chan struct{} { return a.log.Failed() }

// Err returns why the log failed, nil while it works.
func (a *Archive) Err() error { return a.log.Err() }

// Close closes the log of a stopped gateway.
func (a *Archive) Close() error {
	if !a.owned {
		return nil
	}
	return a.log.Close()
}

// Stats returns the log's figures. Those of the ring are 0 for a stopped gateway.
func (a *Archive) Stats() Stats {
	s := a.figures()
	s.FirstTime, s.LastTime = a.timeOf(s.FirstSeq), a.timeOf(s.DurableSeq)
	for i := range s.Consumers {
		s.Consumers[i].AckTime = a.timeOf(s.Consumers[i].AckSeq)
	}
	return s
}

// timeOf is when the frame seq was logged; zero: the log does not hold it, or it
// cannot be read, which reading it will tell.
func (a *Archive) timeOf(seq uint64) time.Time {
	t, err := a.LoggedAt(seq)
	if err != nil {
		return time.Time{}
	}
	return t
}

func (a *Archive) figures() Stats {
	if a.bus != nil {
		return a.bus.Stats()
	}
	l := a.log.Stats()
	s := Stats{Epoch: l.Epoch, FirstSeq: l.First, LastSeq: l.Last, DurableSeq: l.Durable, WALBytes: l.Bytes, DiskBytes: l.DiskBytes, FreeBytes: l.Free, Consumers: []ConsumerStats{}}
	for _, c := range a.log.Bookmarks() {
		s.Consumers = append(s.Consumers, ConsumerStats{Name: c.Name(), AckSeq: c.Acked(), Lag: l.Durable - min(c.Acked(), l.Durable), Parked: true})
	}
	return s
}

// Format returns the version of the format that the log is in, and the newest that
// this release writes.
func (a *Archive) Format() (found, newest int) { return a.log.Format() }

// Migrate brings the log of a stopped gateway into the newest format.
func (a *Archive) Migrate() error { return a.log.Migrate() }

// Gaps returns the runs of frames that are known to be lost.
func (a *Archive) Gaps() []Gap { return a.log.Gaps() }

// RemoveConsumer forgets a parked consumer for good.
func (a *Archive) RemoveConsumer(name string) error {
	if a.bus != nil {
		return a.bus.RemoveConsumer(name)
	}
	return a.log.RemoveConsumer(name)
}

// MoveConsumer gives a parked consumer another name: what renaming its connector means.
func (a *Archive) MoveConsumer(from, to string) error {
	if a.bus != nil {
		return a.bus.MoveConsumer(from, to)
	}
	return a.log.MoveConsumer(from, to)
}

// Selection says which frames to replay.
type Selection struct {
	First, Last uint64       // seqs, both included; 0: open
	From, To    time.Time    // source times, From included, To not; zero: open
	Filter      frame.Filter // what else must hold
}

// clockSlack is how far a source's clock may be ahead of the gateway's for its
// frames to be found by time.
const clockSlack = time.Hour

// Replayed is what a replay came by.
type Replayed struct {
	First, Last uint64 // of the frames handed out; 0: none
	Frames      uint64
	Damaged     []*DamageError // left out since it can't be read
}

// Replay hands the frames of sel to f, in order. Batches may be parts of those
// that were published. It leaves consumers alone.
func (a *Archive) Replay(ctx context.Context, sel Selection, f func(*frame.Batch) error) (Replayed, error) {
	var done Replayed
	m, err := sel.Filter.Compile()
	if err != nil {
		return done, fmt.Errorf("replay: %w", err)
	}
	s := wal.Scan{From: sel.First, To: sel.Last}
	if err := a.narrow(&s, sel); err != nil {
		return done, fmt.Errorf("replay: %w", err)
	}
	from, to := sel.nanos()
	s.Skip = func(_ uint64, h frame.BlockHeader) bool { return h.MaxTS < from || h.MinTS >= to }
	s.Damaged = func(d *DamageError) error {
		done.Damaged = append(done.Damaged, d)
		return nil
	}
	var parts, timed []*frame.Batch
	s.Frames = func(b *frame.Batch) error {
		timed = byTime(timed[:0], b, from, to)
		for _, t := range timed {
			parts = m.Split(parts[:0], t)
			for _, p := range parts {
				if done.Frames == 0 {
					done.First = p.FirstSeq
				}
				done.Last = p.LastSeq()
				done.Frames += uint64(len(p.Frames))
				if err := f(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := s.Run(ctx, a.log); err != nil {
		return done, fmt.Errorf("replay: %w", err)
	}
	return done, nil
}

func (sel Selection) nanos() (from, to int64) {
	from, to = -1<<63, 1<<63-1
	if !sel.From.IsZero() {
		from = sel.From.UnixNano()
	}
	if !sel.To.IsZero() {
		to = sel.To.UnixNano()
	}
	return from, to
}

// narrow finds where in the log the selected times can begin. Where they end can't
// be told: frames are logged late, by back-pressure, after a jump of the clock, or
// when they are imported. Blocks are left out by the times in their headers.
func (a *Archive) narrow(s *wal.Scan, sel Selection) error {
	if sel.From.IsZero() {
		return nil
	}
	seq, err := a.log.SeqAtTime(sel.From.Add(-clockSlack).UnixMilli())
	s.From = max(s.From, seq)
	return err
}

// byTime appends the parts of b with from ≤ source time < to.
func byTime(dst []*frame.Batch, b *frame.Batch, from, to int64) []*frame.Batch {
	in := func(i int) bool { return b.Frames[i].TS >= from && b.Frames[i].TS < to }
	for i := 0; i < len(b.Frames); i++ {
		if !in(i) {
			continue
		}
		j := i
		for j+1 < len(b.Frames) && in(j+1) {
			j++
		}
		dst = append(dst, b.Slice(b.FirstSeq+uint64(i), b.FirstSeq+uint64(j)))
		i = j
	}
	return dst
}

// Check reads the whole log, verifies every checksum, and reports what is damaged.
func (a *Archive) Check(ctx context.Context) (CheckReport, error) { return a.log.Check(ctx) }

// Repair makes the damaged log of a stopped gateway usable: it moves what is
// damaged to the directory quarantine in the log's and notes which frames are
// lost; the gateway tells of them with sys.gap frames when it starts.
func (a *Archive) Repair(ctx context.Context) (CheckReport, error) {
	if a.bus != nil {
		return CheckReport{}, fmt.Errorf("repair: stop the gateway first")
	}
	return a.log.Repair(ctx)
}

// Export writes the durable frames first…last (0: to the end) to w, in a form
// that Import reads.
func (a *Archive) Export(ctx context.Context, w io.Writer, first, last uint64) (ExportReport, error) {
	return a.log.Export(ctx, w, first, last)
}

// Flush makes everything durable and has it written to tables.
func (a *Archive) Flush(ctx context.Context) error {
	if a.bus != nil {
		if err := a.bus.Sync(ctx); err != nil {
			return err
		}
	}
	return a.log.Flush()
}

// Import makes a log in dir, which must be empty or not exist, from an export: a
// copy with the same epoch and seqs, for looking at it elsewhere.
func Import(dir string, r io.Reader, log *slog.Logger) (ExportReport, error) {
	return wal.Import(dir, r, wal.Options{Log: log, Reserve: 64 << 20})
}

// ReadExport hands the batches of an export to f, and returns what it says of itself at its
// end: frames that could not be read when it was made are named there.
func ReadExport(r io.Reader, f func(*frame.Batch) error) (ExportReport, error) {
	return wal.ReadExport(r, func(ExportHeader) error { return nil }, func(b *frame.Batch, _ int64) error { return f(b) })
}

// IsExport reports whether a file that begins so is an export.
func IsExport(head []byte) bool { return wal.IsExport(head) }

// Restore makes a log in dir, which must be empty or not exist, from an export, for
// a gateway to go on with: a new epoch begins, frames keep their seqs, consumers
// their places, but not their sessions. It leaves reserve bytes of the disk free.
func Restore(dir string, r io.Reader, reserve uint64, log *slog.Logger) (ExportReport, error) {
	return wal.Restore(dir, r, wal.Options{Log: log, Reserve: reserve})
}

// ExportSize returns how many bytes an export has unpacked, about what a log of it takes
// on the disk. It stops beyond most.
func ExportSize(r io.Reader, most int64) (int64, error) { return wal.ExportSize(r, most) }

// Import publishes the frames of an export as new frames of this bus, with their
// source times: to deliver what a broken gateway could not. They bear [ImportedPrefix]
// before the id of their driver. An export is a file that anybody may have made: what
// claims to be a gateway's own frame, its audit above all, or a command is left out, and
// tags that no gateway has end the import.
func (b *Bus) Import(ctx context.Context, r io.Reader) (ExportReport, error) {
	sets := map[*frame.TagSet]*frame.TagSet{}
	return wal.ReadExport(r, func(ExportHeader) error { return nil }, func(batch *frame.Batch, _ int64) error {
		if batch.Kind != frame.Data || slices.ContainsFunc(batch.Set.Tags, func(t frame.Tag) bool { return strings.HasPrefix(t.Name, frame.SysPrefix) }) {
			return nil
		}
		if sets[batch.Set] == nil {
			if err := plausible(batch.Set); err != nil {
				return err
			}
			sets[batch.Set] = &frame.TagSet{Driver: ImportedPrefix + batch.Set.Driver, Tags: batch.Set.Tags}
		}
		batch.Set = sets[batch.Set]
		return b.Publish(ctx, batch)
	})
}

// plausible refuses names that no table can have: they become topics, file names and
// columns downstream.
func plausible(s *frame.TagSet) error {
	if !plausibleName(s.Driver) {
		return fmt.Errorf("%w: driver %.80q", wal.ErrBadExport, s.Driver)
	}
	for _, t := range s.Tags {
		if !plausibleName(t.Name) || len(t.Unit) > 256 || !visible.IsText(t.Unit) {
			return fmt.Errorf("%w: tag %.80q, unit %.80q", wal.ErrBadExport, t.Name, t.Unit)
		}
	}
	return nil
}

func plausibleName(name string) bool {
	return name != "" && len(name) <= 512 && !strings.ContainsAny(name, "/+#$ ") && visible.IsText(name)
}

// ImportedPrefix stands before the driver of frames that were imported.
const ImportedPrefix = "import-"
