package s7

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	simPDU   = 480
	simJobs  = 8
	simConns = 32
	simIdle  = 10 * time.Minute
)

// simPLC is a PLC in software, whose only memory is DB 1. It is strict: what is no request
// of the protocol costs the connection, and what it can't do is refused.
type simPLC struct {
	l     net.Listener
	slow  time.Duration // every answer comes so much later
	known int           // bytes of the memory that are not refused

	mu    sync.Mutex
	db    []byte
	conns map[net.Conn]bool
}

func newSimPLC(l net.Listener, size int) *simPLC {
	return &simPLC{l: l, known: size, db: make([]byte, size), conns: map[net.Conn]bool{}}
}

// run serves until ctx ends, while move changes the memory.
func (p *simPLC) run(ctx context.Context, move func(db []byte, t time.Duration)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		tick, began := time.NewTicker(simStep), time.Now()
		defer tick.Stop()
		for ctx.Err() == nil {
			p.mu.Lock()
			move(p.db, time.Since(began))
			p.mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	var err error
	for {
		var c net.Conn
		if c, err = p.l.Accept(); err != nil {
			break
		}
		if !p.add(c) {
			_ = c.Close() // as a PLC does that has no connection left
			continue
		}
		wg.Go(func() { p.serve(ctx, c) })
	}
	ended := ctx.Err() != nil || errors.Is(err, net.ErrClosed)
	cancel()
	p.close()
	wg.Wait()
	if ended {
		return nil
	}
	return fmt.Errorf("simulated PLC: %w", err)
}

func (p *simPLC) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) >= simConns {
		return false
	}
	p.conns[c] = true
	return true
}

// close ends the listener and all connections.
func (p *simPLC) close() {
	_ = p.l.Close() // it may be closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // as above
	}
}

