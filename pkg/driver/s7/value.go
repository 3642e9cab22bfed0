package s7

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// kind is a data type as decoding branches on it: comparing names would cost more than
// decoding.
type kind uint8

const (
	kindBool kind = iota + 1
	kindUint8
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindUint64
	kindInt64
	kindFloat32
	kindFloat64
	kindBCD16
	kindBCD32
	kindS5Time
	kindDate
	kindTOD
	kindDateTime
	kindDTL
	kindChar
	kindString
	kindWString
	kindBinary
)

// kindOf returns the kind of t and the bytes that a value of it takes; 0 bytes where
// the variable says it.
func kindOf(t config.DataType) (k kind, size int, ok bool) {
	switch t {
	case config.TypeBool:
		return kindBool, 1, true
	case config.TypeUint8:
		return kindUint8, 1, true
	case config.TypeInt8:
		return kindInt8, 1, true
	case config.TypeUint16:
		return kindUint16, 2, true
	case config.TypeInt16:
		return kindInt16, 2, true
	case config.TypeUint32:
		return kindUint32, 4, true
	case config.TypeInt32, config.TypeTime:
		return kindInt32, 4, true
	case config.TypeUint64:
		return kindUint64, 8, true
	case config.TypeInt64, config.TypeLTime:
		return kindInt64, 8, true
	case config.TypeFloat32:
		return kindFloat32, 4, true
	case config.TypeFloat64:
		return kindFloat64, 8, true
	case config.TypeBCD16:
		return kindBCD16, 2, true
	case config.TypeBCD32:
		return kindBCD32, 4, true
	case config.TypeS5Time:
		return kindS5Time, 2, true
	case config.TypeDate:
		return kindDate, 2, true
	case config.TypeTOD:
		return kindTOD, 4, true
	case config.TypeS7DT:
		return kindDateTime, 8, true
	case config.TypeDTL:
		return kindDTL, 12, true
	case config.TypeChar:
		return kindChar, 0, true
	case config.TypeString:
		return kindString, 0, true
	case config.TypeWString:
		return kindWString, 0, true
	case config.TypeBinary:
		return kindBinary, 0, true
	}
	return 0, 0, false
}

// decode reads the value of p from its bytes. It allocates for text and bytes only.
// What is no value of p's data type is bad.
func (p *Point) decode(data []byte) (frame.Value, frame.Quality) {
	if p.count > 0 {
		return p.decodeArray(data)
	}
	switch p.kind {
	case kindBool:
		return frame.BoolValue(data[0]>>p.Bit&1 != 0), frame.Good
	case kindUint8:
		return frame.IntValue(int64(data[0])), frame.Good
	case kindInt8:
		return frame.IntValue(int64(int8(data[0]))), frame.Good
	case kindUint16:
		return frame.IntValue(int64(binary.BigEndian.Uint16(data))), frame.Good
	case kindInt16:
		return frame.IntValue(int64(int16(binary.BigEndian.Uint16(data)))), frame.Good
	case kindUint32:
		return frame.IntValue(int64(binary.BigEndian.Uint32(data))), frame.Good
	case kindInt32:
		return frame.IntValue(int64(int32(binary.BigEndian.Uint32(data)))), frame.Good
	case kindUint64:
		return frame.UintValue(binary.BigEndian.Uint64(data)), frame.Good
	case kindInt64:
		return frame.IntValue(int64(binary.BigEndian.Uint64(data))), frame.Good
	case kindFloat32:
		return frame.FloatValue(frame.Widen(math.Float32frombits(binary.BigEndian.Uint32(data)))), frame.Good
	case kindFloat64:
		return frame.FloatValue(math.Float64frombits(binary.BigEndian.Uint64(data))), frame.Good
	case kindBCD16:
		return bcdValue(uint64(binary.BigEndian.Uint16(data)))
	case kindBCD32:
		return bcdValue(uint64(binary.BigEndian.Uint32(data)))
	case kindS5Time:
		return decodeS5Time(binary.BigEndian.Uint16(data))
	case kindBinary:
		return frame.BytesValue(data), frame.Good
	case kindChar, kindString, kindWString:
		return p.codec.decode(data)
	}
	return p.decodeTime(data)
}

