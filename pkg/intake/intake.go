// Package intake bounds what others may open: a [Listener] holds so many connections
// and no more, of which one peer has a part, and leaves descriptors to the rest of the
// process.
//
// A connection too many is closed at once. Before that, room is made for it: the
// connection that was idle for the longest time is closed, if that was long enough.
// So neither those that connect and say nothing nor those that connect too often lock
// others out.
package intake

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config says what a listener takes.
type Config struct {
	Max     int                   // connections
	MaxPeer int                   // of them, of one peer; 0: as many as there are
	Peer    func(net.Conn) string // who is at the other end
	Grace   time.Duration         // a connection is idle if nothing went over it for so long
	Refused func()                // a connection was closed at once, or to make room
}

// Listener is a listener with bounds.
type Listener struct {
	net.Listener
	cfg  Config
	last int // the first descriptor that is the reserve's

	mu    sync.Mutex
	conns map[*Conn]struct{}
	peers map[string]int
}

// Listen puts bounds around l.
func Listen(l net.Listener, cfg Config) *Listener {
	return &Listener{Listener: l, cfg: cfg, last: lastDescriptor(), conns: map[*Conn]struct{}{}, peers: map[string]int{}}
}

// reserve is what part of the descriptors, one in so many, is left to what the
// process opens for itself (its log above all), and how many at least.
const (
	reservePart  = 8
	reserveLeast = 16
)

// Accept returns the next connection for which there is room.
func (l *Listener) Accept() (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			time.Sleep(pause) // the connection waits in the kernel; a stop closes the listener, which ends this
			pause = min(2*pause, time.Second)
			continue
		case err != nil:
			return nil, err
		}
		pause = 5 * time.Millisecond
		if k := l.admit(c); k != nil {
			return k, nil
		}
		l.refuse(c)
	}
}

func (l *Listener) refuse(c net.Conn) {
	if l.cfg.Refused != nil {
		l.cfg.Refused()
	}
	_ = c.Close() // nothing more is to be sent
}

// admit returns the connection to use, nil if there is no room.
func (l *Listener) admit(c net.Conn) *Conn {
	k := &Conn{Conn: c, listener: l}
	if l.cfg.Peer != nil {
		k.peer = l.cfg.Peer(c)
	}
	k.touch()
	high := descriptor(c) >= l.last
	l.mu.Lock()
	var victim *Conn
	ofPeer := l.cfg.MaxPeer > 0 && l.peers[k.peer] >= l.cfg.MaxPeer
	if high || ofPeer || len(l.conns) >= l.cfg.Max {
		victim = l.idlestLocked(k.peer, ofPeer)
		if victim != nil {
			l.forgetLocked(victim)
		}
	}
	if ok := victim != nil || !high && !ofPeer && len(l.conns) < l.cfg.Max; !ok || high {
		l.mu.Unlock()
		if victim != nil {
			l.refuse(victim)
		}
		return nil
	}
	l.conns[k] = struct{}{}
	l.peers[k.peer]++
	l.mu.Unlock()
	if victim != nil {
		l.refuse(victim.Conn)
	}
	return k
}

// idlestLocked returns the connection that was idle for the longest time, of one peer
// or of all; nil if none was for long enough.
func (l *Listener) idlestLocked(peer string, ofPeer bool) *Conn {
	var found *Conn
	oldest := time.Now().Add(-l.cfg.Grace).UnixNano()
	for c := range l.conns {
		if at := c.used.Load(); at <= oldest && (!ofPeer || c.peer == peer) {
			found, oldest = c, at
		}
	}
	return found
}

func (l *Listener) forgetLocked(c *Conn) {
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	if l.peers[c.peer]--; l.peers[c.peer] <= 0 {
		delete(l.peers, c.peer)
	}
}

// Conn is a connection of a [Listener].
type Conn struct {
	net.Conn
	listener *Listener
	peer     string
	used     atomic.Int64 // when something last went over it
}

func (c *Conn) touch() { c.used.Store(time.Now().UnixNano()) }

// Read reads, which is a use.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

// Write writes, which is a use.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

// Close closes the connection and makes room for another.
func (c *Conn) Close() error {
	c.listener.mu.Lock()
	c.listener.forgetLocked(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// descriptor returns the number of a connection's descriptor, 0 if it has none.
func descriptor(c net.Conn) (n int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n = int(fd) }) // closed already: 0 will do
	return n
}
