package modbustest

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"
)

// Mode is what a device does when it is asked for what it does not have.
type Mode string

// The modes. The others are exceptions: [Code].
const (
	Silent Mode = "silent"
	HangUp Mode = "hang up"
	Short  Mode = "short" // it answers the part in front of the address
)

// Code is the mode of a device that answers an exception.
func Code(code byte) Mode { return Mode(rune(code)) }

// Modes lists the modes.
func Modes() []Mode {
	return []Mode{Code(1), Code(2), Code(3), Code(4), Code(5), Code(6), Code(8), Code(0x0A), Code(0x0B), Silent, HangUp, Short}
}

// Hole is an address that a device does not have, for one function.
type Hole struct {
	Func byte
	Addr int
}

// Holes are the addresses that a device does not have.
type Holes map[Hole]Mode

// hangUp in an answer's place ends the connection.
const hangUp = "hang up"

// mode returns what the device does instead of answering a read, "" if nothing.
func (d *Device) mode(pdu []byte) Mode {
	if pdu[0] > 4 {
		return ""
	}
	if d.Boot != "" {
		return d.Boot
	}
	at, n := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	for i := range n {
		if m, bad := d.Bad[Hole{pdu[0], at + i}]; bad {
			return m
		}
	}
	return ""
}

func (d *Device) spoil(adu, pdu []byte, m Mode) []byte {
	switch m {
	case Silent:
		return nil
	case HangUp:
		return []byte(hangUp)
	case Short:
		return d.pack(adu, []byte{pdu[0], 0})
	}
	return d.pack(adu, []byte{pdu[0] | 0x80, m[0]})
}

// NewPiped starts a device, framing tcp, unit 1, that is reached through pipes
// in memory, so that it can be used in a bubble of testing/synctest. It thinks for
// latency before each answer.
func NewPiped(t testing.TB, latency time.Duration) (*Device, *Dialer) {
	d := &Device{framing: "tcp", unit: 1, Refuse: map[byte]byte{}, Bad: Holes{}, Quirks: Quirks{Slow: latency}}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return d, newDialer(t, func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		out := make(chan []byte, 64)
		wg.Go(func() {
			defer close(out)
			d.serve(buffered{theirs, out})
		})
		wg.Go(func() {
			for p := range out {
				_, _ = theirs.Write(p) // the driver may have closed it
			}
		})
		return ours, nil
	})
}

// buffered is a connection that takes what is written without waiting, as a
// socket does.
type buffered struct {
	net.Conn
	out chan<- []byte
}

// Write implements net.Conn.
func (b buffered) Write(p []byte) (int, error) {
	b.out <- bytes.Clone(p)
	return len(p), nil
}
