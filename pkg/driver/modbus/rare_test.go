package modbus

import (
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// resolve makes a point of a holding register variable.
func resolve(t testing.TB, change func(v *config.Variable)) (Point, error) {
	t.Helper()
	s := &Settings{MaxRegs: maxReadRegisters, Addressing: AddressingProtocol, EnableWrite: true}
	v := &config.Variable{Tag: "t", Access: config.AccessR, Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrHolding, Addr: 100}}
	change(v)
	p, _, err := s.Resolve(v)
	return p, err
}

// TestRareTypes writes down what each type looks like on the line, byte by byte.
func TestRareTypes(t *testing.T) {
	i, f, s := frame.IntValue, frame.FloatValue, frame.StringValue
	for _, c := range []struct {
		typ   config.DataType
		order string
		len   uint16
		line  string
		value frame.Value
	}{
		{config.TypeUint24, "ABCD", 0, "00FFFFFE", i(0xFFFFFE)},
		{config.TypeUint24, "CDAB", 0, "FFFE0012", i(0x12FFFE)},
		{config.TypeInt24, "ABCD", 0, "FFFFFFFE", i(-2)},
		{config.TypeUint48, "ABCD", 0, "123456789ABC", i(0x123456789ABC)},
		{config.TypeUint48, "BADC", 0, "34127856BC9A", i(0x123456789ABC)},
		{config.TypeUint48, "CDAB", 0, "9ABC56781234", i(0x123456789ABC)},
		{config.TypeUint48, "DCBA", 0, "BC9A78563412", i(0x123456789ABC)},
		{config.TypeInt48, "ABCD", 0, "FFFFFFFFFFFE", i(-2)},
		{config.TypeInt48, "CDAB", 0, "000000008000", i(-1 << 47)},
		{config.TypeFloat16, "ABCD", 0, "3C00", f(1)},
		{config.TypeFloat16, "BADC", 0, "003C", f(1)},
		{config.TypeFloat16, "ABCD", 0, "C500", f(-5)},
		{config.TypeFloat16, "ABCD", 0, "7BFF", f(65504)},
		{config.TypeFloat16, "ABCD", 0, "0001", f(math.Ldexp(1, -24))},
		{config.TypeFloat16, "ABCD", 0, "0400", f(math.Ldexp(1, -14))},
		{config.TypeBCD48, "ABCD", 0, "123456789012", i(123456789012)},
		{config.TypeBCD64, "ABCD", 0, "1234567890123456", i(1234567890123456)},
		{config.TypeBCD64, "CDAB", 0, "3456901256781234", i(1234567890123456)},
		{config.TypeMod10k, "ABCD", 2, "0001270F", i(19999)},
		{config.TypeMod10k, "CDAB", 2, "270F0001", i(19999)},
		{config.TypeMod10k, "ABCD", 3, "000100020003", i(100020003)},
		{config.TypeMod10k, "CDAB", 4, "270F270F270F270F", i(9999999999999999)},
		{config.TypeUnix32, "ABCD", 0, "65920080", s("2024-01-01T00:00:00Z")},
		{config.TypeUnix32, "CDAB", 0, "00806592", s("2024-01-01T00:00:00Z")},
		{config.TypeUnix64, "ABCD", 0, "0000000065920080", s("2024-01-01T00:00:00Z")},
		{config.TypeUnix64MS, "ABCD", 0, "0000018CC251F47B", s("2024-01-01T00:00:00.123Z")},
		{config.TypeYMDHMS, "ABCD", 0, "07E80002001D0017003B003B", s("2024-02-29T23:59:59")},
		{config.TypeS7DT, "ABCD", 0, "2402292359591235", s("2024-02-29T23:59:59.123")},
		{config.TypeS7DT, "ABCD", 0, "9912312359590006", s("1999-12-31T23:59:59")},
		{config.TypeCP56Time2a, "ABCD", 0, "F3E93B179D021800", s("2024-02-29T23:59:59.891")},
	} {
		p, err := resolve(t, func(v *config.Variable) {
			v.Datatype, v.ByteOrder, v.Address.Len, v.Access = c.typ, c.order, c.len, config.AccessRW
		})
		if err != nil {
			t.Errorf("%s: %v", c.typ, err)
			continue
		}
		data := unhex(t, c.line)
		if int(p.Count)*2 != len(data) {
			t.Errorf("%s takes %d registers, the line has %d bytes", c.typ, p.Count, len(data))
			continue
		}
		if v, q := p.decode(data); v != c.value || q != frame.Good {
			t.Errorf("%s %s % X: %v %v, want %v", c.typ, c.order, data, v, q, c.value)
		}
		if back, err := p.encode(c.value); err != nil || string(back) != string(data) {
			t.Errorf("%s %s: %v is encoded % X, %v; want % X", c.typ, c.order, c.value, back, err, data)
		}
	}
}

