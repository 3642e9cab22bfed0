// Package crash kills a process that uses the bus at full speed, again and again,
// and checks that what it promised is kept.
package crash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// childEnv names the directory of a child's log and ledgers, its run, and
// whether it drains the log and ends instead of running until it is killed.
const childEnv, runEnv, drainEnv = "EDGE_CRASH_CHILD", "EDGE_CRASH_RUN", "EDGE_CRASH_DRAIN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir, os.Getenv(runEnv), os.Getenv(drainEnv) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child publishes and consumes. The consumer writes what it gets to its ledger
// (a write to a file survives kill -9) before it acknowledges it; the publishers
// write down what the bus has taken: from then on, the end of the process takes
// nothing of it.
func child(dir, run string, drain bool) error {
	gen, err := strconv.ParseInt(run, 10, 32)
	if err != nil {
		return err
	}
	cfg := bus.DefaultConfig(filepath.Join(dir, "log"))
	cfg.MinFree, cfg.Retain, cfg.RingPow = 0, 0, 14
	cfg.WALFlush = time.Duration(gen%3) * 50 * time.Millisecond // 0, 50 and 100 ms
	b, err := bus.Open(cfg, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c, err := b.OpenReader("ledger", bus.StartOldest)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // an orphan ends by itself
	defer cancel()
	if drain {
		return errors.Join(consume(ctx, c, dir, c.Head()), b.Close())
	}
	failed := make(chan error, 3)
	go func() { failed <- consume(ctx, c, dir, 0) }()
	for p := range int64(2) {
		go func() { failed <- publishAll(ctx, b, dir, gen, p) }()
	}
	return <-failed
}

func appendTo(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// consume reads up to and with seq last; 0: for ever.
func consume(ctx context.Context, c *bus.Reader, dir string, last uint64) error {
	ledger, err := appendTo(dir, "ledger")
	if err != nil {
		return err
	}
	for n := 0; last == 0 || c.Acked() < last; n++ {
		batches, err := c.Read(ctx, 2000)
		if err != nil {
			return err
		}
		var lines []byte
		for _, b := range batches {
			lines = fmt.Appendf(lines, "%d %d %d\n", b.FirstSeq, len(b.Frames), b.Frames[0].Value.Int())
			for i := range b.Frames {
				if b.Frames[i].Value.Int() != b.Frames[0].Value.Int()+int64(i) {
					return fmt.Errorf("frame %d holds %d", b.FirstSeq+uint64(i), b.Frames[i].Value.Int())
				}
			}
		}
		if _, err := ledger.Write(lines); err != nil {
			return err
		}
		end := batches[len(batches)-1].LastSeq()
		if err := c.Commit(bus.Commit{Ack: []bus.Range{{First: batches[0].FirstSeq, Last: end}}, Sync: n%7 == 0}); err != nil {
			return err
		}
	}
	return ledger.Close()
}

// publishAll publishes batches whose values count up, unique by run and publisher.
func publishAll(ctx context.Context, b *bus.Bus, dir string, gen, publisher int64) error {
	promises, err := appendTo(dir, "promises")
	if err != nil {
		return err
	}
	set := &frame.TagSet{Driver: fmt.Sprint("plc", publisher)}
	for i := range 120 {
		set.Tags = append(set.Tags, frame.Tag{Name: fmt.Sprintf("plc%d.tag%d", publisher, i)})
	}
	value := gen<<40 | publisher<<36
	for n := 0; ; n++ {
		batch := &frame.Batch{Set: set, Frames: make([]frame.Frame, 1+n*31%120)}
		for i := range batch.Frames {
			batch.Frames[i] = frame.Frame{Value: frame.IntValue(value), TS: time.Now().UnixNano(), Tag: uint32(i)}
			value++
		}
		publish := b.Publish
		if n%50 == 49 {
			publish = b.PublishSync
		}
		if err := publish(ctx, batch); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(promises, "%d %d %d\n", batch.FirstSeq, len(batch.Frames), batch.Frames[0].Value.Int()); err != nil {
			return err
		}
	}
}

// line is a run of frames with consecutive values.
type line struct {
	first, count uint64
	value        int64
}

// lines reads a ledger from offset on; a last line that a kill cut short is left.
func lines(t *testing.T, path string, offset int64) ([]line, int64) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, offset
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	if _, err := f.Seek(offset, 0); err != nil {
		t.Fatal(err)
	}
	var out []line
	for r := bufio.NewReader(f); ; {
		text, err := r.ReadString('\n')
		if err != nil {
			return out, offset
		}
		offset += int64(len(text))
		var l line
		if _, err := fmt.Sscanf(text, "%d %d %d\n", &l.first, &l.count, &l.value); err != nil {
			t.Fatalf("%s: %q: %v", path, text, err)
		}
		out = append(out, l)
	}
}

// account holds what the consumer has had: value − seq is constant within a batch.
type account struct {
	ledger, promises int64            // offsets
	delta            map[uint64]int64 // seq → value − seq
	next             uint64           // all before it was had
	owed             []line           // promised, not seen yet
	repeats          uint64
}

func (a *account) check(t *testing.T, dir string) {
	t.Helper()
	var got, promised []line
	got, a.ledger = lines(t, filepath.Join(dir, "ledger"), a.ledger)
	for _, l := range got {
		if l.first > a.next {
			t.Fatalf("frames %d to %d never came", a.next, l.first-1)
		}
		for seq := l.first; seq < l.first+l.count; seq++ {
			d := l.value - int64(l.first)
			if old, had := a.delta[seq]; had {
				if a.repeats++; old != d {
					t.Fatalf("frame %d came as %d and again as %d: its number was used twice", seq, old+int64(seq), d+int64(seq))
				}
				continue
			}
			a.delta[seq] = d
			a.next = seq + 1
		}
	}
	promised, a.promises = lines(t, filepath.Join(dir, "promises"), a.promises)
	a.owed = append(a.owed, promised...)
	rest := a.owed[:0]
	for _, l := range a.owed {
		if l.first+l.count > a.next {
			rest = append(rest, l)
			continue
		}
		for seq := l.first; seq < l.first+l.count; seq++ {
			if d := a.delta[seq]; d != l.value-int64(l.first) {
				t.Fatalf("frame %d was promised as %d, came as %d", seq, l.value+int64(seq-l.first), d+int64(seq))
			}
		}
	}
	a.owed = rest
}

// TestKill9 is the campaign: 20 kills, or EDGE_KILLS. Everything that Publish took is
// there in the end, once, and what a consumer has seen stays as it was.
func TestKill9(t *testing.T) {
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("EDGE_KILLS")); err == nil && n > 0 {
		kills = n
	}
	dir := t.TempDir()
	row := faults.Open(t, "kill-log")
	r := row.Random(t)
	a := &account{delta: map[uint64]int64{}, next: 1}
	start := func(run int, drain bool) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir, runEnv+"="+strconv.Itoa(run))
		if drain {
			cmd.Env = append(cmd.Env, drainEnv+"=1")
		}
		cmd.Stderr = t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for run := range kills {
		cmd := start(run, false)
		time.Sleep(time.Duration(20+r.IntN(250)) * time.Millisecond) // a moment nobody knows
		row.Memory(faults.PeakOf(cmd.Process.Pid))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		row.Fault(1)
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("run %d ended by itself: %v", run, err)
		}
		a.check(t, dir)
		for seq := range a.delta { // repeats come from the last run only
			if len(a.delta) > 2_000_000 && seq+1_000_000 < a.next {
				delete(a.delta, seq)
			}
		}
	}
	if err := start(kills, true).Wait(); err != nil {
		t.Fatalf("draining: %v", err)
	}
	a.check(t, dir)
	owed := uint64(0)
	for _, l := range a.owed {
		owed += l.count
	}
	row.Count(a.next-1+owed, owed, 0) // what came again had not been acknowledged
	if len(a.owed) > 0 {
		t.Errorf("%d promised batches never came, the first: %+v", len(a.owed), a.owed[0])
	}
	if a.next < 1000 {
		t.Errorf("only %d frames: the test shows nothing", a.next-1)
	}
	t.Logf("%d kills, %d frames, %d came again after a kill", kills, a.next-1, a.repeats)
}
