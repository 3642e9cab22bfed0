// Package fakebroker plays an MQTT broker that misbehaves on purpose. By default it is
// a good broker for MQTT 5 and 3.1.1: it keeps sessions and subscriptions, answers
// every packet, and delivers a QoS 2 message once. A [Script] changes the answer to
// any packet. Everything that arrives is recorded.
//
//	b := fakebroker.Start(t, fakebroker.Script{
//		Connack: packets.Properties{MaximumQos: 1, MaximumQosFlag: true},
//		On: func(p *fakebroker.Packet) fakebroker.Answer {
//			if p.Type() == packets.Publish && p.Size > 4000 {
//				return fakebroker.Answer{Close: true, Lost: true} // as if it never came
//			}
//			return fakebroker.Answer{}
//		},
//	})
//	… endpoint: b.URL() …
//	b.Change(func(s *fakebroker.Script) { s.On = nil }) // it is healed
//
// [Broker.Delivered] is what a subscriber would have seen, [Broker.Ledger] what the
// reference consumer makes of it.
package fakebroker

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Script says how a broker differs from a good one. The zero Script is good.
type Script struct {
	// Connack holds the properties of every CONNACK that accepts a client.
	Connack packets.Properties
	// Versions are the protocol versions that it speaks: 4 is MQTT 3.1.1. Empty: 4
	// and 5. A CONNECT of another version gets the answer that a broker of the first
	// of Versions gives.
	Versions []byte
	// On is asked for the answer to each packet that arrives. It is called on the
	// connection's goroutine, one call at a time over all connections, and must not
	// call the broker's methods. nil answers as a good broker.
	On func(*Packet) Answer
}

// Packet is a packet that arrived.
type Packet struct {
	packets.Packet
	Client string // its client id; of a CONNECT too
	Conn   int    // number of the connection, from 1
	Nth    int    // of its type on this connection, from 1
	Size   int    // in bytes, with the fixed header
	At     time.Time
}

// Type is the packet's type, such as packets.Publish.
func (p *Packet) Type() byte { return p.FixedHeader.Type }

// User returns a user property, "" if there is none.
func (p *Packet) User(key string) string {
	for _, u := range p.Properties.User {
		if u.Key == key {
			return u.Val
		}
	}
	return ""
}

// Answer says what happens to a packet in place of what a good broker does. The zero
// Answer is a good broker's.
type Answer struct {
	// Code is the reason code of the answer: CONNACK, PUBACK, PUBREC, PUBCOMP,
	// SUBACK, UNSUBACK. A packet that is answered with 0x80 or more has no effect: the
	// message is not delivered, the subscription not made.
	Code byte
	// Reason is the answer's reason string (MQTT 5).
	Reason string
	// Swallow sends no answer. The packet has its effect.
	Swallow bool
	// Lost ignores the packet: no answer and no effect, as if it had not arrived. It
	// is recorded all the same.
	Lost bool
	// Delay is how long the answer takes. What comes behind it is answered first.
	Delay time.Duration
	// Close ends the connection without a word, after the effect and in place of the
	// answer.
	Close bool
	// Disconnect ends the connection with a DISCONNECT of this code, unless it is 0.
	Disconnect byte
	// Forget loses the client's session before a CONNECT is answered.
	Forget bool
	// Raw is sent in place of the answer, as it is.
	Raw []byte
	// Properties replace the answer's, where not nil.
	Properties *packets.Properties
}
