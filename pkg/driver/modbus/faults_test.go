package modbus_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

var (
	cfg     = modbustest.Cfg
	holding = modbustest.Holding
	coil    = modbustest.Coil
)

func tcpDevice(t testing.TB) (*modbustest.Device, *modbustest.Dialer) {
	d := modbustest.NewDevice(t, "tcp", "tcp", 1)
	return d, modbustest.Dial(t, "tcp", d.Addr)
}

// registers makes n variables a000, a001… at addresses step apart.
func registers(n int, step uint32) []config.Variable {
	vars := make([]config.Variable, n)
	for i := range vars {
		vars[i] = holding(fmt.Sprintf("a%03d", i), uint32(i)*step, config.TypeUint16)
	}
	return vars
}

// exception is the ADU of an exception in place of answer.
func exception(answer []byte, code byte) []byte {
	adu := slices.Clone(answer[:9])
	adu[4], adu[5] = 0, 3
	adu[7], adu[8] = adu[7]|0x80, code
	return adu
}

func addrOf(request []byte) int { return int(request[1])<<8 | int(request[2]) }
func qtyOf(request []byte) int  { return int(request[3])<<8 | int(request[4]) }

// A guilty register is found by splitting; it alone is bad, once, and the split
// is remembered. Bridged gaps are the first to go, and cost no point its value.
func TestIllegalAddress(t *testing.T) {
	dev, ep := tcpDevice(t)
	const guilty, hole = 12, 41 // a006, and a gap between a020 and a021
	dev.Hook = func(request, answer []byte) []byte {
		for _, a := range []int{guilty, hole} {
			if addrOf(request) <= a && a < addrOf(request)+qtyOf(request) {
				return exception(answer, 2)
			}
		}
		return answer
	}
	r := modbustest.Start(t, ep, registers(40, 2), cfg("max_gap", 3), cfg("polling", "50ms"))
	r.Log.Good(t, "a005", 4)
	for i := range 40 {
		tag := fmt.Sprintf("a%03d", i)
		want := 0
		if tag == "a006" {
			want = 1
		}
		if got := r.Log.Bad(tag); got != want {
			t.Errorf("%s was bad %d times, want %d", tag, got, want)
		}
	}
	refused := r.Metric(t, "modbus_exception_total", "code", "0x02")
	r.Log.Good(t, "a005", 8)
	if again := r.Metric(t, "modbus_exception_total", "code", "0x02"); again != refused {
		t.Errorf("%v refusals, then %v: the split is not remembered", refused, again)
	}
	if st := r.Status(); st.State != driver.Running {
		t.Errorf("status %+v", st)
	}
}

// A register that is refused for a while comes back by itself.
func TestIllegalAddressHeals(t *testing.T) {
	t.Parallel()
	dev, ep := tcpDevice(t)
	dev.Refuse[3] = 2
	r := modbustest.Start(t, ep, registers(1, 1))
	r.Log.Wait(t, "a bad value", func() bool { return r.Log.Bad("a000") == 1 })
	dev.Lock()
	delete(dev.Refuse, 3)
	dev.Unlock()
	r.Log.Good(t, "a000", 2)
	if got := r.Log.Statuses("a000")[:2]; !slices.Equal(got, []string{"0x02 illegal data address", ""}) {
		t.Errorf("statuses %q", got)
	}
}

// A function that the device does not know makes its points bad, not others.
func TestIllegalFunction(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Refuse[1] = 1
	r := modbustest.Start(t, ep, []config.Variable{holding("reg", 0, config.TypeUint16), coil("c0", 0), coil("c9", 9)})
	r.Log.Good(t, "reg", 5)
	for _, tag := range []string{"c0", "c9"} {
		if fs := r.Log.Of(tag); len(fs) != 1 || fs[0].Quality != frame.Bad {
			t.Errorf("%s: %v, want one bad frame", tag, fs)
		}
	}
	if n := dev.Count(1); n > 3 {
		t.Errorf("coils were asked for %d times", n)
	}
}