// TestRareBad: what is no value of the type is bad, or says that it is doubtful.
func TestRareBad(t *testing.T) {
	for _, c := range []struct {
		typ  config.DataType
		len  uint16
		line string
	}{
		{config.TypeBCD48, 0, "12345678901A"}, {config.TypeBCD64, 0, "A234567890123456"}, {config.TypeMod10k, 2, "00012710"}, {config.TypeMod10k, 4, "FFFF000000000000"},
		{config.TypeYMDHMS, 0, "07E80002001E0017003B003B"}, {config.TypeYMDHMS, 0, "000000000000000000000000"}, {config.TypeYMDHMS, 0, "07E8000D001D0017003B003B"},
		{config.TypeS7DT, 0, "24022A2359591235"}, {config.TypeS7DT, 0, "2413292359591235"}, {config.TypeS7DT, 0, "0000000000000000"},
		{config.TypeCP56Time2a, 0, "F3E9BB179D021800"}, {config.TypeCP56Time2a, 0, "FFFFFFFFFFFFFFFF"}, {config.TypeUnix64, 0, "7FFFFFFFFFFFFFFF"},
	} {
		p, err := resolve(t, func(v *config.Variable) { v.Datatype, v.Address.Len = c.typ, c.len })
		if err != nil {
			t.Fatal(err)
		}
		if v, q := p.decode(unhex(t, c.line)); q != frame.Bad || !v.IsNone() {
			t.Errorf("%s %s: %v %v, want bad", c.typ, c.line, v, q)
		}
	}
}

func TestHalves(t *testing.T) {
	for _, c := range []struct {
		typ   config.DataType
		half  string
		order string
		want  int64
	}{
		{config.TypeUint8, "hi", "ABCD", 0xFE}, {config.TypeUint8, "lo", "ABCD", 0x03}, {config.TypeUint8, "", "ABCD", 0x03},
		{config.TypeInt8, "hi", "ABCD", -2}, {config.TypeInt8, "lo", "ABCD", 3}, {config.TypeUint8, "hi", "BADC", 0x03},
	} {
		p, err := resolve(t, func(v *config.Variable) { v.Datatype, v.Address.Byte, v.ByteOrder = c.typ, c.half, c.order })
		if err != nil {
			t.Fatal(err)
		}
		if v, q := p.decode([]byte{0xFE, 0x03}); v.Int() != c.want || q != frame.Good {
			t.Errorf("%s %s %s: %v, want %d", c.typ, c.half, c.order, v, c.want)
		}
	}
}

// TestApart: two registers with others between them are one value.
func TestApart(t *testing.T) {
	for _, c := range []struct {
		addr, addr2 uint32
		line        string
	}{
		{100, 103, "1234 AAAA BBBB 5678"},
		{103, 100, "5678 AAAA BBBB 1234"},
		{100, 101, "1234 5678"},
	} {
		p, err := resolve(t, func(v *config.Variable) {
			v.Datatype, v.Address.Addr, v.Address.Addr2 = config.TypeUint32, c.addr, c.addr2
		})
		if err != nil {
			t.Fatal(err)
		}
		if p.Addr != 100 || 2*int(p.Count) != len(unhex(t, c.line)) {
			t.Errorf("%d and %d: %s", c.addr, c.addr2, &p)
		}
		if v, q := p.decode(unhex(t, c.line)); v.Int() != 0x12345678 || q != frame.Good {
			t.Errorf("%d and %d: %x %v", c.addr, c.addr2, v.Int(), q)
		}
	}
	s := &Settings{MaxRegs: 120, Addressing: AddressingModicon}
	p, _, err := s.Resolve(&config.Variable{Tag: "t", Access: config.AccessR, Datatype: config.TypeFloat32,
		Address: config.Address{Type: config.AddrHolding, Addr: 40001, Addr2: 40011}})
	if err != nil || p.Addr != 0 || p.Count != 11 {
		t.Errorf("Modicon: %s, %v", &p, err)
	}
}

