package mqtt311

import (
	"encoding/binary"
	"errors"
)

// stream translates the packets of one direction.
type stream struct {
	translate  func(dst []byte, first byte, body []byte) ([]byte, error) // a whole packet
	properties change                                                    // of PUBLISH

	begun bool   // a packet has come
	head  []byte // the beginning of a packet that is not known well enough yet
	pass  int    // bytes of payload that follow as they are
	most  int    // bytes of payload that are passed on
	skip  int    // bytes of payload after those that are left out
}

// change is what happens to a part that only MQTT 5 has.
type change bool

const (
	drop change = false
	add  change = true
)

var (
	errMalformed = errors.New("malformed packet")
	errTooLarge  = errors.New("packet too large")
)

// feed translates what p completes, appends it to dst and returns dst.
func (s *stream) feed(dst, p []byte) ([]byte, error) {
	s.begun = s.begun || len(p) > 0
	if len(s.head) > 0 {
		s.head = append(s.head, p...)
		p = s.head
	}
	for len(p) > 0 {
		if s.pass > 0 {
			n := min(s.pass, len(p))
			dst, p, s.pass = append(dst, p[:n]...), p[n:], s.pass-n
			continue
		}
		if s.skip > 0 {
			n := min(s.skip, len(p))
			p, s.skip = p[n:], s.skip-n
			continue
		}
		rest, out, err := s.packet(dst, p)
		if err != nil {
			return dst, err
		}
		dst = out
		if len(rest) == len(p) {
			break // more is needed
		}
		p = rest
	}
	s.head = append(s.head[:0], p...) // which may be its own end
	return dst, nil
}

// packet translates one packet at the beginning of p, if it is whole, or all of a
// PUBLISH but its payload, and returns what follows: all of p when it needs more.
func (s *stream) packet(dst, p []byte) (rest, out []byte, err error) {
	size, n, err := uvarint(p[1:])
	if err != nil || n == 0 {
		return p, dst, err
	}
	first, body := p[0], p[1+n:]
	switch {
	case first>>4 == publish:
		rest, out, err = s.publish(dst, first, size, body)
	case size > MaxPacket:
		return p, dst, errTooLarge
	case len(body) >= size:
		rest = body[size:]
		out, err = s.translate(dst, first, body[:size])
	default:
		return p, dst, nil
	}
	if out == nil {
		return p, dst, err
	}
	return rest, out, err
}

// publish translates the variable header of a PUBLISH; out is nil when it is not
// whole.
func (s *stream) publish(dst []byte, first byte, size int, body []byte) (rest, out []byte, err error) {
	have := body[:min(size, len(body))]
	more := func() ([]byte, []byte, error) {
		if len(have) == size {
			return nil, nil, errMalformed
		}
		return nil, nil, nil
	}
	if len(have) < 2 {
		return more()
	}
	at := 2 + int(binary.BigEndian.Uint16(have)) // where the properties are, or go
	if first&0x06 != 0 {
		at += 2
	}
	if len(have) < at {
		return more()
	}
	if s.properties == add {
		s.pass = min(size-at, s.most)
		s.skip = size - at - s.pass
		out = append(append(header(dst, first, at+1+s.pass), have[:at]...), 0)
		return body[at:], out, nil
	}
	length, n, err := uvarint(have[at:])
	switch props := n + length; {
	case err != nil:
		return nil, nil, err
	case n == 0 || len(have) < at+props:
		return more()
	default:
		s.pass = size - at - props
		return body[at+props:], append(header(dst, first, size-props), have[:at]...), nil
	}
}

// header appends a fixed header.
func header(dst []byte, first byte, size int) []byte {
	return binary.AppendUvarint(append(dst, first), uint64(size)) // which is written like a variable byte integer
}

// uvarint reads a variable byte integer (1.5.5); n is 0 when it is not whole.
func uvarint(p []byte) (v, n int, err error) {
	for i, b := range p {
		if i == 4 {
			return 0, 0, errMalformed
		}
		v |= int(b&0x7F) << (7 * i)
		if b < 0x80 {
			return v, i + 1, nil
		}
	}
	return 0, 0, nil
}
