// Package s7test helps to test the S7 driver: a PLC that answers right, or wrong at
// will.
package s7test

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// PLC is a PLC in memory. Its functions may be called from any goroutine.
type PLC struct {
	t    testing.TB
	addr string
	wg   sync.WaitGroup

	mu     sync.Mutex
	l      net.Listener
	conns  map[net.Conn]bool // false: it is silent there
	blocks map[Block][]byte
	pdu    int
	jobs   int
	tsap   uint16 // the only one that it takes; 0: any
	silent bool
	made   int
	reads  [][]Item // of each request to read
	writes int
	item   func(Item) byte                        // the code of an item; 0: as it is
	whole  func(function byte) (class, code byte) // refuses a request; nil: none
	rude   func(answer []byte) [][]byte           // what is sent instead of an answer; nil: the answer
	tell   Tell
}

// Tell answers a question about the PLC itself: with data, of which more is to be asked for
// if it says so, or with an error. part counts from 0.
type Tell func(group, function byte, question []byte, part int) (data []byte, more bool, err uint16)

// Block names memory: an area by its number in the protocol, of 0x84 a data block.
type Block struct {
	Area byte
	DB   uint16
}

// Item is a range that was asked for. Of counters and timers Start is the first's
// number; Bytes is always of bytes.
type Item struct {
	Block
	Start int
	Bytes int
	Bit   int // -1: none
}

// New starts a PLC until the test ends. It takes PDUs of 480 bytes and 4 jobs.
func New(t testing.TB) *PLC {
	t.Helper()
	p := &PLC{t: t, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}, blocks: map[Block][]byte{}, pdu: 480, jobs: 4}
	p.Start()
	t.Cleanup(func() { p.Stop(); p.wg.Wait() })
	return p
}

// Addr is where it listens.
func (p *PLC) Addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// Start lets it be reached.
func (p *PLC) Start() {
	l, err := net.Listen("tcp", p.Addr())
	if err != nil {
		p.t.Error(err)
		return
	}
	p.mu.Lock()
	p.l, p.addr = l, l.Addr().String()
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // stopped
			}
			p.mu.Lock()
			p.conns[c] = true
			p.made++
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(c) })
		}
	})
}

// Stop breaks all connections and refuses others.
func (p *PLC) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.l.Close() // it may be stopped already
	p.cut()
}

// cut breaks all connections. p.mu is held.
func (p *PLC) cut() {
	for c := range p.conns {
		_ = c.Close() // the driver may have closed it
	}
	clear(p.conns)
}

// Load makes a block of memory of n bytes, 0 to remove it.
func (p *PLC) Load(area byte, db uint16, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blocks[Block{area, db}] = make([]byte, n); n == 0 {
		delete(p.blocks, Block{area, db})
	}
}

// Set changes memory.
func (p *PLC) Set(area byte, db uint16, at int, data ...byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	copy(p.blocks[Block{area, db}][at:], data)
}

// Get returns memory.
func (p *PLC) Get(area byte, db uint16, at, n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]byte(nil), p.blocks[Block{area, db}][at:at+n]...)
}

// Undo zeroes a block, as the PLC's program may after a write. It is for the functions
// given to Rude.
func (p *PLC) Undo(area byte, db uint16) { clear(p.blocks[Block{area, db}]) }

// Forget makes it silent on the connections that there are.
func (p *PLC) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.conns[c] = false
	}
}

// Agree sets what it agrees to when it is connected.
func (p *PLC) Agree(pdu, jobs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pdu, p.jobs = pdu, jobs
}

// Take sets the only TSAP that it takes connections for; it hangs up on others. 0: any.
func (p *PLC) Take(tsap uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tsap = tsap
}

// Hang makes it silent.
func (p *PLC) Hang(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
}

// Refuse sets what it refuses: items, and whole requests. nil: nothing.
func (p *PLC) Refuse(item func(Item) byte, whole func(function byte) (class, code byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.item, p.whole = item, whole
}

// Rude sets what it sends instead of answers to reads and writes: each part in a write
// of its own. nil: answers.
func (p *PLC) Rude(f func(answer []byte) [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rude = f
}

// Tells sets what it tells of itself. nil: nothing.
func (p *PLC) Tells(f Tell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell = f
}

// about answers a question about the PLC itself. The sequence number is the part's.
func (p *PLC) about(pdu []byte) []byte {
	n := int(binary.BigEndian.Uint16(pdu[6:]))
	params, question := pdu[10:10+n], pdu[10+n+4:]
	part := 0
	if params[4] == 0x12 { // it asks for more
		part = int(params[7])
	}
	data, more, code := []byte(nil), false, uint16(0xD402)
	if p.tell != nil {
		data, more, code = p.tell(params[5]&0x0F, params[6], question, part)
	}
	head := []byte{0xFF, 9, byte(len(data) >> 8), byte(len(data))}
	if code != 0 {
		head = []byte{0x0A, 0, 0, 0}
	}
	last := byte(0)
	if more {
		last = 1
	}
	data = append(head, data...)
	total := 7 + 10 + 12 + len(data)
	out := []byte{3, 0, byte(total >> 8), byte(total), 2, 0xF0, 0x80, 0x32, 7, 0, 0, pdu[4], pdu[5], 0, 12, byte(len(data) >> 8), byte(len(data)),
		0, 1, 0x12, 8, 0x12, params[5]&0x0F | 0x80, params[6], byte(part + 1), 0, last, byte(code >> 8), byte(code)}
	return append(out, data...)
}

// Conns returns how many connections were made.
func (p *PLC) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// Reads returns what was asked for since the last call, request by request.
func (p *PLC) Reads() [][]Item {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.reads
	p.reads = nil
	return r
}

// Writes returns how many writes came.
func (p *PLC) Writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// serve answers on one connection.
func (p *PLC) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // the driver may have closed it
	head := make([]byte, 4)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, int(binary.BigEndian.Uint16(head[2:]))-4)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		p.mu.Lock()
		var parts [][]byte
		if p.conns[c] {
			parts = p.answer(body)
		}
		silent := p.silent || !p.conns[c]
		p.mu.Unlock()
		if silent {
			continue
		}
		for _, part := range parts {
			if part == nil { // the connection ends
				return
			}
			if _, err := c.Write(part); err != nil {
				return
			}
		}
	}
}

