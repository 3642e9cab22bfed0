package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// What goes wrong on a simulated line, as probabilities per request.
type trouble struct {
	late, veryLate, lostRequest, lostAnswer, double, noise, flip, split, hangUp float64
	echo                                                                        bool
	longest                                                                     int // timeouts that an answer may be late
	framing                                                                     Framing
}

const simTimeout = 100 * time.Millisecond

// simLine is a line behind a serial device server, in memory and in virtual time:
// answers go to whoever is connected when they come.
type simLine struct {
	trouble
	memo     endpoint.Memo
	turn     chan struct{} // of the endpoint's only connection
	wire     chan []byte
	requests atomic.Int64
	tasks    sync.WaitGroup // units
	carrier  sync.WaitGroup

	mu    sync.Mutex
	conn  *simConn
	units map[uint8]*simUnit
	rng   *rand.Rand
}

// simUnit answers its requests one after the other.
type simUnit struct {
	id       uint8
	strict   bool // refuses reads that are not of two registers
	picky    bool // is silent instead
	wide     bool // its registers up to 2000 have 32 bits
	queue    chan []byte
	executed sync.Map // values written
}

func newSimLine(t trouble, seed uint64, units ...*simUnit) *simLine {
	s := &simLine{trouble: t, turn: make(chan struct{}, 1), wire: make(chan []byte, 4096),
		units: map[uint8]*simUnit{}, rng: rand.New(rand.NewPCG(seed, 1))}
	for _, u := range units {
		u.queue = make(chan []byte, 4096)
		s.units[u.id] = u
		s.tasks.Go(func() { s.serve(u) })
	}
	s.carrier.Go(s.carry)
	return s
}

func (s *simLine) end() {
	for _, u := range s.units {
		close(u.queue)
	}
	s.tasks.Wait()
	close(s.wire)
	s.carrier.Wait()
}

func (s *simLine) chance(p float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64() < p
}

func (s *simLine) between(a, b time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return a + time.Duration(s.rng.Int64N(int64(b-a)+1))
}

func (s *simLine) garbage() []byte {
	b := make([]byte, 1+s.between(0, 11))
	for i := range b {
		b[i] = byte(s.between(0, 255))
	}
	return b
}

// carry brings bytes to the connection, one frame after the other.
func (s *simLine) carry() {
	for b := range s.wire {
		for len(b) > 0 {
			n := len(b)
			if s.chance(s.split) {
				n = int(s.between(1, time.Duration(n)))
			}
			s.mu.Lock()
			c := s.conn
			s.mu.Unlock()
			if c != nil {
				c.deliver(b[:n])
			}
			if b = b[n:]; len(b) > 0 {
				time.Sleep(s.between(0, 20*time.Millisecond))
			}
		}
	}
}

// serve answers what u is asked.
func (s *simLine) serve(u *simUnit) {
	for adu := range u.queue {
		time.Sleep(s.between(time.Millisecond, 20*time.Millisecond))
		switch {
		case s.chance(s.veryLate):
			longest := time.Duration(s.longest)
			if u.strict || u.picky {
				longest = min(longest, quietTurns-1) // there is no other way to find out
			}
			time.Sleep(s.between(simTimeout, longest*simTimeout))
		case s.chance(s.late):
			time.Sleep(s.between(simTimeout/2, 2*simTimeout))
		}
		pdu := s.unpack(adu)
		if u.picky && pdu[0] == byte(FuncReadHolding) && pdu[4] != 2 {
			continue
		}
		answer := s.pack(u.answer(pdu))
		if s.chance(s.lostAnswer) {
			continue
		}
		if s.chance(s.flip) {
			answer[s.between(0, time.Duration(len(answer)-1))] ^= 1 << s.between(0, 7)
		}
		if s.chance(s.noise) {
			answer = append(s.garbage(), answer...)
		}
		if s.chance(s.noise) {
			answer = append(answer, s.garbage()...)
		}
		s.wire <- answer
		for s.chance(s.double) {
			time.Sleep(s.between(0, simTimeout/3))
			s.wire <- answer
		}
	}
}