func TestBusy(t *testing.T) {
	dev, ep := tcpDevice(t)
	busy := 2
	dev.Hook = func(_, answer []byte) []byte {
		if busy > 0 {
			busy--
			return exception(answer, byte(5+busy)) // busy, then acknowledge
		}
		return answer
	}
	r := modbustest.Start(t, ep, registers(3, 1), cfg("retry", 3))
	r.Log.Good(t, "a000", 2)
	if n := r.Log.Bad("a000"); n != 0 {
		t.Errorf("bad %d times although a retry helped", n)
	}
	dev.Lock()
	busy = 1 << 30
	dev.Unlock()
	r.Log.Wait(t, "a bad value", func() bool { return r.Log.Bad("a000") == 1 })
	if st := r.Status(); st.State != driver.Running || st.Error == "" {
		t.Errorf("status %+v of a busy device", st)
	}
}

// Other exceptions cost the request's points their value for that cycle.
func TestDeviceFailure(t *testing.T) {
	t.Parallel()
	dev, ep := tcpDevice(t)
	dev.Refuse[3] = 4
	r := modbustest.Start(t, ep, registers(2, 1))
	r.Log.Wait(t, "a bad value", func() bool { return r.Log.Bad("a001") == 1 })
	dev.Lock()
	dev.Refuse[3] = 0
	dev.Unlock()
	r.Log.Good(t, "a001", 1)
}

// A Modbus gateway that answers for its silent unit: the unit is in fault, the
// connection stays.
func TestGatewayTarget(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Refuse[3] = 0x0B
	r := modbustest.Start(t, ep, registers(200, 1))
	r.Log.Wait(t, "fault", func() bool { return r.Status().State == driver.Fault })
	dev.Lock()
	dev.Refuse[3] = 0
	dev.Unlock()
	r.Log.Good(t, "a199", 1)
	if ep.Dials() != 1 || r.Log.Bad("a199") != 1 {
		t.Errorf("%d connections, bad %d times; want 1 and 1", ep.Dials(), r.Log.Bad("a199"))
	}
}

// A device that is silent where it should refuse: its other points go on.
func TestSilentRequest(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Hook = func(request, answer []byte) []byte {
		if request[0] == 1 {
			return nil
		}
		return answer
	}
	r := modbustest.Start(t, ep, []config.Variable{holding("reg", 0, config.TypeUint16), coil("c0", 0)}, cfg("timeout", "50ms"))
	r.Log.Wait(t, "the coil is bad", func() bool { return r.Log.Bad("c0") == 1 })
	n := len(r.Log.Of("reg"))
	r.Log.Good(t, "reg", n+10)
	if r.Log.Bad("reg") != 0 || r.Metric(t, "modbus_fault") != 0 {
		t.Errorf("the register was bad %d times, modbus_fault %v", r.Log.Bad("reg"), r.Metric(t, "modbus_fault"))
	}
}

// After an outage every point is back at once, whatever was suspected before.
func TestBackAfterOutage(t *testing.T) {
	t.Parallel()
	dev, ep := tcpDevice(t)
	silent := false
	dev.Hook = func(_, answer []byte) []byte {
		if silent {
			return nil
		}
		return answer
	}
	r := modbustest.Start(t, ep, registers(5, 10), cfg("polling", "2s"), cfg("backoff_max", "100ms"))
	r.Log.Good(t, "a004", 1)
	set := func(on bool) { dev.Lock(); defer dev.Unlock(); silent = on }
	set(true)
	r.Log.Wait(t, "every point is bad", func() bool { return r.Log.Bad("a000") == 1 && r.Log.Bad("a004") == 1 })
	good := func(i int) int {
		tag := fmt.Sprintf("a%03d", i)
		return len(r.Log.Of(tag)) - r.Log.Bad(tag)
	}
	var before [5]int
	for i := range before {
		before[i] = good(i)
	}
	set(false)
	start := time.Now()
	for i := range before {
		r.Log.Wait(t, "every point is back", func() bool { return good(i) > before[i] })
	}
	if d := time.Since(start); d > 3*time.Second { // a suspect would be left alone for at least 3.2s
		t.Errorf("all points were back only after %v", d)
	}
}

