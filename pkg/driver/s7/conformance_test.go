package s7_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
)

func TestConformance(t *testing.T) { drivertest.Run(t, device) }

// device is the suite's device: a PLC with n words in a data block.
func device(t *testing.T, n int, polling time.Duration) *drivertest.Device {
	var plc *s7test.PLC
	ep := modbustest.Dial(t, "tcp", func() string { return plc.Addr() })
	plc = s7test.New(t) // after ep, so that it is closed before
	plc.Load(0x84, 1, 2*n)
	d := &drivertest.Device{
		Factory: newFactory(t), Endpoint: ep,
		Item: config.Driver{Kind: config.KindStatic, Proto: s7.Proto, Cfg: map[string]any{
			"polling": polling.String(), "timeout": "200ms", "backoff_max": "300ms", "enable_write": true,
		}},
		Set: func(i int, v uint16) { plc.Set(0x84, 1, 2*i, byte(v>>8), byte(v)) },
		Get: func(i int) uint16 {
			b := plc.Get(0x84, 1, 2*i, 2)
			return uint16(b[0])<<8 | uint16(b[1])
		},
		Conns: ep.Dials, Stop: plc.Stop, Start: plc.Start, Hang: plc.Hang,
	}
	for i := range n {
		d.Variables = append(d.Variables, variable(fmt.Sprintf("p%03d", i), fmt.Sprintf("DB1.DBW%d", 2*i), config.TypeUint16))
	}
	return d
}

func newFactory(t testing.TB) driver.Factory {
	t.Helper()
	f, err := s7.NewFactory(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// variable is a tag at an address as engineers write it.
func variable(tag, address string, dt config.DataType) config.Variable {
	return config.Variable{Tag: tag, DriverID: "d1", Access: config.AccessRW, Datatype: dt, Address: config.Address{Type: config.AddrS7DB, S7: address}}
}
