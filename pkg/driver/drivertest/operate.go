package drivertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Update keeps the connection and the phase, loses no sample of what it does not
// change, and remembers what was reported.
func testUpdate(t *testing.T, h Harness) {
	const polling = 250 * time.Millisecond // so long that a busy machine's delays are not taken for lost samples
	const rounds = 16
	f := start(t, h, 6, polling, func(vars []config.Variable) {
		vars[1].Report = config.ReportChange
	})
	f.eventuallyGood(0)
	conns, overruns := f.Conns(), f.driver.Status().Overruns

	// Points 0 and 1 stay. 2 is scaled differently each time, 3 comes and goes.
	for round := range rounds {
		vars := slices.Clone(f.vars)
		vars[2].Scale = "value * " + string(rune('1'+round%9))
		if round%2 == 0 {
			vars = slices.Delete(vars, 3, 4)
		}
		f.table = f.compile(vars, f.table)
		if err := f.driver.Update(f.table); err != nil {
			t.Fatalf("Update: %v", err)
		}
		time.Sleep(polling * 37 / 100) // so that updates fall everywhere in the interval
	}
	from := len(f.sink.all())
	f.eventually("two more polls", func() bool { return len(f.sink.of(f.tag(0), from)) >= 2 })

	if got := f.Conns(); got != conns {
		t.Errorf("%d updates made %d new connections", rounds, got-conns)
	}
	overruns = f.driver.Status().Overruns - overruns
	steady := f.sink.of(f.tag(0), 0)
	late := uint64(0)
	for i := 1; i < len(steady); i++ {
		gap := time.Duration(steady[i].TS - steady[i-1].TS)
		if gap > polling*19/10 {
			late++
		}
		if gap < polling*2/10 {
			t.Errorf("%s: polled again after %v instead of %v: the phase is lost", f.tag(0), gap, polling)
		}
	}
	if late > overruns {
		t.Errorf("%s: %d samples of %d are missing after updates that did not touch it", f.tag(0), late, len(steady))
	}
	if got := f.sink.of(f.tag(1), 0); len(got) != 1 {
		t.Errorf("%s never changed and was reported %d times", f.tag(1), len(got))
	}
	if st := f.driver.Status(); st.State != driver.Running || st.Errors != 0 {
		t.Errorf("status after updates: %+v", st)
	}

	// What is removed is silent, what is added is polled.
	vars := slices.Clone(f.vars[:3])
	if err := f.driver.Update(f.compile(vars, f.table)); err != nil {
		t.Fatalf("Update: %v", err)
	}
	f.eventually("a poll", func() bool { return len(f.sink.of(f.tag(0), from)) >= 4 })
	from = len(f.sink.all())
	f.eventually("a poll", func() bool { return len(f.sink.of(f.tag(0), from)) >= 2 })
	if got := f.sink.of(f.tag(4), from); len(got) != 0 {
		t.Errorf("%s was removed and has %d more frames", f.tag(4), len(got))
	}
	f.stop()
	f.sink.check(t)
}

// An update that is refused changes nothing.
func testUpdateRefused(t *testing.T, h Harness) {
	f := start(t, h, 2, 20*time.Millisecond, nil)
	f.eventuallyGood(0)
	vars := slices.Clone(f.vars)
	vars[0].Datatype = "nonsense"
	err := f.driver.Update(f.compile(vars, f.table))
	if err == nil || !strings.Contains(err.Error(), f.tag(0)) {
		t.Errorf("Update with an unknown datatype: %v, want an error that names %s", err, f.tag(0))
	}
	f.Set(0, 77)
	f.eventuallyGood(len(f.sink.all()))
	f.stop()
}

func testWrite(t *testing.T, h Harness) {
	f := start(t, h, 3, 20*time.Millisecond, func(vars []config.Variable) {
		vars[1].Scale = "value / 10"
		vars[2].Access = config.AccessW
	})
	f.eventually("the first poll", func() bool { return len(f.sink.of(f.tag(0), 0)) > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, w := range []struct {
		i        int
		v        frame.Value
		raw      uint16
		readBack float64
	}{
		{0, frame.IntValue(1), 1, 1},
		{0, frame.IntValue(65535), 65535, 65535},
		{0, frame.FloatValue(41.6), 42, 42},
		{1, frame.FloatValue(12.3), 123, 12.3},
		{2, frame.IntValue(9), 9, 9},
	} {
		begin := time.Now()
		res, err := f.driver.Write(ctx, driver.Write{Tag: f.tag(w.i), Value: w.v})
		if err != nil {
			t.Fatalf("write %v to %s: %v", w.v, f.tag(w.i), err)
		}
		if got := f.Get(w.i); got != w.raw {
			t.Errorf("write %v to %s: the device holds %d, want %d", w.v, f.tag(w.i), got, w.raw)
		}
		if n, ok := res.ReadBack.Number(); !res.ReadBack.IsNone() && (!ok || n != w.readBack) {
			t.Errorf("write %v to %s: read back %v, want %v", w.v, f.tag(w.i), res.ReadBack, w.readBack)
		}
		if at := time.Unix(0, res.TS); at.Before(begin) || at.After(time.Now()) {
			t.Errorf("write %v to %s: confirmed at %v", w.v, f.tag(w.i), at)
		}
	}

	// From many sides at once, with polls between: each gets its own answer.
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for v := range 20 {
				res, err := f.driver.Write(ctx, driver.Write{Tag: f.tag(2 * i), Value: frame.IntValue(int64(1000*i + v))})
				if err != nil {
					t.Errorf("write %d to %s: %v", v, f.tag(2*i), err)
					return
				}
				if !res.ReadBack.IsNone() && res.ReadBack.Int() != int64(1000*i+v) {
					t.Errorf("write %d to %s: read back %v", 1000*i+v, f.tag(2*i), res.ReadBack)
				}
			}
		})
	}
	wg.Wait()
	if f.Get(0) != 19 || f.Get(2) != 1019 {
		t.Errorf("the device holds %d and %d, want 19 and 1019", f.Get(0), f.Get(2))
	}
	f.stop()
	f.sink.check(t)
}