// decodeArray reads the elements of an array. One that is no value of its type is null,
// and the array uncertain.
func (p *Point) decodeArray(data []byte) (frame.Value, frame.Quality) {
	one := *p
	_, size, _ := kindOf(p.Type)
	one.count = 0
	out, q := append(make([]byte, 0, 8*p.count), '['), frame.Good
	for i := range p.count {
		at := i * size
		if p.kind == kindBool {
			bit := int(p.Bit) + i
			at, one.Bit = bit/8, int8(bit%8)
		}
		v, quality := one.decode(data[at : at+size])
		if f := v.Float(); quality == frame.Bad || math.IsNaN(f) || math.IsInf(f, 0) {
			v, quality = frame.Value{}, frame.Uncertain
		}
		q = max(q, quality)
		if i > 0 {
			out = append(out, ',')
		}
		out = v.AppendJSON(out)
	}
	return frame.ArrayValue(string(append(out, ']'))), q
}

// encodeArray returns the bytes of an array whose elements are raw values. Bits are written
// as whole bytes.
func (p *Point) encodeArray(raw frame.Value) (data []byte, err error) {
	list, err := raw.Elements()
	if err == nil && len(list) != p.count {
		err = fmt.Errorf("%w: the array has %d elements, expected %d", ErrRange, len(list), p.count)
	}
	if err == nil && !p.wholeBytes() {
		err = fmt.Errorf("%w: the bits beside the array would be written too", ErrRange)
	}
	if err != nil {
		return nil, err
	}
	one := *p
	_, one.Size, _ = kindOf(p.Type)
	one.count = 0
	for i, v := range list {
		b, err := one.encode(v)
		switch {
		case err != nil:
			return nil, fmt.Errorf("element %d: %w", i, err)
		case p.kind != kindBool:
			data = append(data, b...)
			continue
		case i%8 == 0:
			data = append(data, 0)
		}
		data[i/8] |= b[0] << (i % 8)
	}
	return data, nil
}

// wholeBytes reports whether a write to p touches nothing else: a request writes one bit, or
// whole bytes.
func (p *Point) wholeBytes() bool {
	return p.count == 0 || p.kind != kindBool || p.Bit == 0 && p.count%8 == 0
}

// bcd reads packed decimal digits; a nibble above 9 is no digit.
func bcd(v uint64) (n int64, ok bool) {
	for place := int64(1); v != 0; v >>= 4 {
		digit := int64(v & 0xF)
		if digit > 9 {
			return 0, false
		}
		n += digit * place
		place *= 10
	}
	return n, true
}

func bcdValue(v uint64) (frame.Value, frame.Quality) {
	n, ok := bcd(v)
	if !ok {
		return frame.Value{}, frame.Bad
	}
	return frame.IntValue(n), frame.Good
}

func toBCD(n uint64) (v uint64) {
	for shift := 0; n != 0; shift += 4 {
		v |= n % 10 << shift
		n /= 10
	}
	return v
}

// decodeS5Time reads an S5TIME in milliseconds: two bits of a base, 10 ms to 10 s, and
// three decimal digits. A running timer has bits of its own above them.
func decodeS5Time(w uint16) (frame.Value, frame.Quality) {
	n, ok := bcd(uint64(w & 0x0FFF))
	if !ok {
		return frame.Value{}, frame.Bad
	}
	for range w >> 12 & 3 {
		n *= 10
	}
	return frame.IntValue(10 * n), frame.Good
}

// encodeS5Time takes the finest base that the time fits into without being rounded.
func encodeS5Time(ms uint64) (uint16, error) {
	for base, unit := uint64(0), uint64(10); base < 4; base, unit = base+1, unit*10 {
		if ms%unit == 0 && ms/unit <= 999 {
			return uint16(base<<12 | toBCD(ms/unit)), nil
		}
	}
	return 0, fmt.Errorf("%w: %d ms is no S5TIME, which has three digits of 10 ms, 100 ms, 1 s or 10 s", ErrRange, ms)
}

// Formats of dates and times: a PLC's clock has no zone.
const (
	formatDate = "2006-01-02"
	formatTOD  = "15:04:05.999"
	formatTime = "2006-01-02T15:04:05.999999999"
)

// dateEpoch is what a DATE counts days from.
func dateEpoch() time.Time { return time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) }

const (
	dayMS   = 24 * 60 * 60 * 1000
	mostDay = 65378 // 2168-12-31, the last that STEP 7 allows
)

