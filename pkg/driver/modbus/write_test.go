package modbus_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func write(t testing.TB, r *modbustest.Rig, tag string, v frame.Value) (driver.WriteResult, error) {
	t.Helper()
	return r.Write(timeout(t), driver.Write{Tag: tag, Value: v})
}

// writable makes v RW.
func writable(v config.Variable, change ...func(*config.Variable)) config.Variable {
	v.Access = config.AccessRW
	for _, c := range change {
		c(&v)
	}
	return v
}

func writeVariables() []config.Variable {
	bit := uint8(3)
	length := func(n uint16) func(*config.Variable) { return func(v *config.Variable) { v.Address.Len = n } }
	order := func(o string) func(*config.Variable) { return func(v *config.Variable) { v.ByteOrder = o } }
	return []config.Variable{
		writable(holding("u16", 0, config.TypeUint16)),
		writable(holding("scaled", 1, config.TypeInt16), func(v *config.Variable) { v.Scale = "value / 10" }),
		writable(holding("bit", 2, config.TypeBool), func(v *config.Variable) { v.Address.Bit = &bit }),
		writable(holding("swapped_bit", 3, config.TypeBool), order("DCBA"), func(v *config.Variable) { v.Address.Bit = &bit }),
		writable(holding("f32", 4, config.TypeFloat32), order("CDAB")),
		writable(holding("f64", 6, config.TypeFloat64)),
		writable(holding("i64", 10, config.TypeInt64), order("DCBA")),
		writable(holding("text", 14, config.TypeString), length(3)),
		writable(holding("bytes", 17, config.TypeBinary), length(2)),
		writable(holding("bcd", 19, config.TypeBCD32)),
		writable(holding("low_half", 21, config.TypeUint8)),
		writable(holding("high_half", 21, config.TypeInt8), func(v *config.Variable) { v.Address.Byte = "hi" }),
		writable(holding("swapped_half", 22, config.TypeUint8), order("BADC")),
		writable(holding("turned", 24, config.TypeInt32), func(v *config.Variable) { v.Address.Addr2 = 23 }),
		writable(coil("coil", 0)),
		writable(coil("coils", 1), length(11), func(v *config.Variable) { v.Datatype = config.TypeUint16 }),
		{Tag: "input", Address: config.Address{Type: config.AddrInput}, Datatype: config.TypeUint16},
	}
}

