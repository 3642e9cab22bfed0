package plcsim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Motion is how a signal moves.
type Motion string

// The motions.
const (
	Counter Motion = "counter" // one up every step, wrapping at the data type's end
	Sine    Motion = "sine"    // between Min and Max, once per Period
	Walk    Motion = "walk"    // a random step, between Min and Max
	Toggle  Motion = "toggle"  // on and off, once per Period
)

// Signal is a moving value at an address.
type Signal struct {
	Motion   Motion
	Table    Table
	Addr     uint16          // zero-based
	Type     config.DataType // uint16, int16, uint32, float32; bool in coils and discrete inputs
	Min, Max float64         // raw values
	Period   time.Duration
	Shift    time.Duration // of the phase, so that neighbours differ

	// Of the variable that reads it.
	Scale string
	Unit  string
}

// Layout is the list of a unit's signals.
type Layout []Signal

// kinds is the pattern that NewLayout repeats.
func kinds() []Signal {
	return []Signal{
		{Motion: Counter, Table: Holding, Type: config.TypeUint16},
		{Motion: Sine, Table: Holding, Type: config.TypeInt16, Min: -400, Max: 1200, Period: 60 * time.Second, Scale: "value / 10", Unit: "°C"},
		{Motion: Walk, Table: Holding, Type: config.TypeUint16, Min: 0, Max: 1000, Scale: "value / 100", Unit: "bar"},
		{Motion: Counter, Table: Holding, Type: config.TypeUint32},
		{Motion: Walk, Table: Holding, Type: config.TypeUint16, Min: 0, Max: 5000, Scale: "value / 10", Unit: "m3_h"},
		{Motion: Sine, Table: Holding, Type: config.TypeFloat32, Min: 0, Max: 50, Period: 20 * time.Second, Unit: "Hz"},
		{Motion: Walk, Table: Holding, Type: config.TypeUint16, Min: 0, Max: 1000},
		{Motion: Counter, Table: Holding, Type: config.TypeUint16},
		{Motion: Sine, Table: Holding, Type: config.TypeUint16, Min: 0, Max: 65535, Period: 30 * time.Second},
		{Motion: Toggle, Table: Coil, Type: config.TypeBool, Period: 4 * time.Second},
	}
}

// NewLayout lays out n signals of all kinds without gaps, from address 0 on: of
// ten, nine in holding registers (eleven of them) and one in coils. A unit has
// room for some 59,500; [New] refuses more.
func NewLayout(n int) Layout {
	l := make(Layout, n)
	var next [4]uint16
	pattern := kinds()
	for i := range l {
		s := pattern[i%len(pattern)]
		s.Addr = next[s.Table]
		s.Shift = time.Duration(i%97) * s.Period / 97
		next[s.Table] += s.width()
		l[i] = s
	}
	return l
}

// Variables returns the variables that read l's signals through driver driverID.
// Their tags are prefix, the motion and a number: "plc1.sine_00007".
func (l Layout) Variables(driverID, prefix string) []config.Variable {
	types := map[Table]config.AddressType{
		Holding: config.AddrHolding, Input: config.AddrInput, Coil: config.AddrCoil, Discrete: config.AddrDiscrete,
	}
	vars := make([]config.Variable, len(l))
	for i := range l {
		s := &l[i]
		vars[i] = config.Variable{
			Tag:      fmt.Sprintf("%s%s_%05d", prefix, s.Motion, i),
			DriverID: driverID,
			Access:   config.AccessR,
			Address:  config.Address{Type: types[s.Table], Addr: uint32(s.Addr)},
			Datatype: s.Type,
			Scale:    s.Scale,
			Unit:     s.Unit,
		}
	}
	return vars
}

// size returns how many items a table needs to hold l.
func (l Layout) size() int {
	n := 0
	for i := range l {
		n = max(n, int(l[i].Addr)+int(l[i].width()))
	}
	return n
}

// check refuses signals that lie over each other or beyond the last address, as
// those of a layout that is too long do.
func (l Layout) check() error {
	var used [4][1 << 16]bool
	for i := range l {
		s := &l[i]
		if s.Table < Holding || s.Table > Discrete || int(s.Addr)+int(s.width()) > 1<<16 {
			return fmt.Errorf("signal %d, %d registers or bits from %d on: beyond the end of its table", i, s.width(), s.Addr)
		}
		for k := range s.width() {
			a := s.Addr + k
			if used[s.Table][a] {
				return fmt.Errorf("signal %d of %d lies over another at address %d; there are too many for one unit", i, len(l), a)
			}
			used[s.Table][a] = true
		}
	}
	return nil
}

// width returns how many registers or bits s takes.
func (s *Signal) width() uint16 {
	switch s.Type {
	case config.TypeUint32, config.TypeInt32, config.TypeFloat32:
		return 2
	}
	return 1
}

// move gives s its value at t after the start. The unit is locked.
func (s *Signal) move(u *unit, t time.Duration, rnd *rand.Rand) {
	cells := u.tables[s.Table][s.Addr : s.Addr+s.width()]
	switch s.Motion {
	case Counter:
		for i := len(cells) - 1; i >= 0; i-- {
			if cells[i]++; cells[i] != 0 {
				break
			}
		}
	case Toggle:
		cells[0] = bit((t+s.Shift)%s.Period < s.Period/2)
	case Sine:
		turn := 2 * math.Pi * float64((t+s.Shift)%s.Period) / float64(s.Period)
		s.put(cells, s.Min+(s.Max-s.Min)*(1+math.Sin(turn))/2)
	case Walk:
		v := s.value(cells) + (s.Max-s.Min)*(rnd.Float64()-0.5)/50
		s.put(cells, min(max(v, s.Min), s.Max))
	}
}

// put stores v in the standard's byte order.
func (s *Signal) put(cells []uint16, v float64) {
	switch s.Type {
	case config.TypeFloat32:
		put32(cells, math.Float32bits(float32(v)))
	case config.TypeUint32:
		put32(cells, uint32(v))
	case config.TypeInt32:
		put32(cells, uint32(int32(v)))
	case config.TypeInt16:
		cells[0] = uint16(int16(math.Round(v)))
	default:
		cells[0] = uint16(math.Round(v))
	}
}

// value is the inverse of put.
func (s *Signal) value(cells []uint16) float64 {
	switch s.Type {
	case config.TypeFloat32:
		return float64(math.Float32frombits(get32(cells)))
	case config.TypeUint32:
		return float64(get32(cells))
	case config.TypeInt32:
		return float64(int32(get32(cells)))
	case config.TypeInt16:
		return float64(int16(cells[0]))
	}
	return float64(cells[0])
}

func put32(cells []uint16, v uint32) { cells[0], cells[1] = uint16(v>>16), uint16(v) }

func get32(cells []uint16) uint32 { return uint32(cells[0])<<16 | uint32(cells[1]) }
