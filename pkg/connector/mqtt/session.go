package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	paholog "github.com/eclipse/paho.golang/paho/log"
	pahosession "github.com/eclipse/paho.golang/paho/session"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// session is the connector's side of the session at the broker. It outlives
// connections. As paho's SessionManager it hears of every packet with an
// identifier; what concerns the data it hands to the sender, which alone changes
// messages.
type session struct {
	source connector.Source
	lost   func(resent int) // told when the broker has lost the session

	// Only the sender, while a connection is up, and the connector, between
	// two connections, touch these.
	inflight []*message // in the order of sending
	byID     map[uint16]*message
	chains   map[chain]uint64
	order    uint64
	record   sessionRecord
	noting   sync.Mutex          // held on a connection by what changes record or kept
	kept     map[retainedAt]bool // retained data

	mu       sync.Mutex
	conn     io.Writer // nil while there is no connection
	server   string    // the one that conn goes to
	used     map[uint16]bool
	lastID   uint16
	acks     []ack
	requests map[uint16]chan<- packets.ControlPacket // SUBSCRIBE and PUBLISH of paho's own
	limits   limits
	bye      *packets.Disconnect // what the broker said when it closed
	asked    bool                // a request had no answer when the connection ended

	wake chan struct{} // capacity 1: there are acks
	slot chan struct{} // capacity 1: one PUBLISH of paho's own at a time
}

// ack is an answer to a message of ours.
type ack struct {
	kind byte // packets.PUBACK, PUBREC, PUBCOMP
	id   uint16
	code byte
	text string // the broker's words
}

func newSession(c connector.Source, lost func(resent int)) *session {
	return &session{source: c, lost: lost, wake: make(chan struct{}, 1), slot: make(chan struct{}, 1)}
}

// load makes memory what the records say. Every connection begins with it.
func (s *session) load() (*stored, error) {
	records, err := s.source.Records()
	if err != nil {
		return nil, err
	}
	st, err := readRecords(records)
	if err != nil {
		return nil, err
	}
	s.inflight, s.chains, s.order = st.messages, st.chains, st.order
	s.byID = map[uint16]*message{}
	s.mu.Lock()
	s.used = map[uint16]bool{}
	for _, m := range s.inflight {
		s.byID[m.record.ID] = m
		s.used[m.record.ID] = true
	}
	s.mu.Unlock()
	s.kept = st.kept
	if st.session != nil {
		s.record = *st.session
	}
	return st, nil
}

// cleanStart reports whether what the server may still hold for us is not the
// session that the records belong to.
func (s *session) cleanStart(server, clientID string) bool {
	return s.record.Epoch != s.source.Epoch() || s.record.ClientID != clientID || len(s.record.Servers) == 0 || slices.Contains(s.record.Stale, server)
}

// disown notes, durably, that another client has had the session: what it left
// there under our packet identifiers must not be taken for ours.
func (s *session) disown() error {
	rec := s.record
	rec.Servers, rec.Stale = nil, slices.Clone(rec.Stale)
	for _, server := range s.record.Servers {
		if !slices.Contains(rec.Stale, server) {
			rec.Stale = append(rec.Stale, server)
		}
	}
	r, err := put(keySession, rec, bus.Range{})
	if err != nil {
		return err
	}
	if err := s.source.Commit(bus.Commit{Put: []bus.Record{r}, Sync: true}); err != nil {
		return fmt.Errorf("store that the session is another client's: %w", err)
	}
	s.record = rec
	return nil
}

// errNotOurs says that the broker has a session under our client id that is not
// the one of the records. It is shown when that is so although we have just ended
// the one that it had.
var errNotOurs = errors.New("another client with the same client id has begun a session in the same moment; each gateway needs its own client_id")

// expect prepares for a CONNACK of server.
func (s *session) expect(server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.bye, s.acks, s.asked = server, nil, nil, false
}

