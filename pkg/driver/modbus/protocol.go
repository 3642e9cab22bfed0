package modbus

import "github.com/edge-gateway/edge-gateway/pkg/driver"

// Protocol is Modbus as the rest of the program knows it.
func Protocol() driver.Protocol {
	return driver.Protocol{
		Name:     Proto,
		Schemes:  []string{"tcp", "udp", "serial", "tls", "dtls", "quic", "rtu", "ascii"},
		New:      func(h driver.Host) (driver.Factory, error) { return NewFactory(h.Registerer, Options{}) },
		Check:    check,
		CheckAll: checkAll,
		Span:     Registers,
		Probe:    probeAbility(),
		Scan:     scanAbility(),
		Simulate: simulation(),
	}
}
