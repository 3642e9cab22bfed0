package modbus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// pooled is the gateway's own endpoint of dev, for several drivers.
func pooled(t testing.TB, dev *modbustest.Device, opts string) *endpoint.Handle {
	t.Helper()
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, pool.Close(context.Background())) })
	u, err := endpoint.Parse("tcp://" + dev.Addr() + "?" + opts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pool.Open("line", u)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func isWrite(request []byte) bool { return request[0] > 4 && request[0] != 7 && request[0] != 8 }

// writesOf counts the requests that write.
func writesOf(dev *modbustest.Device) (n int) {
	dev.Lock()
	defer dev.Unlock()
	for _, r := range dev.Requests {
		if isWrite(r) {
			n++
		}
	}
	return n
}

// TestWrittenOnce: whatever becomes of the answer, the device executes a write
// once, by every function and however the driver is set, and the outcome is ok only
// if the device was seen to hold the value.
func TestWrittenOnce(t *testing.T) {
	fates := map[string]modbustest.Fate{"lost": modbustest.Lost, "hung up": modbustest.HungUp, "reset": modbustest.Reset}
	for name, fate := range fates {
		for _, how := range []string{"auto", "multiple", "read_write"} {
			for _, framing := range []string{"tcp", "rtu"} {
				if framing == "rtu" && how != "auto" {
					continue
				}
				for _, resets := range []bool{false, true} {
					t.Run(fmt.Sprint(name, " ", how, " ", framing, " ", resets), func(t *testing.T) {
						t.Parallel()
						writtenOnce(t, fate, how, framing, resets)
					})
				}
			}
		}
	}
}

func writtenOnce(t *testing.T, fate modbustest.Fate, how, framing string, resets bool) {
	dev := modbustest.NewDevice(t, "tcp", framing, 1)
	dev.Quirks.Fate = func(request []byte) modbustest.Fate {
		if !isWrite(request) {
			return modbustest.Sent
		}
		if resets {
			dev.Lock()
			defer dev.Unlock()
			clear(dev.Holding[:100])
			clear(dev.Coils[:100])
		}
		return fate
	}
	r := modbustest.Start(t, pooled(t, dev, "").User(), writeVariables(), cfg("enable_write", true), cfg("framing", framing),
		cfg("write_func", how), cfg("verify_write", !resets), cfg("write_timeout", "60ms"), cfg("timeout", "60ms"), cfg("polling", "1s"))
	r.Log.Good(t, "u16", 1)
	for tag, v := range map[string]frame.Value{"u16": frame.IntValue(7), "bit": frame.BoolValue(true), "f32": frame.FloatValue(1.5), "coil": frame.BoolValue(true)} {
		before := writesOf(dev)
		res, err := write(t, r, tag, v)
		switch {
		case resets && !errors.Is(err, driver.ErrOutcomeUnknown):
			t.Errorf("%s: %+v, %v; nobody can know", tag, res, err)
		case !resets && (err != nil || res.ReadBack != v || !strings.Contains(res.Note, "confirmed by reading back")):
			t.Errorf("%s: %+v, %v", tag, res, err)
		}
		if n := writesOf(dev) - before; n != 1 {
			t.Errorf("%s: written %d times", tag, n)
		}
	}
}

// A device behind a Modbus gateway that says 0x0B may have executed the write, one
// that acknowledges does it later, and a refusal is a failure.
func TestWriteExceptions(t *testing.T) {
	for _, c := range []struct {
		code, later byte
		unknown, ok bool
	}{{code: 0x0B, unknown: true}, {code: 5, unknown: true}, {code: 5, later: 1, ok: true}, {code: 2}, {code: 4}, {code: 0x0A}} {
		t.Run(fmt.Sprint(c.code, c.later), func(t *testing.T) {
			t.Parallel()
			dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
			dev.Hook = func(request, answer []byte) []byte {
				if !isWrite(request) {
					return answer
				}
				dev.Holding[0] = 0
				if c.later != 0 {
					time.AfterFunc(150*time.Millisecond, func() { dev.Lock(); defer dev.Unlock(); dev.Holding[0] = 7 })
				}
				return exception(answer, c.code)
			}
			r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{writable(holding("u16", 0, config.TypeUint16))},
				cfg("enable_write", true), cfg("write_timeout", "300ms"))
			_, err := write(t, r, "u16", frame.IntValue(7))
			if (err == nil) != c.ok || errors.Is(err, driver.ErrOutcomeUnknown) != c.unknown {
				t.Errorf("%v", err)
			}
			if n := writesOf(dev); n != 1 {
				t.Errorf("written %d times", n)
			}
		})
	}
}

