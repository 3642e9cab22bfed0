package modbustest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Device is a Modbus device written for tests alone, down to its checksums: it
// has one unit, every function code that the driver uses, and a hook for each
// answer. Its memory may be used under its lock.
type Device struct {
	sync.Mutex
	Holding, Input  [1 << 16]uint16
	Coils, Discrete [1 << 16]bool
	Counters        [32]uint16 // of function 0x08, by sub-function
	Status          byte       // of function 0x07
	Refuse          map[byte]byte
	Requests        [][]byte // PDUs as they came
	Quirks          Quirks
	Bad             Holes          // addresses that it does not have
	Wide            map[int]uint32 // holding registers of 32 bits; all of a read must be such, or none
	Boot            Mode           // of all requests, while it starts; "": it runs

	// Hook, if set, gets each request's PDU and the ADU that would answer it, and
	// returns what is sent: nothing, something else, several answers at once. It
	// runs under the lock.
	Hook func(request, answer []byte) []byte

	framing string
	unit    byte
	addr    string
}

// NewDevice starts a device that listens on a free port of network (tcp or udp)
// and speaks framing (tcp, rtu, ascii) as unit, until the test ends.
func NewDevice(t testing.TB, network, framing string, unit byte) *Device {
	t.Helper()
	d := &Device{framing: framing, unit: unit, Refuse: map[byte]byte{}, Bad: Holes{}}
	if network == "udp" {
		d.listenPacket(t)
		return d
	}
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends Accept
		mu.Lock()
		for c := range conns {
			_ = c.Close() // the driver may have closed it
		}
		mu.Unlock()
		wg.Wait()
	})
	return d
}

// Addr returns host:port.
func (d *Device) Addr() string { return d.addr }

// Count returns how many requests of function f came.
func (d *Device) Count(f byte) (n int) {
	d.Lock()
	defer d.Unlock()
	for _, r := range d.Requests {
		if r[0] == f {
			n++
		}
	}
	return n
}

// Asked counts all requests.
func (d *Device) Asked() int {
	d.Lock()
	defer d.Unlock()
	return len(d.Requests)
}

func (d *Device) listenPacket(t testing.TB) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = c.LocalAddr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 600)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if answer := d.answer(buf[:n]); len(answer) > 0 {
				_, _ = c.WriteTo(answer, from) // a lost datagram is a lost datagram
			}
		}
	})
	t.Cleanup(func() { _ = c.Close(); wg.Wait() })
}

func (d *Device) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // the driver may have closed it
	in, born, answered := bufio.NewReader(c), time.Now(), time.Time{}
	for {
		adu, err := d.readRequest(in)
		if err != nil || !d.exchange(c, adu, born, &answered) {
			return
		}
	}
}

// readRequest reads one ADU.
func (d *Device) readRequest(in *bufio.Reader) ([]byte, error) {
	switch d.framing {
	case "ascii":
		line, err := in.ReadString('\n')
		return []byte(line), err
	case "rtu":
		n, err := requestLength(in)
		if err != nil {
			return nil, err
		}
		adu := make([]byte, n)
		_, err = io.ReadFull(in, adu)
		return adu, err
	}
	head, err := in.Peek(6)
	if err != nil {
		return nil, err
	}
	adu := make([]byte, 6+int(binary.BigEndian.Uint16(head[4:])))
	_, err = io.ReadFull(in, adu)
	return adu, err
}

// requestLength returns the length of the RTU request that comes next.
func requestLength(in *bufio.Reader) (int, error) {
	head, err := in.Peek(4)
	if err != nil {
		return 0, err
	}
	counted := map[byte][2]int{0x0F: {7, 9}, 0x10: {7, 9}, 0x17: {11, 13}} // place of the byte count, length without it
	switch c, ok := counted[head[1]]; {
	case ok:
		if head, err = in.Peek(c[0]); err != nil {
			return 0, err
		}
		return c[1] + int(head[c[0]-1]), nil
	case head[1] == 0x07:
		return 4, nil
	case head[1] == 0x16:
		return 10, nil
	}
	return 8, nil
}

// answer answers an ADU, with nothing if it is for another unit or broken.
func (d *Device) answer(adu []byte) []byte {
	unit, pdu, err := d.unpack(adu)
	broadcast := unit == 0 && d.framing != "tcp"
	if err != nil || unit != d.unit && !broadcast {
		return nil
	}
	d.Lock()
	defer d.Unlock()
	d.Requests = append(d.Requests, bytes.Clone(pdu))
	answer := d.execute(pdu)
	if broadcast {
		return nil
	}
	code := d.Refuse[pdu[0]]
	if code == 0 {
		code = d.Quirks.refuses(pdu)
	}
	if code != 0 {
		answer = []byte{pdu[0] | 0x80, code}
	}
	if mode := d.mode(pdu); mode != "" {
		return d.spoil(adu, pdu, mode)
	}
	packed := d.pack(adu, answer)
	if d.Hook != nil {
		return d.Hook(pdu, packed)
	}
	return packed
}

var errBroken = errors.New("broken request")

