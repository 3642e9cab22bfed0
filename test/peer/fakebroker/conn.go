package fakebroker

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// conn is one client's connection.
type conn struct {
	b      *Broker
	nc     net.Conn
	number int
	ended  chan struct{}

	writing sync.Mutex

	version atomic.Uint32 // of the protocol, from CONNECT

	// Only the connection's own goroutine uses these, but for client, which is
	// guarded by Broker.mu too when it is written.
	client  string
	will    *packets.ConnectParams
	counts  map[byte]int
	aliases map[uint16]string
}

// writeTimeout bounds a write to a client that reads nothing.
const writeTimeout = 5 * time.Second

func (c *conn) run() {
	defer c.end()
	r := bufio.NewReader(c.nc)
	for {
		p, err := c.read(r)
		if err != nil {
			return
		}
		answer, script := c.b.ask(p)
		c.b.record(p)
		if !c.handle(p, &answer, &script) {
			return
		}
	}
}

// end publishes the will, unless the client took it back, and forgets the connection.
func (c *conn) end() {
	_ = c.nc.Close() // ended anyway
	close(c.ended)
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	delete(c.b.conns, c)
	if w := c.will; w != nil && w.WillRetain {
		c.b.retain(w.WillTopic, w.WillPayload)
	}
	if s := c.b.sessions[c.client]; s != nil && s.expiry == 0 && !c.b.connected(c.client) {
		delete(c.b.sessions, c.client)
	}
}

// connected reports whether a client has a connection. The caller holds mu.
func (b *Broker) connected(client string) bool {
	for c := range b.conns {
		if c.client == client {
			return true
		}
	}
	return false
}

// read reads one packet.
func (c *conn) read(r *bufio.Reader) (*Packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	p := &Packet{Conn: c.number, Client: c.client, At: time.Now()}
	p.ProtocolVersion = byte(c.version.Load())
	if err := p.FixedHeader.Decode(first); err != nil {
		return nil, err
	}
	n, size, err := packets.DecodeLength(r)
	if err != nil {
		return nil, err
	}
	p.FixedHeader.Remaining, p.Size = n, 1+size+n
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	c.counts[p.Type()]++
	p.Nth = c.counts[p.Type()]
	return p, c.decode(p, body)
}

func (c *conn) decode(p *Packet, body []byte) error {
	switch p.Type() {
	case packets.Connect:
		err := p.ConnectDecode(body)
		p.Client = p.Connect.ClientIdentifier
		return err
	case packets.Publish:
		if err := p.PublishDecode(body); err != nil {
			return err
		}
		return c.resolve(p)
	case packets.Puback:
		return p.PubackDecode(body)
	case packets.Pubrec:
		return p.PubrecDecode(body)
	case packets.Pubrel:
		return p.PubrelDecode(body)
	case packets.Pubcomp:
		return p.PubcompDecode(body)
	case packets.Subscribe:
		return p.SubscribeDecode(body)
	case packets.Unsubscribe:
		return p.UnsubscribeDecode(body)
	case packets.Disconnect:
		return p.DisconnectDecode(body)
	case packets.Auth:
		return p.AuthDecode(body)
	}
	return nil
}

// resolve puts the topic in the place of its alias.
func (c *conn) resolve(p *Packet) error {
	if !p.Properties.TopicAliasFlag {
		return nil
	}
	if p.TopicName != "" {
		c.aliases[p.Properties.TopicAlias] = p.TopicName
		return nil
	}
	topic, ok := c.aliases[p.Properties.TopicAlias]
	if !ok {
		return fmt.Errorf("topic alias %d is not known", p.Properties.TopicAlias)
	}
	p.TopicName = topic
	return nil
}

