// Package e2e holds the acceptance tests: the real edge-gw as a child process, a
// Modbus server that is not our client's library, a real Mosquitto, and a
// subscriber that shares no code with the product.
package e2e

import (
	"fmt"
	"os"
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
func tables(plc string, n int, polling string) map[string]string { return peer.Tables(plc, n, polling) }

func tag(i int) string { return peer.Tag(i) }

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
