package modbus

import (
	"errors"
	"fmt"
	"math"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// ErrRange is in the error of a write whose value the data type cannot hold.
var ErrRange = errors.New("value out of range")

// encode returns the bytes that p's registers hold for raw (a raw value, not in
// engineering units), or for coils the packed bits. Bits of registers are
// written by mask and have no encoding.
func (p *Point) encode(raw frame.Value) ([]byte, error) {
	switch p.kind {
	case kindString:
		return p.encodeText(raw)
	case kindBinary:
		return p.encodeBinary(raw)
	}
	bits, err := p.encodeNumber(raw)
	if err != nil {
		return nil, err
	}
	if p.Func.bits() {
		packed := make([]byte, (int(p.Count)+7)/8)
		for i := range packed {
			packed[i] = byte(bits >> (8 * i))
		}
		return packed, nil
	}
	data := make([]byte, 2*int(p.Count))
	p.Order.put(data, bits)
	return data, nil
}

// encodeNumber returns the bit pattern of raw in p's data type.
func (p *Point) encodeNumber(raw frame.Value) (uint64, error) {
	switch p.kind {
	case kindBool:
		n, ok := raw.Number()
		if !ok || n != 0 && n != 1 {
			return 0, fmt.Errorf("%w: %s is no boolean", ErrRange, raw)
		}
		return uint64(n), nil
	case kindFloat32:
		n, ok := raw.Number()
		if !ok || math.IsNaN(n) || math.Abs(n) > math.MaxFloat32 {
			return 0, fmt.Errorf("%w: %s is no float32", ErrRange, raw)
		}
		return uint64(math.Float32bits(float32(n))), nil
	case kindFloat64:
		n, ok := raw.Number()
		if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return 0, fmt.Errorf("%w: %s is no float64", ErrRange, raw)
		}
		return math.Float64bits(n), nil
	}
	return p.encodeInteger(raw)
}

// encodeInteger returns the bit pattern of raw, which must be whole.
func (p *Point) encodeInteger(raw frame.Value) (uint64, error) {
	lo, hi := p.integerRange()
	switch raw.Kind() {
	case frame.KindFloat:
		f := raw.Float()
		if f != math.Trunc(f) || f < -(1<<63) || f >= 1<<64 {
			return 0, fmt.Errorf("%w: %s is not a whole number from %d to %d", ErrRange, raw, lo, hi)
		}
		if f < 0 {
			raw = frame.IntValue(int64(f))
		} else {
			raw = frame.UintValue(uint64(f))
		}
	case frame.KindInt, frame.KindUint:
	case frame.KindBool:
		n, _ := raw.Number()
		raw = frame.IntValue(int64(n))
	default:
		return 0, fmt.Errorf("%w: %s is no number", ErrRange, raw)
	}
	negative := raw.Kind() == frame.KindInt && raw.Int() < 0
	if negative && raw.Int() < lo || !negative && raw.Uint() > hi {
		return 0, fmt.Errorf("%w: %s, a %s holds %d to %d", ErrRange, raw, p.Type, lo, hi)
	}
	if p.kind == kindBCD16 || p.kind == kindBCD32 {
		return encodeBCD(raw.Uint()), nil
	}
	return raw.Uint(), nil
}

// integerRange returns the least and the greatest value that p can hold.
func (p *Point) integerRange() (lo int64, hi uint64) {
	if p.Func.bits() {
		return 0, math.MaxUint64 >> (64 - p.Count)
	}
	switch p.kind {
	case kindUint16:
		return 0, math.MaxUint16
	case kindInt16:
		return math.MinInt16, math.MaxInt16
	case kindUint32:
		return 0, math.MaxUint32
	case kindInt32:
		return math.MinInt32, math.MaxInt32
	case kindUint64:
		return 0, math.MaxUint64
	case kindInt64:
		return math.MinInt64, math.MaxInt64
	case kindBCD16:
		return 0, 9999
	case kindBCD32:
		return 0, 99999999
	}
	return 0, 0
}

func encodeBCD(n uint64) uint64 {
	var v uint64
	for shift := 0; n != 0; shift += 4 {
		v |= n % 10 << shift
		n /= 10
	}
	return v
}

// encodeText pads with NULs. A text that does not fit is an error, never cut.
func (p *Point) encodeText(raw frame.Value) ([]byte, error) {
	if raw.Kind() != frame.KindString {
		return nil, fmt.Errorf("%w: %s is no text", ErrRange, raw)
	}
	data := make([]byte, 2*int(p.Count))
	if len(raw.Text()) > len(data) {
		return nil, fmt.Errorf("%w: text has %d bytes, %d fit", ErrRange, len(raw.Text()), len(data))
	}
	copy(data, raw.Text())
	if p.Order.swapsBytes() {
		swapPairs(data)
	}
	return data, nil
}

// encodeBinary takes exactly as many bytes as p has.
func (p *Point) encodeBinary(raw frame.Value) ([]byte, error) {
	want := 2 * int(p.Count)
	if p.Func.bits() {
		want = (int(p.Count) + 7) / 8
	}
	if raw.Kind() != frame.KindBytes || len(raw.Text()) != want {
		return nil, fmt.Errorf("%w: expected %d bytes (base64 in JSON)", ErrRange, want)
	}
	data := []byte(raw.Text())
	if last := int(p.Count) & 7; p.Func.bits() && last != 0 && data[want-1]>>last != 0 {
		return nil, fmt.Errorf("%w: more than %d bits are set", ErrRange, p.Count)
	}
	return data, nil
}