// answer returns what is sent. The lock is held.
func (p *PLC) answer(body []byte) [][]byte {
	if body[1] == 0xE0 { // connect
		if p.tsap != 0 && binary.BigEndian.Uint16(body[len(body)-2:]) != p.tsap {
			return [][]byte{nil}
		}
		confirm := append([]byte{3, 0, 0, byte(len(body) + 4)}, body...)
		confirm[5] = 0xD0
		confirm[6], confirm[7] = body[4], body[5] // to the reference that asked
		confirm[8], confirm[9] = 0, 7
		return [][]byte{confirm}
	}
	pdu := body[3:]
	if pdu[1] == 7 {
		return [][]byte{p.about(pdu)}
	}
	ref, n := pdu[4:6], int(binary.BigEndian.Uint16(pdu[6:]))
	params, data := pdu[10:10+n], pdu[10+n:]
	if params[0] == 0xF0 {
		return [][]byte{Answer(ref, 0, 0, []byte{0xF0, 0, 0, byte(p.jobs), 0, byte(p.jobs), byte(p.pdu >> 8), byte(p.pdu)}, nil)}
	}
	var class, code byte
	if p.whole != nil {
		class, code = p.whole(params[0])
	}
	var out []byte
	switch {
	case class|code != 0:
		out = Answer(ref, class, code, nil, nil)
	case params[0] == 4:
		out = Answer(ref, 0, 0, params[:2], p.read(params))
	default:
		p.writes++
		out = Answer(ref, 0, 0, params[:2], []byte{p.write(params, data)})
	}
	if p.rude != nil {
		return p.rude(out)
	}
	return [][]byte{out}
}

// Answer returns a whole packet with an answer.
func Answer(ref []byte, class, code byte, params, data []byte) []byte {
	n := 7 + 12 + len(params) + len(data)
	b := []byte{3, 0, byte(n >> 8), byte(n), 2, 0xF0, 0x80, 0x32, 3, 0, 0, ref[0], ref[1],
		byte(len(params) >> 8), byte(len(params)), byte(len(data) >> 8), byte(len(data)), class, code}
	return append(append(b, params...), data...)
}

// parse reads an item of a request.
func parse(b []byte) Item {
	it := Item{Block: Block{b[8], binary.BigEndian.Uint16(b[6:])}, Bit: -1}
	addr, n := int(b[9])<<16|int(b[10])<<8|int(b[11]), int(binary.BigEndian.Uint16(b[4:]))
	switch b[3] {
	case 0x1C, 0x1D:
		it.Start, it.Bytes = addr, 2*n
	case 1:
		it.Start, it.Bytes, it.Bit = addr/8, 1, addr%8
	default:
		it.Start, it.Bytes = addr/8, n
	}
	return it
}

// memory returns what an item is of, or the code with which it is refused.
func (p *PLC) memory(it Item) ([]byte, byte) {
	if p.item != nil {
		if code := p.item(it); code != 0 {
			return nil, code
		}
	}
	block, ok := p.blocks[it.Block]
	start := it.Start
	if it.Area == 0x1C || it.Area == 0x1D {
		start *= 2
	}
	switch {
	case !ok:
		return nil, 0x0A
	case start+it.Bytes > len(block):
		return nil, 0x05
	}
	return block[start : start+it.Bytes], 0xFF
}

func (p *PLC) read(params []byte) []byte {
	var out []byte
	var asked []Item
	for i := range int(params[1]) {
		it := parse(params[2+12*i:])
		asked = append(asked, it)
		mem, code := p.memory(it)
		if len(out)%2 != 0 {
			out = append(out, 0)
		}
		if code != 0xFF {
			out = append(out, code, 0, 0, 0)
			continue
		}
		typ, n := byte(4), 8*len(mem)
		if it.Area == 0x1C || it.Area == 0x1D {
			typ, n = 9, len(mem)
		}
		out = append(append(out, 0xFF, typ, byte(n>>8), byte(n)), mem...)
	}
	p.reads = append(p.reads, asked)
	return out
}

func (p *PLC) write(params, data []byte) byte {
	it := parse(params[2:])
	mem, code := p.memory(it)
	if code != 0xFF {
		return code
	}
	if it.Bit >= 0 {
		mem[0] = mem[0]&^(1<<it.Bit) | (data[4]&1)<<it.Bit
		return code
	}
	copy(mem, data[4:])
	return code
}

// Split sends an answer byte by byte.
func Split(answer []byte) (parts [][]byte) {
	for i := range answer {
		parts = append(parts, answer[i:i+1])
	}
	return parts
}

// Segments sends the PDU of an answer in TPDUs of at most n bytes.
func Segments(answer []byte, n int) (parts [][]byte) {
	for pdu := answer[7:]; len(pdu) > 0; {
		k := min(n, len(pdu))
		last := byte(0)
		if k == len(pdu) {
			last = 0x80
		}
		parts = append(parts, append([]byte{3, 0, byte((k + 7) >> 8), byte(k + 7), 2, 0xF0, last}, pdu[:k]...))
		pdu = pdu[k:]
	}
	return parts
}
