package mqtt311

import (
	"encoding/binary"
	"sync"
)

// The packet types.
const (
	connect     = 1
	connack     = 2
	publish     = 3
	puback      = 4
	pubcomp     = 7
	subscribe   = 8
	suback      = 9
	unsubscribe = 10
	unsuback    = 11
	disconnect  = 14
	auth        = 15
)

const (
	level            = 4    // of the protocol
	disconnectWill   = 0x04 // DISCONNECT, with the last will
	flagUser         = 0x80 // of CONNECT
	flagPassword     = 0x40
	flagWill         = 0x04
	maxFilters       = 1024 // UNSUBSCRIBEs that wait for an answer
	subscriptionQoS  = 0x03
	notAuthorized    = 0x87
	badUserPassword  = 0x86
	serverBusy       = 0x88
	badClientID      = 0x85
	wrongVersion     = 0x84
	unspecifiedError = 0x80
)

// ReasonCode returns the reason code of MQTT 5 that means what a return code of a
// CONNACK of 3.1.1 means (3.2.2.3).
func ReasonCode(returnCode byte) byte {
	codes := [...]byte{0, wrongVersion, badClientID, serverBusy, badUserPassword, notAuthorized}
	if int(returnCode) < len(codes) {
		return codes[returnCode]
	}
	return unspecifiedError
}

// filters knows how many filters an UNSUBSCRIBE had, which the answer of 3.1.1 does
// not tell.
type filters struct {
	mu sync.Mutex
	n  map[uint16]int
}

// toBroker translates a packet of the client.
func (f *filters) toBroker(dst []byte, first byte, body []byte) ([]byte, error) {
	r := reader{p: body}
	var out []byte
	switch kind := first >> 4; {
	case kind == connect:
		out = connectOf(&r)
	case kind >= puback && kind <= pubcomp:
		out = r.take(2)
	case kind == subscribe:
		out = append(out, r.take(2)...)
		for r.properties(); len(r.p) > 0 && !r.bad; {
			out = append(out, r.text()...)
			out = append(out, r.byte()&subscriptionQoS)
		}
	case kind == unsubscribe:
		id := r.take(2)
		r.properties()
		out = append(append(out, id...), r.p...)
		f.note(id, r.p)
	case kind == disconnect:
		if len(body) > 0 && body[0] == disconnectWill {
			return dst, nil // the broker publishes the will when there is no DISCONNECT
		}
	case kind == auth:
		return dst, nil
	default:
		out = body
	}
	if r.bad {
		return dst, errMalformed
	}
	return append(header(dst, first, len(out)), out...), nil
}

// connectOf translates the body of a CONNECT.
func connectOf(r *reader) []byte {
	out := append([]byte(nil), r.text()...) // "MQTT"
	r.byte()
	flags := r.byte()
	keepalive := r.take(2)
	r.properties()
	noUser := flags&flagPassword != 0 && flags&flagUser == 0 // which 3.1.1 does not allow (3.1.2.9)
	if noUser {
		flags |= flagUser
	}
	out = append(append(out, level, flags), keepalive...)
	out = append(out, r.text()...) // client id
	if flags&flagWill != 0 {
		r.properties()
		out = append(append(out, r.text()...), r.text()...)
	}
	if noUser {
		out = append(out, 0, 0)
	}
	return append(out, r.p...)
}

// toClient translates a packet of the broker.
func (f *filters) toClient(dst []byte, first byte, body []byte) ([]byte, error) {
	r := reader{p: body}
	var out []byte
	switch kind := first >> 4; kind {
	case connack:
		flags, code := r.byte(), r.byte()
		if code != 0 {
			flags = 0
		}
		out = []byte{flags & 1, ReasonCode(code), 0}
	case suback:
		out = append(append(out, r.take(2)...), 0)
		out = append(out, r.p...)
	case unsuback:
		id := r.take(2)
		out = append(append(out, id...), 0)
		out = append(out, make([]byte, f.forget(id))...)
	default:
		out = body
	}
	if r.bad {
		return dst, errMalformed
	}
	return append(header(dst, first, len(out)), out...), nil
}

// note counts the filters of an UNSUBSCRIBE.
func (f *filters) note(id, list []byte) {
	n := 0
	for r := (reader{p: list}); len(r.p) > 0 && !r.bad; n++ {
		r.text()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(id) == 2 && len(f.n) < maxFilters {
		f.n[binary.BigEndian.Uint16(id)] = n
	}
}

func (f *filters) forget(id []byte) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(id) != 2 {
		return 0
	}
	n := f.n[binary.BigEndian.Uint16(id)]
	delete(f.n, binary.BigEndian.Uint16(id))
	return n
}

// reader takes a body apart. It is bad when something was missing.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.p) < n {
		r.bad, r.p = true, nil
		return nil
	}
	out := r.p[:n]
	r.p = r.p[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// text takes a string or binary data, with its length before it.
func (r *reader) text() []byte {
	if len(r.p) < 2 {
		r.bad, r.p = true, nil
		return nil
	}
	return r.take(2 + int(binary.BigEndian.Uint16(r.p)))
}

// properties passes over properties.
func (r *reader) properties() {
	n, size, err := uvarint(r.p)
	if err != nil || size == 0 {
		r.bad, r.p = true, nil
		return
	}
	r.take(size + n)
}