// decodeTime reads a date or time as text. What is none is bad.
func (p *Point) decodeTime(data []byte) (frame.Value, frame.Quality) {
	switch p.kind {
	case kindDate:
		days := binary.BigEndian.Uint16(data)
		if days > mostDay {
			return frame.Value{}, frame.Bad
		}
		return frame.StringValue(dateEpoch().AddDate(0, 0, int(days)).Format(formatDate)), frame.Good
	case kindTOD:
		ms := binary.BigEndian.Uint32(data)
		if ms >= dayMS {
			return frame.Value{}, frame.Bad
		}
		return frame.StringValue(time.UnixMilli(int64(ms)).UTC().Format(formatTOD)), frame.Good
	case kindDateTime:
		if at, ok := fromDateTime(data); ok {
			return frame.StringValue(at.Format(formatTime)), frame.Good
		}
	case kindDTL:
		if at, ok := fromDTL(data); ok {
			return frame.StringValue(at.Format(formatTime)), frame.Good
		}
	}
	return frame.Value{}, frame.Bad
}

// exactly makes a time of its fields, if there is one with them.
func exactly(year, month, day, hour, minute, second, ns int) (time.Time, bool) {
	t := time.Date(year, time.Month(month), day, hour, minute, second, ns, time.UTC)
	return t, t.Year() == year && int(t.Month()) == month && t.Day() == day &&
		t.Hour() == hour && t.Minute() == minute && t.Second() == second && t.Nanosecond() == ns
}

// fromDateTime reads DATE_AND_TIME: year to milliseconds in BCD, and the day of the
// week in the last digit; years 90 to 99 are of the last century.
func fromDateTime(b []byte) (time.Time, bool) {
	var n [8]int
	for i := range n {
		hi, lo := int(b[i]>>4), int(b[i]&0xF)
		if hi > 9 || lo > 9 {
			return time.Time{}, false
		}
		n[i] = 10*hi + lo
	}
	year := 2000 + n[0]
	if n[0] >= 90 {
		year -= 100
	}
	return exactly(year, n[1], n[2], n[3], n[4], n[5], (n[6]*10+n[7]/10)*int(time.Millisecond))
}

func toDateTime(t time.Time) ([]byte, error) {
	if t.Year() < 1990 || t.Year() > 2089 {
		return nil, fmt.Errorf("%w: DATE_AND_TIME has the years 1990 to 2089", ErrRange)
	}
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		return nil, fmt.Errorf("%w: DATE_AND_TIME has milliseconds, nothing finer", ErrRange)
	}
	digits := func(n int) byte { return byte(toBCD(uint64(n))) }
	ms := t.Nanosecond() / int(time.Millisecond)
	return []byte{digits(t.Year() % 100), digits(int(t.Month())), digits(t.Day()), digits(t.Hour()), digits(t.Minute()), digits(t.Second()),
		digits(ms / 10), byte(ms%10)<<4 | byte(t.Weekday()) + 1}, nil // Sunday is 1
}

// fromDTL reads DTL: year, month, day, day of the week, hour, minute, second in binary,
// and nanoseconds.
func fromDTL(b []byte) (time.Time, bool) {
	return exactly(int(binary.BigEndian.Uint16(b)), int(b[2]), int(b[3]), int(b[5]), int(b[6]), int(b[7]), int(binary.BigEndian.Uint32(b[8:])))
}

func toDTL(t time.Time) ([]byte, error) {
	if t.Year() < 1970 || t.Year() > 2262 {
		return nil, fmt.Errorf("%w: DTL has the years 1970 to 2262", ErrRange)
	}
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 12), uint16(t.Year()))
	b = append(b, byte(t.Month()), byte(t.Day()), byte(t.Weekday())+1, byte(t.Hour()), byte(t.Minute()), byte(t.Second()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond())), nil
}

// ErrRange means that the data type of a variable can't hold the value of a write. Nothing
// was sent to the PLC.
var ErrRange = errkind.New(errkind.Invalid, "value out of range")

