package plcsim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/simonvetter/modbus"
)

// Table is one of the four tables of a unit.
type Table int

// The tables.
const (
	Holding Table = iota
	Input
	Coil
	Discrete
)

// unit is the memory of one unit and the faults set on it. Bits are kept as 0
// and 1.
type unit struct {
	requests atomic.Uint64

	mu     sync.RWMutex
	tables [4][]uint16
	faults faults
}

// faults is what is wrong with a unit.
type faults struct {
	delay     time.Duration
	silent    chan struct{} // closed when the silence ends; nil: not silent
	refused   []refusal
	dropNext  int
	dropEvery int
}

type refusal struct {
	table       Table
	first, last uint16
	exception   error
}

func newUnit(size int) *unit {
	u := new(unit)
	for i := range u.tables {
		u.tables[i] = make([]uint16, size)
	}
	return u
}

func (s *Sim) unit(id uint8) *unit {
	u := s.units[id]
	if u == nil {
		panic(fmt.Sprintf("plcsim: there is no unit %d", id))
	}
	return u
}

// Set puts values into a table of unit, from addr on. Bits are 0 and 1. The unit
// and the addresses must exist.
func (s *Sim) Set(unit uint8, t Table, addr uint16, values ...uint16) {
	u := s.unit(unit)
	u.mu.Lock()
	defer u.mu.Unlock()
	copy(u.tables[t][addr:int(addr)+len(values)], values)
}

// Get returns n values of a table of unit, from addr on.
func (s *Sim) Get(unit uint8, t Table, addr uint16, n int) []uint16 {
	u := s.unit(unit)
	u.mu.RLock()
	defer u.mu.RUnlock()
	return append([]uint16(nil), u.tables[t][addr:int(addr)+n]...)
}

// Requests returns how many requests unit has received.
func (s *Sim) Requests(unit uint8) uint64 { return s.unit(unit).requests.Load() }

// Delay makes unit answer d later; 0 ends it.
func (s *Sim) Delay(unit uint8, d time.Duration) {
	s.fault(unit, func(f *faults) { f.delay = d })
}

// Silence makes unit stop answering. When it ends, connections that wait for an
// answer are closed, so that none comes late.
func (s *Sim) Silence(unit uint8, on bool) {
	s.fault(unit, func(f *faults) {
		if on == (f.silent != nil) {
			return
		}
		if on {
			f.silent = make(chan struct{})
			return
		}
		close(f.silent)
		f.silent = nil
	})
}

// Refuse makes unit answer requests that touch first to last of table with an
// exception code of the standard (1 to 6, 8, 10, 11).
func (s *Sim) Refuse(unit uint8, t Table, first, last uint16, code uint8) {
	s.fault(unit, func(f *faults) {
		f.refused = append(f.refused, refusal{t, first, last, exception(code)})
	})
}

// Allow ends every refusal of unit.
func (s *Sim) Allow(unit uint8) { s.fault(unit, func(f *faults) { f.refused = nil }) }

// exception returns what makes the library answer with code.
func exception(code uint8) error {
	switch code {
	case 1:
		return modbus.ErrIllegalFunction
	case 2:
		return modbus.ErrIllegalDataAddress
	case 3:
		return modbus.ErrIllegalDataValue
	case 5:
		return modbus.ErrAcknowledge
	case 6:
		return modbus.ErrServerDeviceBusy
	case 8:
		return modbus.ErrMemoryParityError
	case 10:
		return modbus.ErrGWPathUnavailable
	case 11:
		return modbus.ErrGWTargetFailedToRespond
	}
	return modbus.ErrServerDeviceFailure
}

// DropNext makes the next n requests to unit end their connection instead of
// being answered.
func (s *Sim) DropNext(unit uint8, n int) {
	s.fault(unit, func(f *faults) { f.dropNext = n })
}

// DropEvery makes every n-th request to unit end its connection; 0 ends it.
func (s *Sim) DropEvery(unit uint8, n int) {
	s.fault(unit, func(f *faults) { f.dropEvery = n })
}

func (s *Sim) fault(id uint8, set func(*faults)) {
	u := s.unit(id)
	u.mu.Lock()
	defer u.mu.Unlock()
	set(&u.faults)
}

// HandleHoldingRegisters implements modbus.RequestHandler.
func (s *Sim) HandleHoldingRegisters(r *modbus.HoldingRegistersRequest) ([]uint16, error) {
	return s.access(r.UnitId, Holding, r.Addr, r.Quantity, r.Args)
}

// HandleInputRegisters implements modbus.RequestHandler.
func (s *Sim) HandleInputRegisters(r *modbus.InputRegistersRequest) ([]uint16, error) {
	return s.access(r.UnitId, Input, r.Addr, r.Quantity, nil)
}

// HandleCoils implements modbus.RequestHandler.
func (s *Sim) HandleCoils(r *modbus.CoilsRequest) ([]bool, error) {
	var args []uint16
	for _, on := range r.Args {
		args = append(args, bit(on))
	}
	return bools(s.access(r.UnitId, Coil, r.Addr, r.Quantity, args))
}

// HandleDiscreteInputs implements modbus.RequestHandler.
func (s *Sim) HandleDiscreteInputs(r *modbus.DiscreteInputsRequest) ([]bool, error) {
	return bools(s.access(r.UnitId, Discrete, r.Addr, r.Quantity, nil))
}

// access reads, or writes args if there are any, after what the faults do.
func (s *Sim) access(id uint8, t Table, addr, n uint16, args []uint16) ([]uint16, error) {
	u := s.units[id]
	if u == nil {
		return nil, modbus.ErrGWTargetFailedToRespond
	}
	count := u.requests.Add(1)
	if err := s.suffer(u, count, t, addr, n); err != nil {
		return nil, err
	}
	first, end := int(addr), int(addr)+int(n)
	if args != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		if end > len(u.tables[t]) {
			return nil, modbus.ErrIllegalDataAddress
		}
		copy(u.tables[t][first:end], args)
		return nil, nil
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	if end > len(u.tables[t]) {
		return nil, modbus.ErrIllegalDataAddress
	}
	return append([]uint16(nil), u.tables[t][first:end]...), nil
}

// suffer does what the unit's faults do to a request. ErrProtocolError makes the
// library close the connection.
func (s *Sim) suffer(u *unit, count uint64, t Table, addr, n uint16) error {
	u.mu.Lock()
	f := &u.faults
	drop := f.dropEvery > 0 && count%uint64(f.dropEvery) == 0
	if f.dropNext > 0 {
		f.dropNext--
		drop = true
	}
	delay, silent := f.delay, f.silent
	var exception error
	for _, r := range f.refused {
		if r.table == t && int(addr) <= int(r.last) && int(addr)+int(n) > int(r.first) {
			exception = r.exception
		}
	}
	u.mu.Unlock()
	if drop {
		return modbus.ErrProtocolError
	}
	if silent != nil {
		select {
		case <-silent:
		case <-s.done:
		}
		return modbus.ErrProtocolError
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
			return modbus.ErrProtocolError
		}
	}
	return exception
}

func bit(on bool) uint16 {
	if on {
		return 1
	}
	return 0
}

func bools(values []uint16, err error) ([]bool, error) {
	if err != nil {
		return nil, err
	}
	on := make([]bool, len(values))
	for i, v := range values {
		on[i] = v != 0
	}
	return on, nil
}
