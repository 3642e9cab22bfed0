package endpoint

import (
	"sync"
	"time"
)

// characterTime is how long one character takes on the line: start bit, data,
// parity and stop bits. It is 0 without a baud rate.
func characterTime(o Options) time.Duration {
	if o.Baud == 0 {
		return 0
	}
	halfBits := 2 * (1 + o.DataBits)
	if o.Parity != "N" {
		halfBits += 2
	}
	switch o.StopBits {
	case "1":
		halfBits += 2
	case "1.5":
		halfBits += 3
	case "2":
		halfBits += 4
	}
	return time.Duration(halfBits) * time.Second / time.Duration(2*o.Baud)
}

// silence is how long the line must be quiet before a frame: 3.5 characters, or
// 1.75 ms above 19200 baud ("MODBUS over Serial Line" V1.02, 2.5.1.1), and at
// least the turn-around.
func silence(o Options) time.Duration {
	quiet := characterTime(o) * 7 / 2
	if o.Baud > 19200 {
		quiet = 1750 * time.Microsecond
	}
	return max(quiet, o.Turnaround)
}

// halfDuplexConn keeps a shared line quiet between frames: a write waits until
// nothing was sent or received for the silence.
type halfDuplexConn struct {
	*gate
	character time.Duration
	silence   time.Duration
	writing   sync.Mutex // one write after the other

	lineMu sync.Mutex
	busy   time.Time // end of the last character, as far as we know
}

func halfDuplex(o Options) decorator {
	if !o.HalfDuplex {
		return nil
	}
	return func(c Conn) Conn {
		return &halfDuplexConn{gate: newGate(c), character: characterTime(o), silence: silence(o)}
	}
}

func (c *halfDuplexConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		quiet := c.busyUntil().Add(c.silence)
		if err := c.wait(quiet); err != nil {
			return 0, err
		}
		if !c.busyUntil().Add(c.silence).After(quiet) { // nothing arrived meanwhile
			break
		}
	}
	n, err := c.Conn.Write(p)
	// The kernel has the bytes; the line is busy until the last of them is out.
	c.mark(time.Now().Add(time.Duration(n) * c.character))
	return n, err
}

func (c *halfDuplexConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mark(time.Now())
	}
	return n, err
}

func (c *halfDuplexConn) busyUntil() time.Time {
	c.lineMu.Lock()
	defer c.lineMu.Unlock()
	return c.busy
}

func (c *halfDuplexConn) mark(t time.Time) {
	c.lineMu.Lock()
	defer c.lineMu.Unlock()
	c.busy = later(c.busy, t)
}
