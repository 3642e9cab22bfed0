package modbus

import (
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// registerPoint resolves a holding register point.
func registerPoint(t testing.TB, typ config.DataType, order string, length uint16) Point {
	t.Helper()
	s := &Settings{MaxRegs: maxReadRegisters, Addressing: AddressingProtocol}
	p, _, err := s.Resolve(&config.Variable{
		Tag: "t", Access: config.AccessR, Datatype: typ, ByteOrder: order,
		Address: config.Address{Type: config.AddrHolding, Len: length},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOrders writes down what each order looks like on the line, byte by byte.
func TestOrders(t *testing.T) {
	for _, c := range []struct {
		typ   config.DataType
		order string
		line  string
		value frame.Value
	}{
		{config.TypeUint16, "ABCD", "1234", frame.IntValue(0x1234)},
		{config.TypeUint16, "BADC", "3412", frame.IntValue(0x1234)},
		{config.TypeUint16, "CDAB", "1234", frame.IntValue(0x1234)},
		{config.TypeUint16, "DCBA", "3412", frame.IntValue(0x1234)},
		{config.TypeInt16, "ABCD", "FFFE", frame.IntValue(-2)},
		{config.TypeInt16, "little", "FEFF", frame.IntValue(-2)},
		{config.TypeUint32, "ABCD", "12345678", frame.IntValue(0x12345678)},
		{config.TypeUint32, "BADC", "34127856", frame.IntValue(0x12345678)},
		{config.TypeUint32, "CDAB", "56781234", frame.IntValue(0x12345678)},
		{config.TypeUint32, "DCBA", "78563412", frame.IntValue(0x12345678)},
		{config.TypeInt32, "ABCD", "FFFFFFFE", frame.IntValue(-2)},
		{config.TypeInt32, "CDAB", "FFFEFFFF", frame.IntValue(-2)},
		{config.TypeFloat32, "ABCD", "41480000", frame.FloatValue(12.5)},
		{config.TypeFloat32, "BADC", "48410000", frame.FloatValue(12.5)},
		{config.TypeFloat32, "CDAB", "00004148", frame.FloatValue(12.5)},
		{config.TypeFloat32, "DCBA", "00004841", frame.FloatValue(12.5)},
		{"float", "ABCD", "41480000", frame.FloatValue(12.5)},
		{config.TypeUint64, "ABCDEFGH", "0102030405060708", frame.IntValue(0x0102030405060708)},
		{config.TypeUint64, "BADCFEHG", "0201040306050807", frame.IntValue(0x0102030405060708)},
		{config.TypeUint64, "GHEFCDAB", "0708050603040102", frame.IntValue(0x0102030405060708)},
		{config.TypeUint64, "HGFEDCBA", "0807060504030201", frame.IntValue(0x0102030405060708)},
		{config.TypeUint64, "ABCD", "FFFFFFFFFFFFFFFF", frame.UintValue(math.MaxUint64)},
		{config.TypeInt64, "ABCD", "FFFFFFFFFFFFFFFE", frame.IntValue(-2)},
		{config.TypeInt64, "GHEFCDAB", "FFFEFFFFFFFFFFFF", frame.IntValue(-2)},
		{config.TypeFloat64, "ABCD", "4029000000000000", frame.FloatValue(12.5)},
		{config.TypeFloat64, "BADC", "2940000000000000", frame.FloatValue(12.5)},
		{config.TypeFloat64, "CDAB", "0000000000004029", frame.FloatValue(12.5)},
		{config.TypeFloat64, "DCBA", "0000000000002940", frame.FloatValue(12.5)},
		{config.TypeBCD16, "ABCD", "1234", frame.IntValue(1234)},
		{config.TypeBCD16, "BADC", "3412", frame.IntValue(1234)},
		{config.TypeBCD32, "ABCD", "12345678", frame.IntValue(12345678)},
		{config.TypeBCD32, "CDAB", "56781234", frame.IntValue(12345678)},
		{config.TypeBool, "ABCD", "0001", frame.BoolValue(true)},
		{config.TypeBool, "ABCD", "0000", frame.BoolValue(false)},
	} {
		p := registerPoint(t, c.typ, c.order, 0)
		line := unhex(t, c.line)
		if v, q := p.decode(line); v != c.value || q != frame.Good {
			t.Errorf("%s %s %s: decoded %v %v, want %v", c.typ, c.order, c.line, v, q, c.value)
		}
		if got, err := p.encode(c.value); err != nil || string(got) != string(line) {
			t.Errorf("%s %s %v: encoded % X, %v; want %s", c.typ, c.order, c.value, got, err, c.line)
		}
	}
}

// TestWiden: a float32 is the shortest decimal that is the same float32 again, as
// strconv finds it.
func TestWiden(t *testing.T) {
	shortest := func(f float32) float64 {
		x, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
		if err != nil && !math.IsInf(float64(f), 0) {
			t.Fatal(err)
		}
		return x
	}
	check := func(f float32) {
		t.Helper()
		if got := frame.Widen(f); got != shortest(f) && f == f {
			t.Errorf("%v is %v, expected %v", f, got, shortest(f))
		}
	}
	for _, want := range []float64{0, 12.3, -12.34, 0.1, 99.99, 1234.5, 0.001, 65535.5, -40, 16777215, 3.141593, 8.1, 15.9, 0.00012345, 230.4, 0.3, 16777.217, 123456.79, 8590010000, 1e-20, 3e30} {
		if got := frame.Widen(float32(want)); got != want {
			t.Errorf("%v is %v", want, got)
		}
	}
	for _, f := range []float32{math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Inf(1)), float32(math.Inf(-1))} {
		check(f)
	}
	if !math.IsNaN(frame.Widen(float32(math.NaN()))) || !math.Signbit(frame.Widen(float32(math.Copysign(0, -1)))) {
		t.Error("NaN or the sign of zero is lost")
	}
	for exponent := uint32(0); exponent < 255; exponent++ { // where the steps change
		for step := range uint32(5) {
			check(math.Float32frombits(exponent<<23 - 2 + step))
		}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 300_000 {
		check(math.Float32frombits(rnd.Uint32()))
		check(float32(rnd.NormFloat64() * 100))
	}
}

func TestTextAndBytes(t *testing.T) {
	for _, c := range []struct {
		order, line string
		text        string
		quality     frame.Quality
	}{
		{"ABCD", "48656C6C6F20", "Hello", frame.Good},
		{"ABCD", "486900006C6F", "Hi", frame.Good}, // what follows a NUL is stale
		{"BADC", "6548 6C6C 206F", "Hello", frame.Good},
		{"CDAB", "48656C6C6F20", "Hello", frame.Good}, // registers are never reversed
		{"ABCD", "4BE4 7365 2020", "K\uFFFDse", frame.Uncertain},
		{"ABCD", "000000000000", "", frame.Good},
	} {
		p := registerPoint(t, config.TypeString, c.order, 3)
		if v, q := p.decode(unhex(t, c.line)); v != frame.StringValue(c.text) || q != c.quality {
			t.Errorf("%s %s: decoded %q %v, want %q %v", c.order, c.line, v, q, c.text, c.quality)
		}
	}
	p := registerPoint(t, config.TypeString, "BADC", 3)
	if got, err := p.encode(frame.StringValue("Hello")); err != nil || hex.EncodeToString(got) != "65486c6c006f" {
		t.Errorf("encoded %x, %v", got, err)
	}
	p = registerPoint(t, config.TypeBinary, "DCBA", 2)
	line := unhex(t, "DEADBEEF")
	if v, q := p.decode(line); v != frame.BytesValue(line) || q != frame.Good {
		t.Errorf("binary: decoded %v %v", v, q)
	}
	if got, err := p.encode(frame.BytesValue(line)); err != nil || string(got) != string(line) {
		t.Errorf("binary: encoded % X, %v", got, err)
	}
}

func TestBitOfRegister(t *testing.T) {
	s := &Settings{MaxRegs: 10}
	for bit := range uint8(16) {
		for _, order := range []string{"ABCD", "BADC"} {
			v := &config.Variable{Datatype: config.TypeBool, ByteOrder: order,
				Address: config.Address{Type: config.AddrInput, Bit: &bit}}
			p, _, err := s.Resolve(v)
			if err != nil {
				t.Fatal(err)
			}
			line := make([]byte, 2)
			p.Order.put(line, 1<<bit)
			if v, _ := p.decode(line); !v.Bool() {
				t.Errorf("%s bit %d is not seen in % X", order, bit, line)
			}
			line[0], line[1] = ^line[0], ^line[1]
			if v, _ := p.decode(line); v.Bool() {
				t.Errorf("%s bit %d is seen in % X", order, bit, line)
			}
		}
	}
}

func TestNotANumber(t *testing.T) {
	for _, c := range []struct {
		typ  config.DataType
		line string
	}{
		{config.TypeBCD16, "12A4"}, {config.TypeBCD32, "1234567F"},
	} {
		p := registerPoint(t, c.typ, "", 0)
		if v, q := p.decode(unhex(t, c.line)); q != frame.Bad {
			t.Errorf("%s %s: decoded %v %v, want bad", c.typ, c.line, v, q)
		}
	}
	p := Point{Func: FuncReadHolding, Type: "nonsense"}
	if _, q := p.decode(nil); q != frame.Bad {
		t.Errorf("an unknown data type is %v", q)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		typ   config.DataType
		len   uint16
		value frame.Value
	}{
		{config.TypeUint16, 0, frame.IntValue(65536)},
		{config.TypeUint16, 0, frame.IntValue(-1)},
		{config.TypeUint16, 0, frame.FloatValue(1.5)},
		{config.TypeUint16, 0, frame.FloatValue(math.NaN())},
		{config.TypeUint16, 0, frame.StringValue("1")},
		{config.TypeInt16, 0, frame.IntValue(32768)},
		{config.TypeInt16, 0, frame.IntValue(-32769)},
		{config.TypeUint32, 0, frame.IntValue(1 << 32)},
		{config.TypeInt32, 0, frame.IntValue(-1<<31 - 1)},
		{config.TypeUint64, 0, frame.IntValue(-1)},
		{config.TypeUint64, 0, frame.FloatValue(1 << 64)},
		{config.TypeInt64, 0, frame.UintValue(1 << 63)},
		{config.TypeInt64, 0, frame.FloatValue(math.Inf(-1))},
		{config.TypeFloat32, 0, frame.FloatValue(1e39)},
		{config.TypeFloat32, 0, frame.StringValue("x")},
		{config.TypeFloat64, 0, frame.FloatValue(math.Inf(1))},
		{config.TypeBCD16, 0, frame.IntValue(10000)},
		{config.TypeBCD16, 0, frame.IntValue(-1)},
		{config.TypeBCD32, 0, frame.IntValue(100000000)},
		{config.TypeBool, 0, frame.IntValue(2)},
		{config.TypeString, 2, frame.StringValue("hello")},
		{config.TypeString, 2, frame.IntValue(1)},
		{config.TypeBinary, 2, frame.BytesValue([]byte("abc"))},
		{config.TypeBinary, 2, frame.StringValue("abcd")},
	} {
		p := registerPoint(t, c.typ, "", c.len)
		if got, err := p.encode(c.value); !errors.Is(err, ErrRange) {
			t.Errorf("%s: encoded %v as % X, %v; want a range error", c.typ, c.value, got, err)
		}
	}
}

func TestEncodeWhole(t *testing.T) {
	for _, c := range []struct {
		typ   config.DataType
		value frame.Value
		line  string
	}{
		{config.TypeInt16, frame.FloatValue(-3), "FFFD"},
		{config.TypeUint16, frame.FloatValue(65535), "FFFF"},
		{config.TypeUint16, frame.BoolValue(true), "0001"},
		{config.TypeFloat32, frame.IntValue(2), "40000000"},
		{config.TypeBool, frame.FloatValue(1), "0001"},
		{config.TypeUint64, frame.UintValue(math.MaxUint64), "FFFFFFFFFFFFFFFF"},
	} {
		p := registerPoint(t, c.typ, "", 0)
		if got, err := p.encode(c.value); err != nil || string(got) != string(unhex(t, c.line)) {
			t.Errorf("%s %v: encoded % X, %v; want %s", c.typ, c.value, got, err, c.line)
		}
	}
}

func TestCoils(t *testing.T) {
	s := &Settings{MaxRegs: 10}
	point := func(typ config.DataType, n uint16) Point {
		p, _, err := s.Resolve(&config.Variable{Datatype: typ, Address: config.Address{Type: config.AddrCoil, Len: n}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	data := unhex(t, "CD6B05") // 1011 0011 1101 0110 1010 0000, the first coil lowest
	for _, c := range []struct {
		typ   config.DataType
		n     uint16
		bit0  uint16
		value frame.Value
	}{
		{config.TypeBool, 1, 0, frame.BoolValue(true)},
		{config.TypeBool, 1, 1, frame.BoolValue(false)},
		{config.TypeBool, 1, 18, frame.BoolValue(true)},
		{config.TypeUint16, 10, 0, frame.IntValue(0x3CD)},
		{config.TypeUint16, 10, 1, frame.IntValue(0x1E6)},
		{config.TypeUint32, 19, 0, frame.IntValue(0x56BCD)},
		{config.TypeBinary, 10, 1, frame.BytesValue([]byte{0xE6, 0x01})},
	} {
		p := point(c.typ, c.n)
		p.bit0 = c.bit0
		if v, q := p.decode(data); v != c.value || q != frame.Good {
			t.Errorf("%s, %d from %d: decoded %v %v, want %v", c.typ, c.n, c.bit0, v, q, c.value)
		}
	}
	p := point(config.TypeUint16, 10)
	if got, err := p.encode(frame.IntValue(0x3CD)); err != nil || hex.EncodeToString(got) != "cd03" {
		t.Errorf("encoded %x, %v", got, err)
	}
	if _, err := p.encode(frame.IntValue(1024)); !errors.Is(err, ErrRange) {
		t.Errorf("11 bits into 10 coils: %v", err)
	}
	p = point(config.TypeBinary, 10)
	if _, err := p.encode(frame.BytesValue([]byte{0, 4})); !errors.Is(err, ErrRange) {
		t.Errorf("11 bits into 10 coils as bytes: %v", err)
	}
}

// FuzzDecode: no bytes make decode panic, and what is good encodes back to the
// same bytes.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x41, 0x48, 0, 0, 1, 2, 3, 4}, uint8(7), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, typ, order uint8) {
		types := append(interpretable(), config.TypeBool, config.TypeString, config.TypeBinary)
		p := Point{Func: FuncReadHolding, Type: types[int(typ)%len(types)], Order: ByteOrder(order % 4), Bit: -1}
		p.kind, p.Count, _ = kindOf(p.Type)
		if p.Count == 0 {
			p.Count = 4
		}
		if len(data) < 2*int(p.Count) {
			return
		}
		data = data[:2*p.Count]
		v, q := p.decode(data)
		if q != frame.Good || p.kind == kindBool || p.kind == kindString {
			return
		}
		if n, ok := v.Number(); ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
			return
		}
		if back, err := p.encode(v); err != nil || string(back) != string(data) {
			t.Errorf("%s %s % X: decoded %v, encoded % X, %v", p.Type, p.Order, data, v, back, err)
		}
	})
}