// TestWrite writes every data type with every function, over every framing, and
// looks at what the device got.
func TestWrite(t *testing.T) {
	for _, c := range []struct{ network, framing, how string }{
		{"tcp", "tcp", "auto"}, {"tcp", "tcp", "multiple"}, {"tcp", "tcp", "read_write"},
		{"tcp", "rtu", "auto"}, {"tcp", "rtu", "read_write"}, {"tcp", "ascii", "auto"},
		{"udp", "tcp", "auto"}, {"udp", "rtu", "auto"},
	} {
		t.Run(c.network+" "+c.framing+" "+c.how, func(t *testing.T) {
			dev := modbustest.NewDevice(t, c.network, c.framing, 1)
			r := modbustest.Start(t, modbustest.Dial(t, c.network, dev.Addr), writeVariables(),
				cfg("enable_write", true), cfg("write_func", c.how), cfg("framing", c.framing),
				func(dc *driver.Config) { dc.Endpoint = config.Endpoint{Scheme: c.network} })
			single, several, coil := byte(0x06), byte(0x10), byte(0x05)
			switch c.how {
			case "multiple":
				single, coil = 0x10, 0x0F
			case "read_write":
				single, several = 0x17, 0x17
			}
			dev.Lock()
			dev.Holding[2], dev.Holding[3] = 0xF0F0, 0x0F0F
			dev.Coils[12] = true // next to the last
			dev.Unlock()
			for _, w := range []struct {
				tag   string
				value frame.Value
				fn    byte
				at, n int
				want  string // holding registers afterwards
			}{
				{"u16", frame.IntValue(65535), single, 0, 1, "ffff"},
				{"scaled", frame.FloatValue(-12.3), single, 1, 1, "ff85"},
				{"bit", frame.BoolValue(true), 0x16, 2, 1, "f0f8"},
				{"bit", frame.BoolValue(false), 0x16, 2, 1, "f0f0"},
				{"swapped_bit", frame.BoolValue(false), 0x16, 3, 1, "070f"},
				{"f32", frame.FloatValue(12.5), several, 4, 2, "00004148"},
				{"f64", frame.FloatValue(-12.5), several, 6, 4, "c029000000000000"},
				{"i64", frame.IntValue(-2), several, 10, 4, "feffffffffffffff"},
				{"text", frame.StringValue("Hello"), several, 14, 3, "48656c6c6f00"},
				{"bytes", frame.BytesValue([]byte{1, 2, 3, 4}), several, 17, 2, "01020304"},
				{"bcd", frame.IntValue(12345678), several, 19, 2, "12345678"},
				{"low_half", frame.IntValue(200), 0x16, 21, 1, "00c8"},
				{"high_half", frame.IntValue(-2), 0x16, 21, 1, "fec8"},
				{"swapped_half", frame.IntValue(7), 0x16, 22, 1, "0700"},
				{"turned", frame.IntValue(0x12345678), several, 23, 2, "56781234"},
				{"coil", frame.BoolValue(true), coil, 0, 0, ""},
				{"coils", frame.IntValue(0x555), 0x0F, 0, 0, ""},
			} {
				before := dev.Count(w.fn)
				res, err := write(t, r, w.tag, w.value)
				if err != nil || res.ReadBack != w.value || res.TS == 0 {
					t.Errorf("%s: wrote %v, read back %v at %d, %v", w.tag, w.value, res.ReadBack, res.TS, err)
				}
				if dev.Count(w.fn) != before+1 {
					t.Errorf("%s: not written with function 0x%02X", w.tag, w.fn)
				}
				var got []byte
				dev.Lock()
				for _, reg := range dev.Holding[w.at : w.at+w.n] {
					got = append(got, byte(reg>>8), byte(reg))
				}
				dev.Unlock()
				if hex.EncodeToString(got) != w.want {
					t.Errorf("%s: the device holds %x, want %s", w.tag, got, w.want)
				}
			}
			dev.Lock()
			defer dev.Unlock()
			for i := range 13 {
				if want := i == 0 || i%2 == 1 && i < 12 || i == 12; dev.Coils[i] != want {
					t.Errorf("coil %d is %v, want %v", i, dev.Coils[i], want)
				}
			}
		})
	}
}

func TestWriteRefused(t *testing.T) {
	dev, ep := tcpDevice(t)
	r := modbustest.Start(t, ep, writeVariables(), cfg("enable_write", true))
	for _, c := range []struct {
		tag   string
		value frame.Value
		want  error
	}{
		{"nobody", frame.IntValue(1), driver.ErrUnknownTag},
		{"input", frame.IntValue(1), driver.ErrAccess},
		{"text", frame.StringValue("too long"), modbus.ErrRange},
		{"bcd", frame.IntValue(100000000), nil},
		{"u16", frame.IntValue(65536), nil},
		{"scaled", frame.FloatValue(1e6), nil},
	} {
		_, err := write(t, r, c.tag, c.value)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v, want %v", c.value, c.tag, err, c.want)
		}
	}
	off := modbustest.Start(t, ep, writeVariables())
	if _, err := write(t, off, "u16", frame.IntValue(1)); !errors.Is(err, driver.ErrAccess) {
		t.Errorf("writing is off: %v", err)
	}
	for _, f := range []byte{5, 6, 0x0F, 0x10, 0x16, 0x17} {
		if n := dev.Count(f); n != 0 {
			t.Errorf("function 0x%02X was asked %d times", f, n)
		}
	}
}

