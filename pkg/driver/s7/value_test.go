package s7

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each type there and back.
func TestValues(t *testing.T) {
	for _, tc := range []struct {
		address string
		dt      config.DataType
		hex     string
		want    string
	}{
		{"DB1.DBX0.3", config.TypeBool, "08", "true"},
		{"DB1.DBB0", config.TypeUint8, "FE", "254"},
		{"DB1.DBB0", config.TypeInt8, "FE", "-2"},
		{"DB1.DBW0", config.TypeUint16, "FFFE", "65534"},
		{"DB1.DBW0", config.TypeInt16, "FFFE", "-2"},
		{"DB1.DBD0", config.TypeUint32, "FFFFFFFE", "4294967294"},
		{"DB1.DBD0", config.TypeInt32, "FFFFFFFE", "-2"},
		{"DB1.DBL0", config.TypeUint64, "FFFFFFFFFFFFFFFE", "18446744073709551614"},
		{"DB1.DBL0", config.TypeInt64, "FFFFFFFFFFFFFFFE", "-2"},
		{"DB1.DBD0", config.TypeFloat32, "4144CCCD", "12.3"},
		{"DB1.DBL0", config.TypeFloat64, "3FB999999999999A", "0.1"},
		{"DB1.DBW0", config.TypeBCD16, "1234", "1234"},
		{"DB1.DBD0", config.TypeBCD32, "12345678", "12345678"},
		{"DB1.DBW0", config.TypeS5Time, "0127", "1270"},
		{"DB1.DBW0", config.TypeS5Time, "3999", "9990000"},
		{"DB1.DBD0", config.TypeTime, "FFFFFC18", "-1000"},
		{"DB1.DBL0", config.TypeLTime, "000000003B9ACA00", "1000000000"},
		{"DB1.DBW0", config.TypeDate, "34A9", "2026-11-29"},
		{"DB1.DBD0", config.TypeTOD, "0303C7FB", "14:02:59.451"},
		{"DB1.DBB0", config.TypeS7DT, "26 11 28 14 03 05 12 37", "2026-11-28T14:03:05.123"},
		{"DB1.DBB0", config.TypeDTL, "07EA 0B 1C 07 0E 03 05 075BCD15", "2026-11-28T14:03:05.123456789"},
		{"DB1.STRING0.6", config.TypeString, "06 05 67 72C3BC6E 00", "grün"},
		{"DB1.WSTRING0.4", config.TypeWString, "0004 0004 0067 0072 00FC 006E", "grün"},
		{"DB1.CHAR0.4", config.TypeChar, "41 42 20 20", "AB"},
		{"DB1.BYTE0.3", config.TypeBinary, "00 01 FE", "AAH+"},
		{"T5", config.TypeS5Time, "1250", "25000"},
		{"C3", config.TypeBCD16, "0042", "42"},
	} {
		v := at(tc.address, tc.dt)
		p, note, err := Resolve(&v)
		if err != nil || note != nil {
			t.Errorf("%s %s: %v %s", tc.dt, tc.address, err, note)
			continue
		}
		data := bytesOf(t, tc.hex)
		if len(data) != p.Size {
			t.Fatalf("%s %s: %d bytes given, it has %d", tc.dt, tc.address, len(data), p.Size)
		}
		got, q := p.decode(data)
		if got.String() != tc.want || q != frame.Good {
			t.Errorf("%s of %s is %s (%v), want %s", tc.dt, tc.hex, got, q, tc.want)
		}
		back, err := p.written(got)
		if err != nil {
			t.Errorf("%s %s: written: %v", tc.dt, got, err)
			continue
		}
		want := data
		switch tc.dt {
		case config.TypeBool:
			want = []byte{1}
		case config.TypeString:
			want = data[1:7]
		case config.TypeWString:
			want = data[2:]
		case config.TypeChar:
			want = data[:4]
			back = append(back, bytes.Repeat([]byte{' '}, 2)...)
			back = append(back[:2], want[2:]...)
		}
		if !bytes.Equal(back, want) {
			t.Errorf("%s %s is written as % X, want % X", tc.dt, got, back, want)
		}
	}
}