// Wrong answers never become values, whatever is wrong with them.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	wrong := map[string]func(answer []byte) []byte{
		"transaction": func(a []byte) []byte { a[1] ^= 0x55; return a },
		"protocol":    func(a []byte) []byte { a[2] = 1; return a },
		"unit":        func(a []byte) []byte { a[6] = 2; return a },
		"function":    func(a []byte) []byte { a[7] = 4; return a },
		"length":      func(a []byte) []byte { a[5] -= 2; a[8] -= 2; return a[:len(a)-2] },
		"trailing":    func(a []byte) []byte { return append(a, 0, 0, 0) },
	}
	for reason, spoil := range wrong {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			dev, ep := tcpDevice(t)
			n := 0
			dev.Hook = func(_, answer []byte) []byte {
				if n++; n%3 != 2 {
					return answer
				}
				if reason != "trailing" {
					answer = append(answer[:9], 0x27, 0x0F, 0x27, 0x0F) // 9999
				}
				return spoil(answer)
			}
			for i := range 2 {
				dev.Holding[i] = 1111
			}
			r := modbustest.Start(t, ep, registers(2, 1), cfg("timeout", "300ms"), cfg("retry", 2))
			r.Log.Good(t, "a001", 10)
			for _, f := range r.Log.Of("a001") {
				unknown := f.Quality == frame.Bad && f.Value == (frame.Value{}) // three answers in a row too late on a busy machine
				if f.Value != frame.IntValue(1111) && !unknown {
					t.Errorf("value %v %v", f.Value, f.Quality)
				}
			}
			if r.Metric(t, "modbus_rejected_total", "reason", reason) == 0 {
				t.Error("not counted in modbus_rejected_total")
			}
		})
	}
}

// An answer that comes after its timeout is not taken for the next one's.
func TestLateAnswer(t *testing.T) {
	for _, framing := range []string{"tcp", "rtu", "ascii"} {
		t.Run(framing, func(t *testing.T) {
			dev := modbustest.NewDevice(t, "tcp", framing, 1)
			ep := modbustest.Dial(t, "tcp", dev.Addr)
			var late []byte
			n := 0
			dev.Hook = func(_, answer []byte) []byte {
				switch n++; n % 4 {
				case 1:
					late = answer // kept back…
					dev.Holding[0]++
					return nil
				case 2:
					return append(late, answer...) // …and sent in front of the next
				}
				return answer
			}
			dev.Holding[0] = 1
			r := modbustest.Start(t, ep, registers(1, 1), cfg("timeout", "50ms"), cfg("retry", 3), cfg("framing", framing))
			r.Log.Good(t, "a000", 8)
			last := int64(0)
			for _, f := range r.Log.Of("a000") {
				if f.Quality == frame.Good && f.Value.Int() < last {
					t.Errorf("an old value, %v after %v", f.Value, last)
				}
				last = max(last, f.Value.Int())
			}
		})
	}
}

// Answers in another order than the requests find their points.
func TestOutOfOrder(t *testing.T) {
	dev, ep := tcpDevice(t)
	for i := range dev.Holding {
		dev.Holding[i] = uint16(i)
	}
	var held [][]byte
	dev.Hook = func(_, answer []byte) []byte {
		if held = append(held, answer); len(held) < 4 {
			return nil
		}
		slices.Reverse(held)
		all := slices.Concat(held...)
		held = nil
		return all
	}
	r := modbustest.Start(t, ep, registers(8, 10), cfg("max_inflight", 4), cfg("polling", "1h")) // one burst
	for i := range 8 {
		tag := fmt.Sprintf("a%03d", i)
		r.Log.Good(t, tag, 1)
		for _, f := range r.Log.Of(tag) {
			if f.Value.Int() != int64(10*i) {
				t.Errorf("%s: %v, want %d", tag, f.Value, 10*i)
			}
		}
	}
	if n := r.Status().Errors; n != 0 {
		t.Errorf("%d errors", n)
	}
}