// A device that keeps another value than was written is an error with both.
func TestVerify(t *testing.T) {
	t.Parallel()
	dev, ep := tcpDevice(t)
	dev.Hook = func(request, answer []byte) []byte {
		if request[0] == 6 {
			dev.Holding[0] = 77
		}
		return answer
	}
	r := modbustest.Start(t, ep, []config.Variable{writable(holding("u16", 0, config.TypeUint16))}, cfg("enable_write", true))
	_, err := write(t, r, "u16", frame.IntValue(5))
	if !errors.Is(err, modbus.ErrVerify) || !strings.Contains(err.Error(), "wrote 5, read back 77") {
		t.Errorf("the device kept 77: %v", err)
	}
	if n := dev.Count(6); n != 1 {
		t.Errorf("written %d times", n)
	}
	r = modbustest.Start(t, ep, []config.Variable{writable(holding("u16", 0, config.TypeUint16))},
		cfg("enable_write", true), cfg("verify_write", false))
	if res, err := write(t, r, "u16", frame.IntValue(5)); err != nil || !res.ReadBack.IsNone() {
		t.Errorf("without verification: %+v, %v", res, err)
	}
}

// A write whose answer is lost is looked at and never sent again. If the device does
// not hold the value, nobody knows what became of it.
func TestLostWriteAnswer(t *testing.T) {
	for _, executed := range []bool{true, false} {
		t.Run(fmt.Sprintf("executed %v", executed), func(t *testing.T) {
			dev, ep := tcpDevice(t)
			lose := true
			dev.Hook = func(request, answer []byte) []byte {
				if request[0] == 6 && lose {
					lose = false
					if !executed {
						dev.Holding[0] = 1
					}
					return nil
				}
				return answer
			}
			r := modbustest.Start(t, ep, []config.Variable{writable(holding("u16", 0, config.TypeUint16))},
				cfg("enable_write", true), cfg("timeout", "50ms"), cfg("write_timeout", "100ms"), cfg("verify_write", false))
			res, err := write(t, r, "u16", frame.IntValue(5))
			switch {
			case executed && (err != nil || !strings.Contains(res.Note, "confirmed by reading back") || res.ReadBack.Int() != 5):
				t.Errorf("%+v, %v", res, err)
			case !executed && (!errors.Is(err, driver.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "holds 1, not 5")):
				t.Error(err)
			}
			if n := dev.Count(6); n != 1 {
				t.Errorf("written %d times", n)
			}
		})
	}
}

// A device that is busy is asked again; one that acknowledges has taken the
// value, which is looked at and not written twice.
func TestBusyWrite(t *testing.T) {
	for code, want := range map[byte]int{6: 2, 5: 1} {
		dev, ep := tcpDevice(t)
		first := true
		dev.Hook = func(request, answer []byte) []byte {
			if request[0] != 6 || !first {
				return answer
			}
			first = false
			if code == 6 {
				dev.Holding[0] = 1 // not taken
			}
			return exception(answer, code)
		}
		r := modbustest.Start(t, ep, []config.Variable{writable(holding("u16", 0, config.TypeUint16))}, cfg("enable_write", true))
		if _, err := write(t, r, "u16", frame.IntValue(5)); err != nil {
			t.Errorf("exception %d: %v", code, err)
		}
		if n := dev.Count(6); n != want {
			t.Errorf("exception %d: written %d times, want %d", code, n, want)
		}
	}
}