func (d *Device) unpack(adu []byte) (unit byte, pdu []byte, err error) {
	switch d.framing {
	case "ascii":
		s := strings.TrimSuffix(strings.TrimPrefix(string(adu), ":"), "\r\n")
		b, err := hex.DecodeString(s)
		if err != nil || len(b) < 3 || lrc(b) != 0 {
			return 0, nil, errBroken
		}
		return b[0], b[1 : len(b)-1], nil
	case "rtu":
		if len(adu) < 4 || crc(adu) != 0 {
			return 0, nil, errBroken
		}
		return adu[0], adu[1 : len(adu)-2], nil
	}
	return adu[6], adu[7:], nil
}

// pack packs the answer to request.
func (d *Device) pack(request, pdu []byte) []byte {
	body := append([]byte{d.unit}, pdu...)
	switch d.framing {
	case "ascii":
		return []byte(":" + strings.ToUpper(hex.EncodeToString(append(body, -lrc(body)))) + "\r\n")
	case "rtu":
		return binary.LittleEndian.AppendUint16(body, crc(body))
	}
	adu := append(bytes.Clone(request[:4]), byte(len(body)>>8), byte(len(body)))
	return append(adu, body...)
}

// lrc returns the sum of b, which is zero with its own complement at the end.
func lrc(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}

// crc returns the CRC-16 of b bit by bit; it is zero with the CRC at the end.
func crc(b []byte) uint16 {
	r := uint16(0xFFFF)
	for _, c := range b {
		r ^= uint16(c)
		for range 8 {
			odd := r & 1
			r >>= 1
			if odd != 0 {
				r ^= 0xA001
			}
		}
	}
	return r
}

// execute does what a request says and returns the PDU of the answer.
func (d *Device) execute(pdu []byte) []byte {
	word := func(i int) int { return int(binary.BigEndian.Uint16(pdu[i:])) }
	switch pdu[0] {
	case 0x01:
		return d.readBits(pdu[0], d.Coils[:], word(1), word(3))
	case 0x02:
		return d.readBits(pdu[0], d.Discrete[:], word(1), word(3))
	case 0x03:
		return d.readWords(pdu[0], d.Holding[:], word(1), word(3))
	case 0x04:
		return d.readWords(pdu[0], d.Input[:], word(1), word(3))
	case 0x05:
		d.Coils[word(1)] = word(3) == 0xFF00
		return pdu
	case 0x06:
		d.Holding[word(1)] = uint16(word(3))
		return pdu
	case 0x07:
		return []byte{0x07, d.Status}
	case 0x08:
		if sub := word(1); sub != 0 {
			return binary.BigEndian.AppendUint16(bytes.Clone(pdu[:3]), d.Counters[sub])
		}
		return pdu
	case 0x0F:
		for i := range word(3) {
			d.Coils[word(1)+i] = pdu[6+i/8]>>(i%8)&1 != 0
		}
		return pdu[:5]
	case 0x10:
		d.writeWords(word(1), pdu[6:])
		return pdu[:5]
	case 0x16:
		at := word(1)
		d.Holding[at] = d.Holding[at]&uint16(word(3)) | uint16(word(5))&^uint16(word(3))
		return pdu
	case 0x17:
		d.writeWords(word(5), pdu[10:])
		return d.readWords(pdu[0], d.Holding[:], word(1), word(3))
	}
	return []byte{pdu[0] | 0x80, 1}
}

func (d *Device) writeWords(at int, data []byte) {
	if _, wide := d.Wide[at]; wide {
		for i := 0; i < len(data); i += 4 {
			d.Wide[at+i/4] = binary.BigEndian.Uint32(data[i:])
		}
		return
	}
	for i := 0; i < len(data); i += 2 {
		d.Holding[at+i/2] = binary.BigEndian.Uint16(data[i:])
	}
}

func (d *Device) readBits(f byte, bits []bool, at, n int) []byte {
	if at+n > len(bits) {
		return []byte{f | 0x80, 2}
	}
	size := (n + 7) / 8
	if d.Quirks.BitBytes != nil {
		size = d.Quirks.BitBytes(size)
	}
	answer := append([]byte{f, byte(size)}, make([]byte, size)...)
	for i := range n {
		if bits[at+i] {
			answer[2+i/8] |= 1 << (i % 8)
		}
	}
	return answer
}

func (d *Device) readWords(f byte, words []uint16, at, n int) []byte {
	if at+n > len(words) {
		return []byte{f | 0x80, 2}
	}
	if f == 0x03 && d.Wide != nil {
		if wide := d.readWide(at, n); wide != nil {
			return wide
		}
	}
	answer := []byte{f, byte(2 * n)}
	for _, w := range words[at : at+n] {
		answer = binary.BigEndian.AppendUint16(answer, w)
	}
	return answer
}

// readWide answers a read of registers of 32 bits; nil if none is there.
func (d *Device) readWide(at, n int) []byte {
	answer, wide := []byte{0x03, byte(4 * n)}, 0
	for i := range n {
		w, ok := d.Wide[at+i]
		if ok {
			wide++
		}
		answer = binary.BigEndian.AppendUint32(answer, w)
	}
	switch wide {
	case 0:
		return nil
	case n:
		return answer
	}
	return []byte{0x83, 2}
}
