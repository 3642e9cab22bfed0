package opcua

import (
	"path/filepath"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Protocol describes OPC UA to the rest of the program: its scheme, its drivers, what lint
// checks, and what people can ask a server for.
func Protocol() driver.Protocol {
	return driver.Protocol{
		Name:      Proto,
		Schemes:   []string{Scheme},
		Transport: Transport,
		New: func(h driver.Host) (driver.Factory, error) {
			return NewFactory(h.Registerer, Options{
				PKI: NewPKI(filepath.Join(h.DataDir, "pki"), h.GatewayID), Name: h.GatewayID, State: filepath.Join(h.DataDir, "opcua"),
				Secret: h.Secret, File: h.File,
			})
		},
		Check:  checkSetup,
		Span:   func(config.DataType) int { return 0 }, // a node has its value, whatever its size
		Probe:  probeAbility(),
		Browse: browseAbility(),
		Trust:  func(dir string) driver.TrustList { return trustList{NewPKI(dir, "")} },
	}
}
