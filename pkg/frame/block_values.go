package frame

import (
	"encoding/binary"
	"math"
)

// The values column holds, for each run of frames with values of one kind:
//
//	none            nothing
//	bool            one bit per frame
//	int             zigzag varints; uint: varints
//	string, bytes,
//	object, array   uvarint length and the bytes
//	float           per value a control byte and a payload:
//	                  0        8 bytes, IEEE 754 binary64
//	                  1        4 bytes, binary32 that is exactly the value
//	                  16+e     zigzag varint d: the value is d / 10^e
//	                  32+e     zigzag varint d: the value is d × (1 / 10^e)
//	                or, once for the run, 255 and 8 bytes per value
//
// Most values in a plant are small integers times a power of ten. Written as d
// and e they take 3 or 4 bytes instead of 9, and decoding repeats the very
// division (or multiplication) that encoding tried, so that not a bit changes.
const (
	floatRaw      = 0
	float32Exact  = 1
	floatDiv      = 16
	floatMul      = 32
	floatAllRaw   = 255
	floatExponent = 6 // largest e that is tried
	floatGiveUp   = 8 // values without a short form, after which others are hardly looked for
)

// powersOfTen holds 10^e and 1/10^e for the exponents that are tried.
type powersOfTen struct{ pow, inv [floatExponent + 1]float64 }

func newPowersOfTen() powersOfTen {
	return powersOfTen{
		pow: [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6},
		inv: [...]float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6},
	}
}

func appendValues(dst []byte, frames []Frame) []byte {
	for i := 0; i < len(frames); {
		kind, j := frames[i].Value.kind, i+1
		for j < len(frames) && frames[j].Value.kind == kind {
			j++
		}
		run := frames[i:j]
		i = j
		switch kind {
		case KindNone:
		case KindBool:
			dst = appendBools(dst, run)
		case KindInt:
			for k := range run {
				dst = binary.AppendVarint(dst, int64(run[k].Value.num))
			}
		case KindUint:
			for k := range run {
				dst = binary.AppendUvarint(dst, run[k].Value.num)
			}
		case KindFloat:
			dst = appendFloats(dst, run)
		default:
			for k := range run {
				dst = binary.AppendUvarint(dst, uint64(len(run[k].Value.str)))
				dst = append(dst, run[k].Value.str...)
			}
		}
	}
	return dst
}

func appendBools(dst []byte, run []Frame) []byte {
	for i := 0; i < len(run); i += 8 {
		var b byte
		for k := i; k < min(i+8, len(run)); k++ {
			b |= byte(run[k].Value.num&1) << (k - i)
		}
		dst = append(dst, b)
	}
	return dst
}

func appendFloats(dst []byte, run []Frame) []byte {
	start, tens := len(dst), newPowersOfTen()
	last, misses := byte(floatDiv), 0
	for k := range run {
		bits := run[k].Value.num
		f := math.Float64frombits(bits)
		control, d, ok := last, int64(0), float64(float32(f)) == f
		if last != float32Exact {
			d, ok = tens.decimal(f, last)
		}
		if !ok && (misses < floatGiveUp || 4*misses < k) {
			control, d, ok = tens.short(f)
		}
		if !ok {
			if misses++; misses == floatGiveUp && k+1 == floatGiveUp {
				// Nothing so far is short: leave out the control bytes and stop trying.
				dst = append(dst[:start], floatAllRaw)
				for i := range run {
					dst = binary.LittleEndian.AppendUint64(dst, run[i].Value.num)
				}
				return dst
			}
			dst = binary.LittleEndian.AppendUint64(append(dst, floatRaw), bits)
			continue
		}
		last = control
		dst = append(dst, control)
		if control == float32Exact {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f)))
		} else {
			dst = binary.AppendVarint(dst, d)
		}
	}
	return dst
}

// short finds a short form of f.
func (t *powersOfTen) short(f float64) (control byte, d int64, ok bool) {
	for e := byte(0); e <= floatExponent; e++ {
		if d, ok := t.decimal(f, floatDiv+e); ok {
			return floatDiv + e, d, true
		}
	}
	if g := float32(f); float64(g) == f {
		return float32Exact, 0, true
	}
	for e := byte(1); e <= floatExponent; e++ {
		if d, ok := t.decimal(f, floatMul+e); ok {
			return floatMul + e, d, true
		}
	}
	return 0, 0, false
}

// decimal returns d with value(d, control) == f, bit for bit. Only d that take at
// most 5 bytes count.
func (t *powersOfTen) decimal(f float64, control byte) (int64, bool) {
	const most = 1<<34 - 1
	scaled := f * t.pow[control&15]
	if !(scaled >= -most && scaled <= most) {
		return 0, false
	}
	d := int64(math.RoundToEven(scaled))
	return d, math.Float64bits(t.value(d, control)) == math.Float64bits(f)
}

func (t *powersOfTen) value(d int64, control byte) float64 {
	if control < floatMul {
		return float64(d) / t.pow[control&15]
	}
	return float64(d) * t.inv[control&15]
}

func (d *decoder) values(frames []Frame) {
	for i := 0; i < len(frames) && d.err == nil; {
		kind, j := frames[i].Value.kind, i+1
		for j < len(frames) && frames[j].Value.kind == kind {
			j++
		}
		run := frames[i:j]
		i = j
		switch kind {
		case KindNone:
		case KindBool:
			bits := d.bytes(uint64(len(run)+7) / 8)
			for k := 0; k < len(run) && d.err == nil; k++ {
				run[k].Value.num = uint64(bits[k/8]>>(k%8)) & 1
			}
		case KindInt:
			for k := range run {
				run[k].Value.num = uint64(d.varint())
			}
		case KindUint:
			for k := range run {
				run[k].Value.num = d.uvarint()
			}
		case KindFloat:
			d.floats(run)
		default:
			d.texts(run)
		}
	}
}

// texts reads strings. They share one allocation: the bytes of the run.
func (d *decoder) texts(run []Frame) {
	all := string(d.p)
	for k := range run {
		n := d.uvarint()
		at := len(all) - len(d.p)
		d.bytes(n)
		if d.err != nil {
			return
		}
		run[k].Value.str = all[at : at+int(n)]
	}
}

func (d *decoder) floats(run []Frame) {
	if len(d.p) > 0 && d.p[0] == floatAllRaw {
		raw := d.bytes(1 + 8*uint64(len(run)))
		for k := 0; k < len(run) && d.err == nil; k++ {
			run[k].Value.num = binary.LittleEndian.Uint64(raw[1+8*k:])
		}
		return
	}
	tens := newPowersOfTen()
	for k := range run {
		control := d.byte()
		switch {
		case control == floatRaw:
			if raw := d.bytes(8); d.err == nil {
				run[k].Value.num = binary.LittleEndian.Uint64(raw)
			}
		case control == float32Exact:
			if raw := d.bytes(4); d.err == nil {
				run[k].Value.num = math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
			}
		case control >= floatDiv && control <= floatDiv+floatExponent,
			control >= floatMul && control <= floatMul+floatExponent:
			run[k].Value.num = math.Float64bits(tens.value(d.varint(), control))
		default:
			d.fail("float form %d", control)
		}
		if d.err != nil {
			return
		}
	}
}
