package s7

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// direct dials for a session.
type direct struct{ addr string }

func (d direct) Acquire(ctx context.Context) (endpoint.Lease, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.addr)
	return leased{c}, err
}

type leased struct{ net.Conn }

func (l leased) Release(error) { _ = l.Close() } // the simulated PLC may have

// The simulated PLC is read and written with the driver's own session: every variable that
// it says it has is there, and moves; what it has not is refused.
func TestSimulation(t *testing.T) {
	sim, err := startSimulation(driver.Args{Options: map[string]string{"listen": "127.0.0.1:0", "points": "130"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	s, err := ParseSettings(sim.Drivers["sim"].Cfg, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := connect(ctx, direct{sim.Listen}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]frame.Value{}
	moved := map[string]bool{}
	for deadline := time.Now().Add(20 * time.Second); len(moved) < len(sim.Variables) && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // nothing tells of it
		for i := range sim.Variables {
			v := &sim.Variables[i]
			p, _, err := Resolve(v)
			if err != nil {
				t.Fatal(err)
			}
			data, err := c.read(p.Place)
			if err != nil {
				t.Fatalf("%s: %v", v.Tag, err)
			}
			got, q := p.decode(data)
			if q != frame.Good {
				t.Fatalf("%s is %v", v.Tag, q)
			}
			if was, seen := first[v.Tag]; seen && was != got {
				moved[v.Tag] = true
			} else if !seen {
				first[v.Tag] = got
			}
		}
	}
	if len(moved) != 130 {
		t.Errorf("%d of 130 values move", len(moved))
	}
	for _, p := range []Place{{AreaDB, 2, 0, 2, -1}, {AreaDB, 1, 519, 2, -1}, {AreaFlag, 0, 0, 1, -1}, {AreaTimer, 0, 0, 2, -1}} {
		if data, err := c.read(p); !intact(err) || err == nil {
			t.Errorf("%s: % X, %v", p, data, err)
		}
	}
	params, body := writeBody(Place{AreaDB, 1, 17, 1, 3}, []byte{1}) // beside a switch
	m, err := c.ask(pduJob, params, body)
	if err == nil {
		err = checkWrite(m)
	}
	if data, rerr := c.read(Place{AreaDB, 1, 17, 1, -1}); err != nil || rerr != nil || data[0] != 8 {
		t.Errorf("% X, %v, %v after a write", data, err, rerr)
	}
	if _, err := c.facts(); err != nil {
		t.Errorf("facts: %v", err)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Run did not end")
	}
	c.close(nil)
	for _, a := range []map[string]string{{"points": "0"}, {"points": "16001"}, {"listen": "nowhere"}} {
		if _, err := startSimulation(driver.Args{Options: a}); err == nil {
			t.Errorf("%v", a)
		}
	}
}

// What is no request costs the connection, and nothing else.
func TestSimulationRude(t *testing.T) {
	sim, err := startSimulation(driver.Args{Options: map[string]string{"listen": "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	hello := string(connectRequest(0x0100, 0x0201))
	for name, text := range map[string]string{
		"text": "GET / HTTP/1.1\r\n\r\n", "twice": hello + hello, "too early": string(appendMessage(nil, pduJob, 1, setupParams(480, 1), nil)),
		"an answer": hello + string(appendMessage(nil, pduAck, 1, []byte{1}, nil)), "empty": hello + string(appendMessage(nil, pduJob, 1, nil, nil)),
		"half an item": hello + string(appendMessage(nil, pduJob, 1, []byte{fnRead, 1, 0x12}, nil)), "too long": hello + string(appendMessage(nil, pduJob, 1, []byte{fnWrite, 1}, make([]byte, 600))),
	} {
		c, err := net.Dial("tcp", sim.Listen)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a read fails then
		if _, err := io.WriteString(c, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Errorf("%s: the connection stays", name)
		}
		_ = c.Close() // it has ended
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A simulated PLC that is asked to misbehave refuses its last values and answers late.
func TestSimulationMisbehaves(t *testing.T) {
	const slow = 50 * time.Millisecond
	sim, err := startSimulation(driver.Args{Options: map[string]string{"listen": "127.0.0.1:0", "points": "10", "slow": slow.String(), "refuse": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	s, err := ParseSettings(sim.Drivers["sim"].Cfg, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	s.Timeout = 20 * time.Second
	c, err := connect(ctx, direct{sim.Listen}, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sim.Variables {
		p, _, err := Resolve(&sim.Variables[i])
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = c.read(p.Place)
		if took := time.Since(began); took < slow {
			t.Errorf("%s was answered after %v", sim.Variables[i].Tag, took)
		}
		if last := i >= len(sim.Variables)-2; !intact(err) || last == (err == nil) {
			t.Errorf("%s: %v", sim.Variables[i].Tag, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	c.close(nil)
	for _, a := range []map[string]string{{"slow": "5"}, {"refuse": "11"}} {
		if _, err := startSimulation(driver.Args{Options: a}); err == nil {
			t.Errorf("%v", a)
		}
	}
}
