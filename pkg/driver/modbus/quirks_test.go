package modbus_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

type deviceSetting struct {
	name   string // in the table of docs/modbus.md, and what is different
	device func(testing.TB) *modbustest.Device
	vars   []config.Variable
	cfg    []modbustest.Option
}

func deviceSettings() []deviceSetting {
	return []deviceSetting{
		{"SDongle", modbustest.SDongle, registers(3, 10), []modbustest.Option{cfg("connect_delay", "400ms"), cfg("request_gap", "40ms")}},
		{"SolarEdge", modbustest.SolarEdge, []config.Variable{holding("a000", 40000, config.TypeUint32)},
			[]modbustest.Option{cfg("close_after", "exchange"), cfg("addressing", "protocol")}},
		{"Growatt", modbustest.Growatt, registers(60, 1),
			[]modbustest.Option{cfg("framing", "rtu"), cfg("request_gap", "120ms"), cfg("max_regs_per_req", 45), cfg("timeout", "1s")}},
		{"Fronius", modbustest.Fronius, registers(3, 10), []modbustest.Option{cfg("timeout", "2s")}},
		{"EchoAdapter", modbustest.EchoAdapter, registers(3, 10), []modbustest.Option{cfg("framing", "rtu")}},
		{"EchoAdapter, said", modbustest.EchoAdapter, registers(3, 10), []modbustest.Option{cfg("framing", "rtu"), cfg("echo", "drop")}},
		{"WrongUnit", modbustest.WrongUnit, registers(3, 10), []modbustest.Option{cfg("answer_unit", 255)}},
		{"WrongUnit, any", modbustest.WrongUnit, registers(3, 10), []modbustest.Option{cfg("answer_unit", "any")}},
		{"Enron", modbustest.Enron, []config.Variable{holding("low", 3000, config.TypeUint16), holding("a000", 5000, config.TypeInt32),
			holding("b", 5002, config.TypeUint64), holding("c", 7001, config.TypeFloat32)}, []modbustest.Option{cfg("framing", "rtu"), cfg("max_gap", 5), cfg("wide_registers", []any{
			map[string]any{"type": "holding", "start": 5000, "len": 1000}, map[string]any{"type": "holding", "start": 7000, "len": 1000}})}},
		{"PaddedCoils", modbustest.PaddedCoils, []config.Variable{coil("a000", 0), coil("b", 9), coil("c", 300)},
			[]modbustest.Option{cfg("framing", "rtu"), cfg("bit_bytes", "even")}},
		{"WrongTransaction", modbustest.WrongTransaction, registers(3, 10), []modbustest.Option{cfg("accept_transaction", "any")}},
	}
}

// TestDeviceTable: each row of the table names a test.
func TestDeviceTable(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/modbus.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "### Device → settings")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || !strings.Contains(cells[3], "`") {
			continue
		}
		rows++
		name := strings.Trim(cells[3], " `")
		known := name == "TestLineKeepsItsAccounts" || slices.ContainsFunc(deviceSettings(), func(d deviceSetting) bool { return d.name == name })
		if !known {
			t.Errorf("%s of the table is no device of TestDeviceSettings", name)
		}
	}
	if rows < 8 {
		t.Errorf("%d rows, want at least 8", rows)
	}
}

// TestDeviceSettings: the rows of the table "device → settings" in docs/modbus.md.
// With its settings, no request to the device fails.
func TestDeviceSettings(t *testing.T) {
	for _, c := range deviceSettings() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dev := c.device(t)
			r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), c.vars, append([]modbustest.Option{cfg("polling", "200ms")}, c.cfg...)...)
			r.Log.Good(t, "a000", 4)
			if st := r.Status(); st.Errors != 0 || r.Log.Bad("a000") != 0 {
				t.Errorf("%d errors, the last: %s", st.Errors, st.Error)
			}
		})
	}
}

// TestQuirkIsNamed: without its setting, what a device does is named in the status
// in words that lead to it.
func TestQuirkIsNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		quirks modbustest.Quirks
		want   string
	}{
		{"tcp", modbustest.Quirks{AnswerAs: 7}, "set answer_unit: 7"},
		{"rtu", modbustest.Quirks{AnswerAs: 7}, "1 foreign answers from unit 7; if unit 1 always answers as 7, set answer_unit: 7"},
		{"tcp", modbustest.Quirks{Transaction: 1}, "(accept_transaction)"},
		{"rtu", modbustest.Quirks{SwappedCRC: true}, "checksum are swapped"},
		{"rtu", modbustest.Quirks{Slow: 150 * time.Millisecond}, "raise timeout"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			dev := modbustest.NewDevice(t, "tcp", c.name, 1)
			dev.Quirks = c.quirks
			r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), registers(2, 10),
				cfg("framing", c.name), cfg("timeout", "100ms"), cfg("retry", 1))
			r.Log.Wait(t, c.want, func() bool { return strings.Contains(r.Status().Error, c.want) })
			for _, f := range r.Log.Of("a000") {
				if f.Quality == frame.Good {
					t.Errorf("%v is good", f.Value)
				}
			}
		})
	}
}

