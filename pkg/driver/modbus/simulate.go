package modbus

import (
	"fmt"
	"math"
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
move in its registers and coils; the table says which is where. With --slow and
--refuse it misbehaves, so that you see what the gateway says of such a device.`,
		Example: `  edge-ctl sim modbus
  edge-ctl sim modbus --listen 0.0.0.0:502 --units 1-3 --points 500
  edge-ctl sim modbus --tables ./config
  edge-ctl sim modbus --slow 1500ms --refuse 2`,
		Options: append([]driver.Option{
			{Name: "listen", Type: "string", Default: defaultSimListen, Usage: "HOST:PORT; port 0 takes a free one"},
			{Name: "units", Type: "string", Default: defaultSimUnits, Usage: "unit ids that answer: a list such as 1,2,10-20"},
			{Name: "points", Type: "int", Default: defaultSimPoints, Usage: "number of moving values in each unit (1–50000)"},
		}, driver.MisbehaviorOptions()...),
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
	wrong, err := driver.ReadMisbehavior(a, int(points))
	if err != nil {
		return nil, err
	}
	layout := plcsim.NewLayout(int(points))
	s, err := plcsim.New(plcsim.Config{Listen: a.Get("listen", defaultSimListen), Units: units, Layout: layout})
	if err != nil {
		return nil, err
	}
	misbehave(s, units, layout, wrong)
	d, err := simulated(s.Addr(), units, layout)
	if err != nil {
		_ = s.Close() // the first error counts
		return nil, err
	}
	d.Say = append(d.Say, wrong.Say()...)
	d.Run, d.Close = s.Run, s.Close
	return d, nil
}

// misbehave makes every unit do what is wrong. In each table the refused values are the
// last ones, and so is everything behind them.
func misbehave(s *plcsim.Sim, units []uint8, layout plcsim.Layout, wrong driver.Misbehavior) {
	refused := layout[len(layout)-wrong.Refuse:]
	for _, u := range units {
		s.Delay(u, wrong.Slow)
		for _, table := range []plcsim.Table{plcsim.Holding, plcsim.Input, plcsim.Coil, plcsim.Discrete} {
			if i := slices.IndexFunc(refused, func(s plcsim.Signal) bool { return s.Table == table }); i >= 0 {
				s.Refuse(u, table, refused[i].Addr, math.MaxUint16, uint8(IllegalDataAddress))
			}
		}
	}
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
			Cfg: map[string]any{"unit_id": int64(u), "polling": "1s", "addressing": string(AddressingProtocol)},
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
