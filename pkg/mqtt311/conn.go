// Package mqtt311 lets a client that speaks MQTT 5 work with a broker that speaks
// MQTT 3.1.1 only. It stands between them as a [net.Conn] and translates every
// packet: towards the broker it leaves out what 3.1.1 does not know, towards the
// client it adds what 5 expects.
//
// Sessions, packet identifiers, DUP and the handshake of QoS 2 are the same in both
// versions, so that what is exactly once in one is so in the other. What gets lost
// on the way is all that stands in properties, the reasons of refusals, topic
// aliases, which must not be used (no CONNACK of ours allows any), and the end of a
// session by DISCONNECT.
//
// A PUBLISH is passed on as it comes, and cut if it is too long; other packets are held until they are whole,
// up to [MaxPacket].
package mqtt311

import (
	"fmt"
	"net"
)

// MaxPacket bounds a packet other than PUBLISH, in bytes: no broker has a reason for
// a larger one.
const MaxPacket = 1 << 20

// Conn is the client's side. Like any [net.Conn] it may be read and written by two
// goroutines at the same time, not by more.
type Conn struct {
	net.Conn
	up, down stream
	out      []byte // for the broker
	in       []byte // for the client, translated
	buf      []byte
	filters  *filters
	foreign  bool // the other side does not speak MQTT: what it says is passed on
}

// New returns a client's connection to a broker of 3.1.1 over c. Of what the broker
// publishes, a payload of more than maxPayload bytes is cut: there is no way to ask for
// less, and a client that ended the connection would get the same message again on
// the next one.
func New(c net.Conn, maxPayload int) *Conn {
	f := &filters{n: map[uint16]int{}}
	return &Conn{Conn: c, filters: f, up: stream{translate: f.toBroker, properties: drop}, down: stream{translate: f.toClient, properties: add, most: maxPayload},
		buf: make([]byte, 16<<10)}
}

// Write takes packets of MQTT 5, in any pieces.
func (c *Conn) Write(p []byte) (int, error) {
	var err error
	if c.out, err = c.up.feed(c.out[:0], p); err != nil {
		return 0, fmt.Errorf("translate to MQTT 3.1.1: %w", err)
	}
	if len(c.out) > 0 {
		if _, err := c.Conn.Write(c.out); err != nil {
			return 0, err
		}
	}
	if cap(c.out) > MaxPacket {
		c.out = nil
	}
	return len(p), nil
}

// Read returns packets of MQTT 5.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.in) == 0 {
		n, err := c.Conn.Read(c.buf)
		if n > 0 {
			if terr := c.take(c.buf[:n]); terr != nil {
				return 0, terr
			}
		}
		if err != nil && len(c.in) == 0 {
			return 0, err
		}
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *Conn) take(p []byte) (err error) {
	if !c.down.begun && p[0]>>4 != connack {
		c.foreign = true
	}
	if c.foreign {
		c.in = append(c.in[:0], p...)
		return nil
	}
	if c.in, err = c.down.feed(c.in[:0], p); err != nil {
		return fmt.Errorf("translate from MQTT 3.1.1: %w", err)
	}
	return nil
}
