package mqttwire

import "fmt"

// Sizes follows the packets of a broker and refuses one that is larger than we ask for. A
// library would take what its header announces.
type Sizes struct {
	Max int // bytes of a packet behind its header

	first  byte // of the packet at hand
	left   int  // its bytes that are to come
	length int  // as far as it is read
	shift  uint // of the next byte of the length; 0: the next byte is a packet's first
	begun  func(first byte, length int)
}

// OnPacket has f called with the first byte and the length of each packet, when its header
// is read.
func (s *Sizes) OnPacket(f func(first byte, length int)) { s.begun = f }

// Follow takes the next bytes that were read.
func (s *Sizes) Follow(p []byte) error {
	for len(p) > 0 {
		switch {
		case s.left > 0:
			n := min(s.left, len(p))
			p, s.left = p[n:], s.left-n
			continue
		case s.shift == 0:
			s.first, s.shift, s.length = p[0], 7, 0
		default:
			if err := s.size(p[0]); err != nil {
				return err
			}
		}
		p = p[1:]
	}
	return nil
}

// size takes the next byte of a length (1.5.5).
func (s *Sizes) size(b byte) error {
	s.length |= int(b&0x7F) << (s.shift - 7)
	s.shift += 7
	if s.length > s.Max || s.shift > 4*7+7 {
		return fmt.Errorf("the broker sends a packet of more than %d bytes, which nobody asked for", s.Max)
	}
	if b < 0x80 {
		s.left, s.shift = s.length, 0
		if s.begun != nil {
			s.begun(s.first, s.length)
		}
	}
	return nil
}

// Between reports whether no packet is half read.
func (s *Sizes) Between() bool { return s.left == 0 && s.shift == 0 }
