package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// ByteOrder is the order in which a device sends the bytes of a value that is
// wider than a byte. A is the most significant byte of a 32-bit value; two bytes
// share a register. Of a 16-bit value, BADC and DCBA swap the two bytes.
type ByteOrder uint8

// The byte orders; in brackets their 64-bit forms.
const (
	ABCD ByteOrder = iota // big-endian, the standard's order (ABCDEFGH)
	BADC                  // bytes of each register swapped (BADCFEHG)
	CDAB                  // registers in reverse order (GHEFCDAB)
	DCBA                  // little-endian, both of it (HGFEDCBA)
)

// ByteOrders are all of them.
func ByteOrders() []ByteOrder { return []ByteOrder{ABCD, BADC, CDAB, DCBA} }

// String returns the order's 32-bit name.
func (o ByteOrder) String() string {
	switch o {
	case ABCD:
		return "ABCD"
	case BADC:
		return "BADC"
	case CDAB:
		return "CDAB"
	case DCBA:
		return "DCBA"
	}
	return fmt.Sprintf("order(%d)", uint8(o))
}

// ParseByteOrder reads a 32-bit or 64-bit name, or big or little.
func ParseByteOrder(s string) (ByteOrder, error) {
	switch strings.ToUpper(s) {
	case "ABCD", "ABCDEFGH", "BIG":
		return ABCD, nil
	case "BADC", "BADCFEHG":
		return BADC, nil
	case "CDAB", "GHEFCDAB":
		return CDAB, nil
	case "DCBA", "HGFEDCBA", "LITTLE":
		return DCBA, nil
	}
	return ABCD, fmt.Errorf("byte order %q: expected ABCD, BADC, CDAB or DCBA", s)
}

// UnmarshalText reads what [ParseByteOrder] reads.
func (o *ByteOrder) UnmarshalText(text []byte) (err error) {
	*o, err = ParseByteOrder(string(text))
	return err
}

// swapsBytes reports whether o swaps the two bytes of a register.
func (o ByteOrder) swapsBytes() bool { return o == BADC || o == DCBA }

func (o ByteOrder) uint16(b []byte) uint16 {
	if o.swapsBytes() {
		return binary.LittleEndian.Uint16(b)
	}
	return binary.BigEndian.Uint16(b)
}

func (o ByteOrder) uint32(b []byte) uint32 {
	switch o {
	case BADC:
		return swapWords32(binary.LittleEndian.Uint32(b))
	case CDAB:
		return swapWords32(binary.BigEndian.Uint32(b))
	case DCBA:
		return binary.LittleEndian.Uint32(b)
	}
	return binary.BigEndian.Uint32(b)
}

func (o ByteOrder) uint64(b []byte) uint64 {
	switch o {
	case BADC:
		return swapWords64(binary.LittleEndian.Uint64(b))
	case CDAB:
		return swapWords64(binary.BigEndian.Uint64(b))
	case DCBA:
		return binary.LittleEndian.Uint64(b)
	}
	return binary.BigEndian.Uint64(b)
}

// put writes the low len(b) bytes (2, 4 or 8) of v to b.
func (o ByteOrder) put(b []byte, v uint64) {
	switch len(b) {
	case 2:
		binary.BigEndian.PutUint16(b, uint16(v))
	case 4:
		if o == BADC || o == CDAB {
			v = uint64(swapWords32(uint32(v)))
		}
		binary.BigEndian.PutUint32(b, uint32(v))
		if o == BADC || o == DCBA {
			reverse(b)
		}
		return
	case 8:
		if o == BADC || o == CDAB {
			v = swapWords64(v)
		}
		binary.BigEndian.PutUint64(b, v)
	}
	if o.swapsBytes() {
		reverse(b)
	}
}

func swapWords32(v uint32) uint32 { return v<<16 | v>>16 }