// ConAckReceived takes note of the connection. When the broker has no session it
// makes all that was in flight ready to be sent anew, durably, before anything
// else can be: otherwise a PUBREL for a message of the lost session would be
// answered with "not found", which means delivered.
func (s *session) ConAckReceived(w io.Writer, cp *packets.Connect, ca *packets.Connack) error {
	s.mu.Lock()
	server := s.server
	s.mu.Unlock()
	if err := s.adopt(server, cp.ClientID, ca.SessionPresent); err != nil {
		if errors.Is(err, errNotOurs) {
			giveUpSession(w)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = w
	s.requests = map[uint16]chan<- packets.ControlPacket{}
	s.limits = readLimits(ca.Properties)
	return nil
}

func (s *session) adopt(server, clientID string, present bool) error {
	rec := sessionRecord{Epoch: s.source.Epoch(), ClientID: clientID, Retained: s.record.Retained}
	var c bus.Commit
	if present && s.cleanStart(server, clientID) {
		return errNotOurs
	}
	sameEpoch := s.record.Epoch == rec.Epoch
	if !sameEpoch { // a log restored from a backup: its chains begin anew
		for ch := range s.chains {
			c.Delete = append(c.Delete, ch.key())
		}
		clear(s.chains)
	}
	if present {
		rec.Servers, rec.Stale, rec.Subscribed = s.record.Servers, s.record.Stale, s.record.Subscribed
		if slices.Contains(rec.Servers, server) {
			return nil // the session as we know it
		}
		rec.Servers = append(slices.Clone(rec.Servers), server)
	} else {
		rec.Servers = []string{server}
		for _, old := range append(slices.Clone(s.record.Servers), s.record.Stale...) {
			if old != server && !slices.Contains(rec.Stale, old) {
				rec.Stale = append(rec.Stale, old)
			}
		}
		for _, m := range s.inflight {
			stands := !m.record.Released && !m.record.Doubt && sameEpoch
			if _, err := m.on(evLost); err != nil {
				return err
			}
			if stands {
				continue
			}
			m.note()
			if !sameEpoch {
				m.record.Prev = 0 // what came before has no number in this epoch
			}
			r, err := put(m.record.key(), m.record, m.window.rng())
			if err != nil {
				return err
			}
			c.Put = append(c.Put, r)
		}
	}
	r, err := put(keySession, rec, bus.Range{})
	if err != nil {
		return err
	}
	c.Put, c.Sync = append(c.Put, r), true
	if err := s.source.Commit(c); err != nil {
		return fmt.Errorf("store the session: %w", err)
	}
	s.record = rec
	if !present && len(s.inflight) > 0 {
		s.lost(len(s.inflight))
	}
	return nil
}

// ConnectionLost ends the requests that wait for an answer. It may be called
// several times.
func (s *session) ConnectionLost(dp *packets.Disconnect) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dp != nil && s.bye == nil {
		s.bye = dp
	}
	s.conn = nil
	s.asked = s.asked || len(s.requests) > 0
	for id, resp := range s.requests {
		resp <- packets.ControlPacket{} // paho's channels have room for the one answer
		s.endRequest(id)
	}
	return nil
}

// asking reports whether a request of paho's own waits for an answer, or did so when the
// connection ended.
func (s *session) asking() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked || len(s.requests) > 0
}

// endRequest frees a request's identifier. The caller holds mu.
func (s *session) endRequest(id uint16) {
	delete(s.requests, id)
	delete(s.used, id)
	<-s.slot // taken with the identifier
}

// AddToSession gives a packet of paho's own an identifier: SUBSCRIBE, UNSUBSCRIBE,
// and PUBLISH with QoS 1 for birth and command results, which are not kept beyond
// the connection.
func (s *session) AddToSession(ctx context.Context, p pahosession.Packet, resp chan<- packets.ControlPacket) error {
	// One at a time is plenty, and keeps within the receive maximum.
	select {
	case s.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		<-s.slot
		return pahosession.ErrNoConnection
	}
	id, err := s.takeIDLocked()
	if err != nil {
		<-s.slot
		return err
	}
	p.SetIdentifier(id)
	s.requests[id] = resp
	return nil
}

// forget takes a message out of flight.
func (s *session) forget(m *message) {
	delete(s.byID, m.record.ID)
	s.freeID(m.record.ID)
	if i := slices.Index(s.inflight, m); i >= 0 {
		s.inflight = slices.Delete(s.inflight, i, i+1)
	}
}