// Arrays are JSON arrays; an element that is no value is null.
func TestArrays(t *testing.T) {
	for _, tc := range []struct {
		address string
		dt      config.DataType
		hex     string
		want    string
		q       frame.Quality
	}{
		{"DB1.DBW0[3]", config.TypeInt16, "0001 FFFF 7FFF", "[1,-1,32767]", frame.Good},
		{"DB1.DBD0[2]", config.TypeFloat32, "4144CCCD BF000000", "[12.3,-0.5]", frame.Good},
		{"DB1.DBD0[2]", config.TypeFloat32, "7FC00000 BF000000", "[null,-0.5]", frame.Uncertain},
		{"DB1.DBW0[2]", config.TypeBCD16, "000A 0012", "[null,12]", frame.Uncertain},
		{"DB1.DBX0.0[16]", config.TypeBool, "05 80", "[true,false,true,false,false,false,false,false,false,false,false,false,false,false,false,true]", frame.Good},
		{"DB1.DBX0.6[5]", config.TypeBool, "40 05", "[true,false,true,false,true]", frame.Good},
		{"MB0[1]", config.TypeUint8, "07", "[7]", frame.Good},
		{"DB1.DBW0[2]", config.TypeDate, "0000 0001", `["1990-01-01","1990-01-02"]`, frame.Good},
	} {
		v := at(tc.address, tc.dt)
		p, _, err := Resolve(&v)
		if err != nil {
			t.Errorf("%s: %v", tc.address, err)
			continue
		}
		data := bytesOf(t, tc.hex)
		if len(data) != p.Size || p.String() != tc.address {
			t.Errorf("%s is %s with %d bytes, want %d", tc.address, p, p.Size, len(data))
			continue
		}
		if got, q := p.decode(data); got != frame.ArrayValue(tc.want) || q != tc.q {
			t.Errorf("%s of %s is %s, %v; want %s, %v", tc.address, tc.hex, got, q, tc.want, tc.q)
		}
		back, err := p.written(frame.ArrayValue(tc.want))
		if writable := p.wholeBytes() && tc.q == frame.Good; writable != (err == nil) || writable && !bytes.Equal(back, data) {
			t.Errorf("%s of %s is written as % X, %v", tc.address, tc.want, back, err)
		}
	}
	for _, text := range []string{"[1]", "[1,2,3]", "[1,70000]", "[1,\"2\"]", "[1,[2]]", "[1,null]", "7", "[1,"} {
		v := at("DB1.DBW0[2]", config.TypeInt16)
		p, _, err := Resolve(&v)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := p.written(frame.ArrayValue(text)); err == nil {
			t.Errorf("%s is written as % X", text, b)
		}
	}
	for text, dt := range map[string]config.DataType{"DB1.DBW0[0]": config.TypeInt16, "DB1.STRING0.4[2]": config.TypeString, "T0[2]": config.TypeS5Time,
		"DB1.DBL0[9999]": config.TypeInt64, "DB1.DBW0[]": config.TypeInt16, "DB1.DBW0[2][2]": config.TypeInt16} {
		v := at(text, dt)
		if p, _, err := Resolve(&v); err == nil {
			t.Errorf("%s is %s", text, p)
		}
	}
}

