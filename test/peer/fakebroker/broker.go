package fakebroker

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/receiver"
)

// Broker is a running fake broker. All methods may be called from any goroutine.
type Broker struct {
	Addr string // HOST:PORT; it stays through Stop and Listen
	t    testing.TB

	asking sync.Mutex // one call of Script.On at a time
	wg     sync.WaitGroup

	mu        sync.Mutex
	script    Script
	listener  net.Listener // nil: stopped
	conns     map[*conn]struct{}
	accepted  int
	packets   []*Packet
	delivered []*Packet
	retained  map[string][]byte
	sessions  map[string]*session
}

// session is what a broker keeps of a client.
type session struct {
	subs     map[string]byte // QoS by filter
	received map[uint16]bool // QoS 2 messages that wait for PUBREL
	out      []*packets.Packet
	nextID   uint16
	expiry   uint32 // seconds; 0: the session ends with the connection
}

// Start starts a broker on a free port of the loopback interface; it ends with the
// test.
func Start(t testing.TB, s Script) *Broker {
	t.Helper()
	b := &Broker{Addr: "127.0.0.1:0", t: t, script: s, conns: map[*conn]struct{}{}, retained: map[string][]byte{}, sessions: map[string]*session{}}
	b.Listen()
	t.Cleanup(b.Stop)
	return b
}

// URL is the broker's address as gateway.yml writes it.
func (b *Broker) URL() string { return "mqtt://" + b.Addr }

// Listen starts a stopped broker on its old port.
func (b *Broker) Listen() {
	b.t.Helper()
	l, err := net.Listen("tcp", b.Addr)
	if err != nil {
		b.t.Fatalf("fake broker: %v", err)
	}
	b.mu.Lock()
	b.Addr, b.listener = l.Addr().String(), l
	b.mu.Unlock()
	b.wg.Go(func() { b.accept(l) })
}

func (b *Broker) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return // stopped
		}
		b.mu.Lock()
		if b.listener != l {
			b.mu.Unlock()
			_ = nc.Close() // stopped in this moment
			return
		}
		b.accepted++
		c := &conn{b: b, nc: nc, number: b.accepted, counts: map[byte]int{}, aliases: map[uint16]string{}, ended: make(chan struct{})}
		b.conns[c] = struct{}{}
		b.wg.Go(c.run)
		b.mu.Unlock()
	}
}

// Stop ends all connections without a word and listens no more. Sessions are kept.
func (b *Broker) Stop() {
	b.mu.Lock()
	l := b.listener
	b.listener = nil
	b.mu.Unlock()
	if l != nil {
		_ = l.Close() // nothing depends on it
	}
	b.Drop()
	b.wg.Wait()
}

// Drop ends all connections without a word.
func (b *Broker) Drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		_ = c.nc.Close() // given up
	}
}

// Disconnect ends all connections with a DISCONNECT (MQTT 5).
func (b *Broker) Disconnect(code byte) {
	for _, c := range b.connections() {
		c.disconnect(code)
	}
}

func (b *Broker) connections() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*conn
	for c := range b.conns {
		out = append(out, c)
	}
	return out
}

// Change changes the script from the next packet on.
func (b *Broker) Change(f func(*Script)) {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.script)
}

// Heal makes a good broker of it.
func (b *Broker) Heal() { b.Change(func(s *Script) { *s = Script{} }) }

// Accepted returns how many connections were made.
func (b *Broker) Accepted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// Packets returns what arrived of the given types, of all if none is given.
func (b *Broker) Packets(types ...byte) []*Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*Packet
	for _, p := range b.packets {
		if len(types) == 0 || slices.Contains(types, p.Type()) {
			out = append(out, p)
		}
	}
	return out
}

// Delivered returns the messages that a subscriber to everything would have got,
// without wills.
func (b *Broker) Delivered() []*Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.delivered)
}

// Ledger returns what the reference consumer makes of the data messages that were
// delivered.
func (b *Broker) Ledger() receiver.Report {
	b.t.Helper()
	l, err := receiver.OpenLedger("")
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := receiver.NewDecoder(frame.Milliseconds)
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	for _, p := range b.Delivered() {
		if p.User("first_seq") == "" && (p.ProtocolVersion == 5 || strings.HasPrefix(p.TopicName, "/edge/status/")) {
			continue
		}
		m := &receiver.Message{Topic: p.TopicName, ContentType: p.Properties.ContentType, Properties: map[string]string{}, Payload: p.Payload, Received: p.At}
		for _, u := range p.Properties.User {
			m.Properties[u.Key] = u.Val
		}
		batch, err := d.Decode(m)
		if err != nil {
			l.Bad(err)
			continue
		}
		l.Take(batch)
	}
	return l.Report()
}

// Retained returns the retained message of a topic, nil if there is none.
func (b *Broker) Retained(topic string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retained[topic]
}

// Subscriptions returns the filters of a client's session, sorted.
func (b *Broker) Subscriptions(client string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	if s := b.sessions[client]; s != nil {
		for filter := range s.subs {
			out = append(out, filter)
		}
	}
	slices.Sort(out)
	return out
}

// Subscribe puts a subscription into a client's session that nobody asked for, as one
// that an earlier configuration left.
func (b *Broker) Subscribe(client, filter string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session(client).subs[filter] = 1
}

// session returns a client's session, made if there is none. The caller holds mu.
func (b *Broker) session(client string) *session {
	s := b.sessions[client]
	if s == nil {
		s = &session{subs: map[string]byte{}, received: map[uint16]bool{}, expiry: 1}
		b.sessions[client] = s
	}
	return s
}

// Send delivers a message with QoS 1 to every session that has a subscription for it,
// at once or when its client connects, and returns how many there were.
func (b *Broker) Send(topic, payload string) int {
	b.mu.Lock()
	n, ready := 0, map[*conn]*packets.Packet{}
	for client, s := range b.sessions {
		if !s.matches(topic) {
			continue
		}
		n++
		s.nextID++
		p := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: topic, Payload: []byte(payload), PacketID: s.nextID}
		s.out = append(s.out, p)
		for c := range b.conns {
			if c.client == client {
				ready[c] = p
			}
		}
	}
	b.mu.Unlock()
	for c, p := range ready {
		c.send(p)
	}
	return n
}

func (s *session) matches(topic string) bool {
	for filter := range s.subs {
		if Matches(filter, topic) {
			return true
		}
	}
	return false
}

// Matches reports whether a topic filter covers a topic (MQTT 5, 4.7).
func Matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// record notes a packet that arrived.
func (b *Broker) record(p *Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packets = append(b.packets, p)
}

// ask asks the script for the answer to p.
func (b *Broker) ask(p *Packet) (Answer, Script) {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.mu.Lock()
	s := b.script
	b.mu.Unlock()
	if s.On == nil {
		return Answer{}, s
	}
	return s.On(p), s
}

// deliver hands a message on and keeps it if it is retained. The caller holds mu.
func (b *Broker) deliver(p *Packet) {
	b.delivered = append(b.delivered, p)
	if p.FixedHeader.Retain {
		b.retain(p.TopicName, p.Payload)
	}
}

func (b *Broker) retain(topic string, payload []byte) {
	if len(payload) == 0 {
		delete(b.retained, topic)
		return
	}
	b.retained[topic] = payload
}

// WaitFor waits until cond holds and fails the test after limit.
func (b *Broker) WaitFor(limit time.Duration, what string, cond func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(5 * time.Millisecond) { // what is waited for happens elsewhere
		if time.Now().After(deadline) {
			b.t.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}
