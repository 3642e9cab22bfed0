package modbus

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// A simulated device that is asked to misbehave refuses its last values and answers late.
func TestSimulationMisbehaves(t *testing.T) {
	const slow = 50 * time.Millisecond
	sim, err := startSimulation(driver.Args{Options: map[string]string{"listen": "127.0.0.1:0", "points": "20", "slow": slow.String(), "refuse": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(ctx) }()
	c, err := net.Dial("tcp", sim.Listen)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a read fails then
	refused := 0
	for i := range sim.Variables {
		a := sim.Variables[i].Address
		function := byte(3)
		if a.Type == "coil" {
			function = 1
		}
		began := time.Now()
		if _, err := c.Write(append([]byte{0, byte(i), 0, 0, 0, 6, 1, function}, byte(a.Addr>>8), byte(a.Addr), 0, 1)); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 6)
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint16(head[4:]))
		if _, err := io.ReadFull(c, body); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < slow {
			t.Errorf("%s was answered after %v", sim.Variables[i].Tag, took)
		}
		switch last := i >= len(sim.Variables)-2; {
		case body[1] == function && !last:
		case body[1] == function|0x80 && body[2] == byte(IllegalDataAddress) && last:
			refused++
		default:
			t.Errorf("%s: % X", sim.Variables[i].Tag, body)
		}
	}
	if refused != 2 {
		t.Errorf("%d were refused", refused)
	}
	_ = c.Close() // what counts was read
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, a := range []map[string]string{{"slow": "5"}, {"slow": "-1s"}, {"slow": "2h"}, {"refuse": "11"}, {"refuse": "-1"}} {
		if _, err := startSimulation(driver.Args{Options: a}); err == nil {
			t.Errorf("%v", a)
		}
	}
}
