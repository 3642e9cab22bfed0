package e2e

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// rudeLine stands between the gateway and a PLC. While it is rude, plan says for each of
// the PLC's answers how late it comes, and whether the line is cut instead.
type rudeLine struct {
	addr   string
	target string
	listen net.Listener
	wg     sync.WaitGroup
	rude   atomic.Bool

	mu    sync.Mutex // of plan, which draws lots, and of conns
	plan  func() (late time.Duration, cut bool)
	conns map[net.Conn]bool
	over  bool
}

func newRudeLine(t *testing.T, target string, plan func() (time.Duration, bool)) *rudeLine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &rudeLine{addr: l.Addr().String(), target: target, listen: l, plan: plan, conns: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		r.mu.Lock()
		r.over = true
		for c := range r.conns {
			_ = c.Close() // ends its reader
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *rudeLine) accept() {
	for {
		gw, err := r.listen.Accept()
		if err != nil {
			return
		}
		plc, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = gw.Close() // as the PLC would refuse
			continue
		}
		r.mu.Lock()
		if r.over {
			r.mu.Unlock()
			_, _ = gw.Close(), plc.Close() // the test is over
			return
		}
		r.conns[gw], r.conns[plc] = true, true
		r.mu.Unlock()
		r.wg.Go(func() { r.forward(plc, gw) })
		r.wg.Go(func() { r.answer(plc, gw) })
	}
}

// forward hands on what the gateway asks.
func (r *rudeLine) forward(plc, gw net.Conn) {
	_, _ = io.Copy(plc, gw) // either end ends both
	_, _ = gw.Close(), plc.Close()
}

// answer hands on what the PLC answers, as the plan says.
func (r *rudeLine) answer(plc, gw net.Conn) {
	defer func() { _, _ = gw.Close(), plc.Close() }() // either end ends both
	buf := make([]byte, 4096)
	for {
		n, err := plc.Read(buf)
		if err != nil {
			return
		}
		if r.rude.Load() {
			r.mu.Lock()
			late, cut := r.plan()
			r.mu.Unlock()
			if cut {
				return
			}
			time.Sleep(late) // is what this line does
		}
		if _, err := gw.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestRudePLC has a PLC that answers later than its cycle, now and then later than its
// timeout, and one that hangs up again and again. What arrives as good is what was read
// from it, value by value, in order; afterwards every poll arrives again.
func TestRudePLC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scenario string
		plan     func(*rand.Rand) (time.Duration, bool)
	}{
		{"plc-slow", func(r *rand.Rand) (time.Duration, bool) { return time.Duration(r.IntN(400)) * time.Millisecond, false }},
		{"plc-flapping", func(r *rand.Rand) (time.Duration, bool) { return 0, r.IntN(4) == 0 }},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			row := faults.Open(t, c.scenario)
			random := row.Random(t)
			plc := peer.StartPLC(t, "")
			line := newRudeLine(t, plc.Addr, func() (time.Duration, bool) {
				late, cut := c.plan(random)
				if cut || late > 50*time.Millisecond {
					row.Fault(1)
				}
				return late, cut
			})
			broker := peer.StartMosquitto(t)
			sub := peer.Subscribe(t, broker.Addr, c.scenario, topic)
			tables := tables(line.addr, 10, "50ms")
			tables["endpoints.yml"] = strings.Replace(tables["endpoints.yml"], "timeout: 1s", "timeout: 300ms, backoff: 50ms, backoff_max: 200ms", 1)
			gw := peer.NewGateway(t, connector(broker.URL(), ""), tables)
			gw.Start(t)
			gw.WaitReady(t)
			peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Count() > 100 })
			line.rude.Store(true)
			time.Sleep(time.Duration(often(3, 60)) * time.Second) // the fault
			line.rude.Store(false)
			back, last := time.Now(), sub.LastSeq()
			peer.WaitFor(t, 30*time.Second, "good frames again", func() bool { return goodAfter(sub, last) >= 100 })
			row.Recovered(time.Since(back))
			ends(t, row, gw, sub)
			servedInOrder(t, plc, sub)
		})
	}
}

// goodAfter counts the good frames behind a seq.
func goodAfter(sub *peer.Subscriber, last uint64) (n int) {
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if f.Quality == "good" && f.Seq > last {
				n++
			}
		}
	}
	return n
}

// servedInOrder holds each good value that arrived to what the PLC served: it is among it,
// behind the one before.
func servedInOrder(t *testing.T, plc *peer.PLC, sub *peer.Subscriber) {
	t.Helper()
	good := map[string][]float64{}
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			if v, ok := f.Value.(float64); ok && f.Quality == "good" && !strings.HasPrefix(f.Tag, "sys.") {
				good[f.Tag] = append(good[f.Tag], v)
			}
		}
	}
	for i := range 10 {
		served, at := plc.Served(uint16(i)), 0
		for _, v := range good[tag(i)] {
			for at < len(served) && float64(served[at])/10 != v {
				at++
			}
			if at++; at > len(served) {
				t.Fatalf("%s: %v arrived as good, and the PLC did not serve it behind the value before", tag(i), v)
			}
		}
		if len(good[tag(i)]) < 10 {
			t.Errorf("%s: %d good values", tag(i), len(good[tag(i)]))
		}
	}
}