// encode returns the bytes that the PLC holds for raw, a raw value and not one in
// engineering units. Of a bit it is one byte, 0 or 1.
func (p *Point) encode(raw frame.Value) ([]byte, error) {
	if p.count > 0 {
		return p.encodeArray(raw)
	}
	switch p.kind {
	case kindBool:
		n, ok := raw.Number()
		if !ok || n != 0 && n != 1 {
			return nil, fmt.Errorf("%w: %s is not a boolean", ErrRange, raw)
		}
		return []byte{byte(n)}, nil
	case kindFloat32:
		n, ok := raw.Number()
		if !ok || math.IsNaN(n) || math.Abs(n) > math.MaxFloat32 {
			return nil, fmt.Errorf("%w: %s is not a float32", ErrRange, raw)
		}
		return binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(n))), nil
	case kindFloat64:
		n, ok := raw.Number()
		if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("%w: %s is not a float64", ErrRange, raw)
		}
		return binary.BigEndian.AppendUint64(nil, math.Float64bits(n)), nil
	case kindBinary:
		if raw.Kind() != frame.KindBytes || len(raw.Text()) != p.Size {
			return nil, fmt.Errorf("%w: expected %d bytes (base64 in JSON)", ErrRange, p.Size)
		}
		return []byte(raw.Text()), nil
	case kindChar, kindString, kindWString:
		return p.codec.encode(raw, p.Size)
	case kindDate, kindTOD, kindDateTime, kindDTL:
		return p.encodeTime(raw)
	}
	return p.encodeInteger(raw)
}

// encodeInteger returns the bytes of raw, which must be whole.
func (p *Point) encodeInteger(raw frame.Value) ([]byte, error) {
	l, _ := p.Type.Integer()
	n, negative, ok := wholeNumber(raw)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not a whole number from %d to %d", ErrRange, raw, l.Min, l.Max)
	}
	if negative && int64(n) < l.Min || !negative && n > l.Max {
		return nil, fmt.Errorf("%w: %s, a %s holds %d to %d", ErrRange, raw, p.Type, l.Min, l.Max)
	}
	switch p.kind {
	case kindBCD16, kindBCD32:
		n = toBCD(n)
	case kindS5Time:
		w, err := encodeS5Time(n)
		if err != nil {
			return nil, err
		}
		n = uint64(w)
	}
	all := binary.BigEndian.AppendUint64(nil, n)
	return all[8-p.Size:], nil
}

// wholeNumber returns the bits of a whole number in two's complement.
func wholeNumber(v frame.Value) (n uint64, negative, ok bool) {
	switch v.Kind() {
	case frame.KindInt:
		return v.Uint(), v.Int() < 0, true
	case frame.KindUint:
		return v.Uint(), false, true
	case frame.KindBool:
		f, _ := v.Number()
		return uint64(f), false, true
	case frame.KindFloat:
		f := v.Float()
		if f != math.Trunc(f) || f < -(1<<63) || f >= 1<<64 {
			return 0, false, false
		}
		if f < 0 {
			return uint64(int64(f)), true, true
		}
		return uint64(f), false, true
	}
	return 0, false, false
}

var errTime = errors.New("is not written as expected")

// encodeTime returns the bytes of a date or time, given as text.
func (p *Point) encodeTime(raw frame.Value) ([]byte, error) {
	format, example := formatTime, "2026-03-01T06:00:00"
	switch p.kind {
	case kindDate:
		format, example = formatDate, "2026-03-01"
	case kindTOD:
		format, example = formatTOD, "06:00:00.5"
	}
	at, err := time.Parse(format, raw.Text())
	if raw.Kind() != frame.KindString || err != nil {
		return nil, fmt.Errorf("%w: %q %w; expected one such as %s", ErrRange, raw, errTime, example)
	}
	switch p.kind {
	case kindDate:
		days := at.Sub(dateEpoch()) / (24 * time.Hour)
		if days < 0 || days > mostDay {
			return nil, fmt.Errorf("%w: DATE has the days from 1990-01-01 to 2168-12-31", ErrRange)
		}
		return binary.BigEndian.AppendUint16(nil, uint16(days)), nil
	case kindTOD:
		sinceMidnight := at.Sub(time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC))
		if sinceMidnight%time.Millisecond != 0 {
			return nil, fmt.Errorf("%w: TIME_OF_DAY has milliseconds, nothing finer", ErrRange)
		}
		return binary.BigEndian.AppendUint32(nil, uint32(sinceMidnight/time.Millisecond)), nil
	case kindDateTime:
		return toDateTime(at)
	}
	return toDTL(at)
}