// write_retry allows what nothing else does.
func TestWriteRetry(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	var writes atomic.Int32
	dev.Quirks.Fate = func(request []byte) modbustest.Fate {
		if isWrite(request) && writes.Add(1) <= 2 {
			return modbustest.HungUp
		}
		return modbustest.Sent
	}
	v := holding("w", 0, config.TypeUint16)
	v.Access = config.AccessW
	start := func(retry int) *modbustest.Rig {
		vars := []config.Variable{v, holding("polled", 1, config.TypeUint16)}
		r := modbustest.Start(t, pooled(t, dev, "").User(), vars, cfg("enable_write", true), cfg("verify_write", false), cfg("write_retry", retry))
		r.Log.Good(t, "polled", 1)
		return r
	}
	if _, err := write(t, start(1), "w", frame.IntValue(7)); !errors.Is(err, driver.ErrOutcomeUnknown) || writes.Load() != 2 {
		t.Errorf("%d writes, %v", writes.Load(), err)
	}
	writes.Store(0)
	if _, err := write(t, start(2), "w", frame.IntValue(7)); err != nil || writes.Load() != 3 {
		t.Errorf("%d writes, %v", writes.Load(), err)
	}
}

// Devices that hang up after each answer, or after a few, lose no write.
func TestWriteToDeviceThatHangsUp(t *testing.T) {
	for n := range 4 {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			t.Parallel()
			dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
			var answers atomic.Int32
			dev.Quirks.Fate = func([]byte) modbustest.Fate {
				if int(answers.Add(1))%(n+1) == 0 {
					return modbustest.LastSent
				}
				return modbustest.Sent
			}
			r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{writable(holding("u16", 0, config.TypeUint16))}, cfg("enable_write", true))
			r.Log.Good(t, "u16", 10)
			for i := range 30 {
				res, err := write(t, r, "u16", frame.IntValue(int64(i)))
				if err != nil || res.ReadBack.Int() != int64(i) {
					t.Errorf("%d: %+v, %v", i, res, err)
				}
			}
			if got := writesOf(dev); got != 30 {
				t.Errorf("30 writes, the device got %d", got)
			}
			if bad := r.Log.Bad("u16"); bad != 0 {
				t.Errorf("bad %d times", bad)
			}
		})
	}
}

// A write is not spent on a connection that has rested and leads to a device that
// does not answer any more.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	var frozen atomic.Bool
	dev.Quirks.Fate = func([]byte) modbustest.Fate {
		if frozen.Load() {
			return modbustest.Lost
		}
		return modbustest.Sent
	}
	r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{writable(holding("u16", 0, config.TypeUint16))},
		cfg("enable_write", true), cfg("polling", "1h"), cfg("timeout", "100ms"))
	r.Log.Good(t, "u16", 1)
	time.Sleep(2200 * time.Millisecond) // the pool's clock counts seconds
	frozen.Store(true)
	if _, err := write(t, r, "u16", frame.IntValue(7)); err == nil || errors.Is(err, driver.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("%v", err)
	}
	frozen.Store(false)
	if _, err := write(t, r, "u16", frame.IntValue(7)); err != nil || writesOf(dev) != 1 {
		t.Errorf("%v, %d writes", err, writesOf(dev))
	}
}

// Who gives up waiting for a write that has not begun knows that it never will; for
// one under way the outcome is unknown.
func TestWriteTakenBack(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	begun := make(chan struct{}, 1)
	dev.Quirks.Fate = func(request []byte) modbustest.Fate {
		if isWrite(request) {
			begun <- struct{}{}
			return modbustest.Lost
		}
		return modbustest.Sent
	}
	r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{writable(holding("u16", 0, config.TypeUint16))},
		cfg("enable_write", true), cfg("write_timeout", "20s"), cfg("polling", "1h"))
	r.Log.Good(t, "u16", 1)
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := r.Write(ctx, driver.Write{Tag: "u16", Value: frame.IntValue(1)}); !errors.Is(err, driver.ErrOutcomeUnknown) {
			t.Errorf("under way: %v", err)
		}
	})
	<-begun
	both.Go(func() {
		if _, err := r.Write(ctx, driver.Write{Tag: "u16", Value: frame.IntValue(2)}); err == nil || errors.Is(err, driver.ErrOutcomeUnknown) {
			t.Errorf("waiting: %v", err)
		}
	})
	time.Sleep(30 * time.Millisecond) // so that it waits, which nothing shows
	cancel()
	both.Wait()
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	if n := writesOf(dev); n != 1 {
		t.Errorf("%d writes", n)
	}
}

// A driver that is stopped does not know what became of the write under way.
func TestStoppedWhileWriting(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	begun := make(chan struct{}, 1)
	dev.Quirks.Fate = func(request []byte) modbustest.Fate {
		if isWrite(request) {
			begun <- struct{}{}
			return modbustest.Lost
		}
		return modbustest.Sent
	}
	r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{writable(holding("u16", 0, config.TypeUint16))}, cfg("enable_write", true))
	failed := make(chan error, 1)
	go func() {
		_, err := r.Write(context.Background(), driver.Write{Tag: "u16", Value: frame.IntValue(1)})
		failed <- err
	}()
	<-begun
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, driver.ErrOutcomeUnknown) {
		t.Error(err)
	}
}