// A device that works off its requests one by one is not late with the last.
func TestQueueingDevice(t *testing.T) {
	dev, ep := tcpDevice(t)
	dev.Hook = func(_, answer []byte) []byte {
		time.Sleep(150 * time.Millisecond) // so long the device takes for each
		return answer
	}
	r := modbustest.Start(t, ep, registers(8, 10), cfg("max_inflight", 8), cfg("polling", "1h"), cfg("timeout", "1s"))
	for i := range 8 {
		r.Log.Good(t, fmt.Sprintf("a%03d", i), 1)
	}
	if n := r.Status().Errors; n != 0 {
		t.Errorf("%d errors", n)
	}
}

// A cycle that takes longer than its interval is counted, and nothing piles up.
func TestOverrun(t *testing.T) {
	dev, ep := tcpDevice(t)
	slow := true
	dev.Hook = func(_, answer []byte) []byte {
		if slow {
			time.Sleep(25 * time.Millisecond) // a slow device, nothing else
		}
		return answer
	}
	r := modbustest.Start(t, ep, registers(1, 1), cfg("polling", "10ms"))
	r.Log.Good(t, "a000", 8)
	if st := r.Status(); st.Overruns < 5 {
		t.Errorf("%d overruns after 8 slow polls", st.Overruns)
	}
	dev.Lock()
	slow = false
	dev.Unlock()
	start, asked := time.Now(), dev.Count(3)
	time.Sleep(100 * time.Millisecond) // ten intervals, or more on a busy machine
	if n := dev.Count(3) - asked; n > int(time.Since(start)/(10*time.Millisecond))+3 {
		t.Errorf("%d polls in %v: they had piled up", n, time.Since(start))
	}
	if n := r.Metric(t, "modbus_overrun_total"); n < 5 {
		t.Errorf("modbus_overrun_total is %v", n)
	}
}

// A silent unit delays another on the same connection by a timeout per probe at
// most, and more and more rarely.
func TestSharedLine(t *testing.T) {
	dev, ep := tcpDevice(t) // answers unit 1; unit 2 is silent
	silent := modbustest.Start(t, ep, registers(1, 1), cfg("unit_id", 2), cfg("timeout", "100ms"), cfg("polling", "10ms"))
	good := modbustest.Start(t, ep, registers(1, 1), cfg("timeout", "100ms"), cfg("polling", "10ms"))
	good.Log.Wait(t, "fault of the silent unit", func() bool { return silent.Status().State == driver.Fault })
	before, start := dev.Count(3), time.Now()
	probes := silent.Status().Errors
	time.Sleep(1500 * time.Millisecond) // a stretch long enough to see probing back off
	probes = silent.Status().Errors - probes
	polls, lost := dev.Count(3)-before, time.Duration(probes+1)*100*time.Millisecond
	// A fifth of the intervals: a busy machine polls late. A neighbour that waited for each
	// probe would have as many polls as there are probes.
	if want := int((time.Since(start) - lost) / (10 * time.Millisecond) / 5); polls < want {
		t.Errorf("%d polls beside %d probes, want at least %d", polls, probes, want)
	}
	if probes > 5 {
		t.Errorf("%d probes in 1.5s", probes)
	}
	if n := good.Log.Bad("a000"); n != 0 {
		t.Errorf("the neighbour was bad %d times", n)
	}
}

// Series end with their driver and with their tag; too many tags share one.
func TestSeries(t *testing.T) {
	_, ep := tcpDevice(t)
	r := modbustest.Start(t, ep, registers(1100, 1), cfg("polling", "1s"))
	r.Log.Good(t, "a000", 1)
	r.Log.Wait(t, "all values are counted in one series", func() bool { return r.Metric(t, "modbus_point_total", "tag", "") >= 1100 })
	if n := r.Metric(t, "modbus_point_total", "tag", "a000"); n != 0 {
		t.Errorf("a000 has a series of its own: %v", n)
	}
	if err := r.Update(modbustest.Compile(t, registers(2, 1), nil)); err != nil {
		t.Fatal(err)
	}
	r.Log.Wait(t, "a series per tag", func() bool { return r.Metric(t, "modbus_point_total", "tag", "a001") > 0 })
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"modbus_point_total", "modbus_pdu_total", "modbus_point_latency_ms", "modbus_reconnect_total"} {
		if n := r.Metric(t, name); n != 0 {
			t.Errorf("%s is %v after the driver has ended", name, n)
		}
	}
}
