package drivertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// never is a polling interval that no test lives to see twice.
const never = time.Hour

// New builds without the device, and refuses what cannot work.
func testNew(t *testing.T, h Harness) {
	f := build(t, h, 2, never, nil)
	f.Stop()
	if _, err := f.new(f.table); err != nil {
		t.Errorf("New with the device away: %v", err)
	}
	if st := f.driver.Status(); st.State != driver.Stopped || st.Polls != 0 || !st.FirstRead.IsZero() {
		t.Errorf("status before Run: %+v", st)
	}
	f.vars[1].Datatype = "nonsense"
	_, err := f.new(f.compile(f.vars, nil))
	if err == nil || !strings.Contains(err.Error(), f.tag(1)) {
		t.Errorf("New with an unknown datatype: %v, want an error that names %s", err, f.tag(1))
	}
}

// Every point is polled at once, whatever the interval, and comes out right.
func testFirstPoll(t *testing.T, h Harness) {
	f := build(t, h, 300, never, func(vars []config.Variable) {
		vars[7].Scale = "value / 10"
	})
	for i := range f.vars {
		f.Set(i, uint16(i*200))
	}
	begin := time.Now()
	f.run()
	f.eventuallyState(driver.Running)
	for i := range f.vars {
		if i != 7 {
			f.eventually(f.tag(i)+" is reported", func() bool { return len(f.sink.of(f.tag(i), 0)) > 0 })
		}
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("the first poll took %v", d)
	}
	for i := range f.vars {
		got := f.sink.of(f.tag(i), 0)
		if len(got) != 1 || got[0].Quality != frame.Good {
			t.Fatalf("%s: %d frames, the first %+v; want one, good", f.tag(i), len(got), got[0])
		}
		want := frame.IntValue(int64(i * 200))
		if i == 7 {
			want = frame.FloatValue(140)
		}
		if got[0].Value != want {
			t.Errorf("%s = %v, want %v", f.tag(i), got[0].Value, want)
		}
		if at := got[0].Time(); at.Before(begin) || at.After(got[0].at) {
			t.Errorf("%s has the source time %v, read between %v and %v", f.tag(i), at, begin, got[0].at)
		}
	}
	st := f.driver.Status()
	if st.State != driver.Running || st.Error != "" || st.Polls == 0 || st.Errors != 0 ||
		st.FirstRead.Before(begin) || st.LastRead.Before(st.FirstRead) || st.Since.Before(begin) {
		t.Errorf("status after the first poll: %+v", st)
	}
	f.stop()
	if st := f.driver.Status(); st.State != driver.Stopped {
		t.Errorf("state %s after Run, want stopped", st.State)
	}
	f.sink.check(t)
}

// Values follow the device at the interval and not faster.
func testInterval(t *testing.T, h Harness) {
	const polling = 50 * time.Millisecond
	f := start(t, h, 3, polling, nil)
	f.eventuallyGood(0)
	begin, from := time.Now(), len(f.sink.all())
	for v := uint16(1); v <= 10; v++ {
		f.Set(1, v)
		f.eventuallyGood(from)
	}
	f.stop()
	got := f.sink.of(f.tag(2), from)
	if most := int(time.Since(begin)/polling) + 2; len(got) > most {
		t.Errorf("%d polls in %v, at most %d are due every %v", len(got), time.Since(begin), most, polling)
	}
	for i := 1; i < len(got); i++ {
		if got[i].TS <= got[i-1].TS {
			t.Errorf("source time goes from %d to %d", got[i-1].TS, got[i].TS)
		}
	}
	f.sink.check(t)
}

func testWriteOnly(t *testing.T, h Harness) {
	f := start(t, h, 3, 20*time.Millisecond, func(vars []config.Variable) { vars[1].Access = config.AccessW })
	f.eventually("ten polls", func() bool { return len(f.sink.of(f.tag(2), 0)) >= 10 })
	if got := f.sink.of(f.tag(1), 0); len(got) != 0 {
		t.Errorf("%s has access W and was polled %d times", f.tag(1), len(got))
	}
	f.stop()
}

