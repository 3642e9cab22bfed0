package demo

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

// plant is what the demo polls: simulated PLCs, and the tables that read them.
type plant struct {
	sims    []*plcsim.Sim
	layout  plcsim.Layout
	polling time.Duration
}

// newPlant starts n PLCs with the given number of signals each.
func newPlant(n, points int, polling time.Duration) (*plant, error) {
	p := &plant{layout: plcsim.NewLayout(points), polling: polling}
	for range n {
		sim, err := plcsim.New(plcsim.Config{Layout: p.layout})
		if err != nil {
			return nil, err
		}
		p.sims = append(p.sims, sim)
	}
	return p, nil
}

// writeTables writes the three tables that read p's PLCs into dir.
func (p *plant) writeTables(dir string) error {
	var endpoints, drivers, variables strings.Builder
	for i, sim := range p.sims {
		host, port, err := net.SplitHostPort(sim.Addr())
		if err != nil {
			return err
		}
		name := fmt.Sprintf("plc%d", i+1)
		fmt.Fprintf(&endpoints, "%s:\n  scheme: tcp\n  host: %s\n  port: %s\n  opts: {timeout: 1s}\n", name, host, port)
		fmt.Fprintf(&drivers, "%s:\n  kind: static\n  endpoint_id: %s\n  proto: modbus\n  cfg: {unit_id: 1, polling: %s}\n",
			name, name, config.Duration(p.polling))
		for _, v := range p.layout.Variables(name, name+".") {
			writeVariable(&variables, &v)
		}
	}
	for name, text := range map[string]*strings.Builder{
		"endpoints.yml": &endpoints, "drivers.yml": &drivers, "variables.yml": &variables,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeVariable writes one item of variables.yml, in a line.
func writeVariable(b *strings.Builder, v *config.Variable) {
	fmt.Fprintf(b, "- {tag: %s, driver_id: %s, access: %s, address: {type: %s, addr: %d}, datatype: %s",
		v.Tag, v.DriverID, v.Access, v.Address.Type, v.Address.Addr, v.Datatype)
	if v.Scale != "" {
		fmt.Fprintf(b, ", scale: %q", v.Scale)
	}
	if v.Unit != "" {
		fmt.Fprintf(b, ", unit: %q", v.Unit)
	}
	b.WriteString("}\n")
}

// writeGatewayYML writes the gateway's own file. What it leaves out has its
// default, as in a plant.
func writeGatewayYML(path, metrics, broker string) error {
	return os.WriteFile(path, []byte(fmt.Sprintf(`# Made by edge-gw demo.
gateway_id: %s
tenant: acme
device: line-1
data_dir: ./data
metrics: {listen: %q}
config:
  dir: ./config   # fills the embedded etcd
connectors:
  mqtt:
    kind: mqtt5
    endpoint: %q
    topic: /edge/{tenant}/{device}/data
    payload: json   # readable with mosquitto_sub; the default is json+zstd
`, gatewayID, metrics, broker)), 0o600)
}
