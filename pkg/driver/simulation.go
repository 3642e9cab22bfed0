package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// Simulation is a device in software, for people who have none.
type Simulation struct {
	Short, Help, Example string // of the command
	Options              []Option
	Columns              []Column
	// Start makes the device, which listens from then on.
	Start func(Args) (*Simulated, error)
}

// SimulatedAt is the endpoint of a simulated device that listens at addr (HOST:PORT): at
// every address of the machine means on loopback here.
func SimulatedAt(addr string) (config.Endpoint, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return config.Endpoint{}, err
	}
	host := at.Addr().Unmap()
	if host.IsUnspecified() {
		host = netip.MustParseAddr("127.0.0.1")
	}
	return config.Endpoint{Scheme: "tcp", Host: host.String(), Port: at.Port(), Opts: map[string]string{"timeout": "1s"}}, nil
}

// Simulated is a device that listens.
type Simulated struct {
	Listen    string          // HOST:PORT
	Document  json.RawMessage // for programs: an object with what else there is to say
	Endpoints map[string]config.Endpoint
	Drivers   map[string]config.Driver
	Variables []config.Variable // with the other two tables a gateway reads the device
	Cells     [][]string        // for people, a row for each variable
	Say       []string          // lines for people
	// Run serves until ctx ends. Close ends what was never run.
	Run   func(ctx context.Context) error
	Close func() error
}

// maxSlow bounds how late a simulated device answers.
const maxSlow = time.Hour

// Misbehavior is what a simulated device does wrong, so that people see what the gateway
// says of such a device.
type Misbehavior struct {
	Slow   time.Duration // every answer comes so much later
	Refuse int           // so many values, the last ones, have addresses that the device refuses
}

// Say tells people of it.
func (m Misbehavior) Say() []string {
	var lines []string
	if m.Slow > 0 {
		lines = append(lines, fmt.Sprintf("every answer comes %v late", m.Slow))
	}
	if m.Refuse > 0 {
		lines = append(lines, fmt.Sprintf("the addresses of %s, the last ones, are refused", words.Count(m.Refuse, "value")))
	}
	return lines
}

// MisbehaviorOptions are the options of a simulation that [ReadMisbehavior] reads.
func MisbehaviorOptions() []Option {
	return []Option{
		{Name: "slow", Type: "duration", Usage: "answer so much later, such as 1500ms, to see how a slow device is told"},
		{Name: "refuse", Type: "int", Usage: "refuse to read or write so many of the values, the last ones"},
	}
}

// ReadMisbehavior reads the options of a device with so many values.
func ReadMisbehavior(a Args, points int) (Misbehavior, error) {
	var m Misbehavior
	if text := a.Get("slow", ""); text != "" {
		slow, err := number.Duration(text)
		if err != nil || slow < 0 || slow > maxSlow {
			return m, Argsf("--slow %s: expected a duration such as 1500ms, up to 1h", text)
		}
		m.Slow = slow
	}
	if text := a.Get("refuse", ""); text != "" {
		n, err := number.Int(text, 0, int64(points))
		if err != nil {
			return m, Argsf("--refuse %s: expected 0 to %d, the number of values", text, points)
		}
		m.Refuse = int(n)
	}
	return m, nil
}
