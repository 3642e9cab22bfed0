package endpoint

import (
	"net"
	"time"

	"go.bug.st/serial"
)

// serialMode is the line's settings in the library's terms.
func serialMode(o Options) *serial.Mode {
	mode := &serial.Mode{BaudRate: o.Baud, DataBits: o.DataBits}
	switch o.Parity {
	case "E":
		mode.Parity = serial.EvenParity
	case "O":
		mode.Parity = serial.OddParity
	}
	// With five data bits a UART that is told two stop bits sends one and a half.
	if o.StopBits != "1" {
		mode.StopBits = serial.TwoStopBits
	}
	return mode
}

// rs485 is the kernel's struct serial_rs485 (linux/serial.h).
type rs485 struct {
	flags       uint32
	delayBefore uint32 // ms
	delayAfter  uint32 // ms
	_           [5]uint32
}

// Bits of rs485.flags.
const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1
	rs485RTSAfterSend = 1 << 2
	rs485RxDuringTx   = 1 << 4
)

func rs485Settings(o Options) rs485 {
	s := rs485{
		flags:       rs485Enabled,
		delayBefore: uint32(o.RS485DelayBefore / time.Millisecond),
		delayAfter:  uint32(o.RS485DelayAfter / time.Millisecond),
	}
	if o.RS485RTSOnSend {
		s.flags |= rs485RTSOnSend
	}
	if o.RS485RTSAfter {
		s.flags |= rs485RTSAfterSend
	}
	if o.RS485RxDuringTx {
		s.flags |= rs485RxDuringTx
	}
	return s
}

// serialAddr is the address of both ends of a line.
type serialAddr string

func (serialAddr) Network() string  { return "serial" }
func (a serialAddr) String() string { return string(a) }

var _ net.Addr = serialAddr("")
