package s7

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

const (
	defaultSimListen = "127.0.0.1:1102"
	defaultSimPoints = "10"
	mostSimPoints    = 16_000
	simStep          = 100 * time.Millisecond
	simSlot          = 4 // bytes of a value in the data block
)

// simulation is a PLC with moving values in DB 1.
func simulation() *driver.Simulation {
	return &driver.Simulation{
		Short: "Simulate a Siemens S7 PLC with moving values, until Ctrl-C",
		Help: `sim s7 answers as a Siemens S7 PLC would, in any rack and slot. Counters, sines and
switches move in data block 1; the table says which is where. What is written there
stays until the value moves again. With --slow and --refuse it misbehaves, so that
you see what the gateway says of such a PLC.`,
		Example: `  edge-ctl sim s7
  edge-ctl sim s7 --listen 0.0.0.0:102 --points 500
  edge-ctl sim s7 --tables ./config
  edge-ctl sim s7 --slow 1500ms --refuse 2`,
		Options: append([]driver.Option{
			{Name: "listen", Type: "string", Default: defaultSimListen, Usage: "HOST:PORT; port 0 takes a free one"},
			{Name: "points", Type: "int", Default: defaultSimPoints, Usage: "number of moving values (1–16000)"},
		}, driver.MisbehaviorOptions()...),
		Columns: []driver.Column{{Name: "ADDRESS"}, {Name: "TYPE"}, {Name: "MOVES"}, {Name: "SCALE"}, {Name: "UNIT"}},
		Start:   startSimulation,
	}
}

// simSignal is a value that moves.
type simSignal struct {
	name, letter string
	datatype     config.DataType
	scale, unit  string
	move         func(slot []byte, t time.Duration)
}

// simSignals is the pattern that repeats.
func simSignals() []simSignal {
	wave := func(t, period time.Duration) float64 {
		return math.Sin(2 * math.Pi * float64(t%period) / float64(period))
	}
	return []simSignal{
		{"counter", "W", config.TypeUint16, "", "", func(b []byte, t time.Duration) { binary.BigEndian.PutUint16(b, uint16(t/simStep)) }},
		{"sine", "W", config.TypeInt16, "value / 10", "°C", func(b []byte, t time.Duration) {
			binary.BigEndian.PutUint16(b, uint16(int16(400+800*wave(t, time.Minute))))
		}},
		{"speed", "D", config.TypeFloat32, "", "Hz", func(b []byte, t time.Duration) {
			binary.BigEndian.PutUint32(b, math.Float32bits(float32(25+25*wave(t, 20*time.Second))))
		}},
		{"total", "D", config.TypeUint32, "", "", func(b []byte, t time.Duration) { binary.BigEndian.PutUint32(b, uint32(t/simStep)) }},
		{"switch", "X", config.TypeBool, "", "", func(b []byte, t time.Duration) {
			b[0] &^= 1
			if t%(4*time.Second) < 2*time.Second {
				b[0] |= 1
			}
		}},
	}
}

func startSimulation(a driver.Args) (*driver.Simulated, error) {
	points, err := number.Int(a.Get("points", defaultSimPoints), 1, mostSimPoints)
	if err != nil {
		return nil, driver.Argsf("--points %s: expected 1 to %d", a.Get("points", defaultSimPoints), mostSimPoints)
	}
	wrong, err := driver.ReadMisbehavior(a, int(points))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", a.Get("listen", defaultSimListen))
	if err != nil {
		return nil, fmt.Errorf("simulated PLC: %w", err)
	}
	p := newSimPLC(l, int(points)*simSlot)
	p.slow, p.known = wrong.Slow, (int(points)-wrong.Refuse)*simSlot
	d, err := simulated(l.Addr().String(), int(points))
	if err != nil {
		_ = l.Close() // the first error counts
		return nil, err
	}
	d.Say = append(d.Say, wrong.Say()...)
	signals := simSignals()
	d.Run = func(ctx context.Context) error {
		return p.run(ctx, func(db []byte, t time.Duration) {
			for i := range int(points) {
				signals[i%len(signals)].move(db[i*simSlot:(i+1)*simSlot], t)
			}
		})
	}
	d.Close = func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
	return d, nil
}

// simulated describes the PLC at addr.
func simulated(addr string, points int) (*driver.Simulated, error) {
	at, err := driver.SimulatedAt(addr)
	if err != nil {
		return nil, err
	}
	const id = "sim"
	d := &driver.Simulated{
		Listen:    addr,
		Endpoints: map[string]config.Endpoint{id: at},
		Drivers:   map[string]config.Driver{id: {Kind: config.KindStatic, EndpointID: id, Proto: Proto, Cfg: map[string]any{"polling": "1s"}}},
		Say: []string{
			fmt.Sprintf("simulated PLC at s7://%s, DB1; Ctrl-C ends it", addr),
			fmt.Sprintf("try: edge-ctl probe s7://%s", addr),
		},
	}
	signals := simSignals()
	for i := range points {
		s := &signals[i%len(signals)]
		address := fmt.Sprintf("DB1.DB%s%d", s.letter, i*simSlot)
		if s.letter == "X" {
			address += ".0"
		}
		v := config.Variable{
			Tag: fmt.Sprintf("%s.%s_%05d", id, s.name, i), DriverID: id, Access: config.AccessR,
			Address: config.Address{Type: config.AddrS7DB, S7: address}, Datatype: s.datatype, Scale: s.scale, Unit: s.unit,
		}
		d.Variables = append(d.Variables, v)
		d.Cells = append(d.Cells, []string{address, string(v.Datatype), v.Tag, v.Scale, v.Unit})
	}
	return d, nil
}