// A bit's mask write that gets silence is not repeated by reading and writing the
// register, and the next bit does without it.
func TestMaskWriteSilence(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	dev.Hook = func(request, answer []byte) []byte {
		if request[0] == 0x16 {
			dev.Holding[2] = 0xF0F0
			return nil
		}
		return answer
	}
	dev.Holding[2] = 0xF0F0
	r := modbustest.Start(t, pooled(t, dev, "").User(), writeVariables(), cfg("enable_write", true), cfg("write_timeout", "60ms"), cfg("timeout", "60ms"))
	if _, err := write(t, r, "bit", frame.BoolValue(true)); !errors.Is(err, driver.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "bit_write: rmw") {
		t.Error(err)
	}
	if n := writesOf(dev); n != 1 {
		t.Errorf("%d writes", n)
	}
	if _, err := write(t, r, "bit", frame.BoolValue(true)); err != nil || dev.Count(0x16) != 1 {
		t.Errorf("%v, 0x16 was asked %d times", err, dev.Count(0x16))
	}
	rmw := modbustest.Start(t, pooled(t, dev, "").User(), writeVariables(), cfg("enable_write", true), cfg("bit_write", "rmw"))
	if _, err := write(t, rmw, "bit", frame.BoolValue(false)); err != nil || dev.Count(0x16) != 1 {
		t.Errorf("rmw: %v, 0x16 was asked %d times", err, dev.Count(0x16))
	}
}

// What was written is read back elsewhere, and later, if the tables say so.
func TestVerifyElsewhere(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	dev.Hook = func(request, answer []byte) []byte {
		if request[0] == 6 {
			time.AfterFunc(100*time.Millisecond, func() { dev.Lock(); defer dev.Unlock(); dev.Input[30] = dev.Holding[0] })
		}
		return answer
	}
	v := holding("w", 0, config.TypeUint16)
	v.Access, v.VerifyAddress = config.AccessW, &config.Address{Type: config.AddrInput, Addr: 30}
	r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{v}, cfg("enable_write", true), cfg("verify_delay", "200ms"))
	res, err := write(t, r, "w", frame.IntValue(7))
	if err != nil || res.ReadBack.Int() != 7 || dev.Count(4) != 1 || dev.Count(3) != 0 {
		t.Errorf("%+v, %v; 0x04 %d times, 0x03 %d", res, err, dev.Count(4), dev.Count(3))
	}
}

// An odd echo is no failure, and a note.
func TestOddEcho(t *testing.T) {
	for _, verify := range []bool{true, false} {
		dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
		dev.Hook = func(request, answer []byte) []byte {
			if request[0] == 6 {
				answer[10], answer[11] = 0, 0
			}
			return answer
		}
		v := holding("w", 0, config.TypeUint16)
		v.Access = config.AccessW
		r := modbustest.Start(t, pooled(t, dev, "").User(), []config.Variable{v}, cfg("enable_write", true), cfg("verify_write", verify))
		if res, err := write(t, r, "w", frame.IntValue(7)); err != nil || !strings.Contains(res.Note, "repeats 00 00 00 00, expected 00 00 00 07") {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

// A diagnosis of a device that hangs up on it costs no poll.
func TestDiagnoseHangUp(t *testing.T) {
	dev := modbustest.NewDevice(t, "tcp", "tcp", 1)
	dev.Quirks.Fate = func(request []byte) modbustest.Fate {
		if request[0] == 7 || request[0] == 8 {
			return modbustest.HungUp
		}
		return modbustest.Sent
	}
	r := modbustest.Start(t, pooled(t, dev, "").User(), registers(3, 1), cfg("polling", "50ms"))
	r.Log.Good(t, "a000", 2)
	for range 3 {
		found, err := r.Driver.(driver.Diagnoser).Diagnose(timeout(t))
		if err != nil || len(found) != 2 || !strings.Contains(found[1].Value, "closed the connection") {
			t.Errorf("%v, %v", found, err)
		}
	}
	if dev.Count(7) != 3 || dev.Count(8) != 3 {
		t.Errorf("0x07 %d times, 0x08 %d", dev.Count(7), dev.Count(8))
	}
	r.Log.Good(t, "a000", len(r.Log.Of("a000"))+3)
	if st := r.Status(); st.State != driver.Running || st.Errors != 0 || r.Log.Bad("a000") != 0 {
		t.Errorf("%+v, bad %d times", st, r.Log.Bad("a000"))
	}
}
