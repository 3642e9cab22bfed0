package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// decodeRare reads the data types that few devices have.
func (p *Point) decodeRare(data []byte) (frame.Value, frame.Quality) {
	switch p.kind {
	case kindUint8:
		return frame.IntValue(int64(p.half(data))), frame.Good
	case kindInt8:
		return frame.IntValue(int64(int8(p.half(data)))), frame.Good
	case kindUint24:
		return frame.IntValue(int64(p.Order.uint32(data) & 0xFFFFFF)), frame.Good
	case kindInt24:
		return frame.IntValue(int64(int32(p.Order.uint32(data)<<8) >> 8)), frame.Good
	case kindUint48:
		return frame.IntValue(int64(p.Order.uint48(data))), frame.Good
	case kindInt48:
		return frame.IntValue(int64(p.Order.uint48(data)<<16) >> 16), frame.Good
	case kindFloat16:
		return frame.FloatValue(fromFloat16(p.Order.uint16(data))), frame.Good
	case kindBCD48:
		return decodeBCD(p.Order.uint48(data))
	case kindBCD64:
		return decodeBCD(p.Order.uint64(data))
	case kindMod10k:
		return p.decodeMod10k(data)
	}
	return p.decodeTime(data)
}

// half returns one byte of a register.
func (p *Point) half(data []byte) uint8 {
	word := p.Order.uint16(data)
	if p.hi {
		return uint8(word >> 8)
	}
	return uint8(word)
}

// uint48 reads three registers: ABCDEF, BADCFE, EFCDAB, FEDCBA.
func (o ByteOrder) uint48(b []byte) uint64 {
	w0, w1, w2 := uint64(o.uint16(b)), uint64(o.uint16(b[2:])), uint64(o.uint16(b[4:]))
	if o == CDAB || o == DCBA {
		w0, w2 = w2, w0
	}
	return w0<<32 | w1<<16 | w2
}

// putWords writes v to the registers of b, the most significant 16 bits first in
// ABCD.
func (o ByteOrder) putWords(b []byte, v uint64) {
	n := len(b) / 2
	for i := range n {
		at := 2 * (n - 1 - i)
		if o == CDAB || o == DCBA {
			at = 2 * i
		}
		word := uint16(v >> (16 * i))
		if o.swapsBytes() {
			binary.LittleEndian.PutUint16(b[at:], word)
		} else {
			binary.BigEndian.PutUint16(b[at:], word)
		}
	}
}

// fromFloat16 widens an IEEE 754 half.
func fromFloat16(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&0x1F), float64(h&0x3FF)
	if h>>15 != 0 {
		sign = -1
	}
	switch exponent {
	case 0:
		return math.Copysign(math.Ldexp(fraction, -24), sign)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1+fraction/1024, exponent-15)
}

// maxFloat16 is the greatest finite half.
const maxFloat16 = 65504

// toFloat16 returns the half that is nearest to f, ties to even; ok is false beyond
// the greatest.
func toFloat16(f float64) (h uint16, ok bool) {
	if math.Signbit(f) {
		h = 1 << 15
	}
	f = math.Abs(f)
	if f == 0 {
		return h, true
	}
	if !(f < maxFloat16+16) { // 16 is half of its last step
		return 0, false
	}
	_, exponent := math.Frexp(f)                // f = m × 2^exponent, m in [0.5, 1)
	step := max(exponent-11, -24)               // of the last of eleven bits
	n := math.RoundToEven(math.Ldexp(f, -step)) // at most 2048
	if step == -24 {
		return h | uint16(n), true // a subnormal, or the first normal by its carry
	}
	return h | uint16(uint32(step+24)<<10+uint32(n)), true
}

// mod10kBase is what each register of a mod10k counts to.
const mod10kBase = 10_000

// decodeMod10k reads registers of four decimal digits each, in binary; the first is
// the most significant in ABCD, the least in CDAB.
func (p *Point) decodeMod10k(data []byte) (frame.Value, frame.Quality) {
	n := int64(0)
	words := int(p.Count)
	for i := range words {
		at := i
		if p.Order == CDAB || p.Order == DCBA {
			at = words - 1 - i
		}
		word := p.Order.uint16(data[2*at:])
		if word >= mod10kBase {
			return frame.Value{}, frame.Bad
		}
		n = n*mod10kBase + int64(word)
	}
	return frame.IntValue(n), frame.Good
}

// encodeMod10k returns the registers' words as one number, for putWords.
func encodeMod10k(n uint64) uint64 {
	var v uint64
	for shift := 0; n != 0; shift += 16 {
		v |= n % mod10kBase << shift
		n /= mod10kBase
	}
	return v
}

// Formats of dates and times: those that count from 1970 are UTC, those of a
// device's own clock have no zone.
const (
	formatUTC   = "2006-01-02T15:04:05.999Z07:00"
	formatLocal = "2006-01-02T15:04:05.999"
)

