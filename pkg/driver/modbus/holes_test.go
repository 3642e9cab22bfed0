package modbus_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

func modeName(m modbustest.Mode) string {
	if len(m) == 1 {
		return fmt.Sprintf("0x%02X", m[0])
	}
	return string(m)
}

// bubble runs do in a bubble with a device that thinks for 5 ms.
func bubble(t *testing.T, do func(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer)) {
	synctest.Test(t, func(t *testing.T) {
		dev, ep := modbustest.NewPiped(t, 5*time.Millisecond)
		do(t, dev, ep)
	})
}

// badTags lists the tags whose last frame is bad, or that have none.
func badTags(r *modbustest.Rig, vars []config.Variable) (bad []string) {
	for _, v := range vars {
		if f := r.Log.Last(v.Tag); f.TS == 0 || f.Quality != frame.Good {
			bad = append(bad, v.Tag)
		}
	}
	return bad
}

// everBad lists the tags that had a bad frame.
func everBad(r *modbustest.Rig, vars []config.Variable) (bad []string) {
	for _, v := range vars {
		if r.Log.Bad(v.Tag) > 0 {
			bad = append(bad, v.Tag)
		}
	}
	return bad
}

// One address that the device does not have, whatever it does instead of an
// answer and wherever the address is: within seconds its tag is bad, and its
// neighbours never are.
func TestOneBadRegister(t *testing.T) {
	t.Parallel()
	for _, mode := range modbustest.Modes() {
		for name, at := range map[string]int{"first": 40, "last": 59, "middle": 50} {
			for _, window := range []int{1, 8} {
				if window > 1 && name == "last" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %d in flight", modeName(mode), name, window), func(t *testing.T) {
					bubble(t, func(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer) {
						oneBadRegister(t, dev, ep, mode, at, window)
					})
				})
			}
		}
	}
}

func oneBadRegister(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer, mode modbustest.Mode, at, window int) {
	var vars []config.Variable
	for i := range 20 {
		vars = append(vars, holding(fmt.Sprintf("a%02d", i), uint32(40+i), config.TypeUint16))
	}
	for i := range 5 {
		vars = append(vars, holding(fmt.Sprintf("b%02d", i), uint32(100+10*i), config.TypeUint16))
	}
	dev.Bad[modbustest.Hole{Func: 3, Addr: at}] = mode
	r := modbustest.Start(t, ep, vars, cfg("polling", "500ms"), cfg("timeout", "1s"), cfg("retry", 3), cfg("max_inflight", window))
	culprit := fmt.Sprintf("a%02d", at-40)
	time.Sleep(15 * time.Second) // in the bubble: nothing
	if bad := badTags(r, vars); !slices.Equal(bad, []string{culprit}) {
		t.Fatalf("bad after 15s: %v, want %s; status %+v", bad, culprit, r.Status())
	}
	_, reasons := r.Driver.(driver.Reasoner).Reasons()
	if len(reasons) != 1 || reasons[culprit].Text == "" || reasons[culprit].Hint == "" {
		t.Errorf("reasons %v", reasons)
	}
	before, asked := len(r.Log.Of("a01"))+len(r.Log.Of("a19")), dev.Asked()
	time.Sleep(2 * time.Minute)
	if n := len(r.Log.Of("a01")) + len(r.Log.Of("a19")) - before; n < 200 {
		t.Errorf("%d samples of neighbours in 2 minutes", n)
	}
	if n := dev.Asked() - asked; n > 240*8 { // six requests, or a seventh beside the culprit and, rarely, the eighth
		t.Errorf("%d requests in 2 minutes", n)
	}
	if bad := everBad(r, vars); !slices.Equal(bad, []string{culprit}) {
		t.Errorf("%v were bad", bad)
	}
	dev.Lock()
	clear(dev.Bad)
	dev.Unlock()
	time.Sleep(100 * time.Second)
	dev.Lock()
	dev.Requests = nil
	dev.Unlock()
	time.Sleep(10 * time.Second)
	if n := dev.Asked(); n > 6*21 || len(badTags(r, vars)) != 0 {
		t.Errorf("%d requests in 20 cycles of 6; bad %v", n, badTags(r, vars))
	}
	if _, reasons = r.Driver.(driver.Reasoner).Reasons(); len(reasons) != 0 {
		t.Errorf("reasons of tags that are good: %v", reasons)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	said := r.Said.String()
	if strings.Count(said, "level=WARN") != 1 || !strings.Contains(said, "tag="+culprit) || strings.Count(said, "read again") != 1 {
		t.Errorf("logged:\n%s", said)
	}
}

// While a device starts it refuses everything, is busy or silent: nothing is taken
// for a bad register, and it is soon polled as it was planned.
func TestBootPhase(t *testing.T) {
	t.Parallel()
	for _, mode := range modbustest.Modes() {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, warm %v", modeName(mode), warm), func(t *testing.T) {
				bubble(t, func(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer) {
					bootPhase(t, dev, ep, mode, warm)
				})
			})
		}
	}
}

