package drivertest_test

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
)

// device is the other side of the line driver.
type device struct {
	mu     sync.Mutex // guards what follows
	values []uint16
	conns  map[net.Conn]struct{}
	count  int
	hang   bool
	ln     net.Listener // nil while it is away

	wg sync.WaitGroup
}

func newLineDevice(t *testing.T, n int, polling time.Duration) *drivertest.Device {
	d := &device{values: make([]uint16, n), conns: map[net.Conn]struct{}{}}
	addr := d.listen(t, "127.0.0.1:0")
	p := &pool{addr: addr, turn: make(chan net.Conn, 1)}
	p.turn <- nil
	t.Cleanup(func() {
		if c := <-p.turn; c != nil {
			_ = c.Close() // the device may have closed it
		}
		d.stop()
		d.wg.Wait()
	})
	dev := &drivertest.Device{
		Factory:  lineFactory{},
		Endpoint: p,
		Item:     config.Driver{Kind: config.KindStatic, Proto: "line", EndpointID: "e", Cfg: map[string]any{"polling": polling.String()}},
		Set:      func(i int, v uint16) { d.mu.Lock(); defer d.mu.Unlock(); d.values[i] = v },
		Get:      func(i int) uint16 { d.mu.Lock(); defer d.mu.Unlock(); return d.values[i] },
		Conns:    func() int { d.mu.Lock(); defer d.mu.Unlock(); return d.count },
		Stop:     d.stop,
		Start:    func() { d.listen(t, addr) },
		Hang:     func(on bool) { d.mu.Lock(); defer d.mu.Unlock(); d.hang = on },
	}
	for i := range n {
		dev.Variables = append(dev.Variables, config.Variable{
			Tag: fmt.Sprintf("line.p%03d", i), Access: config.AccessRW, Datatype: config.TypeUint16,
			Address: config.Address{Type: config.AddrHolding, Addr: uint32(i)},
		})
	}
	return dev
}

// listen begins to accept connections and returns the address.
func (d *device) listen(t *testing.T, addr string) string {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the device cannot listen: %v", err)
	}
	d.mu.Lock()
	d.ln = ln
	d.mu.Unlock()
	d.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed by stop
			}
			d.mu.Lock()
			away := d.ln != ln
			if !away {
				d.conns[c] = struct{}{}
				d.count++
			}
			d.mu.Unlock()
			if away {
				_ = c.Close() // came in while stop ran
				continue
			}
			d.wg.Go(func() { d.serve(c) })
		}
	})
	return ln.Addr().String()
}

// stop breaks every connection and refuses new ones.
func (d *device) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ln != nil {
		_ = d.ln.Close() // nothing to be done about it
		d.ln = nil
	}
	for c := range d.conns {
		_ = c.Close() // the driver may have closed it
	}
	clear(d.conns)
}

func (d *device) serve(c net.Conn) {
	for in := bufio.NewScanner(c); in.Scan(); {
		var op string
		var i int
		var v uint16
		if n, _ := fmt.Sscan(in.Text(), &op, &i, &v); n < 2 {
			return
		}
		d.mu.Lock()
		if op == "w" {
			d.values[i] = v
		}
		v, hang := d.values[i], d.hang
		d.mu.Unlock()
		if hang {
			continue
		}
		if _, err := fmt.Fprintln(c, v); err != nil {
			return
		}
	}
}