// decodeTime reads a date with its time as text. Bytes that are no date are bad.
func (p *Point) decodeTime(data []byte) (frame.Value, frame.Quality) {
	var at time.Time
	format := formatLocal
	switch p.kind {
	case kindUnix32:
		at, format = time.Unix(int64(p.Order.uint32(data)), 0), formatUTC
	case kindUnix64:
		at, format = time.Unix(int64(p.Order.uint64(data)), 0), formatUTC
	case kindUnix64MS:
		at, format = time.UnixMilli(int64(p.Order.uint64(data))), formatUTC
	default:
		f, ok := p.dateFields(data)
		at = f.time()
		if !ok || !f.is(at) {
			return frame.Value{}, frame.Bad
		}
	}
	if at = at.UTC(); at.Year() < 0 || at.Year() > 9999 {
		return frame.Value{}, frame.Bad
	}
	return frame.StringValue(at.Format(format)), frame.Good
}

// date is a date with its time, field by field.
type date struct{ year, month, day, hour, minute, second, ms int }

func (d date) time() time.Time {
	return time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, d.second, d.ms*1e6, time.UTC)
}

// is reports whether t, which was made of d, has the same fields: there is no 31st of
// February.
func (d date) is(t time.Time) bool { return dateOf(t) == d }

func dateOf(t time.Time) date {
	return date{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond() / 1e6}
}

// dateFields takes the fields out of the registers.
func (p *Point) dateFields(data []byte) (d date, ok bool) {
	switch p.kind {
	case kindYMDHMS:
		word := func(i int) int { return int(p.Order.uint16(data[2*i:])) }
		return date{word(0), word(1), word(2), word(3), word(4), word(5), 0}, true
	case kindS7DT:
		return s7Date(p.Order.octets(data))
	case kindCP56:
		b := p.Order.octets(data)
		ms := int(b[0]) | int(b[1])<<8
		return date{2000 + int(b[6]&0x7F), int(b[5] & 0x0F), int(b[4] & 0x1F), int(b[3] & 0x1F), int(b[2] & 0x3F), ms / 1000, ms % 1000}, b[2]&0x80 == 0
	}
	return d, false
}

// octets returns eight bytes in the order of the format's own document.
func (o ByteOrder) octets(data []byte) (b [8]byte) {
	binary.BigEndian.PutUint64(b[:], o.uint64(data))
	return b
}

// s7Date reads DATE_AND_TIME: year to milliseconds in BCD, the day of the week in the
// last digit; years 90 to 99 are of the last century.
func s7Date(b [8]byte) (d date, ok bool) {
	var n [8]int
	for i, c := range b {
		hi, lo := int(c>>4), int(c&0xF)
		if hi > 9 || lo > 9 {
			return d, false
		}
		n[i] = 10*hi + lo
	}
	year := 2000 + n[0]
	if n[0] >= 90 {
		year -= 100
	}
	return date{year, n[1], n[2], n[3], n[4], n[5], n[6]*10 + n[7]/10}, true
}

var errTime = errors.New("is not a time such as 2026-03-01T06:00:00")

// encodeTime returns the registers of a date with its time, given as text.
func (p *Point) encodeTime(raw frame.Value) ([]byte, error) {
	at, err := time.Parse(formatUTC, raw.Text())
	if err != nil {
		at, err = time.Parse(formatLocal, raw.Text())
	}
	if raw.Kind() != frame.KindString || err != nil {
		return nil, fmt.Errorf("%w: %q %w", ErrRange, raw, errTime)
	}
	data := make([]byte, p.size())
	d := dateOf(at)
	fits := true
	switch p.kind {
	case kindUnix32:
		fits = at.Unix() >= 0 && at.Unix() <= math.MaxUint32
		p.Order.put(data, uint64(at.Unix()))
	case kindUnix64:
		p.Order.put(data, uint64(at.Unix()))
	case kindUnix64MS:
		p.Order.put(data, uint64(at.UnixMilli()))
	case kindYMDHMS:
		for i, n := range [6]int{d.year, d.month, d.day, d.hour, d.minute, d.second} {
			p.Order.put(data[2*i:2*i+2], uint64(n))
		}
	case kindS7DT:
		fits = d.year >= 1990 && d.year < 2090
		p.Order.put(data, s7Octets(d, at.Weekday()))
	case kindCP56:
		fits = d.year >= 2000 && d.year < 2128
		ms := d.second*1000 + d.ms
		p.Order.put(data, binary.BigEndian.Uint64([]byte{byte(ms), byte(ms >> 8), byte(d.minute), byte(d.hour),
			byte(d.day) | isoWeekday(at.Weekday())<<5, byte(d.month), byte(d.year - 2000), 0}))
	}
	if !fits {
		return nil, fmt.Errorf("%w: a %s has no room for %s", ErrRange, p.Type, raw)
	}
	return data, nil
}

// isoWeekday counts from Monday, 1.
func isoWeekday(d time.Weekday) byte { return byte((int(d)+6)%7 + 1) }

func s7Octets(d date, day time.Weekday) uint64 {
	bcd := func(n int) byte { return byte(n/10<<4 | n%10) }
	return binary.BigEndian.Uint64([]byte{bcd(d.year % 100), bcd(d.month), bcd(d.day), bcd(d.hour), bcd(d.minute), bcd(d.second),
		bcd(d.ms / 10), byte(d.ms%10)<<4 | byte(day) + 1}) // Sunday is 1
}
