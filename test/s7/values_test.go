package s7

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// sample is a value of a type, as the PLC holds it and as we do.
type sample struct {
	dt      config.DataType
	form    string // of the address, with the byte for %d
	hex     string
	want    string
	written frame.Value // another value, that is written
	then    string      // as the PLC holds it then
}

var samples = []sample{
	{config.TypeBool, "X%d.3", "08", "true", frame.BoolValue(false), "00"},
	{config.TypeUint8, "B%d", "fe", "254", frame.IntValue(1), "01"},
	{config.TypeInt8, "B%d", "fe", "-2", frame.IntValue(-128), "80"},
	{config.TypeUint16, "W%d", "fffe", "65534", frame.IntValue(258), "0102"},
	{config.TypeInt16, "W%d", "fffe", "-2", frame.IntValue(-32768), "8000"},
	{config.TypeUint32, "D%d", "fffffffe", "4294967294", frame.IntValue(16909060), "01020304"},
	{config.TypeInt32, "D%d", "fffffffe", "-2", frame.IntValue(-2147483648), "80000000"},
	{config.TypeUint64, "L%d", "fffffffffffffffe", "18446744073709551614", frame.IntValue(72623859790382856), "0102030405060708"},
	{config.TypeInt64, "L%d", "fffffffffffffffe", "-2", frame.IntValue(-1), "ffffffffffffffff"},
	{config.TypeFloat32, "D%d", "4144cccd", "12.3", frame.FloatValue(-0.5), "bf000000"},
	{config.TypeFloat64, "L%d", "3fb999999999999a", "0.1", frame.FloatValue(-0.5), "bfe0000000000000"},
	{config.TypeBCD16, "W%d", "1234", "1234", frame.IntValue(9876), "9876"},
	{config.TypeBCD32, "D%d", "12345678", "12345678", frame.IntValue(87654321), "87654321"},
	{config.TypeS5Time, "W%d", "0127", "1270", frame.IntValue(25000), "1250"},
	{config.TypeTime, "D%d", "fffffc18", "-1000", frame.IntValue(1000), "000003e8"},
	{config.TypeLTime, "L%d", "000000003b9aca00", "1000000000", frame.IntValue(1), "0000000000000001"},
	{config.TypeDate, "W%d", "0000", "1990-01-01", frame.StringValue("1990-01-31"), "001e"},
	{config.TypeTOD, "D%d", "000003e8", "00:00:01", frame.StringValue("00:00:02.5"), "000009c4"},
	{config.TypeS7DT, "B%d", "2611281403051237", "2026-11-28T14:03:05.123", frame.StringValue("2026-11-29T00:00:00.5"), "2611290000005001"},
	{config.TypeDTL, "B%d", "07ea0b1c070e0305075bcd15", "2026-11-28T14:03:05.123456789", frame.StringValue("2026-11-29T00:00:00"), "07ea0b1d0100000000000000"},
	{config.TypeString, ".STRING%d.6", "0605" + "6772c3bc6e" + "00", "grün", frame.StringValue("abc"), "0603" + "616263" + "bc6e00"},
	{config.TypeWString, ".WSTRING%d.4", "00040004" + "0067007200fc006e", "grün", frame.StringValue("ü"), "00040001" + "00fc007200fc006e"},
	{config.TypeChar, ".CHAR%d.4", "41422020", "AB", frame.StringValue("xyz"), "78797a00"},
	{config.TypeBinary, ".BYTE%d.3", "0001fe", "AAH+", frame.BytesValue([]byte{9, 8, 7}), "090807"},
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// layout puts the samples one behind the other and returns the memory and where each
// begins.
func layout(t *testing.T) (memory []byte, starts []int) {
	t.Helper()
	for _, s := range samples {
		starts = append(starts, len(memory))
		memory = append(memory, unhex(t, s.hex)...)
	}
	return append(memory, make([]byte, 8)...), starts
}

// Every type in every area that has bytes is read value by value, written, and found in
// the server's memory as it should be there.
func TestEveryTypeInEveryArea(t *testing.T) {
	memory, starts := layout(t)
	text := hex.EncodeToString(memory)
	srv := serve(t, settings{Blocks: map[int]string{7: text},
		Areas: map[string]string{"inputs": text, "outputs": text, "flags": text, "timers": "1250" + "0127", "counters": "0042" + "0999"}})
	areas := map[string]string{"DB7.DB": "", "I": "inputs", "Q": "outputs", "M": "flags"}
	var vars []config.Variable
	tag := func(area string, i int) string {
		return fmt.Sprintf("%s.%02d.%s", strings.TrimRight(area, "."), i, samples[i].dt)
	}
	for area := range areas {
		for i, s := range samples {
			address := area + fmt.Sprintf(s.form, starts[i])
			v := variable(tag(area, i), strings.Replace(address, ".DB.", ".", 1), s.dt)
			if strings.HasPrefix(s.form, ".") { // only blocks have these forms
				data := unhex(t, s.hex)
				v.Address = config.Address{Type: config.AddrS7DB, Area: strings.TrimSuffix(area, "7.DB"), Start: uint32(starts[i]), Size: uint16(len(data))}
				if v.Address.Area == "DB" {
					v.Address.DB = 7
				}
			}
			vars = append(vars, v)
		}
	}
	vars = append(vars, variable("timer", "T0", config.TypeS5Time), variable("timer1", "T1", config.TypeS5Time),
		variable("counter", "C0", config.TypeBCD16), variable("counter1", "Z1", config.TypeBCD16))
	g := run(t, srv.cfg.Port, nil, vars)
	for area := range areas {
		for i, s := range samples {
			g.wait(tag(area, i), s.want)
		}
	}
	g.wait("timer", "25000")
	g.wait("timer1", "1270")
	g.wait("counter", "42")
	g.wait("counter1", "999")
	for area, name := range areas {
		want := bytes.Clone(memory)
		for i, s := range samples {
			if _, err := g.write(tag(area, i), s.written); err != nil {
				t.Errorf("write %s: %v", tag(area, i), err)
			}
			copy(want[starts[i]:], unhex(t, s.then))
		}
		got := srv.do(map[string]any{"do": "get", "area": name, "db": 7})
		if got != hex.EncodeToString(want) {
			t.Errorf("%s holds\n%s, want\n%s", area, got, hex.EncodeToString(want))
		}
	}
	if n := g.Status().Errors; n > 0 {
		t.Errorf("%d errors: %+v", n, g.Status())
	}
}

// A bit is written as a bit: the others of its byte stay.
func TestBits(t *testing.T) {
	srv := serve(t, settings{Blocks: map[int]string{1: "a5ff"}})
	all := variable("all", "DB1.DBX0.0[10]", config.TypeBool)
	all.Access = config.AccessR
	vars := []config.Variable{all}
	for bit := range 8 {
		vars = append(vars, variable(fmt.Sprintf("b%d", bit), fmt.Sprintf("DB1.DBX0.%d", bit), config.TypeBool))
	}
	g := run(t, srv.cfg.Port, nil, vars)
	g.wait("b0", "true")
	g.wait("all", "[true,false,true,false,false,true,false,true,true,true]")
	want := byte(0xA5)
	for bit := range 8 {
		want ^= 1 << bit
		if _, err := g.write(fmt.Sprintf("b%d", bit), frame.BoolValue(want>>bit&1 != 0)); err != nil {
			t.Fatal(err)
		}
		if got := srv.get(1); got[0] != want || got[1] != 0xFF {
			t.Fatalf("after bit %d: % X, want %02X FF", bit, got, want)
		}
	}
}

// What the PLC grants is kept to: 4,000 bytes and 1,000 words are read in PDUs of each
// size, also when the server asks for smaller ones than the driver.
func TestPDUSizes(t *testing.T) {
	memory := make([]byte, 4000)
	for i := range memory {
		memory[i] = byte(i * 7)
	}
	srv := serve(t, settings{Blocks: map[int]string{1: hex.EncodeToString(memory)}})
	for _, pdu := range []int{240, 480, 960} {
		t.Run(fmt.Sprint(pdu), func(t *testing.T) {
			vars := []config.Variable{variable("raw", "DB1.BYTE0.4000", config.TypeBinary)}
			for i := range 1000 {
				vars = append(vars, variable(fmt.Sprintf("w%03d", i), fmt.Sprintf("DB1.DBW%d", 4*i), config.TypeUint16))
			}
			g := run(t, srv.cfg.Port, map[string]any{"pdu": pdu}, vars)
			g.wait("raw", frame.BytesValue(memory).String())
			for i := range 1000 {
				g.wait(fmt.Sprintf("w%03d", i), fmt.Sprint(int(memory[4*i])<<8|int(memory[4*i+1])))
			}
			g.eventually("two more cycles", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return g.all["raw"] >= 3 })
			if st := g.Status(); st.Errors > 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A block that is missing is bad alone, with the reason; loaded later, it is read.
func TestMissingBlock(t *testing.T) {
	srv := serve(t, settings{Blocks: map[int]string{1: "00010002"}})
	g := run(t, srv.cfg.Port, nil, []config.Variable{
		variable("there", "DB1.DBW0", config.TypeInt16), variable("beyond", "DB1.DBW4", config.TypeInt16), variable("missing", "DB9.DBW0", config.TypeInt16)})
	g.waitBad("missing")
	g.waitBad("beyond")
	g.wait("there", "1")
	_, reasons := g.Driver.(driver.Reasoner).Reasons()
	if r := reasons["missing"]; !strings.Contains(r.Text, "refused: there is no such block") || !strings.Contains(r.Hint, "TIA Portal") {
		t.Errorf("missing: %+v", r)
	}
	if r := reasons["beyond"]; !strings.Contains(r.Text, "address out of range") {
		t.Errorf("beyond: %+v", r)
	}
	if g.bad["there"] > 0 || len(reasons) != 2 {
		t.Errorf("there was bad %d times; reasons %v", g.bad["there"], reasons)
	}
	srv.do(map[string]any{"do": "load", "db": 9, "hex": "0063"})
	g.wait("missing", "99")
}
