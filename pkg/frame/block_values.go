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
//	object          uvarint length and the bytes
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
	floatGiveUp   = 8 // values in a row that fit no short form: the run is written raw from then on
)

func powersOfTen() *[floatExponent + 1]float64 {
	return &[floatExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6}
}

func inversePowersOfTen() *[floatExponent + 1]float64 {
	return &[floatExponent + 1]float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6}
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
	start := len(dst)
	last, misses := byte(floatDiv), 0
	for k := range run {
		bits := run[k].Value.num
		control, d, ok := shortFloat(math.Float64frombits(bits), last)
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
		dst = append(dst, control)
		if control == float32Exact {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(math.Float64frombits(bits))))
			continue
		}
		dst = binary.AppendVarint(dst, d)
		last = control
	}
	return dst
}

// shortFloat finds a short form of f, trying the form that fitted last first.
func shortFloat(f float64, last byte) (control byte, d int64, ok bool) {
	if d, ok := decimal(f, last); ok {
		return last, d, true
	}
	for e := byte(0); e <= floatExponent; e++ {
		if d, ok := decimal(f, floatDiv+e); ok {
			return floatDiv + e, d, true
		}
	}
	if g := float32(f); float64(g) == f {
		return float32Exact, 0, true
	}
	for e := byte(1); e <= floatExponent; e++ {
		if d, ok := decimal(f, floatMul+e); ok {
			return floatMul + e, d, true
		}
	}
	return 0, 0, false
}

// decimal returns d with decimalValue(d, control) == f, bit for bit. Only d that
// take at most 5 bytes count.
func decimal(f float64, control byte) (int64, bool) {
	const most = 1<<34 - 1
	scaled := f * powersOfTen()[control&15]
	if !(scaled >= -most && scaled <= most) {
		return 0, false
	}
	d := int64(math.RoundToEven(scaled))
	return d, math.Float64bits(decimalValue(d, control)) == math.Float64bits(f)
}

func decimalValue(d int64, control byte) float64 {
	if control < floatMul {
		return float64(d) / powersOfTen()[control&15]
	}
	return float64(d) * inversePowersOfTen()[control&15]
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
			run[k].Value.num = math.Float64bits(decimalValue(d.varint(), control))
		default:
			d.fail("float form %d", control)
		}
		if d.err != nil {
			return
		}
	}
}