func bootPhase(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer, mode modbustest.Mode, warm bool) {
	vars := registers(500, 1) // five requests
	set := func(m modbustest.Mode) { dev.Lock(); defer dev.Unlock(); dev.Boot, dev.Requests = m, nil }
	if !warm {
		set(mode)
	}
	r := modbustest.Start(t, ep, vars, cfg("polling", "1s"), cfg("timeout", "1s"), cfg("retry", 3), cfg("backoff_max", "5s"))
	if warm {
		time.Sleep(5 * time.Second)
		set(mode)
	}
	time.Sleep(20 * time.Second)
	if n := dev.Asked(); n > 150 {
		t.Errorf("%d requests while it started", n)
	}
	if n := len(badTags(r, vars)); n != len(vars) {
		t.Errorf("%d of %d tags are bad while it starts", n, len(vars))
	}
	set("")
	time.Sleep(20 * time.Second)
	if bad := badTags(r, vars); len(bad) != 0 {
		t.Errorf("%d tags are bad 20s after it has started", len(bad))
	}
	set("")
	time.Sleep(10 * time.Second)
	if n := dev.Asked(); n < 49 || n > 56 {
		t.Errorf("%d requests in ten cycles of five", n)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(r.Said.String(), "level=WARN"); n > 12 {
		t.Errorf("%d warnings:\n%s", n, r.Said.String())
	}
}

// A bad address in each of eight requests that are all there is.
func TestBadRegisterInEachRequest(t *testing.T) {
	t.Parallel()
	for _, mode := range modbustest.Modes() {
		t.Run(modeName(mode), func(t *testing.T) {
			bubble(t, func(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer) {
				vars := registers(960, 1)
				var want []string
				for i := range 8 {
					at := 120*i + 13*i
					dev.Bad[modbustest.Hole{Func: 3, Addr: at}] = mode
					want = append(want, fmt.Sprintf("a%03d", at))
				}
				r := modbustest.Start(t, ep, vars, cfg("polling", "1s"), cfg("timeout", "1s"), cfg("retry", 3))
				for d := time.Duration(0); d < 2*time.Minute; d += time.Second {
					time.Sleep(time.Second)
					if slices.Equal(badTags(r, vars), want) {
						t.Logf("after %v, %d requests", d, dev.Asked())
						if bad := everBad(r, vars); !slices.Equal(bad, want) {
							t.Errorf("%d tags were bad", len(bad))
						}
						if d > time.Minute {
							t.Errorf("it took %v", d)
						}
						return
					}
				}
				t.Errorf("%d bad, want %v; status %+v", len(badTags(r, vars)), want, r.Status())
			})
		})
	}
}

// What was learned of a device stays when other variables change.
func TestUpdateKeepsLessons(t *testing.T) {
	bubble(t, func(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer) {
		vars := registers(100, 2)
		for _, at := range []int{40, 101} { // a020, and a gap between a050 and a051
			dev.Bad[modbustest.Hole{Func: 3, Addr: at}] = modbustest.Code(4)
		}
		r := modbustest.Start(t, ep, vars, cfg("polling", "1s"), cfg("max_gap", 1))
		time.Sleep(5 * time.Second)
		refused := r.Metric(t, "modbus_exception_total")
		more := append(slices.Clone(vars), holding("extra", 7, config.TypeUint16))
		if err := r.Update(modbustest.Compile(t, more[1:], nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if bad := badTags(r, more); !slices.Equal(bad, []string{"a020"}) {
			t.Errorf("bad: %v", bad)
		}
		if bad := everBad(r, more); !slices.Equal(bad, []string{"a020"}) {
			t.Errorf("%v were bad", bad)
		}
		if n := r.Metric(t, "modbus_exception_total") - refused; n > 2 { // the culprit is tried again
			t.Errorf("%v refusals after the update", n)
		}
		_, reasons := r.Driver.(driver.Reasoner).Reasons()
		if len(reasons) != 1 || reasons["a020"].Text != "refused: 0x04 server device failure" {
			t.Errorf("reasons %v", reasons)
		}
		if err := r.Update(modbustest.Compile(t, []config.Variable{vars[1], vars[2]}, nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, reasons := r.Driver.(driver.Reasoner).Reasons(); len(reasons) != 0 {
			t.Errorf("reasons of tags that are gone: %v", reasons)
		}
	})
}

// TestHolesProperty: random tables against devices with random holes, each of
// which has its own way to say so. In the end exactly the tags that touch a hole
// are bad, the others are fresh, and the requests stay within bounds; when the
// device has everything it is polled as planned.
func TestHolesProperty(t *testing.T) {
	t.Parallel()
	seeds := 3
	if n, err := strconv.Atoi(os.Getenv("EDGE_MODBUS_DEVICES")); err == nil {
		seeds = n
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, dev *modbustest.Device, ep *modbustest.Dialer) {
				holesProperty(t, rand.New(rand.NewPCG(seed, 13)), dev, ep)
			})
		})
	}
}

func holesProperty(t *testing.T, rnd *rand.Rand, dev *modbustest.Device, ep *modbustest.Dialer) {
	vars := make([]config.Variable, 20+rnd.IntN(150))
	for i := range vars {
		tag, addr := fmt.Sprintf("v%03d", i), uint32(rnd.IntN(len(vars)*2))
		if rnd.IntN(4) == 0 {
			vars[i] = coil(tag, addr)
		} else {
			vars[i] = holding(tag, addr, []config.DataType{config.TypeUint16, config.TypeInt16, config.TypeFloat32, config.TypeUint64}[rnd.IntN(4)])
		}
		if rnd.IntN(5) == 0 {
			vars[i].Polling = config.Duration(3 * time.Second)
		}
	}
	size := map[config.DataType]int{config.TypeBool: 1, config.TypeUint16: 1, config.TypeInt16: 1, config.TypeFloat32: 2, config.TypeUint64: 4}
	modes := modbustest.Modes()
	for range rnd.IntN(12) {
		dev.Bad[modbustest.Hole{Func: []byte{3, 3, 1}[rnd.IntN(3)], Addr: rnd.IntN(len(vars) * 2)}] = modes[rnd.IntN(len(modes))]
	}
	var want []string
	for i := range vars {
		v, fn := &vars[i], byte(3)
		if v.Address.Type == config.AddrCoil {
			fn = 1
		}
		for k := range size[v.Datatype] {
			if _, bad := dev.Bad[modbustest.Hole{Func: fn, Addr: int(v.Address.Addr) + k}]; bad {
				want = append(want, v.Tag)
				break
			}
		}
	}
	if rnd.IntN(3) == 0 {
		dev.Boot = modes[rnd.IntN(len(modes))]
	}
	holes := maps.Clone(dev.Bad)
	opts := []modbustest.Option{
		cfg("polling", "1s"), cfg("timeout", "300ms"), cfg("retry", rnd.IntN(4)), cfg("max_gap", rnd.IntN(12)),
		cfg("max_regs_per_req", 8+rnd.IntN(118)), cfg("max_inflight", 1+7*rnd.IntN(2)), cfg("backoff_max", "5s"),
	}
	r := modbustest.Start(t, ep, vars, opts...)
	time.Sleep(5 * time.Second)
	dev.Lock()
	dev.Boot = ""
	dev.Unlock()
	time.Sleep(5 * time.Minute)
	dev.Lock()
	dev.Requests = nil
	dev.Unlock()
	time.Sleep(time.Minute)
	during := dev.Asked()
	if bad := badTags(r, vars); !slices.Equal(bad, want) {
		t.Errorf("%d bad: %v\nwant %v\nholes %v; status %+v", len(bad), bad[:min(len(bad), 20)], want, holes, r.Status())
	}
	now := time.Now().UnixNano()
	for _, v := range vars {
		if f := r.Log.Last(v.Tag); !slices.Contains(want, v.Tag) && now-f.TS > int64(15*time.Second) {
			t.Errorf("%s was read %v ago", v.Tag, time.Duration(now-f.TS))
		}
	}
	if _, reasons := r.Driver.(driver.Reasoner).Reasons(); len(reasons) != len(want) {
		t.Errorf("%d reasons for %d bad tags", len(reasons), len(want))
	}
	dev.Lock()
	clear(dev.Bad)
	dev.Unlock()
	time.Sleep(20 * time.Minute)
	dev.Lock()
	dev.Requests = nil
	dev.Unlock()
	time.Sleep(30 * time.Second)
	healed := dev.Asked()
	if bad := badTags(r, vars); len(bad) != 0 {
		t.Errorf("%d bad after all is well: %v", len(bad), bad[:min(len(bad), 20)])
	}
	fresh := modbustest.Start(t, ep, vars, opts...)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Second)
	dev.Lock()
	dev.Requests = nil
	dev.Unlock()
	time.Sleep(30 * time.Second)
	if n := dev.Asked(); during > 2*n+60*2*len(holes)+120 {
		t.Errorf("%d requests in a minute with %d holes, %d in 30s as planned", during, len(holes), n)
	}
	if n := dev.Asked(); healed < n*9/10 || healed > n*11/10 {
		t.Errorf("%d requests in 30s after all is well, %d as planned", healed, n)
	}
	if err := fresh.Stop(); err != nil {
		t.Fatal(err)
	}
}
