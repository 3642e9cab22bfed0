package modbus

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// registerBytes is the size of a register as the standard has it.
const registerBytes = 2

// maxReadBytes is how much data one answer has room for.
const maxReadBytes = maxReadRegisters * registerBytes

// WideRegisters is a range of addresses, each of which is one register of more than
// two bytes, as Enron's Modbus has it. A read of it answers so many bytes for each.
type WideRegisters struct {
	Type  config.AddressType `json:"type"`
	Start uint32             `json:"start"` // as an address's addr
	Len   uint32             `json:"len"`   // addresses
	Bytes uint16             `json:"bytes"` // of each register; 0: 4
}

// defaultWide is the size of Enron's registers.
const defaultWide = 4

// zone is a range of wide registers in protocol addresses.
type zone struct {
	fn         Func
	start, end int // end is the address behind it
	bytes      int // of each register
}

// resolveWide makes s.zones of s.Wide.
func (s *Settings) resolveWide(c *checker) {
	for i, w := range s.Wide {
		at, err := s.protocolAddress(config.Address{Type: w.Type, Addr: w.Start})
		if err != nil {
			c.failf("wide_registers", "range %d: start: %s", i+1, config.FieldErrors(err)[0].Msg)
			continue
		}
		z := zone{start: int(at), end: int(at) + int(w.Len), bytes: int(cmp.Or(w.Bytes, defaultWide))}
		if z.fn, err = readFunc(w.Type); err != nil {
			c.failf("wide_registers", "range %d: %v", i+1, err)
			continue
		}
		if z.end > 1<<16 {
			c.failf("wide_registers", "range %d: len: %d from %d on ends beyond 65535", i+1, w.Len, at)
		}
		if j := slices.IndexFunc(s.zones, func(o zone) bool { return o.fn == z.fn && o.start < z.end && z.start < o.end }); j >= 0 {
			c.failf("wide_registers", "range %d overlaps %d–%d", i+1, s.zones[j].start, s.zones[j].end-1)
		}
		s.zones = append(s.zones, z)
	}
}

// width returns how many bytes the register at addr of f's table has.
func (s *Settings) width(f Func, addr uint16) int {
	for _, z := range s.zones {
		if z.fn == f && int(addr) >= z.start && int(addr) < z.end {
			return z.bytes
		}
	}
	return registerBytes
}

// stretch numbers the runs of registers that have no border of a range of wide ones
// in them: two addresses with one number may be read together.
func (s *Settings) stretch(f Func, addr uint16) (n int) {
	for _, z := range s.zones {
		if z.fn != f {
			continue
		}
		if int(addr) >= z.start {
			n++
		}
		if int(addr) >= z.end {
			n++
		}
	}
	return n
}

// uniform reports whether all registers from addr on have one size.
func (s *Settings) uniform(f Func, addr, qty uint16) bool {
	return len(s.zones) == 0 || qty == 0 || s.stretch(f, addr) == s.stretch(f, addr+qty-1)
}

// readLimit returns how many items from addr on one read can have at most.
func (s *Settings) readLimit(f Func, addr uint16) uint16 {
	if f.bits() {
		return maxReadBits
	}
	return uint16(maxReadBytes / s.width(f, addr))
}

// answerBytes returns the length of the data that a read answers.
func (s *Settings) answerBytes(f Func, addr, qty uint16) int {
	if f.bits() {
		return s.BitBytes.of(f.dataBytes(qty))
	}
	return s.width(f, addr) * int(qty)
}

// BitBytes says how many bytes of coils or discrete inputs the device answers:
// [BitsExact], [BitsEven], or at least so many.
type BitBytes int

// The words.
const (
	BitsExact BitBytes = 0  // as many as are needed
	BitsEven  BitBytes = -1 // filled up to an even number
)

// UnmarshalText reads what the schema accepts.
func (b *BitBytes) UnmarshalText(text []byte) (err error) {
	switch string(text) {
	case "exact":
		*b = BitsExact
	case "even":
		*b = BitsEven
	default:
		var n int
		n, err = strconv.Atoi(string(text))
		*b = BitBytes(n)
	}
	return err
}

// of returns how many bytes come where n are needed.
func (b BitBytes) of(n int) int {
	if b == BitsEven {
		return n + n%2
	}
	return max(n, int(b))
}
