package mqtt

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// MQTT packet types.
const (
	connack = 2
	publish = 3
	puback  = 4
	pubrec  = 5
	pubrel  = 6
	pubcomp = 7
)

var packetNames = map[byte]string{connack: "CONNACK", publish: "PUBLISH", puback: "PUBACK", pubrec: "PUBREC", pubrel: "PUBREL", pubcomp: "PUBCOMP"}

// moment is a border between two packets of a connection.
type moment struct {
	kind  byte // of the packet
	after bool // behind it; otherwise before it, and the packet is lost
}

func (m moment) String() string {
	if m.after {
		return "after " + packetNames[m.kind]
	}
	return "before " + packetNames[m.kind]
}

// proxy forwards MQTT connections packet by packet and cuts them where it is
// told to.
type proxy struct {
	t      testing.TB
	addr   string
	target string
	listen net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex
	cut     func(kind byte) (cut, after bool) // nil: never
	cuts    int
	refuse  bool                                 // no new connections
	tap     func(packet []byte, fromBroker bool) // sees every packet; nil: nobody
	black   bool                                 // packets vanish, connections stay
	stall   bool                                 // nothing is read from clients any more
	closed  bool
	over    chan struct{} // closed when the test is over
	conns   map[net.Conn]bool
	rewrite func(packet []byte) []byte // of what the broker says; nil: as it is
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, addr: l.Addr().String(), target: target, listen: l, conns: map[net.Conn]bool{}, over: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		close(p.over)
		_ = l.Close() // ends accept
		p.cutAll()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "mqtt://" + p.addr }

func (p *proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		broker, err := net.Dial("tcp", p.target)
		if err == nil && refuse {
			_, _ = broker.Close(), client.Close() // as a broker that is away
			continue
		}
		if err != nil {
			_ = client.Close() // as the broker would refuse
			continue
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			_, _ = client.Close(), broker.Close() // the test is over
			return
		}
		p.conns[client], p.conns[broker] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.forward(client, broker, false) })
		p.wg.Go(func() { p.forward(broker, client, true) })
	}
}

// forward copies packets until one side ends or the plan says to cut.
func (p *proxy) forward(from, to net.Conn, fromBroker bool) {
	defer func() {
		_, _ = from.Close(), to.Close() // either end ends both
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	r := bufio.NewReader(from)
	for {
		packet, err := readPacket(r)
		if err != nil {
			return
		}
		kind := packet[0] >> 4
		p.mu.Lock()
		cut, after := false, false
		if p.cut != nil {
			cut, after = p.cut(kind)
		}
		if cut {
			p.cuts++
		}
		if p.tap != nil {
			p.tap(packet, fromBroker)
		}
		black, rewrite, stall := p.black, p.rewrite, p.stall && !fromBroker
		p.mu.Unlock()
		if stall {
			<-p.over
			return
		}
		if cut && !after {
			return
		}
		if black {
			continue
		}
		if fromBroker && rewrite != nil {
			packet = rewrite(packet)
		}
		if _, err := to.Write(packet); err != nil {
			return
		}
		if cut {
			// The other side must be able to read what was written before the
			// reset that closing a connection with unread input sends.
			_ = to.(*net.TCPConn).CloseWrite()
			time.Sleep(5 * time.Millisecond)
			return
		}
	}
}

// readPacket reads one packet as it is on the wire.
func readPacket(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	packet := []byte{first}
	size, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		packet = append(packet, b)
		size |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift += 7; shift > 21 {
			return nil, fmt.Errorf("remaining length is longer than four bytes")
		}
	}
	head := len(packet)
	packet = append(packet, make([]byte, size)...)
	_, err = io.ReadFull(r, packet[head:])
	return packet, err
}

// plan has f decide about each packet from now on.
func (p *proxy) plan(f func(kind byte) (cut, after bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = f
}

// watch shows every packet to f from now on.
func (p *proxy) watch(f func(packet []byte, fromBroker bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tap = f
}

// cutAt cuts a connection at every nth occurrence of m.
func (p *proxy) cutAt(m moment, every int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	p.cut = func(kind byte) (bool, bool) {
		if kind != m.kind {
			return false, false
		}
		n++
		return n%every == 0, m.after
	}
}

// heal lets everything through from now on, and returns how many connections were cut.
func (p *proxy) heal() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.black, p.refuse, p.rewrite = nil, false, false, nil
	return p.cuts
}

// wasCut returns how many connections were cut so far.
func (p *proxy) wasCut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// blackhole swallows everything from now on.
func (p *proxy) blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.black = true
}

// cutAll ends all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // ends both directions
	}
}

// cutTimes loses packets of a kind, with the connection, so many times.
func (p *proxy) cutTimes(kind byte, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	p.cut = func(k byte) (bool, bool) {
		if k == kind {
			n++
		}
		return k == kind && n <= times, false
	}
}
