package modbus

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func TestInterpret(t *testing.T) {
	// 12.5 as float32 CDAB, then 1234 as BCD.
	all := Interpret(10, unhex(t, "0000 4148 1234"))
	find := func(typ config.DataType, o ByteOrder, addr uint16) *Interpretation {
		for i := range all {
			if in := &all[i]; in.Type == typ && in.Order == o && in.Addr == addr {
				return in
			}
		}
		t.Fatalf("%s %s at %d is missing", typ, o, addr)
		return nil
	}
	if v := find(config.TypeFloat32, CDAB, 10).Value; v != frame.FloatValue(12.5) {
		t.Errorf("float32 CDAB is %v", v)
	}
	if v := find(config.TypeBCD16, ABCD, 12).Value; v != frame.IntValue(1234) {
		t.Errorf("bcd16 is %v", v)
	}
	if in := find(config.TypeUint16, BADC, 11); in.Value != frame.IntValue(0x4841) || in.Count != 1 {
		t.Errorf("uint16 BADC is %+v", in)
	}
	for _, in := range all {
		if in.Type == config.TypeFloat64 {
			t.Errorf("%s out of three registers", in.String())
		}
	}
	nan := Interpret(0, unhex(t, "7FC0 0000"))
	for _, in := range nan {
		if in.Type == config.TypeFloat32 && in.Order == ABCD && (in.Quality != frame.Bad || !in.Value.IsNone()) {
			t.Errorf("NaN is %v %v", in.Value, in.Quality)
		}
	}
}

func TestRank(t *testing.T) {
	for _, c := range []struct {
		line   string
		expect float64
		addr   uint16
		want   string
	}{
		{"0000 4148 0000", 12.5, 10, "float32 CDAB at 10"},
		{"007B", 12.3, 10, "uint16 ABCD at 10, scale value / 10"},
		{"FF85", -12.3, 10, "int16 ABCD at 10, scale value / 10"},
		{"0000 04D2", 1234, 11, "uint16 ABCD at 11"}, // before uint32 at 10: nearer to what was asked
		{"0000 04D2", 1234, 10, "uint32 ABCD at 10"},
		{"1234", 1234, 10, "bcd16 ABCD at 10"},
		{"0005", 5000, 10, "uint16 ABCD at 10, scale value * 1000"},
		{"0000", 0, 10, "uint16 ABCD at 10"},
		{"0001", 0, 10, ""},
	} {
		got := ""
		if best := Rank(Interpret(10, unhex(t, c.line)), c.expect, c.addr); len(best) > 0 {
			got = best[0].String()
		}
		if got != c.want {
			t.Errorf("%s as %v: %s, want %s", c.line, c.expect, got, c.want)
		}
	}
}

func TestParseQuestion(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"40001:2", "0x03 0+2"}, {"40001", "0x03 0+1"}, {"0:125", "0x03 0+125"}, {"30011:3", "0x04 10+3"}, {"10001", "0x02 0+1"},
		{"input:30001", "0x04 0+1"}, {"input:7:2", "0x04 7+2"}, {"coil:0:2000", "0x01 0+2000"}, {"discrete:5", "0x02 5+1"},
		{"465536", "0x03 65535+1"},
		{"", "expected ADDR:LEN"}, {"x", "expected ADDR:LEN"}, {"1:2:3", "expected ADDR:LEN"}, {"holding", "expected ADDR:LEN"},
		{"1:0", "length 0, expected 1 to 125"}, {"1:126", "expected 1 to 125"}, {"coil:1:2001", "expected 1 to 2000"},
		{"input:40001", "is Modicon notation for holding"}, {"70000", "expected 0 to 65535"}, {"65535:2", "ends beyond address 65535"},
	} {
		q, err := ParseQuestion(c.text)
		got := q.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		IllegalFunction.String(): "0x01 illegal function", ServerDeviceFailure.String(): "0x04 server device failure",
		Acknowledge.String(): "0x05 acknowledge", MemoryParityError.String(): "0x08 memory parity error",
		GatewayPath.String(): "0x0A gateway path unavailable", ExceptionCode(99).String(): "0x63 unknown exception",
		FuncWriteRegisters.String(): "0x10", ByteOrder(9).String(): "order(9)",
		Line{}.String(): "network", Lines()[0].String(): "9600 even",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, o := range ByteOrders() {
		if back, err := ParseByteOrder(strings.ToLower(o.String())); err != nil || back != o {
			t.Errorf("%s: %s, %v", o, back, err)
		}
	}
}
