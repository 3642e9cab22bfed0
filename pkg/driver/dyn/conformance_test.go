//go:build linux

package dyn_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn"
	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn/dyntest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/sdk"
)

// TestMain makes the test's binary a driver where the gateway's side starts it.
func TestMain(m *testing.M) {
	if sdk.Started() {
		be(filepath.Base(os.Args[0]))
	}
	os.Exit(drivertest.Main(m, serveRegisters))
}

// TestConformance is the suite of all drivers, over the wire: the driver is in a process.
func TestConformance(t *testing.T) {
	dir := dyntest.Dir(t)
	dyntest.InstallSelf(t, dir, "line")
	drivertest.Run(t, func(t *testing.T, n int, polling time.Duration) *drivertest.Device {
		d := newWords(t, n)
		dev := &drivertest.Device{
			Factory: newFactory(t, dir), Endpoint: modbustest.Dial(t, "tcp", func() string { return d.addr.String() }),
			Item: item("line", map[string]any{
				"polling": polling.String(), "timeout": "2s", "backoff_max": "300ms", "enable_write": true, "answer_within": "200ms",
			}),
			EndpointItem: config.Endpoint{Scheme: "tcp", Host: "127.0.0.1", Port: uint16(d.addr.Port)},
			Set:          func(i int, v uint16) { d.mu.Lock(); defer d.mu.Unlock(); d.values[i] = v },
			Get:          func(i int) uint16 { d.mu.Lock(); defer d.mu.Unlock(); return d.values[i] },
			Conns:        func() int { d.mu.Lock(); defer d.mu.Unlock(); return d.count },
			Stop:         d.stop,
			Start:        func() { d.listen(t, d.addr.String()) },
			Hang:         func(on bool) { d.mu.Lock(); defer d.mu.Unlock(); d.hang = on },
		}
		for i := range n {
			dev.Variables = append(dev.Variables, variable(fmt.Sprintf("p%03d", i), i))
		}
		return dev
	})
}

func newFactory(t testing.TB, dir string) driver.Factory {
	t.Helper()
	f, err := dyn.Protocol().New(driver.Host{DriversDir: dir, DriverMemory: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func item(path string, cfg map[string]any) config.Driver {
	return config.Driver{Kind: config.KindDyn, Path: path, Proto: "line", EndpointID: "e", Cfg: cfg}
}

// variable is a word of the device.
func variable(tag string, word int) config.Variable {
	return config.Variable{Tag: tag, DriverID: "d1", Access: config.AccessRW, Datatype: config.TypeUint16,
		Address: config.Address{Type: config.AddrPlugin, Plugin: fmt.Sprintf(`{"word":%d}`, word)}}
}