// handle has a packet's effect and answers it; it reports whether the connection goes
// on.
func (c *conn) handle(p *Packet, a *Answer, s *Script) bool {
	var reply *packets.Packet
	if c.counts[packets.Connect] == 0 {
		return false // nothing comes before CONNECT
	}
	if !a.Lost {
		reply = c.effect(p, a, s)
	}
	switch {
	case a.Disconnect != 0:
		c.disconnect(a.Disconnect)
		return false
	case a.Close:
		return false
	case a.Raw != nil:
		c.write(a.Raw)
	case reply != nil && !a.Swallow:
		c.reply(p, a, reply)
	}
	if p.Type() == packets.Connect && !a.Lost && (reply == nil || reply.ReasonCode != 0) {
		return a.Swallow
	}
	return p.Type() != packets.Disconnect
}

// reply sends an answer, after its delay.
func (c *conn) reply(p *Packet, a *Answer, reply *packets.Packet) {
	if a.Properties != nil {
		reply.Properties = *a.Properties
	}
	reply.Properties.ReasonString = a.Reason
	send := func() {
		c.send(reply)
		switch {
		case p.Type() == packets.Connect && reply.ReasonCode == 0:
			c.resend()
		case p.Type() == packets.Subscribe && a.Code < 0x80:
			c.sendRetained(p.Filters)
		}
	}
	if a.Delay == 0 {
		send()
		return
	}
	c.b.wg.Go(func() {
		select {
		case <-time.After(a.Delay):
			send()
		case <-c.ended:
		}
	})
}

// effect does what a packet asks for and returns the answer, nil for none.
func (c *conn) effect(p *Packet, a *Answer, s *Script) *packets.Packet {
	if p.Type() == packets.Connect {
		return c.connect(p, a, s)
	}
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	sess := b.session(c.client)
	reply := func(kind byte) *packets.Packet {
		r := &packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: p.PacketID, ReasonCode: a.Code}
		if kind == packets.Pubrel {
			r.FixedHeader.Qos = 1
		}
		return r
	}
	refused := a.Code >= 0x80
	switch p.Type() {
	case packets.Publish:
		return c.publish(p, sess, refused, reply)
	case packets.Pubrel:
		r := reply(packets.Pubcomp)
		if !sess.received[p.PacketID] && a.Code == 0 {
			r.ReasonCode = 0x92
		}
		delete(sess.received, p.PacketID)
		return r
	case packets.Puback, packets.Pubcomp:
		sess.out = slices.DeleteFunc(sess.out, func(o *packets.Packet) bool { return o.PacketID == p.PacketID })
	case packets.Subscribe:
		return sess.subscribe(p, a, reply(packets.Suback))
	case packets.Unsubscribe:
		r := reply(packets.Unsuback)
		r.ReasonCodes = sess.unsubscribe(p, a)
		return r
	case packets.Pingreq:
		return &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}}
	case packets.Disconnect:
		if p.ReasonCode == 0 {
			c.will = nil
		}
		if p.Properties.SessionExpiryIntervalFlag {
			sess.expiry = p.Properties.SessionExpiryInterval
		}
	}
	return nil
}

func (c *conn) publish(p *Packet, sess *session, refused bool, reply func(byte) *packets.Packet) *packets.Packet {
	switch {
	case p.FixedHeader.Qos == 2:
		if !refused && !sess.received[p.PacketID] {
			sess.received[p.PacketID] = true
			c.b.deliver(p)
		}
		return reply(packets.Pubrec)
	case !refused:
		c.b.deliver(p)
	}
	if p.FixedHeader.Qos == 0 {
		return nil
	}
	return reply(packets.Puback)
}

func (s *session) subscribe(p *Packet, a *Answer, r *packets.Packet) *packets.Packet {
	for _, f := range p.Filters {
		code := min(f.Qos, 1)
		if a.Code >= 0x80 {
			code = a.Code
		} else {
			s.subs[f.Filter] = code
		}
		r.ReasonCodes = append(r.ReasonCodes, code)
	}
	return r
}

