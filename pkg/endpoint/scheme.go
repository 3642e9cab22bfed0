package endpoint

import (
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Scheme is one layer of an endpoint: a transport, something around it, or a
// framing.
type Scheme uint8

// The schemes. TCP, UDP, Serial, TLS, DTLS and QUIC can be dialled; the others
// parse, so that tables may be written ahead, and fail to dial with
// [ErrUnsupportedScheme]. RTU and ASCII name the framing of Modbus for the
// driver and change nothing about the connection.
const (
	noScheme Scheme = iota
	Serial
	CAN
	Bluetooth
	TCP
	UDP
	PRP
	TSN
	TLS
	DTLS
	QUIC
	RTU
	ASCII
)

// schemeNames are indexed by Scheme, in the order "weak to strong" in which a
// NormalizedURL lists them.
var schemeNames = [...]string{
	Serial: "serial", CAN: "can", Bluetooth: "bluetooth", TCP: "tcp", UDP: "udp",
	PRP: "prp", TSN: "tsn", TLS: "tls", DTLS: "dtls", QUIC: "quic",
	RTU: "rtu", ASCII: "ascii",
}

func (s Scheme) String() string {
	if s == noScheme || int(s) >= len(schemeNames) {
		return fmt.Sprintf("Scheme(%d)", uint8(s))
	}
	return schemeNames[s]
}

// transport reports whether s carries bytes by itself.
func (s Scheme) transport() bool { return s >= Serial && s <= UDP }

func (s Scheme) framing() bool { return s == RTU || s == ASCII }

func (s Scheme) dialable() bool {
	switch s {
	case Serial, TCP, UDP, TLS, DTLS, QUIC:
		return true
	}
	return s.framing()
}

func schemeOf(name string) Scheme {
	for s := Serial; int(s) < len(schemeNames); s++ {
		if schemeNames[s] == name {
			return s
		}
	}
	return noScheme
}

// maxStack is one of each kind: framing, security, tsn, prp, transport.
const maxStack = 5

// stack is a list of schemes, outermost first, filled up with noScheme. An
// array, so that URLs compare with ==.
type stack [maxStack]Scheme

func (s *stack) list() []Scheme {
	for i, v := range s {
		if v == noScheme {
			return s[:i]
		}
	}
	return s[:]
}

func (s *stack) has(x Scheme) bool {
	for _, v := range s {
		if v == x {
			return true
		}
	}
	return false
}

func (s *stack) String() string {
	var b strings.Builder
	for i, v := range s.list() {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// base is the transport at the bottom: the one named, or the one that the other
// schemes imply.
func (s *stack) base() Scheme {
	for _, v := range s {
		if v.transport() {
			return v
		}
	}
	if s.has(DTLS) || s.has(QUIC) {
		return UDP
	}
	return TCP
}

// stream reports whether reads and writes keep no borders, on a network.
func (s *stack) stream() bool { return s.base() == TCP || s.has(QUIC) }

func (s *stack) network() bool { b := s.base(); return b == TCP || b == UDP }

// Datagrams reports whether what is written over a scheme of the endpoints table
// arrives in the pieces that it was written in, or not at all.
func Datagrams(scheme string) bool {
	s, err := parseStack(scheme)
	return err == nil && s.network() && !s.stream()
}

// normalized is the stack without framing, with its transport, weak to strong.
func (s *stack) normalized() (n stack) {
	i := 0
	for v := Serial; v <= QUIC; v++ {
		if s.has(v) || v == s.base() {
			n[i] = v
			i++
		}
	}
	return n
}

// parseStack reads "tls+tcp". The order of the layers is free.
func parseStack(text string) (s stack, err error) {
	n := 0
	for rest, more := text, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "+")
		v := schemeOf(name)
		if v == noScheme {
			return s, unknownScheme(name)
		}
		if s.has(v) {
			return s, fieldError("scheme", "%q names %s twice", text, name)
		}
		if n == maxStack {
			return s, fieldError("scheme", "%q has too many layers", text)
		}
		s[n] = v
		n++
	}
	return s, s.check(text)
}

// check refuses layers that can't stand on each other.
func (s *stack) check(text string) error {
	var transports, secure, framings int
	for _, v := range s.list() {
		switch {
		case v.transport():
			transports++
		case v == TLS || v == DTLS || v == QUIC:
			secure++
		case v.framing():
			framings++
		}
	}
	base := s.base()
	switch {
	case transports > 1:
		return fieldError("scheme", "%q names more than one transport", text)
	case secure > 1:
		return fieldError("scheme", "%q names more than one of tls, dtls and quic", text)
	case framings > 1:
		return fieldError("scheme", "%q names more than one framing", text)
	case transports+secure == 0 && !s.has(TSN) && !s.has(PRP):
		return fieldError("scheme", "%q names no transport: write %s+tcp or %s+serial", text, text, text)
	case s.has(TLS) && base != TCP:
		return fieldError("scheme", "%q: tls needs tcp (over udp it is dtls)", text)
	case (s.has(DTLS) || s.has(QUIC)) && base != UDP:
		return fieldError("scheme", "%q: dtls and quic need udp (over tcp it is tls)", text)
	case (s.has(TSN) || s.has(PRP)) && !s.network():
		return fieldError("scheme", "%q: tsn and prp need tcp or udp", text)
	}
	return nil
}

func unknownScheme(name string) error {
	names := schemeNames[Serial:]
	msg := fmt.Sprintf("unknown scheme %q", config.MaskUser(name))
	if near := config.Nearest(name, names); near != "" {
		msg += fmt.Sprintf(", did you mean %q?", near)
	} else {
		msg += "; known are " + strings.Join(names, ", ")
	}
	return &config.FieldError{Path: []string{"scheme"}, Msg: msg, Err: ErrUnknownScheme}
}