// serve answers on one connection until it ends, or something comes that is no request.
func (p *simPLC) serve(ctx context.Context, c net.Conn) {
	defer func() {
		_ = c.Close() // as above
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	buf, n, connected := make([]byte, mostPacket), 0, false
	for {
		size, err := scanPacket(buf[:n])
		if err != nil {
			return
		}
		if size == 0 {
			if c.SetDeadline(time.Now().Add(simIdle)) != nil {
				return
			}
			got, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			n += got
			continue
		}
		answer := p.answer(buf[:size], &connected)
		if answer == nil || !p.wait(ctx) {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
		n = copy(buf, buf[size:n])
	}
}

// wait is the time before an answer. It returns false if ctx ends meanwhile.
func (p *simPLC) wait(ctx context.Context) bool {
	if p.slow == 0 {
		return true
	}
	timer := time.NewTimer(p.slow)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answer returns the answer to a packet, nil if it is no request.
func (p *simPLC) answer(packet []byte, connected *bool) []byte {
	t, err := parseTPDU(packet)
	switch {
	case err != nil:
		return nil
	case t.code == tpduConnect && !*connected && len(t.head) >= 5:
		*connected = true
		return []byte{3, 0, 0, 11, 6, tpduConfirm, t.head[2], t.head[3], 0, 7, 0}
	case t.code != tpduData || !t.last || !*connected:
		return nil
	}
	pdu := t.data
	if len(pdu) < jobHead || pdu[0] != pduProtocol || len(pdu) > simPDU {
		return nil
	}
	params, data := int(binary.BigEndian.Uint16(pdu[6:])), int(binary.BigEndian.Uint16(pdu[8:]))
	if jobHead+params+data != len(pdu) || params == 0 {
		return nil
	}
	ask, body := pdu[jobHead:jobHead+params], pdu[jobHead+params:]
	switch {
	case pdu[1] == pduUserData && params >= 8:
		return untold(pdu, ask)
	case pdu[1] != pduJob:
		return nil
	case ask[0] == fnSetup && params == 8:
		size, jobs := binary.BigEndian.Uint16(ask[6:]), binary.BigEndian.Uint16(ask[2:])
		return jobAnswer(pdu, 0, setupParams(int(min(size, simPDU)), int(max(1, min(jobs, simJobs)))), nil)
	case ask[0] == fnRead && params >= 2:
		return p.read(pdu, ask)
	case ask[0] == fnWrite && params >= 2:
		return p.write(pdu, ask, body)
	}
	return jobAnswer(pdu, 0x8104, nil, nil)
}

// jobAnswer is a whole packet with the answer to a job.
func jobAnswer(pdu []byte, code uint16, params, data []byte) []byte {
	n := wireHead + ackHead + len(params) + len(data)
	b := []byte{3, 0, byte(n >> 8), byte(n), dataHead - 1, tpduData, endOfMessage, pduProtocol, pduAckData, 0, 0, pdu[4], pdu[5],
		byte(len(params) >> 8), byte(len(params)), byte(len(data) >> 8), byte(len(data)), byte(code >> 8), byte(code)}
	return append(append(b, params...), data...)
}

// untold answers a question about the PLC itself: it does not tell.
func untold(pdu, ask []byte) []byte {
	return appendMessage(nil, pduUserData, binary.BigEndian.Uint16(pdu[4:]),
		[]byte{0, 1, 0x12, 8, 0x12, ask[5]&0x0F | 0x80, ask[6], 1, 0, 0, 0xD4, 0x02}, []byte{0x0A, 0, 0, 0})
}

// placeOf reads an item of a request: where it is in the memory, and which bit (-1: bytes).
func (p *simPLC) placeOf(item []byte) (mem []byte, bit int, code byte) {
	addr, n := int(item[9])<<16|int(item[10])<<8|int(item[11]), int(binary.BigEndian.Uint16(item[4:]))
	switch bit = -1; {
	case item[0] != 0x12 || item[1] != 10 || item[2] != 0x10:
		return nil, bit, 0x06
	case Area(item[8]) != AreaDB || binary.BigEndian.Uint16(item[6:]) != 1:
		return nil, bit, 0x0A
	case item[3] == itemBit && n == 1:
		bit = addr % 8
	case item[3] != itemByte || addr%8 != 0:
		return nil, bit, 0x06
	}
	if n == 0 || addr/8+n > p.known {
		return nil, bit, 0x05
	}
	return p.db[addr/8 : addr/8+n], bit, codeGood
}

// read answers a read of so many items as the request says.
func (p *simPLC) read(pdu, ask []byte) []byte {
	items := ask[2:]
	if len(items) != itemBytes*int(ask[1]) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []byte
	for ; len(items) > 0; items = items[itemBytes:] {
		if len(out)%2 != 0 {
			out = append(out, 0)
		}
		mem, bit, code := p.placeOf(items)
		switch {
		case code != codeGood:
			out = append(out, code, 0, 0, 0)
		case bit >= 0:
			out = append(out, codeGood, dataBit, 0, 1, mem[0]>>bit&1)
		default:
			out = append(append(out, codeGood, dataByte, byte(len(mem)>>5), byte(len(mem)<<3)), mem...)
		}
	}
	if ackHead+2+len(out) > simPDU {
		return jobAnswer(pdu, 0x8500, nil, nil)
	}
	return jobAnswer(pdu, 0, ask[:2], out)
}

// write does a write of one item, as the driver sends them.
func (p *simPLC) write(pdu, ask, body []byte) []byte {
	if ask[1] != 1 || len(ask) != 2+itemBytes || len(body) < answerBytes {
		return jobAnswer(pdu, 0x8104, nil, nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	mem, bit, code := p.placeOf(ask[2:])
	data := body[answerBytes:]
	switch {
	case code != codeGood:
	case len(data) != len(mem):
		code = 0x07
	case bit >= 0:
		mem[0] = mem[0]&^(1<<bit) | data[0]&1<<bit
	default:
		copy(mem, data)
	}
	return jobAnswer(pdu, 0, ask[:2], []byte{code})
}