// simWord is what register addr of a unit holds: which it is, and in the next one
// when; those above 1000 are 0 most of the time, so that answers repeat each other.
func simWord(unit uint8, input bool, addr uint16, now time.Time) uint16 {
	slow := now.Unix() / 7
	switch {
	case addr%2 != 0:
		if addr > 1000 && slow%3 != 0 {
			return 0
		}
		return uint16(now.UnixMilli() / 100)
	case addr > 1000 && slow%3 != 0:
		return 0
	case input:
		return 0x8000 | uint16(unit)<<12 | addr
	}
	return uint16(unit)<<12 | addr
}

// unpack returns the PDU of a request.
func (s *simLine) unpack(adu []byte) []byte {
	switch s.framing {
	case FramingTCP:
		return adu[mbapHeader:]
	case FramingASCII:
		plain := make([]byte, len(adu)/2-1)
		if err := decodeHex(plain, adu[1:len(adu)-2]); err != nil {
			panic(err)
		}
		return plain[1 : len(plain)-1]
	}
	return adu[1 : len(adu)-2]
}

// pack makes an ADU of a unit and a PDU, with a transaction id that says nothing.
func (s *simLine) pack(body []byte) []byte {
	switch s.framing {
	case FramingTCP:
		return append([]byte{0, 0, 0, 0, 0, byte(len(body))}, body...)
	case FramingASCII:
		var sum byte
		for _, c := range body {
			sum -= c
		}
		return fmt.Appendf(nil, ":%X\r\n", append(body, sum))
	}
	return binary.LittleEndian.AppendUint16(body, crc16(body))
}

// unitOf returns the unit that a request is for.
func (s *simLine) unitOf(adu []byte) *simUnit {
	switch s.framing {
	case FramingTCP:
		return s.units[adu[mbapHeader-1]]
	case FramingASCII:
		return s.units[adu[2]-'0'] // below 10
	}
	return s.units[adu[0]]
}

func (u *simUnit) answer(pdu []byte) []byte {
	f, addr, qty := pdu[0], binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	body := []byte{u.id, f}
	switch {
	case f == byte(FuncWriteRegister):
		u.executed.Store(qty, true)
		body = append(body, pdu[1:]...)
	case f == byte(FuncWriteRegisters):
		u.executed.Store(binary.BigEndian.Uint16(pdu[8:]), true)
		body = append(body, pdu[1:5]...)
	case f == byte(FuncReadCoils):
		n := ((int(qty)+7)/8 + 1) &^ 1
		v := uint32(simWord(u.id, false, addr, time.Now()))<<16 | uint32(simWord(u.id, false, 1, time.Now()))
		bits := append(binary.LittleEndian.AppendUint32(nil, v), make([]byte, n)...)
		body = append(append(body, byte(n)), bits[:n]...)
	case u.wide && addr < 2000:
		body = append(body, byte(4*qty))
		for i := range qty {
			body = binary.BigEndian.AppendUint16(body, simWord(u.id, false, (addr+i)&^1, time.Now()))
			body = binary.BigEndian.AppendUint16(body, simWord(u.id, false, (addr+i)|1, time.Now()))
		}
	case u.strict && qty != 2:
		body[1] |= 0x80
		body = append(body, byte(IllegalDataAddress))
	default:
		body = append(body, byte(2*qty))
		for i := range qty {
			body = binary.BigEndian.AppendUint16(body, simWord(u.id, f == byte(FuncReadInput), addr+i, time.Now()))
		}
	}
	return body
}

// Acquire implements endpoint.Acquirer.
func (s *simLine) Acquire(ctx context.Context) (endpoint.Lease, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		s.conn = &simConn{line: s, changed: make(chan struct{})}
	}
	return s.conn, nil
}

