package modbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// TestOneDeadAmong100: a PLC that does not answer does not cost the others their
// punctuality: 99.9 % of their polls come within a tenth of the interval.
func TestOneDeadAmong100(t *testing.T) {
	const plcs, dead = 100, 42
	const interval, length = 500 * time.Millisecond, 8 * time.Second
	row := faults.Open(t, "plc-dead-100")
	row.Fault(1)
	rigs := make([]*modbustest.Rig, plcs)
	for i := range rigs {
		sim := startSim(t, plcsim.Config{Size: 100})
		sim.Silence(1, i == dead)
		h, item := open(t, "tcp://"+sim.Addr())
		vars := []config.Variable{modbustest.Holding("a", 0, config.TypeUint16), modbustest.Holding("b", 50, config.TypeUint16)}
		rigs[i] = modbustest.Start(t, h, vars, modbustest.Cfg("polling", interval.String()), func(c *driver.Config) {
			c.Endpoint = item
			c.ID = fmt.Sprintf("plc%03d", i) // phases go by it
		})
	}
	stalls := watchMachine(length) // the time that is measured
	// On a machine that stalls again and again, a goroutine waits for its turn at other
	// times too: there, what counts is a poll that was not made.
	tolerance := interval / 10
	if len(stalls) > 20 {
		tolerance = interval
	}
	polls, late, excused := 0, 0, 0
	for i, r := range rigs {
		if i == dead {
			if r.Status().State != driver.Fault {
				t.Errorf("the silent PLC's driver is %s", r.Status().State)
			}
			continue
		}
		fs := r.Log.Of("a")
		for k := 2; k < len(fs); k++ { // the first gap is the way to the phase
			from, to := fs[k-1].Time(), fs[k].Time()
			switch {
			case (to.Sub(from) - interval).Abs() <= tolerance:
			case slices.ContainsFunc(stalls, func(s stall) bool { return s.from.Before(to) && s.to.After(from.Add(-interval/10)) }):
				excused++
				continue
			default:
				late++
			}
			polls++
		}
	}
	t.Logf("%d polls of 99 PLCs, %d not within %v of the interval, %d more while the machine stalled (%d times)", polls, late, tolerance, excused, len(stalls))
	row.Count(uint64(polls), uint64(late), 0) // a late poll is a lost one
	if want := 99 * int(length/interval-3) / 2; polls < want || late*1000 > polls {
		t.Errorf("%d polls (want at least %d), %d late", polls, want, late)
	}
}

// stall is a time in which this process got no turn on the processor.
type stall struct{ from, to time.Time }

// watchMachine sleeps for d and returns the stalls meanwhile: what a busy machine
// does to every goroutine alike is not the driver's.
func watchMachine(d time.Duration) (stalls []stall) {
	const nap, stalled = 5 * time.Millisecond, 20 * time.Millisecond
	for end := time.Now().Add(d); time.Now().Before(end); {
		from := time.Now()
		time.Sleep(nap) // how late this wakes up is what is measured
		if to := time.Now(); to.Sub(from) > stalled {
			stalls = append(stalls, stall{from, to})
		}
	}
	return stalls
}

// TestUnplugged: a PLC that is switched off and on again is polled again, and
// each of its points was bad once.
func TestUnplugged(t *testing.T) {
	sim := startSim(t, plcsim.Config{})
	h, item := open(t, "tcp://"+sim.Addr()+"?backoff=50ms&backoff_max=100ms&timeout=300ms")
	r := modbustest.Start(t, h, []config.Variable{modbustest.Holding("a", 0, config.TypeUint16)},
		func(c *driver.Config) { c.Endpoint = item })
	for range 2 {
		n := len(r.Log.Of("a"))
		r.Log.Good(t, "a", n+2)
		bad := r.Log.Bad("a")
		if err := sim.PowerOff(); err != nil {
			t.Fatal(err)
		}
		r.Log.Wait(t, "fault", func() bool { return r.Status().State == driver.Fault && r.Log.Bad("a") == bad+1 })
		if err := sim.PowerOn(); err != nil {
			t.Fatal(err)
		}
		r.Log.Wait(t, "good again", func() bool { return r.Status().State == driver.Running })
	}
}