// TestStrayBytes: noise around answers costs nothing.
func TestStrayBytes(t *testing.T) {
	for _, framing := range []string{"rtu", "ascii"} {
		for _, q := range []modbustest.Quirks{{Before: []byte{0}}, {Before: []byte{0xFF, 0xFF}}, {Behind: []byte{0}}, {Before: []byte{1, 3}, Behind: []byte{1}}} {
			dev := modbustest.NewDevice(t, "tcp", framing, 1)
			dev.Quirks = q
			r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), registers(3, 10), cfg("framing", framing))
			r.Log.Good(t, "a000", 5)
			if st := r.Status(); st.Errors != 0 {
				t.Errorf("%s, % X before and % X behind: %d errors, the last: %s", framing, q.Before, q.Behind, st.Errors, st.Error)
			}
		}
	}
}

// TestDeafAfterConnect: a device that swallows what comes right after a connect is
// read without any setting, since a timeout does not cost the connection.
func TestDeafAfterConnect(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	dev.Quirks = modbustest.Quirks{Deaf: 500 * time.Millisecond}
	ep := modbustest.Dial(t, "tcp", dev.Addr)
	r := modbustest.Start(t, ep, registers(1, 1), cfg("timeout", "100ms"), cfg("backoff_max", "300ms"))
	r.Log.Good(t, "a000", 5)
	if n := ep.Dials(); n > 3 {
		t.Errorf("%d connections", n)
	}
}

