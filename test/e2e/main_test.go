// Package e2e holds the acceptance tests: the real edge-gw as a child process, a
// Modbus server that is not our client's library, a real Mosquitto, and a
// subscriber that shares no code with the product.
package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

const topic = "/edge/acme/line-1/data"

// tables returns a configuration with one PLC and n variables on consecutive
// holding registers: tag line.rNNNN, scale value / 10, unit bar.
func tables(plc string, n int, polling string) map[string]string {
	host, port, _ := strings.Cut(plc, ":")
	var vars strings.Builder
	for i := range n {
		fmt.Fprintf(&vars, `- tag: %s
  driver_id: line
  access: R
  address: {type: holding, addr: %d}
  datatype: uint16
  scale: value / 10
  unit: bar
`, tag(i), 40001+i)
	}
	return map[string]string{
		"endpoints.yml": fmt.Sprintf("plc:\n  scheme: tcp\n  host: %s\n  port: %s\n  opts: {timeout: 1s}\n", host, port),
		"drivers.yml":   fmt.Sprintf("line:\n  kind: static\n  endpoint_id: plc\n  proto: modbus\n  cfg: {unit_id: 1, polling: %s}\n", polling),
		"variables.yml": vars.String(),
	}
}

func tag(i int) string { return fmt.Sprintf("line.r%04d", i) }

// connector returns the connectors section of gateway.yml.
func connector(url string, more string) string {
	return fmt.Sprintf(`connectors:
  mqtt:
    kind: mqtt5
    endpoint: %s
    topic: /edge/{tenant}/{device}/data
    max_interval: 100ms
    backoff: {base: 100ms, max: 1s}
%s`, url, more)
}
