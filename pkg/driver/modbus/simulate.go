package modbus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
)

const (
	defaultSimListen = "127.0.0.1:5020"
	defaultSimUnits  = "1"
	defaultSimPoints = "10"
	maxSimPoints     = 50_000
)

// simulation is a Modbus TCP device with moving values.
func simulation() *driver.Simulation {
	return &driver.Simulation{
		Short: "Simulate a Modbus TCP device with moving values, until Ctrl-C",
		Help: `sim modbus answers as a Modbus TCP device would. Counters, sines and random walks
move in its registers and coils; the table says which is where.`,
		Example: `  edge-ctl sim modbus
  edge-ctl sim modbus --listen 0.0.0.0:502 --units 1-3 --points 500
  edge-ctl sim modbus --tables ./config`,
		Options: []driver.Option{
			{Name: "listen", Type: "string", Default: defaultSimListen, Usage: "HOST:PORT; port 0 takes a free one"},
			{Name: "units", Type: "string", Default: defaultSimUnits, Usage: "unit ids that answer: a list such as 1,2,10-20"},
			{Name: "points", Type: "int", Default: defaultSimPoints, Usage: "number of moving values in each unit (1–50000)"},
		},
		Columns: []driver.Column{{Name: "TABLE"}, {Name: "ADDR", Right: true}, {Name: "TYPE"}, {Name: "MOVES"}, {Name: "SCALE"}, {Name: "UNIT"}},
		Start:   startSimulation,
	}
}

func startSimulation(a driver.Args) (*driver.Simulated, error) {
	units, err := parseUnits(a.Get("units", defaultSimUnits))
	if err != nil {
		return nil, err
	}
	points, err := number.Int(a.Get("points", defaultSimPoints), 1, maxSimPoints)
	if err != nil {
		return nil, driver.Argsf("--points %s: expected 1 to %d", a.Get("points", defaultSimPoints), maxSimPoints)
	}
	layout := plcsim.NewLayout(int(points))
	s, err := plcsim.New(plcsim.Config{Listen: a.Get("listen", defaultSimListen), Units: units, Layout: layout})
	if err != nil {
		return nil, err
	}
	d, err := simulated(s.Addr(), units, layout)
	if err != nil {
		_ = s.Close() // the first error counts
		return nil, err
	}
	d.Run, d.Close = s.Run, s.Close
	return d, nil
}

// simulated describes a device at addr: one driver for each unit, named sim, or sim and
// the unit's number if there are several.
func simulated(addr string, units []uint8, layout plcsim.Layout) (*driver.Simulated, error) {
	at, err := driver.SimulatedAt(addr)
	if err != nil {
		return nil, err
	}
	const endpoint = "sim"
	d := &driver.Simulated{
		Listen:    addr,
		Endpoints: map[string]config.Endpoint{endpoint: at},
		Drivers:   map[string]config.Driver{},
	}
	ids := make([]int, len(units))
	for i, u := range units {
		id := "sim"
		if len(units) > 1 {
			id = fmt.Sprintf("sim%d", u)
		}
		ids[i] = int(u)
		d.Drivers[id] = config.Driver{
			Kind: config.KindStatic, EndpointID: endpoint, Proto: Proto,
			Cfg: map[string]any{"unit_id": int64(u), "polling": "1s"},
		}
		d.Variables = append(d.Variables, layout.Variables(id, id+".")...)
	}
	for _, v := range d.Variables {
		d.Cells = append(d.Cells, []string{string(v.Address.Type), fmt.Sprint(v.Address.Addr), string(v.Datatype), v.Tag, v.Scale, v.Unit})
	}
	d.Say = []string{
		fmt.Sprintf("simulated device at tcp://%s, unit %s; Ctrl-C ends it", addr, unitList(units)),
		fmt.Sprintf("try: edge-ctl probe tcp://%s --unit %d --read 40001:4", addr, units[0]),
	}
	d.Document, err = driver.Document(struct {
		Units []int `json:"units"`
	}{ids})
	return d, err
}

// unitList formats unit ids for people.
func unitList(units []uint8) string {
	texts := make([]string, len(units))
	for i, u := range slices.Sorted(slices.Values(units)) {
		texts[i] = strconv.Itoa(int(u))
	}
	return strings.Join(texts, ", ")
}