// TestPausedEndpoint: a pause is no fault; nothing becomes bad.
func TestPausedEndpoint(t *testing.T) {
	sim := startSim(t, plcsim.Config{})
	pool, h, item := openPool(t, "tcp://"+sim.Addr())
	r := modbustest.Start(t, h, []config.Variable{modbustest.Holding("a", 0, config.TypeUint16)},
		func(c *driver.Config) { c.Endpoint = item })
	control := func(op endpoint.Op) {
		if err := pool.Control(deadline(t), endpoint.Control{Op: op, ID: h.ID()}); err != nil {
			t.Fatal(err)
		}
	}
	r.Log.Good(t, "a", 2)
	control(endpoint.Pause)
	r.Log.Wait(t, "paused", func() bool { return r.Status().State == driver.Paused })
	control(endpoint.Resume)
	n := len(r.Log.Of("a"))
	r.Log.Good(t, "a", n+2)
	if bad := r.Log.Bad("a"); bad != 0 || r.Status().State != driver.Running {
		t.Errorf("bad %d times, status %+v", bad, r.Status())
	}
}

// TestSerialLineIsShared: two units on one line, one of which is not there.
func TestSerialLineIsShared(t *testing.T) {
	ours, theirs := serialPair(t)
	p := startPymodbus(t, "serial", "rtu", theirs)
	p.set(t, plcsim.Holding, 0, 321)
	h, item := open(t, "serial://"+ours+"?baud=19200&parity=E")
	fast := []modbustest.Option{modbustest.Cfg("polling", "50ms"), modbustest.Cfg("timeout", "200ms"), func(c *driver.Config) { c.Endpoint = item }}
	missing := modbustest.Start(t, h, []config.Variable{modbustest.Holding("a", 0, config.TypeUint16)}, append(fast, modbustest.Cfg("unit_id", 9))...)
	there := modbustest.Start(t, h, []config.Variable{modbustest.Holding("a", 0, config.TypeUint16)}, fast...)
	there.Log.Wait(t, "the missing unit is in fault", func() bool { return missing.Status().State == driver.Fault })
	n := len(there.Log.Of("a"))
	there.Log.Good(t, "a", n+20)
	for _, f := range there.Log.Of("a") {
		if f.Quality != frame.Good || f.Value != frame.IntValue(321) {
			t.Errorf("value %v %v", f.Value, f.Quality)
		}
	}
}

