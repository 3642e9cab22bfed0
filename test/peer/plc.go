package peer

import (
	"sync"
	"testing"
	"time"

	"github.com/simonvetter/modbus"
)

// Still is the first holding register that keeps its value when it is read.
const Still = 1000

// PLC is a Modbus server on another library than the driver's. Each holding
// register below [Still] holds a number that goes up by one with every read of it,
// and the PLC remembers what it served, so that a test can compare what arrived
// with what was there, value by value.
type PLC struct {
	Addr string // HOST:PORT

	server *modbus.ModbusServer
	mu     sync.Mutex
	regs   [1 << 16]uint16
	served map[uint16][]uint16
}

// StartPLC starts a PLC on addr ("" for a free port); it ends with the test.
func StartPLC(t testing.TB, addr string) *PLC {
	t.Helper()
	if addr == "" {
		addr = FreeAddr(t)
	}
	p := &PLC{Addr: addr, served: map[uint16][]uint16{}}
	for i := range p.regs {
		p.regs[i] = uint16(i * 7)
	}
	server, err := modbus.NewServer(&modbus.ServerConfiguration{URL: "tcp://" + addr, Timeout: time.Minute, MaxClients: 64}, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatalf("start PLC: %v", err)
	}
	p.server = server
	t.Cleanup(func() { p.Stop() })
	return p
}

// Stop closes the listener and all connections.
func (p *PLC) Stop() { _ = p.server.Stop() } // stopping twice is no error worth a test's failure

// Served returns what each read of a holding register answered, in order.
func (p *PLC) Served(addr uint16) []uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uint16(nil), p.served[addr]...)
}

// HandleHoldingRegisters answers function codes 3, 6 and 16.
func (p *PLC) HandleHoldingRegisters(req *modbus.HoldingRegistersRequest) ([]uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]uint16, 0, req.Quantity)
	for i := range req.Quantity {
		a := req.Addr + i
		switch {
		case req.IsWrite:
			p.regs[a] = req.Args[i]
		case a < Still:
			p.regs[a]++
			p.served[a] = append(p.served[a], p.regs[a])
		}
		out = append(out, p.regs[a])
	}
	return out, nil
}

// HandleInputRegisters answers function code 4.
func (p *PLC) HandleInputRegisters(req *modbus.InputRegistersRequest) ([]uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uint16(nil), p.regs[req.Addr:req.Addr+req.Quantity]...), nil
}

// HandleCoils refuses: this PLC has none.
func (p *PLC) HandleCoils(*modbus.CoilsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

// HandleDiscreteInputs refuses: this PLC has none.
func (p *PLC) HandleDiscreteInputs(*modbus.DiscreteInputsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

// Register returns what a holding register holds.
func (p *PLC) Register(addr uint16) uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.regs[addr]
}