// TestOnTimeout: what a timeout does to the connection.
func TestOnTimeout(t *testing.T) {
	for how, want := range map[string]func(dials int) bool{
		"keep":      func(n int) bool { return n == 1 },
		"auto":      func(n int) bool { return n > 1 && n < 6 },
		"reconnect": func(n int) bool { return n >= 8 },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
			dev.Hook = func(_, _ []byte) []byte { return nil }
			ep := modbustest.Dial(t, "tcp", dev.Addr)
			r := modbustest.Start(t, ep, registers(1, 1), cfg("timeout", "10ms"), cfg("backoff_max", "20ms"), cfg("on_timeout", how))
			r.Log.Wait(t, "10 timeouts", func() bool { return r.Status().Errors >= 10 })
			if n := ep.Dials(); !want(n) {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestGapBetweenAll: request_gap holds between all requests on a line: of two
// drivers, one of which has it set, of writes, and of reads on demand.
func TestGapBetweenAll(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	dev.Quirks = modbustest.Quirks{Gap: 30 * time.Millisecond}
	ep := modbustest.Dial(t, "tcp", dev.Addr)
	vars := registers(3, 10)
	for i := range vars {
		vars[i].Access = config.AccessRW
	}
	one := modbustest.Start(t, ep, vars, cfg("request_gap", "45ms"), cfg("enable_write", true), cfg("polling", "300ms"))
	one.Log.Good(t, "a000", 1)
	two := modbustest.Start(t, ep, registers(2, 10), cfg("polling", "300ms"))
	for i := range 4 {
		if _, err := one.Write(timeout(t), driver.Write{Tag: "a000", Value: frame.IntValue(int64(i))}); err != nil {
			t.Error(err)
		}
		if _, err := two.Read(timeout(t), "a001"); err != nil {
			t.Error(err)
		}
	}
	if a, b := one.Status(), two.Status(); a.Errors+b.Errors != 0 {
		t.Errorf("%d and %d errors: %s, %s", a.Errors, b.Errors, a.Error, b.Error)
	}
}

// TestEchoIsNoConfirmation: on a line that repeats requests, a write counts only
// once the device has answered it.
func TestEchoIsNoConfirmation(t *testing.T) {
	t.Parallel()
	dev := modbustest.EchoAdapter(t)
	mute := false
	dev.Hook = func(request, answer []byte) []byte {
		if mute && request[0] == 6 {
			return nil
		}
		return answer
	}
	v := holding("w", 7, config.TypeUint16)
	v.Access = config.AccessW // no poll shows that the line repeats requests
	r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), []config.Variable{v},
		cfg("framing", "rtu"), cfg("enable_write", true), cfg("verify_write", false), cfg("retry", 0), cfg("timeout", "3s"))
	if _, err := r.Write(timeout(t), driver.Write{Tag: "w", Value: frame.IntValue(9)}); err != nil {
		t.Errorf("write: %v", err)
	}
	dev.Lock()
	got := dev.Holding[7]
	mute = true
	dev.Unlock()
	if got != 9 {
		t.Errorf("the device holds %d, want 9", got)
	}
	if _, err := r.Write(timeout(t), driver.Write{Tag: "w", Value: frame.IntValue(10)}); err == nil {
		t.Error("the echo of a write was taken for its answer")
	}
}

// TestLateNeighbour: what one unit owes is not taken for another driver's answer of
// the same unit, over a new connection either.
func TestLateNeighbour(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "rtu", 1)
	for i := range dev.Holding {
		dev.Holding[i] = uint16(i)
	}
	ep := modbustest.Dial(t, "tcp", dev.Addr)
	var kept []byte
	dev.Hook = func(request, answer []byte) []byte {
		if addrOf(request) == 100 {
			kept = answer // late for ever, and in front of the next
			return nil
		}
		answer = append(kept, answer...)
		kept = nil
		return answer
	}
	one := modbustest.Start(t, ep, []config.Variable{holding("a", 100, config.TypeUint16)}, cfg("framing", "rtu"), cfg("timeout", "30ms"),
		cfg("on_timeout", "reconnect"), cfg("backoff_max", "50ms"))
	two := modbustest.Start(t, ep, []config.Variable{holding("b", 200, config.TypeUint16), holding("c", 300, config.TypeUint32)},
		cfg("framing", "rtu"), cfg("timeout", "30ms"))
	two.Log.Good(t, "b", 20)
	for _, f := range two.Log.Of("b") {
		if f.Quality == frame.Good && f.Value.Int() != 200 {
			t.Errorf("b is %v", f.Value)
		}
	}
	for _, f := range one.Log.Of("a") {
		if f.Quality == frame.Good && f.Value.Int() != 100 {
			t.Errorf("a is %v", f.Value)
		}
	}
	if two.Metric(t, "modbus_rejected_total", "reason", "late") == 0 {
		t.Error("late answers are not counted")
	}
}

// TestProbeSuggests: a probe names the setting that a device needs.
func TestProbeSuggests(t *testing.T) {
	q := modbus.Question{Unit: 1, Func: modbus.FuncReadHolding, Addr: 5, Count: 1, Timeout: 200 * time.Millisecond}
	for want, dev := range map[string]*modbustest.Device{"connect_delay: 500ms": modbustest.SDongle(t), "echo: drop": modbustest.EchoAdapter(t)} {
		item := config.Endpoint{}
		if dev.Quirks.Echo {
			item.Scheme = "rtu+tcp"
		} else {
			dev.Quirks.Deaf = 150 * time.Millisecond
		}
		a, err := modbus.Probe(timeout(t), modbustest.Dial(t, "tcp", dev.Addr), item, q)
		if err != nil || a.Err != nil || !strings.Contains(strings.Join(a.Hints, "; "), want) {
			t.Errorf("want %s, got %q (%v, %v)", want, a.Hints, err, a.Err)
		}
	}
}

// TestRestart: an answer that is owed to the process before is not published.
func TestRestart(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "rtu", 1)
	for i := range dev.Holding {
		dev.Holding[i] = uint16(i)
	}
	first := true
	dev.Hook = func(_, answer []byte) []byte {
		if first {
			first = false
			// Register 700, which the old process asked for.
			return append([]byte{1, 3, 2, 2, 0xBC, 0xB8, 0x95}, answer...)
		}
		return answer
	}
	r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), registers(3, 10), cfg("framing", "rtu"))
	r.Log.Good(t, "a002", 3)
	for i, tag := range []string{"a000", "a001", "a002"} {
		for _, f := range r.Log.Of(tag) {
			if f.Quality != frame.Good || f.Value.Int() != int64(10*i) {
				t.Errorf("%s is %v %v", tag, f.Value, f.Quality)
			}
		}
	}
	if r.Metric(t, "modbus_rejected_total", "reason", "length") == 0 {
		t.Error("the old answer was not noticed")
	}
}
