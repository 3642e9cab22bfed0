package modbus_test

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

func sim(t testing.TB, c plcsim.Config) *plcsim.Sim {
	t.Helper()
	s, err := plcsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestPoll(t *testing.T) {
	plc := sim(t, plcsim.Config{})
	plc.Set(1, plcsim.Holding, 0, 123, 0xFFFF, 0x4148, 0)
	plc.Set(1, plcsim.Input, 4, 7)
	plc.Set(1, plcsim.Coil, 3, 1)
	plc.Set(1, plcsim.Discrete, 9, 1)
	scaled := holding("flow", 40001, config.TypeUint16)
	scaled.Scale = "value / 10"
	r := modbustest.Start(t, modbustest.Dial(t, "tcp", plc.Addr), []config.Variable{
		scaled,
		holding("level", 1, config.TypeInt16),
		holding("temp", 2, config.TypeFloat32),
		{Tag: "in", Address: config.Address{Type: config.AddrInput, Addr: 30005}, Datatype: config.TypeUint16},
		{Tag: "coil", Address: config.Address{Type: config.AddrCoil, Addr: 3}, Datatype: config.TypeBool},
		{Tag: "off", Address: config.Address{Type: config.AddrCoil, Addr: 2}, Datatype: config.TypeBool},
		{Tag: "di", Address: config.Address{Type: config.AddrDiscrete, Addr: 10010}, Datatype: config.TypeBool},
	})
	want := map[string]frame.Value{
		"flow": frame.FloatValue(12.3), "level": frame.IntValue(-1), "temp": frame.FloatValue(12.5),
		"in": frame.IntValue(7), "coil": frame.BoolValue(true), "off": frame.BoolValue(false), "di": frame.BoolValue(true),
	}
	for tag, value := range want {
		r.Log.Wait(t, tag+" is read twice", func() bool { return len(r.Log.Of(tag)) >= 2 })
		if f := r.Log.Of(tag)[0]; f.Value != value || f.Quality != frame.Good {
			t.Errorf("%s: got %v %v, want %v good", tag, f.Value, f.Quality, value)
		}
	}
	st := r.Status()
	if st.State != driver.Running || st.Polls < 8 || st.Errors != 0 || st.FirstRead.IsZero() {
		t.Errorf("status %+v", st)
	}
	if n := r.Metric(t, "modbus_pdu_total", "result", "ok"); n < 8 {
		t.Errorf("modbus_pdu_total is %v", n)
	}
	if n := r.Metric(t, "modbus_point_total", "tag", "flow"); n < 2 {
		t.Errorf("modbus_point_total of flow is %v", n)
	}
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	plc := sim(t, plcsim.Config{})
	r := modbustest.Start(t, modbustest.Dial(t, "tcp", plc.Addr), []config.Variable{holding("a", 0, config.TypeUint16)})
	r.Log.Wait(t, "first value", func() bool { return len(r.Log.Of("a")) > 0 })
	plc.Silence(1, true)
	r.Log.Wait(t, "fault", func() bool { return r.Status().State == driver.Fault })
	bad := func() (n int) {
		for _, f := range r.Log.Of("a") {
			if f.Quality == frame.Bad {
				n++
			}
		}
		return n
	}
	r.Log.Wait(t, "a bad value", func() bool { return bad() > 0 })
	if n := r.Metric(t, "modbus_fault"); n != 1 {
		t.Errorf("modbus_fault is %v in fault", n)
	}
	plc.Silence(1, false)
	plc.Set(1, plcsim.Holding, 0, 42)
	r.Log.Wait(t, "the device's new value", func() bool {
		fs := r.Log.Of("a")
		return fs[len(fs)-1].Value == frame.IntValue(42)
	})
	if bad() != 1 {
		t.Errorf("%d bad frames, want 1", bad())
	}
	if st := r.Status(); st.State != driver.Running || r.Metric(t, "modbus_fault") != 0 || r.Metric(t, "modbus_reconnect_total") == 0 {
		t.Errorf("status %+v, modbus_fault %v", st, r.Metric(t, "modbus_fault"))
	}
}
