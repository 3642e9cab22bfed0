package modbus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, device)
}

// device is the suite's device: a simulated PLC with n holding registers.
func device(t *testing.T, n int, polling time.Duration) *drivertest.Device {
	var plc *plcsim.Sim
	ep := modbustest.Dial(t, "tcp", func() string { return plc.Addr() })
	plc = sim(t, plcsim.Config{}) // after ep, so that it is closed before
	f, err := modbus.NewFactory(prometheus.NewRegistry(), modbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &drivertest.Device{
		Factory:  f,
		Endpoint: ep,
		Item: config.Driver{Kind: config.KindStatic, Proto: modbus.Proto, Cfg: map[string]any{
			"unit_id": 1, "polling": polling.String(), "timeout": "200ms", "retry": 1, "backoff_max": "300ms", "enable_write": true,
		}},
		Set:   func(i int, v uint16) { plc.Set(1, plcsim.Holding, uint16(i), v) },
		Get:   func(i int) uint16 { return plc.Get(1, plcsim.Holding, uint16(i), 1)[0] },
		Conns: ep.Dials,
		Stop:  func() { check(t, plc.PowerOff()) },
		Start: func() { check(t, plc.PowerOn()) },
		Hang:  func(on bool) { plc.Silence(1, on) },
	}
	for i := range n {
		v := holding(fmt.Sprintf("p%03d", i), uint32(i), config.TypeUint16)
		v.Access = config.AccessRW
		d.Variables = append(d.Variables, v)
	}
	return d
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
