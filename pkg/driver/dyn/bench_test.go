//go:build linux

package dyn_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn/dyntest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/sdk"
)

// serveRegisters is the device of the benchmark: it answers reads of registers.
func serveRegisters(c net.Conn, _ string) {
	in := bufio.NewReader(c)
	request := make([]byte, 12)
	for {
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		n := 2 * int(binary.BigEndian.Uint16(request[10:]))
		answer := make([]byte, 9+n)
		copy(answer, request[:8])
		binary.BigEndian.PutUint16(answer[4:], uint16(3+n))
		answer[8] = byte(n)
		_, _ = c.Write(answer) // the driver will notice
	}
}

// registers is a driver that reads holding registers of consecutive addresses.
type registers struct {
	conn net.Conn
	in   *bufio.Reader
}

func registersDriver() sdk.Driver {
	return sdk.Driver{Name: "registers", Version: "1", Open: func(ctx context.Context, c sdk.Config) (sdk.Device, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(c.Endpoint.Host, strconv.Itoa(int(c.Endpoint.Port))))
		if err != nil {
			return nil, err
		}
		return &registers{conn, bufio.NewReader(conn)}, nil
	}}
}

func (r *registers) Close() error { return r.conn.Close() }

func (r *registers) Poll(ctx context.Context, g *sdk.Group) error {
	if at, ok := ctx.Deadline(); ok {
		if err := r.conn.SetDeadline(at); err != nil {
			return err
		}
	}
	answer := make([]byte, 9+240)
	for from := 0; from < len(g.Points); from += 120 {
		n := min(120, len(g.Points)-from)
		request := []byte{0, 1, 0, 0, 0, 6, 1, 3, byte(from >> 8), byte(from), 0, byte(n)}
		if _, err := r.conn.Write(request); err != nil {
			return err
		}
		if _, err := io.ReadFull(r.in, answer[:9+2*n]); err != nil {
			return err
		}
		if int(answer[8]) != 2*n {
			return errors.New("an answer of another length")
		}
		for i := range n {
			g.Set(from+i, sdk.Uint(uint64(binary.BigEndian.Uint16(answer[9+2*i:]))))
		}
	}
	return nil
}

// counting counts the frames that are published.
type counting struct{ n atomic.Int64 }

func (c *counting) Publish(_ context.Context, b *frame.Batch) error {
	c.n.Add(int64(len(b.Frames)))
	return nil
}

// processCPU is the CPU time of the processes of a driver.
func processCPU(b *testing.B, id string) (d time.Duration) {
	b.Helper()
	for _, pid := range pids(id) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(rest)
		for _, ticks := range f[11:13] {
			n, _ := strconv.Atoi(ticks)
			d += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return d
}

// BenchmarkBesideModbus is what a point costs in a process of its own, beside the built-in
// driver: 1,000 registers ten times a second, from the same device, both processes counted.
func BenchmarkBesideModbus(b *testing.B) {
	dir := dyntest.Dir(b)
	dyntest.InstallSelf(b, dir, "registers")
	addr := drivertest.StartPeer(b, "")
	host, port, _ := strings.Cut(addr, ":")
	n, _ := strconv.Atoi(port)
	vars := make([]config.Variable, 1000)
	for i := range vars {
		vars[i] = config.Variable{Tag: fmt.Sprintf("line1.machine7.sensor_%05d", i), DriverID: modbustest.DriverID, Access: config.AccessR,
			Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrHolding, Addr: uint32(i)}}
	}
	static, err := modbus.NewFactory(prometheus.NewRegistry(), modbus.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    driver.Factory
		item config.Driver
	}{
		"static": {static, config.Driver{Kind: config.KindStatic, Proto: modbus.Proto, Cfg: map[string]any{"unit_id": 1, "polling": "100ms", "max_regs_per_req": 120}}},
		"dyn":    {newFactory(b, dir), config.Driver{Kind: config.KindDyn, Path: "registers", Proto: "registers", Cfg: map[string]any{"polling": "100ms"}}},
	} {
		b.Run(name, func(b *testing.B) {
			out := &counting{}
			d, err := c.f.New(driver.Config{ID: modbustest.DriverID, Item: c.item, Endpoint: config.Endpoint{Scheme: "tcp", Host: host, Port: uint16(n)},
				Points: modbustest.Compile(b, vars, nil)}, driver.Deps{Endpoint: drivertest.Dial(b, addr), Out: out, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- d.Run(ctx) }()
			for out.n.Load() < 2000 {
				time.Sleep(10 * time.Millisecond) // it starts
			}
			before, start := out.n.Load(), drivertest.CPU(b)+processCPU(b, modbustest.DriverID)
			time.Sleep(5 * time.Second) // what is measured
			used, points := drivertest.CPU(b)+processCPU(b, modbustest.DriverID)-start, float64(out.n.Load()-before)
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
			b.ReportMetric(float64(used)/points, "cpu-ns/point")
			b.ReportMetric(points/5, "points/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