// What is no value of its type is bad, and nothing that doesn't fit is written.
func TestNoValues(t *testing.T) {
	for _, tc := range []struct {
		address string
		dt      config.DataType
		hex     string
		q       frame.Quality
	}{
		{"DB1.DBW0", config.TypeBCD16, "12A4", frame.Bad},
		{"DB1.DBW0", config.TypeS5Time, "0A00", frame.Bad},
		{"DB1.DBD0", config.TypeTOD, "FFFFFFFF", frame.Bad},
		{"DB1.DBB0", config.TypeS7DT, "26 13 28 14 03 05 12 37", frame.Bad},
		{"DB1.DBB0", config.TypeS7DT, "26 02 30 14 03 05 12 37", frame.Bad},
		{"DB1.DBB0", config.TypeDTL, "0000 00 00 00 00 00 00 00000000", frame.Bad},
		{"DB1.STRING0.2", config.TypeString, "02 03 41 42", frame.Bad},
		{"DB1.STRING0.2", config.TypeString, "FE 05 41 42", frame.Bad},
		{"DB1.STRING0.2", config.TypeString, "02 01 FF 42", frame.Uncertain},
		{"DB1.WSTRING0.1", config.TypeWString, "0001 0002 0041", frame.Bad},
		{"DB1.WSTRING0.1", config.TypeWString, "0001 0001 D800", frame.Uncertain},
	} {
		v := at(tc.address, tc.dt)
		p, _, err := Resolve(&v)
		if err != nil {
			t.Fatal(err)
		}
		if got, q := p.decode(bytesOf(t, tc.hex)); q != tc.q {
			t.Errorf("%s of %s is %s, %v, want %v", tc.dt, tc.hex, got, q, tc.q)
		}
	}
	for _, tc := range []struct {
		address string
		dt      config.DataType
		value   frame.Value
	}{
		{"DB1.DBX0.0", config.TypeBool, frame.IntValue(2)},
		{"DB1.DBB0", config.TypeUint8, frame.IntValue(256)},
		{"DB1.DBW0", config.TypeInt16, frame.IntValue(40000)},
		{"DB1.DBW0", config.TypeUint16, frame.FloatValue(1.5)},
		{"DB1.DBD0", config.TypeFloat32, frame.FloatValue(1e39)},
		{"DB1.DBW0", config.TypeBCD16, frame.IntValue(10000)},
		{"DB1.DBW0", config.TypeS5Time, frame.IntValue(15)},
		{"DB1.DBW0", config.TypeDate, frame.StringValue("1989-12-31")},
		{"DB1.DBD0", config.TypeTOD, frame.StringValue("24:00:00")},
		{"DB1.DBB0", config.TypeS7DT, frame.StringValue("2026-11-28T14:03:05.1234")},
		{"DB1.DBB0", config.TypeS7DT, frame.StringValue("2090-01-01T00:00:00")},
		{"DB1.STRING0.2", config.TypeString, frame.StringValue("ABC")},
		{"DB1.WSTRING0.2", config.TypeWString, frame.StringValue("ABC")},
		{"DB1.BYTE0.2", config.TypeBinary, frame.BytesValue([]byte{1})},
		{"DB1.DBW0", config.TypeUint16, frame.StringValue("1")},
	} {
		v := at(tc.address, tc.dt)
		p, _, err := Resolve(&v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.written(tc.value); err == nil {
			t.Errorf("%s %s is written as % X, want an error", tc.dt, tc.value, got)
		}
	}
}

// Addresses are read as engineers write them, in both mnemonics, and those that can't
// be are refused with the field.
func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"DB1.DBD4": "DB1.DBD4", "db1.dbd4": "DB1.DBD4", "%DB1.DBD4": "DB1.DBD4", "DB1.D4": "DB1.DBD4",
		"MD4": "MD4", "%MD4": "MD4", "ED4": "ID4", "AD4": "QD4", "ID4": "ID4", "QD4": "QD4", "VD4": "DB1.DBD4", " MD4 ": "MD4",
	} {
		v := at(text, config.TypeUint32)
		if p, _, err := Resolve(&v); err != nil || p.Place.String() != want {
			t.Errorf("%q is %s, %v; want %s", text, p.Place, err, want)
		}
	}
	for text, want := range map[string]string{"E0.7": "I0.7", "A1.0": "Q1.0", "M3.4": "M3.4", "DB2.DBX3.4": "DB2.DBX3.4", "MX3.4": "M3.4", "V10.3": "DB1.DBX10.3"} {
		v := at(text, config.TypeBool)
		if p, _, err := Resolve(&v); err != nil || p.Place.String() != want {
			t.Errorf("%q is %s, %v; want %s", text, p.Place, err, want)
		}
	}
	bit := uint8(9)
	for _, tc := range []struct {
		a    config.Address
		dt   config.DataType
		want string
	}{
		{config.Address{S7: "DB1.DBX0.8"}, config.TypeBool, "expected a bit"},
		{config.Address{S7: "DB1.DBX0"}, config.TypeBool, "expected a bit"},
		{config.Address{S7: "DB0.DBW0"}, config.TypeInt16, "expected DB1 to DB65535"},
		{config.Address{S7: "DB65536.DBW0"}, config.TypeInt16, "expected DB1 to DB65535"},
		{config.Address{S7: "DB1.DBW0"}, config.TypeFloat32, "has 2 bytes, a float32 has 4"},
		{config.Address{S7: "DB1.DBB0"}, config.TypeFloat32, "write it with D"},
		{config.Address{S7: "DB1.DBW0"}, config.TypeBool, "is no bit"},
		{config.Address{S7: "DB1.DBX0.0"}, config.TypeInt16, "is a bit"},
		{config.Address{S7: "DB1.DBW0.1"}, config.TypeInt16, "has no meaning"},
		{config.Address{S7: "DB1.STRING0.255"}, config.TypeString, "expected a length"},
		{config.Address{S7: "DB1.STRING0.10"}, config.TypeWString, "expected datatype string"},
		{config.Address{S7: "DB1.DBB0"}, config.TypeBinary, "address.size: missing"},
		{config.Address{S7: "DBW0"}, config.TypeInt16, "expected one such as"},
		{config.Address{S7: "PEW256"}, config.TypeInt16, "expected EW256, the process image"},
		{config.Address{S7: "%IW256:P"}, config.TypeInt16, "expected IW256, the process image"},
		{config.Address{S7: "T5"}, config.TypeFloat32, "expected a datatype such as s5time"},
		{config.Address{S7: "DB1.DBB2097151"}, config.TypeDTL, "the last that can be addressed"},
		{config.Address{S7: "DB1.DBB0"}, "float16", "has no such values"},
		{config.Address{Area: "X"}, config.TypeInt16, "address.area"},
		{config.Address{DB: 1}, config.TypeBool, "address.bit: missing"},
		{config.Address{DB: 1, Bit: &bit}, config.TypeBool, "bit 8 is bit 0"},
		{config.Address{DB: 1, Size: 2}, config.TypeFloat32, "needs 4 bytes"},
		{config.Address{DB: 1}, config.TypeString, "address.size: missing"},
	} {
		tc.a.Type = config.AddrS7DB
		v := config.Variable{Address: tc.a, Datatype: tc.dt}
		if p, _, err := Resolve(&v); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v, %s: %s, %v; want %q", tc.a, tc.dt, p.Place, err, tc.want)
		}
	}
	v := config.Variable{Address: config.Address{Type: config.AddrS7DB, DB: 1, Start: 4, Size: 4}, Datatype: config.TypeInt16}
	if p, note, err := Resolve(&v); err != nil || note == nil || p.Size != 2 {
		t.Errorf("a size that is too large: %s %q %v", p.Place, note, err)
	}
	for text, odd := range map[string]bool{"DB1.DBW65534": false, "DB1.DBW65535": true, "DB1.DBW70000": true, "MW70000": true} {
		v := at(text, config.TypeInt16)
		if p, note, err := Resolve(&v); err != nil || (note != nil) != odd || odd && !strings.Contains(note.Error(), "behind byte 65535") {
			t.Errorf("%s: %s %v %v", text, p.Place, note, err)
		}
	}
}