func swapWords64(v uint64) uint64 {
	return v<<48 | v&0xFFFF0000<<16 | v>>16&0xFFFF0000 | v>>48
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

// kind is a data type as decoding branches on it: comparing names would cost
// more than decoding.
type kind uint8

const (
	kindBool kind = iota + 1
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindUint64
	kindInt64
	kindFloat32
	kindFloat64
	kindString
	kindBinary
	kindBCD16
	kindBCD32
	kindUint8
	kindInt8
	kindUint24
	kindInt24
	kindUint48
	kindInt48
	kindFloat16
	kindBCD48
	kindBCD64
	kindMod10k
	kindUnix32
	kindUnix64
	kindUnix64MS
	kindYMDHMS
	kindS7DT
	kindCP56
)

// kindOf returns the kind of t and the registers that a value of it takes; 0
// registers where the variable says it.
func kindOf(t config.DataType) (k kind, regs uint16, ok bool) {
	switch t {
	case config.TypeBool:
		return kindBool, 1, true
	case config.TypeUint16:
		return kindUint16, 1, true
	case config.TypeInt16:
		return kindInt16, 1, true
	case config.TypeBCD16:
		return kindBCD16, 1, true
	case config.TypeUint32:
		return kindUint32, 2, true
	case config.TypeInt32:
		return kindInt32, 2, true
	case config.TypeFloat32, "float":
		return kindFloat32, 2, true
	case config.TypeBCD32:
		return kindBCD32, 2, true
	case config.TypeUint64:
		return kindUint64, 4, true
	case config.TypeInt64:
		return kindInt64, 4, true
	case config.TypeFloat64:
		return kindFloat64, 4, true
	case config.TypeUint8:
		return kindUint8, 1, true
	case config.TypeInt8:
		return kindInt8, 1, true
	case config.TypeFloat16:
		return kindFloat16, 1, true
	case config.TypeUint24:
		return kindUint24, 2, true
	case config.TypeInt24:
		return kindInt24, 2, true
	case config.TypeUint48:
		return kindUint48, 3, true
	case config.TypeInt48:
		return kindInt48, 3, true
	case config.TypeBCD48:
		return kindBCD48, 3, true
	case config.TypeBCD64:
		return kindBCD64, 4, true
	case config.TypeMod10k:
		return kindMod10k, 0, true
	case config.TypeUnix32:
		return kindUnix32, 2, true
	case config.TypeUnix64:
		return kindUnix64, 4, true
	case config.TypeUnix64MS:
		return kindUnix64MS, 4, true
	case config.TypeYMDHMS:
		return kindYMDHMS, 6, true
	case config.TypeS7DT:
		return kindS7DT, 4, true
	case config.TypeCP56Time2a:
		return kindCP56, 4, true
	case config.TypeString:
		return kindString, 0, true
	case config.TypeBinary:
		return kindBinary, 0, true
	}
	return 0, 0, false
}

// Registers returns how many registers a value of t takes, 0 where the variable says
// it, or for a type that there is not.
func Registers(t config.DataType) int {
	_, n, _ := kindOf(t)
	return int(n)
}

// decode reads the value of p from data, the bytes of p's registers or, for
// coils and discrete inputs, of the whole answer. It allocates for text and
// bytes only. What is no value of p's data type is bad.
func (p *Point) decode(data []byte) (frame.Value, frame.Quality) {
	if p.Func.bits() {
		return p.decodeBits(data)
	}
	if p.apart {
		var pair [4]byte
		copy(pair[:2], data[p.first:])
		copy(pair[2:], data[p.second:])
		data = pair[:]
	}
	switch p.kind {
	case kindUint16:
		return frame.IntValue(int64(p.Order.uint16(data))), frame.Good
	case kindInt16:
		return frame.IntValue(int64(int16(p.Order.uint16(data)))), frame.Good
	case kindUint32:
		return frame.IntValue(int64(p.Order.uint32(data))), frame.Good
	case kindInt32:
		return frame.IntValue(int64(int32(p.Order.uint32(data)))), frame.Good
	case kindFloat32:
		return frame.FloatValue(frame.Widen(math.Float32frombits(p.Order.uint32(data)))), frame.Good
	case kindFloat64:
		return frame.FloatValue(math.Float64frombits(p.Order.uint64(data))), frame.Good
	case kindUint64:
		return frame.UintValue(p.Order.uint64(data)), frame.Good
	case kindInt64:
		return frame.IntValue(int64(p.Order.uint64(data))), frame.Good
	case kindBool:
		word := p.Order.uint16(data)
		if p.Bit >= 0 {
			word &= 1 << p.Bit
		}
		return frame.BoolValue(word != 0), frame.Good
	case kindBCD16:
		return decodeBCD(uint64(p.Order.uint16(data)))
	case kindBCD32:
		return decodeBCD(uint64(p.Order.uint32(data)))
	case kindString:
		return p.decodeText(data)
	case kindBinary:
		return frame.BytesValue(data), frame.Good
	}
	return p.decodeRare(data)
}

// decodeBits reads p from the bits of an answer, the first bit lowest.
func (p *Point) decodeBits(data []byte) (frame.Value, frame.Quality) {
	at := int(p.bit0)
	switch p.kind {
	case kindBool:
		return frame.BoolValue(data[at>>3]>>(at&7)&1 != 0), frame.Good
	case kindBinary:
		packed := make([]byte, (int(p.Count)+7)/8)
		for i := range int(p.Count) {
			packed[i>>3] |= data[(at+i)>>3] >> ((at + i) & 7) & 1 << (i & 7)
		}
		return frame.BytesValue(packed), frame.Good
	}
	var v uint64
	for i := range int(p.Count) {
		v |= uint64(data[(at+i)>>3]>>((at+i)&7)&1) << i
	}
	return frame.UintValue(v), frame.Good
}

// decodeBCD reads packed decimal digits; a nibble above 9 is no digit.
func decodeBCD(v uint64) (frame.Value, frame.Quality) {
	n, place := int64(0), int64(1)
	for ; v != 0; v >>= 4 {
		digit := int64(v & 0xF)
		if digit > 9 {
			return frame.Value{}, frame.Bad
		}
		n += digit * place
		place *= 10
	}
	return frame.IntValue(n), frame.Good
}