// A write that is not allowed or makes no sense does not reach the device.
func testWriteRefused(t *testing.T, h Harness) {
	f := start(t, h, 3, 20*time.Millisecond, func(vars []config.Variable) {
		vars[1].Access = config.AccessR
		vars[2].Scale = "value ** 2"
	})
	f.eventuallyGood(0)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, w := range []struct {
		tag  string
		v    frame.Value
		want error
	}{
		{"no.such.tag", frame.IntValue(1), driver.ErrUnknownTag},
		{f.tag(1), frame.IntValue(1), driver.ErrAccess},
		{f.tag(0), frame.IntValue(65536), point.ErrRange},
		{f.tag(0), frame.IntValue(-1), point.ErrRange},
		{f.tag(2), frame.IntValue(4), point.ErrNotInvertible},
		{f.tag(0), frame.StringValue("on"), nil},
	} {
		_, err := f.driver.Write(ctx, driver.Write{Tag: w.tag, Value: w.v})
		if err == nil || w.want != nil && !errors.Is(err, w.want) || !strings.Contains(err.Error(), w.tag) {
			t.Errorf("write %v to %s: %v, want an error that names the tag and is %v", w.v, w.tag, err, w.want)
		}
	}
	for i := range f.vars {
		if got := f.Get(i); got != 0 {
			t.Errorf("%s holds %d after refused writes", f.tag(i), got)
		}
	}
	f.Stop()
	short, cancelShort := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancelShort()
	begin := time.Now()
	if _, err := f.driver.Write(short, driver.Write{Tag: f.tag(0), Value: frame.IntValue(1)}); err == nil {
		t.Error("write to a device that is away: no error")
	}
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("write to a device that is away: answered %v after a context of 2s", d)
	}
	f.stop()
}

func testRead(t *testing.T, h Harness) {
	f := start(t, h, 3, never, func(vars []config.Variable) {
		vars[1].Scale = "value / 10"
		vars[2].Access = config.AccessW
	})
	f.eventually("the first poll", func() bool { return len(f.sink.all()) >= 2 })
	from := len(f.sink.all())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, want := range []frame.Value{frame.IntValue(4711), frame.FloatValue(471.1)} {
		f.Set(i, 4711)
		begin := time.Now()
		r, err := f.driver.Read(ctx, f.tag(i))
		if err != nil || r.Value != want || r.Quality != frame.Good || len(r.Raw) == 0 {
			t.Errorf("read %s: %+v, %v, want %v, good, with raw bytes", f.tag(i), r, err, want)
		}
		if at := time.Unix(0, r.TS); at.Before(begin) || at.After(time.Now()) {
			t.Errorf("read %s: has the time %v", f.tag(i), at)
		}
	}
	if n := len(f.sink.all()) - from; n != 0 {
		t.Errorf("reads on demand published %d frames", n)
	}
	for tag, want := range map[string]error{"no.such.tag": driver.ErrUnknownTag, f.tag(2): driver.ErrAccess} {
		if _, err := f.driver.Read(ctx, tag); !errors.Is(err, want) || !strings.Contains(err.Error(), tag) {
			t.Errorf("read %s: %v, want an error that names the tag and is %v", tag, err, want)
		}
	}
	f.Stop()
	short, cancelShort := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancelShort()
	begin := time.Now()
	if r, err := f.driver.Read(short, f.tag(0)); err == nil {
		t.Errorf("read from a device that is away: %+v", r)
	}
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("read from a device that is away: answered %v after a context of 2s", d)
	}
	f.stop()
}

// Before and after Run, writes and reads are refused at once.
func testNotRunning(t *testing.T, h Harness) {
	f := build(t, h, 1, 20*time.Millisecond, nil)
	refused := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := f.driver.Write(ctx, driver.Write{Tag: f.tag(0), Value: frame.IntValue(1)}); !errors.Is(err, driver.ErrNotRunning) {
			t.Errorf("write %s: %v, want %v", when, err, driver.ErrNotRunning)
		}
		if _, err := f.driver.Read(ctx, f.tag(0)); !errors.Is(err, driver.ErrNotRunning) {
			t.Errorf("read %s: %v, want %v", when, err, driver.ErrNotRunning)
		}
	}
	refused("before Run")
	if err := f.driver.Update(f.compile(f.vars, f.table)); err != nil {
		t.Errorf("Update before Run: %v", err)
	}
	f.run()
	f.eventuallyGood(0)
	f.stop()
	refused("after Run")
	if f.Get(0) != 0 {
		t.Errorf("the device holds %d", f.Get(0))
	}
}