// simConn is a connection to the line.
type simConn struct {
	net.Conn // for the methods that nobody calls
	line     *simLine

	mu       sync.Mutex
	buf      []byte
	closed   bool
	deadline time.Time
	changed  chan struct{}
}

func (c *simConn) Memo() *endpoint.Memo { return &c.line.memo }

func (c *simConn) Release(err error) {
	if err != nil {
		_ = c.Close() // it never fails
	}
	<-c.line.turn
}

func (c *simConn) Close() error {
	c.line.mu.Lock()
	if c.line.conn == c {
		c.line.conn = nil
	}
	c.line.mu.Unlock()
	c.change(func() { c.closed = true })
	return nil
}

func (c *simConn) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *simConn) SetDeadline(t time.Time) error {
	c.change(func() { c.deadline = t })
	return nil
}

func (c *simConn) deliver(b []byte) { c.change(func() { c.buf = append(c.buf, b...) }) }

func (c *simConn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		n := copy(p, c.buf)
		c.buf = c.buf[n:]
		deadline, changed, closed := c.deadline, c.changed, c.closed
		c.mu.Unlock()
		wait := time.Until(deadline)
		switch {
		case n > 0:
			return n, nil
		case closed:
			return 0, io.EOF
		case wait <= 0:
			return 0, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Write takes one request.
func (c *simConn) Write(p []byte) (int, error) {
	s := c.line
	s.requests.Add(1)
	if s.echo {
		s.wire <- append([]byte(nil), p...)
	}
	if s.chance(s.hangUp) {
		_ = c.Close() // it never fails
	}
	if u := s.unitOf(p); u != nil && !s.chance(s.lostRequest) {
		u.queue <- append([]byte(nil), p...)
	}
	return len(p), nil
}

// oracle knows which register each value came from.
type oracle struct {
	t     *testing.T
	unit  uint8
	seed  uint64
	wrong *atomic.Int64
	good  *atomic.Int64
	bad   *atomic.Int64
	seen  sync.Map // tags that were good
	addr  map[string]uint16
	slack time.Duration // that a value may lag
}

// Publish implements driver.Publisher.
func (o *oracle) Publish(_ context.Context, b *frame.Batch) error {
	for i := range b.Frames {
		f, tag := &b.Frames[i], b.Tag(i).Name
		if f.Quality != frame.Good {
			o.bad.Add(1)
			continue
		}
		v := uint32(f.Value.Uint())
		word, input := uint16(v>>16), tag[0] == 'i'
		mine := simWord(o.unit, input, o.addr[tag], time.Unix(0, 0)) // slow is 0 then: its name
		stamp := time.Duration(uint16(f.TS/1e8)-uint16(v)) * 100 * time.Millisecond
		switch {
		case word == mine && stamp <= o.slack, v == 0 && o.addr[tag] > 1000:
			o.good.Add(1)
			o.seen.Store(tag, true)
		default:
			if o.wrong.Add(1) < 20 {
				o.t.Errorf("seed %d: unit %d, %s at %d: %08X, which is not its own, or %v old", o.seed, o.unit, tag, o.addr[tag], v, stamp)
			}
		}
	}
	return nil
}

// simDriver makes a driver of unit with points at addrs.
func simDriver(t *testing.T, s *simLine, o *oracle, addrs map[string]uint16) *modbusDriver {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	cfg := map[string]any{
		"unit_id": o.unit, "polling": "1s", "timeout": simTimeout.String(), "framing": string(s.framing), "backoff_max": "2s",
		"enable_write": true, "verify_write": false, "retry": 2, "bit_bytes": "even",
	}
	wide := s.units[o.unit] != nil && s.units[o.unit].wide
	if wide {
		cfg["wide_registers"] = []any{map[string]any{"type": "holding", "start": int64(0), "len": int64(2000)}}
	}
	if s.framing == FramingTCP {
		cfg["accept_transaction"] = "any"
	}
	set, err := ParseSettings(cfg, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver("d", set, driver.Deps{Endpoint: s, Out: o, Log: slog.New(slog.DiscardHandler)}, m)
	vars := []config.Variable{{Tag: "w", DriverID: "d", Access: config.AccessW, Datatype: config.TypeUint16,
		Address: config.Address{Type: config.AddrHolding, Addr: 4000}}}
	if wide {
		vars[0].Datatype, vars[0].Address.Addr = config.TypeUint32, 400
	}
	for tag, addr := range addrs {
		v := config.Variable{Tag: tag, DriverID: "d", Access: config.AccessR, Datatype: config.TypeUint32,
			Address: config.Address{Type: config.AddrHolding, Addr: uint32(addr)}}
		switch tag[0] {
		case 'i':
			v.Address.Type = config.AddrInput
		case 'o': // 40 bits, of which the last 8 are 0
			v.Address.Type, v.Address.Len, v.Datatype = config.AddrCoil, 40, config.TypeUint64
		}
		vars = append(vars, v)
	}
	o.addr = addrs
	table, err := point.Compile("d", vars, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(table); err != nil {
		t.Fatal(err)
	}
	return d
}

// simulate runs drivers of four units on one line until so many requests were sent.
// It returns how many values were good, and how many might have been.
func simulate(t *testing.T, what trouble, seed uint64, requests int64) (good, wrong, bad int64) {
	t.Helper()
	var g, w, b atomic.Int64
	plans := map[uint8]map[string]uint16{
		1: {"a": 100, "b": 200, "c": 300, "z1": 1002, "z2": 1102, "z3": 1202}, // all alike
		2: {"a": 100, "b": 102, "c": 104, "d": 200, "i1": 100, "i2": 104},
		3: {"a": 100},           // refuses every other length
		4: {"a": 100, "b": 300}, // not there
		5: {"a": 100},           // silent for every other length
		6: {"a": 100, "b": 300, "o1": 200, "o2": 250, "z1": 1002, "z2": 1102},
	}
	synctest.Test(t, func(t *testing.T) {
		units := []*simUnit{{id: 1}, {id: 2}, {id: 3, strict: true}, {id: 5, picky: true}, {id: 6, wide: true}}
		s := newSimLine(what, seed, units...)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		var oracles []*oracle
		for unit, addrs := range plans {
			o := &oracle{t: t, unit: unit, seed: seed, wrong: &w, good: &g, bad: &b, slack: time.Duration(what.longest+5)*simTimeout + 2*time.Second}
			oracles = append(oracles, o)
			running.Go(func() {
				for ctx.Err() == nil { // drivers come and go
					life, end := context.WithTimeout(ctx, s.between(20*time.Second, 2*time.Minute))
					var busy sync.WaitGroup
					d := simDriver(t, s, o, addrs)
					if unit < 3 || unit == 6 {
						busy.Go(func() { simWrites(life, t, d, s.units[unit]) })
					}
					if err := d.Run(life); err != nil {
						t.Error(err)
					}
					end()
					busy.Wait()
				}
			})
		}
		for s.requests.Load() < requests {
			time.Sleep(10 * time.Second)
		}
		cancel()
		running.Wait()
		s.end()
		for _, o := range oracles {
			for tag := range o.addr {
				if _, ok := o.seen.Load(tag); !ok && o.unit != 4 {
					t.Errorf("%s of unit %d was never read", tag, o.unit)
				}
			}
		}
	})
	return g.Load(), w.Load(), b.Load()
}

// simWrites writes now and then. What is said to be written must be.
func simWrites(ctx context.Context, t *testing.T, d *modbusDriver, u *simUnit) {
	for n := int64(1); ctx.Err() == nil; n++ {
		sleep(ctx, 5*time.Second)
		value := uint16(n)
		u.executed.Delete(value)
		_, err := d.Write(ctx, driver.Write{Tag: "w", Value: frame.IntValue(int64(value))})
		if _, done := u.executed.Load(value); err == nil && !done {
			t.Errorf("unit %d: %d was said to be written and was not", u.id, value)
		}
	}
}

// TestLineKeepsItsAccounts: whatever a line does, late answers, lost ones, doubled
// ones, noise, hang-ups: no value is published under another register's name, and
// on a line that is mostly healthy most values come. EDGE_EXCHANGES makes it long.
func TestLineKeepsItsAccounts(t *testing.T) {
	healthy := trouble{late: 0.01, veryLate: 0.002, lostRequest: 0.005, lostAnswer: 0.005, double: 0.005, noise: 0.01, flip: 0.005, split: 0.1,
		hangUp: 0.001, longest: 12, framing: FramingRTU}
	rough := trouble{late: 0.1, veryLate: 0.05, lostRequest: 0.05, lostAnswer: 0.05, double: 0.1, noise: 0.1, flip: 0.05, split: 0.3,
		hangUp: 0.02, longest: 12, framing: FramingRTU}
	echoing, doubling, slow, ascii, anyTransaction := healthy, healthy, healthy, rough, rough
	ascii.framing, anyTransaction.framing = FramingASCII, FramingTCP
	anyTransaction.noise, anyTransaction.flip = 0, 0 // TCP has checksums of its own
	echoing.echo, doubling.double, slow.veryLate, slow.longest = true, 0.5, 0.05, 50
	total := int64(42_000)
	if text := os.Getenv("EDGE_EXCHANGES"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	row := faults.Open(t, "plc-lying")
	first := row.Random(t).Uint64()
	for i, c := range []struct {
		name  string
		what  trouble
		share float64 // of the values that must be good
	}{{"healthy", healthy, 0.9}, {"rough", rough, 0.2}, {"echoing", echoing, 0.9}, {"doubling", doubling, 0.8},
		{"slow", slow, 0.3}, {"ascii", ascii, 0.2}, {"any transaction", anyTransaction, 0.2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seed := first + uint64(i)
			good, wrong, bad := simulate(t, c.what, seed, total/7)
			row.Fault(int(bad))
			row.Count(uint64(good), uint64(wrong), 0) // a wrong value is worse than a lost one
			t.Logf("%s: %d exchanges, %d values good, %d bad, %d WRONG (seed %d)", c.name, total/7, good, bad, wrong, seed)
			if share := float64(good) / float64(good+bad); share < c.share {
				t.Errorf("only %.0f%% of the values are good", 100*share)
			}
			if good == 0 {
				t.Error("no values")
			}
		})
	}
}

// TestRestartWhileOwed: a process that begins anew knows nothing of what the one
// before it has asked, and that is still to be answered.
func TestRestartWhileOwed(t *testing.T) {
	t.Parallel()
	// What is later nobody can tell, of a unit that seems to answer no question.
	what := trouble{veryLate: 0.2, longest: quietTurns - 1, framing: FramingRTU}
	runs := 150
	if os.Getenv("EDGE_EXCHANGES") != "" {
		runs = 5000
	}
	var g, w, b atomic.Int64
	defer func() { t.Logf("%d starts, %d values good, %d bad, %d WRONG", runs, g.Load(), b.Load(), w.Load()) }()
	synctest.Test(t, func(t *testing.T) {
		s := newSimLine(what, uint64(time.Now().UnixNano()), &simUnit{id: 2})
		for range runs {
			s.memo = endpoint.Memo{}
			o := &oracle{t: t, unit: 2, wrong: &w, good: &g, bad: &b, slack: 5 * time.Second}
			life, end := context.WithTimeout(t.Context(), s.between(time.Second, 6*time.Second))
			if err := simDriver(t, s, o, map[string]uint16{"a": 100, "b": 200, "c": 300, "d": 400}).Run(life); err != nil {
				t.Error(err)
			}
			end()
		}
		s.end()
	})
	if g.Load() < int64(runs) {
		t.Errorf("only %d good values", g.Load())
	}
}