// A device that goes away makes each tag bad once; it comes back good by itself.
func testGoesAway(t *testing.T, h Harness) {
	f := start(t, h, 5, 20*time.Millisecond, nil)
	for round := range 2 {
		f.eventuallyGood(len(f.sink.all()))
		f.eventuallyState(driver.Running)
		f.Stop()
		f.expectBadOnce()
		for i := range f.vars {
			f.Set(i, uint16(100*(round+1)+i))
		}
		f.Start()
	}
	f.eventuallyGood(len(f.sink.all()))
	f.eventuallyState(driver.Running)
	if st := f.driver.Status(); st.Error != "" || st.Errors == 0 {
		t.Errorf("status when it is back: %+v, want no error and some counted", st)
	}
	f.stop()
	f.sink.check(t)
}

// expectBadOnce waits until every point is bad and the driver at fault, and some
// time more, and checks that each was told exactly once.
func (f *fixture) expectBadOnce() {
	f.t.Helper()
	isBad := func(i int) bool {
		got := f.sink.of(f.tag(i), 0)
		return len(got) > 0 && got[len(got)-1].Quality == frame.Bad
	}
	for i := range f.vars {
		f.eventually(f.tag(i)+" is bad", func() bool { return isBad(i) })
	}
	f.eventuallyState(driver.Fault)
	if st := f.driver.Status(); st.Error == "" {
		f.t.Errorf("status %+v without an error", st)
	}
	from := len(f.sink.all())
	time.Sleep(500 * time.Millisecond) // nothing must happen meanwhile
	for _, s := range f.sink.all()[from:] {
		f.t.Errorf("%s is told again while the device is away: %v %v", s.tag, s.Value, s.Quality)
	}
	for i := range f.vars {
		got := f.sink.of(f.tag(i), 0)
		last := got[len(got)-1]
		if !last.Value.IsNone() {
			f.t.Errorf("%s is bad with the value %v, want none", f.tag(i), last.Value)
		}
		if len(got) > 1 && got[len(got)-2].Quality == frame.Bad {
			f.t.Errorf("%s was told bad twice", f.tag(i))
		}
	}
}

func testAwayAtStart(t *testing.T, h Harness) {
	f := build(t, h, 3, 20*time.Millisecond, nil)
	f.Stop()
	f.run()
	f.expectBadOnce()
	if st := f.driver.Status(); !st.FirstRead.IsZero() {
		t.Errorf("status %+v, but nothing was read", st)
	}
	f.Start()
	f.eventuallyGood(len(f.sink.all()))
	f.eventuallyState(driver.Running)
	f.stop()
	f.sink.check(t)
}

// A device that is connected and silent is away, too.
func testHangs(t *testing.T, h Harness) {
	f := start(t, h, 3, 20*time.Millisecond, nil)
	if f.Hang == nil {
		f.stop()
		return
	}
	f.eventuallyGood(0)
	f.Hang(true)
	f.expectBadOnce()
	f.Hang(false)
	f.eventuallyGood(len(f.sink.all()))
	f.Hang(true)
	time.Sleep(50 * time.Millisecond) // so that a request is likely to be in flight
	f.stop()
}

// Run ends in time whatever it is doing.
func testRunEnds(t *testing.T, h Harness) {
	t.Run("at once", func(t *testing.T) {
		f := build(t, h, 1, never, nil)
		f.run()
		f.stop()
	})
	t.Run("between polls", func(t *testing.T) {
		f := start(t, h, 1, never, nil)
		f.eventuallyGood(0)
		f.stop()
	})
	t.Run("with the device away", func(t *testing.T) {
		f := build(t, h, 1, 20*time.Millisecond, nil)
		f.Stop()
		f.run()
		f.eventuallyState(driver.Fault)
		f.stop()
	})
	t.Run("while Publish waits", func(t *testing.T) {
		f := build(t, h, 1, 20*time.Millisecond, nil)
		f.sink.block = make(chan struct{})
		f.run()
		select {
		case <-f.sink.blocked:
		case <-time.After(patience):
			t.Fatal("nothing is published")
		}
		f.stop()
		if n := len(f.sink.all()); n != 0 {
			t.Errorf("%d frames were published after the context ended", n)
		}
	})
}

// An error of the log is not a device's: the driver cannot go on and says why.
func testPublishFails(t *testing.T, h Harness) {
	f := build(t, h, 1, 20*time.Millisecond, nil)
	f.sink.err = errors.New("disk on fire")
	f.run()
	if err := f.waitEnd(patience); !errors.Is(err, f.sink.err) {
		t.Errorf("Run returned %v, want one that wraps %q", err, f.sink.err)
	}
}