// Writing needs no polling, and a device that is away then is no fault.
func TestOnlyWrites(t *testing.T) {
	sim := sim(t, plcsim.Config{})
	v := holding("command", 0, config.TypeUint16)
	v.Access = config.AccessW
	r := modbustest.Start(t, modbustest.Dial(t, "tcp", sim.Addr), []config.Variable{v}, cfg("enable_write", true), cfg("retry", 0))
	if _, err := write(t, r, "command", frame.IntValue(5)); err != nil {
		t.Error(err)
	}
	check(t, sim.PowerOff())
	for range 3 {
		if _, err := write(t, r, "command", frame.IntValue(6)); err == nil {
			t.Error("written to a device that is off")
		}
	}
	if st := r.Status(); st.State != driver.Running {
		t.Errorf("status %+v", st)
	}
	check(t, sim.PowerOn())
	r.Log.Wait(t, "it is written again", func() bool {
		_, err := write(t, r, "command", frame.IntValue(7))
		return err == nil
	})
	if got := sim.Get(1, plcsim.Holding, 0, 1)[0]; got != 7 {
		t.Errorf("the device holds %d", got)
	}
}

// A device without mask write gets its bits by reading and writing.
func TestNoMaskWrite(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Refuse[0x16] = 1
	dev.Holding[2] = 0xF0F0
	r := modbustest.Start(t, ep, writeVariables(), cfg("enable_write", true))
	for _, on := range []bool{true, false, true} {
		if _, err := write(t, r, "bit", frame.BoolValue(on)); err != nil {
			t.Error(err)
		}
	}
	dev.Lock()
	defer dev.Unlock()
	if dev.Holding[2] != 0xF0F8 {
		t.Errorf("the device holds %04X", dev.Holding[2])
	}
	masks := 0
	for _, req := range dev.Requests {
		if req[0] == 0x16 {
			masks++
		}
	}
	if masks != 1 {
		t.Errorf("mask write was tried %d times", masks)
	}
}

// A write-only variable of a device that does not let it be read is written.
func TestWriteOnly(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Refuse[3] = 2
	v := holding("command", 0, config.TypeUint16)
	v.Access = config.AccessW
	r := modbustest.Start(t, ep, []config.Variable{v}, cfg("enable_write", true))
	if res, err := write(t, r, "command", frame.IntValue(5)); err != nil || !res.ReadBack.IsNone() {
		t.Errorf("%+v, %v", res, err)
	}
}

// Unit 0 on a serial line: everybody hears it, nobody answers.
func TestBroadcast(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "rtu", 9)
	var vars []config.Variable
	for _, v := range writeVariables() {
		if v.Access == config.AccessRW {
			v.Access = config.AccessW
			vars = append(vars, v)
		}
	}
	r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), vars, cfg("unit_id", 0), cfg("enable_write", true),
		func(c *driver.Config) {
			c.Endpoint = config.Endpoint{Scheme: "serial", Opts: map[string]string{"baud": "115200"}}
		})
	for tag, v := range map[string]frame.Value{"u16": frame.IntValue(7), "f32": frame.FloatValue(1), "coils": frame.IntValue(3), "bit": frame.BoolValue(true)} {
		if _, err := write(t, r, tag, v); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
	}
	// Nobody answers a broadcast: the device is done with it when it is.
	r.Log.Wait(t, "the device to hold what was written", func() bool {
		dev.Lock()
		defer dev.Unlock()
		return dev.Holding[0] == 7 && dev.Holding[5] == 0x3F80 && dev.Coils[2] && dev.Holding[2] == 8
	})
}

// A write does not wait for a log that takes nothing.
func TestWriteWhileLogBlocks(t *testing.T) {
	_, ep := tcpDevice(t)
	r := modbustest.Start(t, ep, writeVariables(), cfg("enable_write", true), cfg("polling", "1ms"))
	r.Log.Good(t, "u16", 1)
	free := r.Log.Block()
	defer free()
	r.Log.Wait(t, "polling pauses", func() bool {
		before := r.Status().Polls
		time.Sleep(30 * time.Millisecond) // thirty intervals without a poll
		return r.Status().Polls == before
	})
	if _, err := write(t, r, "u16", frame.IntValue(9)); err != nil {
		t.Error(err)
	}
	free()
	r.Log.Wait(t, "the new value", func() bool { return r.Log.Last("u16").Value == frame.IntValue(9) })
}

