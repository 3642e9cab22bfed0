package opcua_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
)

func TestConformance(t *testing.T) { drivertest.Run(t, device) }

// device is the suite's device: a server with n variables, which are polled. Their
// source time is when they are read.
func device(t *testing.T, n int, polling time.Duration) *drivertest.Device {
	f := newFake(t)
	node := func(i int) string { return fmt.Sprintf("p%03d", i) }
	d := &drivertest.Device{
		Factory: newFactory(t), Endpoint: dialer{f}, EndpointItem: endpointOf(t, f),
		Item: config.Driver{Kind: config.KindStatic, Proto: opcua.Proto, EndpointID: "e", Cfg: map[string]any{
			"mode": "poll", "polling": polling.String(), "timeout": "300ms", "backoff_max": "200ms", "enable_write": true, "keepalive": "500ms",
		}},
		Set:   func(i int, v uint16) { f.set(node(i), v) },
		Get:   func(i int) uint16 { return f.get(node(i)) },
		Conns: func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.made },
		Stop:  f.stop, Start: f.start, Hang: f.hang,
	}
	for i := range n {
		f.set(node(i), 0)
		d.Variables = append(d.Variables, variable(node(i)))
	}
	return d
}

func newFactory(t *testing.T) driver.Factory {
	t.Helper()
	f, err := opcua.NewFactory(prometheus.NewRegistry(), opcua.Options{
		PKI: opcua.NewPKI(t.TempDir(), "gw"), Name: "gw",
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func endpointOf(t *testing.T, f *fake) config.Endpoint {
	t.Helper()
	host, port, err := net.SplitHostPort(f.addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return config.Endpoint{Scheme: opcua.Scheme, Host: host, Port: uint16(n), Opts: map[string]string{"security_policy": "None"}}
}

func variable(node string) config.Variable {
	return config.Variable{Tag: node, DriverID: "d", Access: config.AccessRW, Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrOPCNode, Node: "ns=1;s=" + node}}
}
