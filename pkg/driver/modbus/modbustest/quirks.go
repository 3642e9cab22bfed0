package modbustest

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// Quirks are what devices of the field do otherwise than the standard says.
type Quirks struct {
	Deaf        time.Duration // requests so soon after a connect are swallowed
	Gap         time.Duration // requests so soon after an answer are swallowed
	Slow        time.Duration // until each answer
	HangUp      bool          // after each answer the connection is closed
	AnswerAs    byte          // unit id of the answers, 0 for the right one
	Transaction uint16        // what the transaction id of an answer is wrong by
	Echo        bool          // the line repeats each request first
	Before      []byte        // stray bytes before each answer
	Behind      []byte        // and behind
	SwappedCRC  bool
	MaxRegs     int           // longer reads are refused, 0 for none
	BitBytes    func(int) int // bytes of an answer of bits, of those that are needed
	// Fate, if set, tells what becomes of the answer to each request, which has been
	// executed by then.
	Fate func(request []byte) Fate
}

// Fate is what becomes of an answer, and of its connection.
type Fate int

// The fates.
const (
	Sent     Fate = iota
	Lost          // nothing is sent
	HungUp        // nothing is sent, and the connection is closed
	Reset         // the same, with a reset
	LastSent      // it is sent, and the connection is closed
)

// Enron is a flow computer: registers of 16 bits from 3000 on, of 32 bits from 5000
// and 7000 on, as the Enron dialect has them.
func Enron(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "rtu", 1)
	d.Wide = map[int]uint32{}
	for i := range 100 {
		d.Wide[5000+i], d.Wide[7000+i] = 0x10000+uint32(i), 0x41440000
	}
	return d
}

// PaddedCoils is a device that fills its answers up to an even number of bytes.
func PaddedCoils(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "rtu", 1)
	d.Quirks = Quirks{BitBytes: func(n int) int { return n + n%2 }}
	d.Coils[0] = true
	return d
}

// SDongle is a Huawei SDongle: it needs a while after each connect, and a pause
// after each answer (evcc-io/evcc#31996, ioBroker.modbus#250).
func SDongle(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "tcp", 1)
	d.Quirks = Quirks{Deaf: 300 * time.Millisecond, Gap: 20 * time.Millisecond}
	return d
}

// SolarEdge is a SunSpec device of the kind that closes the connection after each
// answer, and holds its registers from protocol address 40000 on.
func SolarEdge(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "tcp", 1)
	d.Quirks = Quirks{HangUp: true}
	copy(d.Holding[40000:], []uint16{'S'<<8 | 'u', 'n'<<8 | 'S'})
	return d
}

// Growatt is a Growatt inverter on RS-485 behind a serial device server: it swallows
// what comes too soon after an answer (biemond/solaredge.modbus#131), and reads at
// most 45 registers.
func Growatt(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "rtu", 1)
	d.Quirks = Quirks{Gap: 80 * time.Millisecond, MaxRegs: 45}
	return d
}

// Fronius is a Fronius inverter, which takes its time (stephane/libmodbus#776).
func Fronius(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "tcp", 1)
	d.Quirks = Quirks{Slow: 150 * time.Millisecond}
	return d
}

// EchoAdapter is a device behind an RS-485 adapter that hears itself.
func EchoAdapter(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "rtu", 1)
	d.Quirks = Quirks{Echo: true}
	return d
}

// WrongUnit is a device that answers as unit 255 whatever it is asked.
func WrongUnit(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "tcp", 1)
	d.Quirks = Quirks{AnswerAs: 255}
	return d
}

// WrongTransaction is a device whose transaction ids lag by one.
func WrongTransaction(t testing.TB) *Device {
	d := NewDevice(t, "tcp", "tcp", 1)
	d.Quirks = Quirks{Transaction: 1}
	return d
}

// swallows reports whether a request is ignored.
func (q *Quirks) swallows(born, answered time.Time) bool {
	return time.Since(born) < q.Deaf || time.Since(answered) < q.Gap
}

// refuses returns the exception to a read that is too long, 0 for none.
func (q *Quirks) refuses(pdu []byte) byte {
	if (pdu[0] == 3 || pdu[0] == 4) && q.MaxRegs > 0 && int(binary.BigEndian.Uint16(pdu[3:])) > q.MaxRegs {
		return 3
	}
	return 0
}

// spoil does to an answer what the device and its line do.
func (q *Quirks) spoil(framing string, request, answer []byte) []byte {
	if len(answer) == 0 {
		if q.Echo {
			return request
		}
		return answer
	}
	if framing == "tcp" {
		binary.BigEndian.PutUint16(answer, binary.BigEndian.Uint16(answer)-q.Transaction)
		if q.AnswerAs != 0 {
			answer[6] = q.AnswerAs
		}
	}
	if framing == "rtu" && q.AnswerAs != 0 {
		answer[0] = q.AnswerAs
		binary.LittleEndian.PutUint16(answer[len(answer)-2:], crc(answer[:len(answer)-2]))
	}
	if n := len(answer); framing == "rtu" && q.SwappedCRC {
		answer[n-2], answer[n-1] = answer[n-1], answer[n-2]
	}
	if q.Echo {
		answer = append(bytes.Clone(request), answer...)
	}
	return append(append(bytes.Clone(q.Before), answer...), q.Behind...)
}

// exchange answers one request on c; false ends the connection.
func (d *Device) exchange(c net.Conn, adu []byte, born time.Time, answered *time.Time) (goOn bool) {
	d.Lock()
	q := d.Quirks
	d.Unlock()
	if q.swallows(born, *answered) {
		return true
	}
	time.Sleep(q.Slow) // as slow as the device is
	raw := d.answer(adu)
	if string(raw) == hangUp {
		return false
	}
	answer := q.spoil(d.framing, adu, raw)
	*answered = time.Now()
	fate := Sent
	if _, pdu, err := d.unpack(adu); err == nil && q.Fate != nil {
		fate = q.Fate(pdu)
	}
	if tc, ok := c.(*net.TCPConn); ok && fate == Reset {
		_ = tc.SetLinger(0) // or else it hangs up politely, which is as good
	}
	if len(answer) > 0 && (fate == Sent || fate == LastSent) {
		if _, err := c.Write(answer); err != nil {
			return false
		}
	}
	return !q.HangUp && (fate == Sent || fate == Lost)
}