func (s *session) unsubscribe(p *Packet, a *Answer) (codes []byte) {
	for _, f := range p.Filters {
		code := a.Code
		if _, ok := s.subs[f.Filter]; !ok && code == 0 {
			code = 0x11 // no subscription existed
		}
		if code < 0x80 {
			delete(s.subs, f.Filter)
		}
		codes = append(codes, code)
	}
	return codes
}

// connect begins or resumes a session.
func (c *conn) connect(p *Packet, a *Answer, s *Script) *packets.Packet {
	c.version.Store(uint32(p.ProtocolVersion))
	r := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, ReasonCode: a.Code}
	if len(s.Versions) > 0 && !slices.Contains(s.Versions, p.ProtocolVersion) {
		c.version.Store(uint32(s.Versions[0]))
		r.ReasonCode = 0x84
		if s.Versions[0] < 5 {
			r.ReasonCode = 1
		}
		return r
	}
	if r.ReasonCode != 0 {
		return r
	}
	c.takeOver(p.Client)
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Connect.Clean || a.Forget {
		delete(b.sessions, p.Client)
	}
	r.SessionPresent = b.sessions[p.Client] != nil
	sess := b.session(p.Client)
	sess.expiry = p.Properties.SessionExpiryInterval
	if p.ProtocolVersion < 5 {
		sess.expiry = 1
		if p.Connect.Clean {
			sess.expiry = 0
		}
	}
	if p.Connect.WillFlag {
		c.will = &p.Connect
	}
	c.client, r.Properties = p.Client, s.Connack
	return r
}

// takeOver ends the connection that the client has already.
func (c *conn) takeOver(client string) {
	for _, other := range c.b.connections() {
		if other != c && other.clientID() == client {
			other.disconnect(0x8E)
			<-other.ended
		}
	}
}

func (c *conn) clientID() string {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.client
}

// resend delivers what the client of a resumed session has not acknowledged.
func (c *conn) resend() {
	c.b.mu.Lock()
	var out []packets.Packet
	for _, p := range c.b.session(c.client).out {
		out = append(out, *p)
	}
	c.b.mu.Unlock()
	for i := range out {
		c.send(&out[i])
	}
}

// sendRetained delivers the retained messages of new subscriptions, with QoS 0.
func (c *conn) sendRetained(filters packets.Subscriptions) {
	c.b.mu.Lock()
	var out []*packets.Packet
	for topic, payload := range c.b.retained {
		if slices.ContainsFunc(filters, func(s packets.Subscription) bool { return Matches(s.Filter, topic) }) {
			out = append(out, &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true}, TopicName: topic, Payload: payload})
		}
	}
	c.b.mu.Unlock()
	for _, p := range out {
		c.send(p)
	}
}

// disconnect says why and closes.
func (c *conn) disconnect(code byte) {
	if c.version.Load() >= 5 {
		c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: code})
	}
	_ = c.nc.Close() // that is the point
}

// send writes a packet. A connection that has ended takes it as one that is lost.
func (c *conn) send(p *packets.Packet) {
	out := *p
	out.ProtocolVersion = byte(c.version.Load())
	var buf bytes.Buffer
	var err error
	switch p.FixedHeader.Type {
	case packets.Connack:
		err = out.ConnackEncode(&buf)
	case packets.Publish:
		err = out.PublishEncode(&buf)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		err = out.PubackEncode(&buf) // they are alike
	case packets.Suback:
		err = out.SubackEncode(&buf)
	case packets.Unsuback:
		err = out.UnsubackEncode(&buf)
	case packets.Pingresp:
		err = out.PingrespEncode(&buf)
	case packets.Disconnect:
		err = out.DisconnectEncode(&buf)
	default:
		err = fmt.Errorf("packet of type %d", p.FixedHeader.Type)
	}
	if err != nil {
		c.b.t.Errorf("fake broker: encode an answer: %v", err)
		return
	}
	c.write(buf.Bytes())
}

func (c *conn) write(p []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails on a closed connection, as the write does
	_, _ = c.nc.Write(p)                                    // the client has gone; the reader notices
}