func TestReadOnDemand(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Holding[1], dev.Holding[19] = 123, 0xFFFF
	r := modbustest.Start(t, ep, writeVariables(), cfg("polling", "1h"))
	r.Log.Good(t, "scaled", 1)
	dev.Lock()
	dev.Holding[1] = 124
	dev.Unlock()
	got, err := r.Read(timeout(t), "scaled")
	if err != nil || got.Value != frame.FloatValue(12.4) || got.Quality != frame.Good || hex.EncodeToString(got.Raw) != "007c" || got.TS == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = r.Read(timeout(t), "bcd"); err != nil || got.Quality != frame.Bad {
		t.Errorf("no BCD: %+v, %v", got, err)
	}
	if n := len(r.Log.Of("scaled")); n != 1 {
		t.Errorf("published %d times", n)
	}
}

func TestDiag(t *testing.T) {
	for _, framing := range []string{"tcp", "rtu", "ascii"} {
		dev := modbustest.NewDevice(t, "tcp", framing, 1)
		dev.Status, dev.Counters[0x0B], dev.Counters[2] = 0x6D, 4711, 5
		r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), registers(1, 1), cfg("framing", framing))
		found, err := r.Driver.(driver.Diagnoser).Diagnose(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, d := range found {
			got[d.Name] = d.Value
		}
		for name, want := range map[string]string{
			"exception status": "01101101", "echo": "ok", "messages on the bus": "4711",
			"diagnostic register": "0000000000000101", "characters overrun": "0",
		} {
			if got[name] != want {
				t.Errorf("%s: %s is %q, want %q", framing, name, got[name], want)
			}
		}
		dev.Lock()
		dev.Refuse[7] = 1
		dev.Unlock()
		if found, err = r.Driver.(driver.Diagnoser).Diagnose(timeout(t)); err != nil || !strings.Contains(found[0].Value, "illegal function") {
			t.Errorf("%s: refused: %v, %v", framing, found, err)
		}
		dev.Lock()
		dev.Refuse[8] = 1
		dev.Unlock()
		if found, err = r.Driver.(driver.Diagnoser).Diagnose(timeout(t)); err != nil || len(found) != 2 || !strings.Contains(found[1].Value, "illegal function") {
			t.Errorf("%s: without 0x08: %v, %v; expected to be told once", framing, found, err)
		}
	}
}

func TestProbe(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Holding[99], dev.Holding[100], dev.Holding[101] = 7, 0x0000, 0x4148
	q, err := modbus.ParseQuestion("100:2")
	if err != nil {
		t.Fatal(err)
	}
	q.Around = true
	a, err := modbus.Probe(timeout(t), ep, config.Endpoint{}, q)
	if err != nil || a.Err != nil || a.Addr != 99 || a.Count != 4 || hex.EncodeToString(a.Data) != "0007000041480000" {
		t.Fatalf("%+v, %v", a, err)
	}
	best := modbus.Rank(modbus.Interpret(a.Addr, a.Data), 12.5, q.Addr)
	if len(best) == 0 || best[0].String() != "float32 CDAB at 100" {
		t.Errorf("12.5 is %v", best)
	}
	dev.Lock()
	dev.Refuse[3] = 2
	dev.Unlock()
	if a, err = modbus.Probe(timeout(t), ep, config.Endpoint{}, q); err != nil || a.Err == nil || !strings.Contains(a.Err.Error(), "illegal data address") {
		t.Errorf("refused: %+v, %v", a, err)
	}
	q.Unit, q.Timeout = 5, 50*time.Millisecond
	if a, err = modbus.Probe(timeout(t), ep, config.Endpoint{}, q); err != nil || a.Err == nil || a.Data != nil {
		t.Errorf("silent: %+v, %v", a, err)
	}
}
