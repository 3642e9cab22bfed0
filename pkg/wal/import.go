package wal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Import makes a log in dir, where none may be, from an export: with its epoch
// and its seqs, for looking at it elsewhere. It is there whole or not at all.
func Import(dir string, r io.Reader, o Options) (ExportTrailer, error) {
	return fill(dir, r, o, func(l *Log, _ ExportTrailer) error { return nil })
}

// Restore makes a log in dir, where none may be, from an export, to go on with: a
// new epoch begins, since the one that was exported may have gone further than the
// export says; the frames keep their seqs, and the consumers are where they were.
// Their records are not: what was in flight is sent anew. It is there whole or not
// at all.
func Restore(dir string, r io.Reader, o Options) (ExportTrailer, error) {
	if o.Epoch == "" {
		o.Epoch = newEpoch(o.time())
	}
	return fill(dir, r, o, func(l *Log, t ExportTrailer) error {
		if _, err := l.Sync(); err != nil {
			return err
		}
		for _, p := range t.Places {
			if err := l.place(p); err != nil {
				return fmt.Errorf("%w: consumer %q: %w", ErrBadExport, p.Name, err)
			}
		}
		return nil
	})
}

// fill makes the log beside its place and moves it there when finish is through.
// Without an epoch in o, it has that of the export. On a full disk it fails: what
// it was doing never returns then, and the process must end.
func fill(dir string, r io.Reader, o Options, finish func(*Log, ExportTrailer) error) (ExportTrailer, error) {
	o.Tool = true
	type result struct {
		t   ExportTrailer
		err error
	}
	opened, done := make(chan *Log, 1), make(chan result, 1)
	go func() {
		t, err := fillBeside(dir, r, o, opened, finish)
		done <- result{t, err}
	}()
	var failed <-chan struct{}
	var l *Log
	for {
		select {
		case l = <-opened:
			failed = l.Failed()
		case <-failed:
			return ExportTrailer{}, l.Err()
		case res := <-done:
			return res.t, res.err
		}
	}
}

// fillBeside is fill, waiting for the disk; it tells of the log when that is open.
func fillBeside(dir string, r io.Reader, o Options, opened chan<- *Log, finish func(*Log, ExportTrailer) error) (t ExportTrailer, err error) {
	var l *Log
	partial := dir + ".partial"
	defer func() {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		switch {
		case err == nil:
			err = moveInto(o, partial, dir)
		case l != nil:
			err = errors.Join(err, o.fs().RemoveAll(partial))
		}
	}()
	t, err = ReadExport(r, func(h ExportHeader) error {
		if err := prepareImport(o, partial, dir); err != nil {
			return err
		}
		if o.Epoch == "" {
			o.Epoch = h.Epoch
		}
		o.NextSeq, o.format = h.First, h.Format // a release that reads the export reads the log
		if l, err = Open(partial, o); err == nil {
			opened <- l
		}
		return err
	}, func(b *frame.Batch, logged int64) error {
		if err := l.skipTo(b.FirstSeq); err != nil {
			return err
		}
		block, err := l.Encode(nil, b)
		if err != nil {
			return err
		}
		// A time to come would have everything after it logged then.
		logged = max(1, min(logged, l.now().UnixMilli()))
		if err := l.Append([]Entry{{First: b.FirstSeq, Count: len(b.Frames), Set: b.Set, Block: block, Logged: logged}}); err != nil {
			return err
		}
		if free, err := l.FreeSpace(); err == nil && free < o.Reserve { // where it is unknown, the disk itself is the bound
			return fmt.Errorf("%w: %d MiB are free, and %d MiB stay free", ErrDiskFull, free>>20, o.Reserve>>20)
		}
		return nil
	})
	if err == nil {
		err = finish(l, t)
	}
	return t, err
}

// places returns where the consumers are within the frames up to last.
func (l *Log) places(last uint64) []Place {
	var out []Place
	for _, c := range l.Bookmarks() {
		c.mu.Lock()
		p := Place{Name: c.name, Acked: min(c.acked, last)}
		for _, r := range c.finished {
			if r.First <= last {
				p.Finished = append(p.Finished, Range{r.First, min(r.Last, last)})
			}
		}
		c.mu.Unlock()
		out = append(out, p)
	}
	return out
}

// place makes a consumer that is at p.
func (l *Log) place(p Place) error {
	c, _, err := l.OpenBookmark(p.Name, false)
	if err != nil {
		return err
	}
	if err := c.SetBack(min(p.Acked, l.Durable())); err != nil {
		return err
	}
	// A range may reach to where the consumer stands by now: the next frame that
	// it lacks decides.
	finished := slices.DeleteFunc(p.Finished, func(r Range) bool { return r.Last <= c.Acked() })
	if len(finished) == 0 {
		return nil
	}
	return c.Commit(Commit{Ack: finished, Sync: true})
}

func (o Options) fs() FS {
	if o.FS == nil {
		return defaultFS()
	}
	return o.FS
}

func (o Options) time() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func prepareImport(o Options, partial, dir string) error {
	fs := o.fs()
	if names, err := fs.List(dir); err == nil && len(names) > 0 {
		return fmt.Errorf("%s is not empty: an export goes into a directory of its own", dir)
	}
	return fs.RemoveAll(partial)
}

func moveInto(o Options, partial, dir string) error {
	fs := o.fs()
	if err := fs.Remove(dir); err != nil {
		if _, statErr := fs.Stat(dir); statErr == nil {
			return err
		}
	}
	if err := fs.Rename(partial, dir); err != nil {
		return err
	}
	parent, err := fs.OpenDir(fs.PathDir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// skipTo leaves a hole up to seq, which is noted as a gap.
func (l *Log) skipTo(seq uint64) error {
	next := l.Next()
	if seq <= next {
		return nil
	}
	if err := l.addGaps([]Gap{{Range: Range{next, seq - 1}, Reason: "not exported", Time: l.now().UnixMilli(), Told: true}}); err != nil {
		return err
	}
	l.appended.Store(seq - 1)
	return nil
}