// anyRefused reports whether the broker has refused a message that is still to be
// sent.
func (s *session) anyRefused() bool {
	return slices.ContainsFunc(s.inflight, func(m *message) bool { return m.refused })
}

// takeID returns a packet identifier that is not in use.
func (s *session) takeID() (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeIDLocked()
}

func (s *session) takeIDLocked() (uint16, error) {
	for range math.MaxUint16 {
		s.lastID++
		if s.lastID != 0 && !s.used[s.lastID] {
			s.used[s.lastID] = true
			return s.lastID, nil
		}
	}
	return 0, pahosession.ErrPacketIdentifiersExhausted
}

func (s *session) freeID(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.used, id)
}

// PacketReceived takes a packet with an identifier from paho's reading goroutine,
// which it must not hold up: answers to messages are queued for the sender, so
// that all that the read buffer held share one sync.
func (s *session) PacketReceived(p *packets.ControlPacket, publishes chan<- *packets.Publish) error {
	switch c := p.Content.(type) {
	case *packets.Publish:
		publishes <- c // has room for the receive maximum that we sent
	case *packets.Pubrel:
		return s.answer(&packets.Pubcomp{PacketID: c.PacketID})
	case *packets.Puback:
		if !s.answered(c.PacketID, p) {
			s.queue(ack{packets.PUBACK, c.PacketID, c.ReasonCode, reasonString(c.Properties)})
		}
	case *packets.Pubrec:
		s.queue(ack{packets.PUBREC, c.PacketID, c.ReasonCode, reasonString(c.Properties)})
	case *packets.Pubcomp:
		s.queue(ack{packets.PUBCOMP, c.PacketID, c.ReasonCode, ""})
	case *packets.Suback:
		s.answered(c.PacketID, p)
	case *packets.Unsuback:
		s.answered(c.PacketID, p)
	}
	return nil
}

// answered hands the answer to a request of paho's own to the one who waits.
func (s *session) answered(id uint16, p *packets.ControlPacket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	resp, ok := s.requests[id]
	if ok {
		resp <- *p
		s.endRequest(id)
	}
	return ok
}

func reasonString(p *packets.Properties) string {
	if p == nil {
		return ""
	}
	return p.ReasonString
}

func (s *session) queue(a ack) {
	s.mu.Lock()
	s.acks = append(s.acks, a)
	s.mu.Unlock()
	s.poke()
}

// poke wakes the sender.
func (s *session) poke() { poke(s.wake) }

// takeAcks returns the answers since the last call.
func (s *session) takeAcks() []ack {
	s.mu.Lock()
	defer s.mu.Unlock()
	acks := s.acks
	s.acks = nil
	return acks
}

// hasAcks reports whether answers wait for the sender.
func (s *session) hasAcks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acks) > 0
}

// Ack is called when paho has handed a message on; it is acknowledged when the
// command in it is safe.
func (s *session) Ack(*packets.Publish) error { return nil }

// acknowledge tells the broker that a message that came in is safe here.
func (s *session) acknowledge(qos byte, id uint16) error {
	switch qos {
	case 1:
		return s.answer(&packets.Puback{PacketID: id, Properties: &packets.Properties{}})
	case 2:
		return s.answer(&packets.Pubrec{PacketID: id, Properties: &packets.Properties{}})
	}
	return nil
}

func (s *session) answer(p interface {
	WriteTo(io.Writer) (int64, error)
}) error {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn == nil {
		return pahosession.ErrNoConnection // the broker sends it again
	}
	_, err := p.WriteTo(conn)
	return err
}

// currentLimits returns what the broker allows on this connection.
func (s *session) currentLimits() limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits
}

// farewell returns what the broker said when it closed the connection, if it did.
func (s *session) farewell() *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bye == nil {
		return nil
	}
	return refusedLater(s.bye)
}

// Close is for sessions that paho owns; ours stays.
func (s *session) Close() error { return errors.New("mqtt: the session belongs to the connector") }

// SetErrorLogger is not used: what matters comes back as an error.
func (s *session) SetErrorLogger(paholog.Logger) {}

// SetDebugLogger is not used.
func (s *session) SetDebugLogger(paholog.Logger) {}

var _ pahosession.SessionManager = (*session)(nil)
