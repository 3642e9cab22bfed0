package plcsim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/simonvetter/modbus"
	"go.uber.org/goleak"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

func start(t testing.TB, c plcsim.Config) (*plcsim.Sim, *modbus.ModbusClient) {
	t.Helper()
	s, err := plcsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, connect(t, s)
}

func connect(t testing.TB, s *plcsim.Sim) *modbus.ModbusClient {
	t.Helper()
	c, err := modbus.NewClient(&modbus.ClientConfiguration{URL: "tcp://" + s.Addr(), Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the PLC may have closed it
	return c
}

func TestTables(t *testing.T) {
	s, c := start(t, plcsim.Config{Units: []uint8{1, 9}, Size: 20})
	s.Set(9, plcsim.Input, 3, 11, 12)
	s.Set(9, plcsim.Discrete, 3, 1)
	if err := c.SetUnitId(9); err != nil {
		t.Fatal(err)
	}
	if v, err := c.ReadRegisters(2, 4, modbus.INPUT_REGISTER); err != nil || v[1] != 11 || v[2] != 12 || v[3] != 0 {
		t.Errorf("input registers %v, %v", v, err)
	}
	if v, err := c.ReadDiscreteInputs(2, 3); err != nil || v[0] || !v[1] || v[2] {
		t.Errorf("discrete inputs %v, %v", v, err)
	}
	if err := c.WriteRegisters(5, []uint16{1, 2}); err != nil || s.Get(9, plcsim.Holding, 6, 1)[0] != 2 {
		t.Errorf("write registers: %v, holds %v", err, s.Get(9, plcsim.Holding, 5, 2))
	}
	if err := c.WriteCoils(5, []bool{true, false, true}); err != nil || s.Get(9, plcsim.Coil, 7, 1)[0] != 1 {
		t.Errorf("write coils: %v, holds %v", err, s.Get(9, plcsim.Coil, 5, 3))
	}
	if _, err := c.ReadRegisters(18, 3, modbus.HOLDING_REGISTER); !errors.Is(err, modbus.ErrIllegalDataAddress) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := c.SetUnitId(2); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadRegister(0, modbus.HOLDING_REGISTER); !errors.Is(err, modbus.ErrGWTargetFailedToRespond) {
		t.Errorf("a unit that is not there: %v", err)
	}
	if s.Requests(9) != 5 || s.Requests(1) != 0 {
		t.Errorf("%d and %d requests", s.Requests(9), s.Requests(1))
	}
}

func TestSignalsMove(t *testing.T) {
	layout := plcsim.NewLayout(30)
	s, c := start(t, plcsim.Config{Layout: layout, Step: 5 * time.Millisecond})
	before, err := c.ReadRegisters(0, 33, modbus.HOLDING_REGISTER)
	if err != nil {
		t.Fatal(err)
	}
	coils := map[uint16]bool{}
	deadline := time.Now().Add(10 * time.Second)
	for moved := 0; moved < 27; {
		if time.Now().After(deadline) {
			t.Fatalf("after 10s only %d of 27 signals have moved", moved)
		}
		time.Sleep(5 * time.Millisecond) // a step
		now, err := c.ReadRegisters(0, 33, modbus.HOLDING_REGISTER)
		if err != nil {
			t.Fatal(err)
		}
		moved = 0
		for _, sig := range layout {
			if sig.Table == plcsim.Coil {
				coils[s.Get(1, plcsim.Coil, sig.Addr, 1)[0]] = true
				continue
			}
			last := sig.Addr
			if sig.Type == config.TypeUint32 {
				last++ // the high word takes long
			}
			if now[last] != before[last] {
				moved++
			}
		}
	}
}

// TestLayout: signals fill the tables without gaps or overlaps, and the variables
// are where they are.
func TestLayout(t *testing.T) {
	layout := plcsim.NewLayout(1000)
	vars := layout.Variables("d", "plc1.")
	next := map[config.AddressType]uint32{}
	tags := map[string]bool{}
	for i, v := range vars {
		if v.Address.Addr != next[v.Address.Type] || v.DriverID != "d" || tags[v.Tag] {
			t.Fatalf("variable %d: %+v, expected address %d", i, v, next[v.Address.Type])
		}
		tags[v.Tag] = true
		next[v.Address.Type]++
		if v.Datatype == config.TypeUint32 || v.Datatype == config.TypeFloat32 {
			next[v.Address.Type]++
		}
	}
	if next[config.AddrHolding] != 1100 || next[config.AddrCoil] != 100 {
		t.Errorf("ends at %v", next)
	}
	if s, err := plcsim.New(plcsim.Config{Layout: plcsim.NewLayout(59000)}); err != nil {
		t.Error(err)
	} else if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	s, c := start(t, plcsim.Config{})
	read := func(c *modbus.ModbusClient) error {
		_, err := c.ReadRegisters(0, 10, modbus.HOLDING_REGISTER)
		return err
	}
	for code, want := range map[uint8]error{
		1: modbus.ErrIllegalFunction, 2: modbus.ErrIllegalDataAddress, 3: modbus.ErrIllegalDataValue, 4: modbus.ErrServerDeviceFailure,
		5: modbus.ErrAcknowledge, 6: modbus.ErrServerDeviceBusy, 8: modbus.ErrMemoryParityError,
		10: modbus.ErrGWPathUnavailable, 11: modbus.ErrGWTargetFailedToRespond,
	} {
		s.Refuse(1, plcsim.Holding, 9, 9, code)
		if err := read(c); !errors.Is(err, want) {
			t.Errorf("exception %d: %v, want %v", code, err, want)
		}
		if _, err := c.ReadRegisters(0, 9, modbus.HOLDING_REGISTER); err != nil {
			t.Errorf("beside what is refused: %v", err)
		}
		s.Allow(1)
	}
	s.Delay(1, 50*time.Millisecond)
	begin := time.Now()
	if err := read(c); err != nil || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("delayed: %v after %v", err, time.Since(begin))
	}
	s.Delay(1, 0)
	s.DropNext(1, 1)
	if err := read(c); err == nil {
		t.Error("not dropped")
	}
	c = connect(t, s)
	s.DropEvery(1, 2)
	failed := 0
	for range 4 {
		if read(c) != nil {
			failed++
			c = connect(t, s)
		}
	}
	s.DropEvery(1, 0)
	if failed != 2 {
		t.Errorf("%d of 4 requests were dropped, want 2", failed)
	}
	s.Silence(1, true)
	s.Silence(1, true)
	if err := read(c); !errors.Is(err, modbus.ErrRequestTimedOut) {
		t.Errorf("silent: %v", err)
	}
	s.Silence(1, false)
	c = connect(t, s)
	if err := read(c); err != nil {
		t.Errorf("after the silence: %v", err)
	}
	if err := s.PowerOff(); err != nil {
		t.Fatal(err)
	}
	if err := read(c); err == nil {
		t.Error("answers without power")
	}
	if err := s.PowerOn(); err != nil {
		t.Fatal(err)
	}
	if err := read(connect(t, s)); err != nil {
		t.Errorf("after power on: %v", err)
	}
}

// TestEnds: nothing is left of a PLC, even if a request waits in its silence.
func TestEnds(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s, err := plcsim.New(plcsim.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, s)
	s.Silence(1, true)
	if _, err := c.ReadRegister(0, modbus.HOLDING_REGISTER); err == nil {
		t.Error("not silent")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	_ = c.Close() // the PLC has closed it
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []plcsim.Config{
		{Size: 1 << 17}, {Size: 5, Layout: plcsim.NewLayout(10)}, {Listen: "nonsense"}, {Layout: plcsim.NewLayout(60000)},
	} {
		if s, err := plcsim.New(c); err == nil {
			t.Errorf("%+v: no error", s.Addr())
		}
	}
}

// BenchmarkServe is what a request of 120 registers costs, the asking included.
func BenchmarkServe(b *testing.B) {
	s, err := plcsim.New(plcsim.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }() // nothing depends on it
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nor on this
	request := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 120}
	answer := make([]byte, 249)
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(120*float64(b.N)/b.Elapsed().Seconds(), "points/s")
}
