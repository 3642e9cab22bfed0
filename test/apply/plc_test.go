package apply

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// plc is a Modbus/TCP device, written against the protocol rather than with a
// library, so that fifty of them cost little. It notes when its first register is
// read, which is once a poll.
type plc struct {
	addr string
	// base tells devices apart: register r holds base + r. 0: every register
	// holds the number of polls so far.
	base  uint16
	delay atomic.Int64 // before an answer, in nanoseconds

	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	most   int // connections at a time
	count  uint16
	polls  []time.Time
	opened int
}

// startPLC starts a device on a free port; it ends with the test.
func startPLC(t testing.TB, base uint16) *plc {
	t.Helper()
	p, err := newPLC(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func newPLC(base uint16) (*plc, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &plc{addr: l.Addr().String(), base: base, listener: l, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// stop closes the listener and all connections.
func (p *plc) stop() {
	_ = p.listener.Close() // a second time is no harm
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close() // its reader ends
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *plc) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns[c] = true
		p.opened++
		p.most = max(p.most, len(p.conns))
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(c) })
	}
}

// serve answers function code 3 (Modbus Messaging on TCP/IP, 3.1.3).
func (p *plc) serve(c net.Conn) {
	defer func() {
		_ = c.Close() // the peer has gone, or is to go
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	req := make([]byte, 12)
	for {
		if _, err := io.ReadFull(c, req); err != nil {
			return
		}
		if d := time.Duration(p.delay.Load()); d > 0 {
			time.Sleep(d) // a slow device
		}
		first, n := binary.BigEndian.Uint16(req[8:]), binary.BigEndian.Uint16(req[10:])
		answer := append([]byte(nil), req[:8]...)
		binary.BigEndian.PutUint16(answer[4:], 3+2*n)
		answer = append(answer, byte(2*n))
		for _, v := range p.read(first, n) {
			answer = binary.BigEndian.AppendUint16(answer, v)
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func (p *plc) read(first, n uint16) []uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first == 0 {
		p.count++
		p.polls = append(p.polls, time.Now())
	}
	out := make([]uint16, n)
	for i := range out {
		out[i] = p.count
		if p.base > 0 {
			out[i] = p.base + first + uint16(i)
		}
	}
	return out
}

// taken returns when the polls were since the last taken.
func (p *plc) taken() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	polls := p.polls
	p.polls = nil
	return polls
}

// connections returns how many there are, how many there were at most at a time,
// and how many there ever were.
func (p *plc) connections() (now, most, opened int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns), p.most, p.opened
}

// punctuality is how a device's polls lay on their grid.
type punctuality struct {
	polls  int // that were due
	missed int // of them, not made
	doubly int // made though none was due
	late   int // made, but not within a tenth of the interval
	worst  time.Duration
}

func (p *punctuality) add(o punctuality) {
	p.polls += o.polls
	p.missed += o.missed
	p.doubly += o.doubly
	p.late += o.late
	p.worst = max(p.worst, o.worst)
}

// onTime is the share of the polls that were made in time, in percent.
func (p *punctuality) onTime() float64 {
	return 100 * float64(p.polls-p.late-p.missed) / float64(p.polls)
}

// grid holds polls against the grid that the earliest of them lies on: a driver
// asks at whole intervals and never before its time.
func grid(polls []time.Time, interval time.Duration) (punctuality, error) {
	if len(polls) < 2 {
		return punctuality{}, errors.New("it was not polled")
	}
	origin := polls[0]
	offset := func(t time.Time) time.Duration { return t.Sub(origin) % interval }
	// The phase is where the lateness of all is smallest: the offset that is
	// preceded by the largest empty stretch of the interval.
	earliest := time.Duration(0)
	for _, t := range polls {
		if d := offset(t); d > interval/2 {
			earliest = min(earliest, d-interval) // before the first one's place
		}
	}
	origin = origin.Add(earliest)
	var p punctuality
	last := -1
	for _, t := range polls {
		n := int(t.Sub(origin) / interval)
		late := t.Sub(origin) - time.Duration(n)*interval
		switch {
		case n == last:
			p.doubly++
			continue
		case n > last+1:
			p.missed += n - last - 1
		}
		if late > interval/10 {
			p.late++
		}
		p.worst, last = max(p.worst, late), n
	}
	p.polls = last + 1
	// A poll that comes more than half an interval late, as on a machine with other work,
	// is neither missing nor one too many: it stands in the place of the next.
	late := min(p.missed, p.doubly)
	p.missed, p.doubly, p.late = p.missed-late, p.doubly-late, p.late+late
	return p, nil
}
