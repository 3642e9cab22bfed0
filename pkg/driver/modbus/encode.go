package modbus

import (
	"fmt"
	"math"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// ErrRange is in the error of a write whose value the data type cannot hold.
var ErrRange = errkind.New(errkind.Invalid, "value out of range")

// encode returns the bytes that p's registers hold for raw (a raw value, not in
// engineering units), or for coils the packed bits. A [Point.mask] is written
// otherwise.
func (p *Point) encode(raw frame.Value) ([]byte, error) {
	data, err := p.encodeInOrder(raw)
	if err == nil && p.apart && p.first > p.second {
		data[0], data[1], data[2], data[3] = data[2], data[3], data[0], data[1]
	}
	return data, err
}

// encodeInOrder is encode for registers that follow each other.
func (p *Point) encodeInOrder(raw frame.Value) ([]byte, error) {
	switch p.kind {
	case kindString:
		return p.encodeText(raw)
	case kindBinary:
		return p.encodeBinary(raw)
	case kindUnix32, kindUnix64, kindUnix64MS, kindYMDHMS, kindS7DT, kindCP56:
		return p.encodeTime(raw)
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
	data := make([]byte, p.size())
	if len(data) == 6 || p.kind == kindMod10k {
		p.Order.putWords(data, bits)
	} else {
		p.Order.put(data, bits)
	}
	return data, nil
}

// encodeNumber returns the bit pattern of raw in p's data type.
func (p *Point) encodeNumber(raw frame.Value) (uint64, error) {
	switch p.kind {
	case kindBool:
		n, ok := raw.Number()
		if !ok || n != 0 && n != 1 {
			return 0, fmt.Errorf("%w: %s is not a boolean", ErrRange, raw)
		}
		return uint64(n), nil
	case kindFloat32:
		n, ok := raw.Number()
		if !ok || math.IsNaN(n) || math.Abs(n) > math.MaxFloat32 {
			return 0, fmt.Errorf("%w: %s is not a float32", ErrRange, raw)
		}
		return uint64(math.Float32bits(float32(n))), nil
	case kindFloat16:
		n, ok := raw.Number()
		h, fits := toFloat16(n)
		if !ok || !fits {
			return 0, fmt.Errorf("%w: %s is not a float16", ErrRange, raw)
		}
		return uint64(h), nil
	case kindFloat64:
		n, ok := raw.Number()
		if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return 0, fmt.Errorf("%w: %s is not a float64", ErrRange, raw)
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
		return 0, fmt.Errorf("%w: %s is not a number", ErrRange, raw)
	}
	negative := raw.Kind() == frame.KindInt && raw.Int() < 0
	if negative && raw.Int() < lo || !negative && raw.Uint() > hi {
		return 0, fmt.Errorf("%w: %s, a %s holds %d to %d", ErrRange, raw, p.Type, lo, hi)
	}
	switch p.kind {
	case kindBCD16, kindBCD32, kindBCD48, kindBCD64:
		return encodeBCD(raw.Uint()), nil
	case kindMod10k:
		return encodeMod10k(raw.Uint()), nil
	}
	return raw.Uint(), nil
}

// integerRange returns the least and the greatest value that p can hold.
func (p *Point) integerRange() (lo int64, hi uint64) {
	if p.Func.bits() {
		return 0, math.MaxUint64 >> (64 - p.Count)
	}
	l, _ := p.Type.Integer()
	if p.kind == kindMod10k {
		l.Max = uint64(math.Pow10(4*int(p.Count))) - 1
	}
	return l.Min, l.Max
}

func encodeBCD(n uint64) uint64 {
	var v uint64
	for shift := 0; n != 0; shift += 4 {
		v |= n % 10 << shift
		n /= 10
	}
	return v
}

// encodeBinary takes exactly as many bytes as p has.
func (p *Point) encodeBinary(raw frame.Value) ([]byte, error) {
	want := p.size()
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