// TestForms: what a type has no use for is refused, and named.
func TestForms(t *testing.T) {
	for want, change := range map[string]func(v *config.Variable){
		"address.byte: is for int8":    func(v *config.Variable) { v.Address.Byte = "hi" },
		"address.chars: is for string": func(v *config.Variable) { v.Address.Chars = 1 },
		"charset: is for string":       func(v *config.Variable) { v.Charset = "gbk" },
		"pad: is for string":           func(v *config.Variable) { v.Pad = "left" },
		"together with those between them": func(v *config.Variable) {
			v.Datatype, v.Access, v.Address.Addr2 = config.TypeInt32, config.AccessW, 102
		},
		"addr2: is for values of two":        func(v *config.Variable) { v.Address.Addr2 = 7 },
		"addr2: is the same register":        func(v *config.Variable) { v.Datatype, v.Address.Addr2 = config.TypeInt32, 100 },
		"addr2: 901 registers":               func(v *config.Variable) { v.Datatype, v.Address.Addr2 = config.TypeInt32, 1000 },
		"mod10k needs the number":            func(v *config.Variable) { v.Datatype = config.TypeMod10k },
		"mod10k has 2 to 4":                  func(v *config.Variable) { v.Datatype, v.Address.Len = config.TypeMod10k, 5 },
		"expected bool, uint8, int8, uint16": func(v *config.Variable) { v.Datatype = "word" },
	} {
		if _, err := resolve(t, change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, c := range []struct {
		charset, pad, order string
		chars               uint8
		line                string
		want                string
		q                   frame.Quality
	}{
		{"", "", "", 0, "4142 4300", "ABC", frame.Good},
		{"", "left", "", 0, "0000 4142", "AB", frame.Good},
		{"", "", "", 0, "0000 4142", "", frame.Good},
		{"", "", "", 1, "0041 0042 0000", "AB", frame.Good},
		{"", "", "BADC", 1, "4100 4200 0000", "AB", frame.Good},
		{"", "left", "", 1, "0000 0041 0042", "AB", frame.Good},
		{"latin1", "", "", 0, "B043 0000", "°C", frame.Good},
		{"latin1", "", "", 1, "00B0 0043", "°C", frame.Good},
		{"gbk", "", "", 0, "B6C8 0000", "度", frame.Good},
		{"gbk", "", "BADC", 0, "C8B6 0000", "度", frame.Good},
		{"gbk", "", "", 0, "FF41 0000", "\uFFFDA", frame.Uncertain},
		{"utf-8", "", "", 0, "E5BA A600", "度", frame.Good},
		{"", "", "", 0, "B6C8 0000", "\uFFFD", frame.Uncertain},
	} {
		data := unhex(t, c.line)
		p, err := resolve(t, func(v *config.Variable) {
			v.Datatype, v.Charset, v.Pad, v.ByteOrder, v.Access = config.TypeString, c.charset, c.pad, c.order, config.AccessRW
			v.Address.Chars, v.Address.Len = c.chars, uint16(len(data)/2)
		})
		if err != nil {
			t.Fatal(err)
		}
		v, q := p.decode(data)
		if v.Text() != c.want || q != c.q {
			t.Errorf("%+v: %q %v", c, v.Text(), q)
		}
		if c.q != frame.Good || c.want == "" {
			continue
		}
		if back, err := p.encode(v); err != nil || string(back) != string(data) {
			t.Errorf("%+v: encoded %s, %v", c, hex.EncodeToString(back), err)
		}
	}
	p, err := resolve(t, func(v *config.Variable) {
		v.Datatype, v.Charset, v.Access, v.Address.Len, v.Address.Chars = config.TypeString, "latin1", config.AccessW, 2, 1
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"度", "ABC"} {
		if b, err := p.encode(frame.StringValue(text)); !errors.Is(err, ErrRange) {
			t.Errorf("%q into two latin1 characters: % X, %v", text, b, err)
		}
	}
}

// TestRoundTrips: whatever a writable type can hold comes back as it was written.
func TestRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 6))
	for _, name := range dataTypes() {
		typ := config.DataType(name)
		l, integer := typ.Integer()
		if !integer || typ == config.TypeUint8 || typ == config.TypeInt8 {
			continue
		}
		for _, order := range ByteOrders() {
			for range 200 {
				p, err := resolve(t, func(v *config.Variable) {
					v.Datatype, v.ByteOrder, v.Access = typ, order.String(), config.AccessRW
					if typ == config.TypeMod10k {
						v.Address.Len = 4
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				want := frame.UintValue(rng.Uint64() % max(l.Max, 1))
				switch rng.IntN(4) {
				case 0:
					want = frame.UintValue(l.Max)
				case 1:
					want = frame.IntValue(l.Min)
				}
				data, err := p.encode(want)
				if err != nil {
					t.Fatalf("%s: %v: %v", typ, want, err)
				}
				if got, q := p.decode(data); got != want || q != frame.Good {
					t.Fatalf("%s %s: %v comes back as %v %v", typ, order, want, got, q)
				}
			}
			p, _ := resolve(t, func(v *config.Variable) { v.Datatype, v.ByteOrder, v.Address.Len = typ, order.String(), 4 })
			if l.Max < math.MaxUint64 {
				if b, err := p.encode(frame.UintValue(l.Max + 1)); !errors.Is(err, ErrRange) {
					t.Errorf("%s: %d is encoded % X, %v", typ, l.Max+1, b, err)
				}
			}
		}
	}
}

// TestFloat16 goes through all halves, and the midpoints between them.
func TestFloat16(t *testing.T) {
	for bits := range 1 << 16 {
		h := uint16(bits)
		f := fromFloat16(h)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			if _, ok := toFloat16(f); ok {
				t.Fatalf("%v has a half", f)
			}
			continue
		}
		if back, ok := toFloat16(f); !ok || back != h {
			t.Fatalf("%04x is %v, and back %04x, %v", h, f, back, ok)
		}
		if h&0x7FFF < 0x7BFF {
			next := fromFloat16(h + 1)
			if mid, ok := toFloat16((f + next) / 2); !ok || mid != h+h&1 {
				t.Fatalf("between %04x and the next: %04x, %v", h, mid, ok)
			}
		}
	}
	if _, ok := toFloat16(65520); ok {
		t.Error("65520 is no half")
	}
}

// FuzzRare: no bytes make a rare type panic, and times that are read are written back.
func FuzzRare(f *testing.F) {
	f.Add([]byte{0x24, 0x02, 0x29, 0x23, 0x59, 0x59, 0x12, 0x35, 0, 0, 0, 0}, uint8(0), uint8(0))
	names := dataTypes()
	f.Fuzz(func(t *testing.T, data []byte, typ, order uint8) {
		p, err := resolve(t, func(v *config.Variable) {
			v.Datatype, v.ByteOrder, v.Address.Len = config.DataType(names[int(typ)%len(names)]), ByteOrder(order%4).String(), 0
			if _, regs, _ := kindOf(v.Datatype); regs == 0 {
				v.Address.Len = 4
			}
		})
		if err != nil || len(data) < 2*int(p.Count) {
			return
		}
		v, q := p.decode(data[:2*p.Count])
		if q != frame.Good || !p.Type.Text() || p.kind == kindString {
			return
		}
		back, err := p.encode(v)
		if err != nil {
			t.Fatalf("%s: %v: %v", p.Type, v, err)
		}
		if again, q := p.decode(back); again != v || q != frame.Good {
			t.Errorf("%s: %v is written as % X, which is %v %v", p.Type, v, back, again, q)
		}
	})
}

// TestRareAllocatesNothing: numbers need no memory, whatever their type.
func TestRareAllocatesNothing(t *testing.T) {
	data := make([]byte, 16)
	for _, name := range dataTypes() {
		typ := config.DataType(name)
		if !typ.Numeric() {
			continue
		}
		p, err := resolve(t, func(v *config.Variable) {
			v.Datatype = typ
			if typ == config.TypeMod10k {
				v.Address.Len = 4
			}
			if _, regs, _ := kindOf(typ); regs == 2 {
				v.Address.Addr2 = 102
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { p.decode(data) }); n != 0 {
			t.Errorf("%s: %v allocations", typ, n)
		}
	}
}