// TestDiagnostics asks a serial device about itself.
func TestDiagnostics(t *testing.T) {
	ours, theirs := serialPair(t)
	startPymodbus(t, "serial", "rtu", theirs)
	h, item := open(t, "serial://"+ours+"?baud=19200&parity=E")
	r := startDriver(t, h, item, []config.Variable{modbustest.Holding("a", 0, config.TypeUint16)})
	found, err := r.Driver.(driver.Diagnoser).Diagnose(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range found {
		got[d.Name] = d.Value
	}
	if _, err := strconv.Atoi(got["messages on the bus"]); err != nil || got["echo"] != "ok" || len(got["exception status"]) != 8 {
		t.Errorf("%+v", found)
	}
}

// TestScan finds the one unit of a serial line, and those of a simulated PLC.
func TestScan(t *testing.T) {
	ours, theirs := serialPair(t)
	startPymodbus(t, "serial", "rtu", theirs)
	sim := startSim(t, plcsim.Config{Units: []uint8{3, 7}})
	sim.Refuse(7, plcsim.Holding, 0, 10, 2)
	for _, c := range []struct {
		url   string
		lines []modbus.Line
		units []uint8
		want  string
	}{
		{"serial://" + ours, []modbus.Line{{Baud: 19200, Parity: "even"}}, []uint8{4, 1, 2}, "19200 even: 1"},
		{"tcp://" + sim.Addr(), []modbus.Line{{}}, []uint8{2, 3, 7, 8}, "network: 3, network: 7 (refuses)"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		s := modbus.Scanner{
			Open:     func(ctx context.Context, line modbus.Line) (net.Conn, error) { return dialLine(ctx, t, c.url, line) },
			Endpoint: config.Endpoint{Scheme: u.Scheme},
			Lines:    c.lines, Units: c.units,
			Question: modbus.Question{Func: modbus.FuncReadHolding, Count: 1, Timeout: 200 * time.Millisecond},
			Found: func(f modbus.Found) {
				s := fmt.Sprintf("%s: %d", f.Line, f.Unit)
				if f.Err != nil {
					s += " (refuses)"
				}
				found = append(found, s)
			},
		}
		if err := s.Run(deadline(t)); err != nil {
			t.Error(err)
		}
		if got := strings.Join(found, ", "); got != c.want {
			t.Errorf("%s: found %s, want %s", c.url, got, c.want)
		}
	}
}

// dialLine opens a line of its own for the scan: an endpoint used once.
func dialLine(ctx context.Context, t *testing.T, url string, line modbus.Line) (net.Conn, error) {
	if line.Baud != 0 {
		url += fmt.Sprintf("?baud=%d&parity=%s", line.Baud, strings.ToUpper(line.Parity[:1]))
	}
	h, _ := open(t, url)
	lease, err := h.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return released{lease}, nil
}

var errDone = errors.New("the scan is over")

// released is a lease that ends when it is closed.
type released struct{ endpoint.Lease }

func (r released) Close() error {
	r.Release(errDone)
	return nil
}

// TestProbeStages: what a technician sees of a device that nothing is known of.
func TestProbeStages(t *testing.T) {
	p := startPymodbus(t, "tcp", "tcp")
	p.set(t, plcsim.Holding, 0, 0, 0x4148)
	h, item := open(t, "tcp://"+p.addr)
	q, err := modbus.ParseQuestion("40001:2")
	if err != nil {
		t.Fatal(err)
	}
	a, err := modbus.Probe(deadline(t), h, item, q)
	if err != nil || a.Err != nil || a.Connect <= 0 || a.Took <= 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if best := modbus.Rank(modbus.Interpret(a.Addr, a.Data), 12.5, q.Addr); len(best) == 0 || best[0].Type != config.TypeFloat32 || best[0].Order != modbus.CDAB {
		t.Errorf("12.5 is %v", best)
	}
}

// TestScanShared scans a serial line, and a PLC with units that are silent, while a
// driver polls: no poll fails. A line stays open; a network peer that is silent may
// be busy with the question, and is dialled anew.
func TestScanShared(t *testing.T) {
	ours, theirs := serialPair(t)
	startPymodbus(t, "serial", "rtu", theirs)
	sim := startSim(t, plcsim.Config{Units: []uint8{1, 2, 3, 4}})
	sim.Silence(2, true)
	sim.Silence(3, true)
	for _, c := range []struct {
		url        string
		want       []uint8
		reconnects uint64
	}{
		{"serial://" + ours + "?baud=19200&parity=E", []uint8{1}, 0},
		{"tcp://" + sim.Addr(), []uint8{1, 4}, 2},
	} {
		pool, h, item := openPool(t, c.url)
		r := modbustest.Start(t, h, []config.Variable{modbustest.Holding("a", 0, config.TypeUint16)},
			modbustest.Cfg("polling", "20ms"), func(c *driver.Config) { c.Endpoint = item })
		r.Log.Good(t, "a", 5)
		before := r.Status().Polls
		var found []uint8
		q := modbus.Question{Func: modbus.FuncReadHolding, Count: 1, Timeout: 100 * time.Millisecond}
		err := modbus.ScanShared(deadline(t), h, item, q, []uint8{1, 2, 3, 4}, func(f modbus.Found, answered bool) error {
			if answered {
				found = append(found, f.Unit)
			}
			return nil
		})
		if err != nil || !slices.Equal(found, c.want) {
			t.Errorf("%s: found %v, %v; expected %v", c.url, found, err, c.want)
		}
		r.Log.Good(t, "a", len(r.Log.Of("a"))+5)
		s, err := pool.State(h.ID())
		if err != nil {
			t.Fatal(err)
		}
		if st := r.Status(); st.Errors != 0 || r.Log.Bad("a") != 0 || s.Reconnects != c.reconnects || st.Polls < before+5 {
			t.Errorf("%s: %+v, %d bad, %d reconnects", c.url, st, r.Log.Bad("a"), s.Reconnects)
		}
	}
}

// TestScanSharedGivesWay: a PLC that hangs up on a unit that it does not have is
// left alone before polling suffers.
func TestScanSharedGivesWay(t *testing.T) {
	sim := startSim(t, plcsim.Config{Units: []uint8{1, 2, 3, 4, 5}})
	for unit := range uint8(4) {
		sim.DropEvery(unit+2, 1)
	}
	_, h, item := openPool(t, "tcp://"+sim.Addr())
	q := modbus.Question{Func: modbus.FuncReadHolding, Count: 1, Timeout: 100 * time.Millisecond}
	asked := 0
	err := modbus.ScanShared(deadline(t), h, item, q, []uint8{1, 2, 3, 4, 5}, func(modbus.Found, bool) error { asked++; return nil })
	if err == nil || asked != 3 || !strings.Contains(err.Error(), "closes the connection") {
		t.Errorf("%d units asked, %v", asked, err)
	}
}
