// Package modbus shows the Modbus driver, over the gateway's own endpoints,
// against devices that are not ours: pymodbus on TCP, UDP and a serial line,
// simonvetter's server on TCP and TLS, pymodbus behind a QUIC server. Each function code, data type and byte
// order is read and written against values that the peer's own side holds.
package modbus

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/quic"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/plcsim"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// memory is the peer's own side: one of its tables, from an address on.
type memory interface {
	get(t testing.TB, table plcsim.Table, addr uint16, n int) []uint16
	set(t testing.TB, table plcsim.Table, addr uint16, values ...uint16)
}

// pymodbus is a server process, told over its stdin.
type pymodbus struct {
	addr string
	in   *bufio.Writer
	out  *bufio.Scanner
}

// python is Debian's, which has Debian's pymodbus.
const python = "/usr/bin/python3"

func startPymodbus(t testing.TB, args ...string) *pymodbus {
	t.Helper()
	cmd := exec.Command(python, append([]string{"testdata/peer.py"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; scripts/setup installs python3-pymodbus", err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("pymodbus: %v", err)
		}
	})
	p := &pymodbus{in: bufio.NewWriter(in), out: bufio.NewScanner(out)}
	p.addr = strings.TrimPrefix(p.line(t), "ready ")
	return p
}

func (p *pymodbus) line(t testing.TB) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("pymodbus has ended: %v", p.out.Err())
	}
	return p.out.Text()
}

func (p *pymodbus) say(t testing.TB, line string) string {
	t.Helper()
	_, _ = p.in.WriteString(line + "\n") // an error shows at Flush
	if err := p.in.Flush(); err != nil {
		t.Fatal(err)
	}
	return p.line(t)
}

var tables = map[plcsim.Table]string{plcsim.Coil: "c", plcsim.Discrete: "d", plcsim.Holding: "h", plcsim.Input: "i"}

func (p *pymodbus) get(t testing.TB, table plcsim.Table, addr uint16, n int) []uint16 {
	var values []uint16
	for _, f := range strings.Fields(p.say(t, fmt.Sprintf("get %s %d %d", tables[table], addr, n))) {
		v, err := strconv.ParseUint(f, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, uint16(v))
	}
	return values
}

func (p *pymodbus) set(t testing.TB, table plcsim.Table, addr uint16, values ...uint16) {
	line := fmt.Sprintf("set %s %d", tables[table], addr)
	for _, v := range values {
		line += fmt.Sprintf(" %d", v)
	}
	if got := p.say(t, line); got != "ok" {
		t.Fatalf("%s: %s", line, got)
	}
}

// simMemory is a simulated PLC's.
type simMemory struct{ *plcsim.Sim }

func (m simMemory) get(_ testing.TB, table plcsim.Table, addr uint16, n int) []uint16 {
	return m.Get(1, table, addr, n)
}

func (m simMemory) set(_ testing.TB, table plcsim.Table, addr uint16, values ...uint16) {
	m.Set(1, table, addr, values...)
}

func startSim(t testing.TB, c plcsim.Config) *plcsim.Sim {
	t.Helper()
	s, err := plcsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open opens an endpoint of the gateway's own kind.
func open(t testing.TB, url string) (*endpoint.Handle, config.Endpoint) {
	t.Helper()
	_, h, item := openPool(t, url)
	return h, item
}

func openPool(t testing.TB, url string) (*endpoint.Pool, *endpoint.Handle, config.Endpoint) {
	t.Helper()
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	u, err := endpoint.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pool.Open("plc", u)
	if err != nil {
		t.Fatal(err)
	}
	scheme, _, _ := strings.Cut(url, "://")
	return pool, h, config.Endpoint{Scheme: scheme}
}

// serialPair is a serial line: two pseudo-terminals that socat connects.
func serialPair(t testing.TB) (ours, theirs string) {
	t.Helper()
	dir := t.TempDir()
	ours, theirs = filepath.Join(dir, "gateway"), filepath.Join(dir, "device")
	cmd := exec.Command("socat", "pty,raw,echo=0,link="+ours, "pty,raw,echo=0,link="+theirs)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; scripts/setup installs socat", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it never ends by itself
		_ = cmd.Wait()         // killed
	})
	deadline := time.Now().Add(20 * time.Second)
	for _, path := range []string{ours, theirs} {
		for {
			if _, err := os.Stat(path); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("socat made no terminals within 20s")
			}
			time.Sleep(5 * time.Millisecond) // socat does not tell when it is ready
		}
	}
	return ours, theirs
}

// secured puts OpenSSL, as socat has it, in front of a device and returns its address.
func secured(t testing.TB, device string, ca *authority) (addr string) {
	t.Helper()
	addr = peer.FreeAddr(t) // socat does not take a listener
	cert := ca.issue(t, "plc")
	_, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("socat", fmt.Sprintf("OPENSSL-LISTEN:%s,bind=127.0.0.1,reuseaddr,fork,cert=%s,key=%s,cafile=%s,verify=1",
		port, cert.cert, cert.key, ca.file), "TCP:"+device)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; scripts/setup installs socat", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it never ends by itself
		_ = cmd.Wait()         // killed
	})
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // socat does not tell when it is ready
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close() // nothing was sent
			return addr
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("socat did not listen within 20s")
		}
	}
}

// overQUIC puts a QUIC server in front of a device, of another library than the gateway's,
// which demands a certificate, and returns its address.
func overQUIC(t testing.TB, device string, ca *authority) (addr string) {
	t.Helper()
	cert := ca.issue(t, "plc")
	server, err := quic.Listen("udp", "127.0.0.1:0", &quic.Config{TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert.pair}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"modbus"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = server.Close(ctx) // at once: nobody needs an answer any more
	})
	wg.Go(func() {
		for {
			conn, err := server.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { bridge(ctx, conn, device) })
		}
	})
	return server.LocalAddr().String()
}

// bridge joins the first stream of a connection to a device, until one of them ends.
func bridge(ctx context.Context, conn *quic.Conn, device string) {
	defer conn.Abort(nil)
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream.SetReadContext(ctx)
	stream.SetWriteContext(ctx)
	c, err := net.Dial("tcp", device)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		buf := make([]byte, 1024)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := stream.Write(buf[:n]); err != nil || stream.Flush() != nil {
				return
			}
		}
	})
	_, _ = io.Copy(c, struct{ io.Reader }{stream}) // until the gateway has enough
	_ = c.Close()                                  // which ends the other direction
	wg.Wait()
}

// peers are the ways to a device.
func peers() map[string]func(t *testing.T) (url string, m memory, opts []modbustest.Option) {
	py := func(network, framing string) func(*testing.T) (string, memory, []modbustest.Option) {
		return func(t *testing.T) (string, memory, []modbustest.Option) {
			p := startPymodbus(t, network, framing)
			return network + "://" + p.addr, p, []modbustest.Option{modbustest.Cfg("framing", framing)}
		}
	}
	line := func(framing string) func(*testing.T) (string, memory, []modbustest.Option) {
		return func(t *testing.T) (string, memory, []modbustest.Option) {
			ours, theirs := serialPair(t)
			p := startPymodbus(t, "serial", framing, theirs)
			return "serial://" + ours + "?baud=19200&parity=E", p, []modbustest.Option{modbustest.Cfg("framing", framing)}
		}
	}
	return map[string]func(*testing.T) (string, memory, []modbustest.Option){
		"pymodbus tcp":          py("tcp", "tcp"),
		"pymodbus rtu over tcp": py("tcp", "rtu"),
		"pymodbus udp":          py("udp", "tcp"),
		"pymodbus rtu over udp": py("udp", "rtu"),
		"pymodbus rtu over tls": func(t *testing.T) (string, memory, []modbustest.Option) {
			p := startPymodbus(t, "tcp", "rtu")
			ca := newAuthority(t)
			addr, us := secured(t, p.addr, ca), ca.issue(t, "gateway")
			return fmt.Sprintf("tls+tcp://%s?ca=%s&client_cert=%s&client_key=%s", addr, ca.file, us.cert, us.key), p,
				[]modbustest.Option{modbustest.Cfg("framing", "rtu")}
		},
		"pymodbus over quic": func(t *testing.T) (string, memory, []modbustest.Option) {
			p := startPymodbus(t, "tcp", "tcp")
			ca := newAuthority(t)
			addr, us := overQUIC(t, p.addr, ca), ca.issue(t, "gateway")
			return fmt.Sprintf("quic://%s?alpn=modbus&timeout=5s&ca=%s&client_cert=%s&client_key=%s", addr, ca.file, us.cert, us.key), p,
				[]modbustest.Option{modbustest.Cfg("max_inflight", 4)}
		},
		"pymodbus rtu serial":   line("rtu"),
		"pymodbus ascii serial": line("ascii"),
		"simonvetter tcp": func(t *testing.T) (string, memory, []modbustest.Option) {
			s := startSim(t, plcsim.Config{})
			return "tcp://" + s.Addr(), simMemory{s}, []modbustest.Option{modbustest.Cfg("max_inflight", 4)}
		},
		"simonvetter tls": func(t *testing.T) (string, memory, []modbustest.Option) {
			ca := newAuthority(t)
			cert := ca.issue(t, "plc")
			s := startSim(t, plcsim.Config{Cert: &cert.pair, ClientCAs: ca.pool})
			us := ca.issue(t, "gateway")
			return fmt.Sprintf("tls+tcp://%s?ca=%s&client_cert=%s&client_key=%s", s.Addr(), ca.file, us.cert, us.key), simMemory{s}, nil
		},
	}
}

// sample is a value in each data type and its bytes, most significant first.
type sample struct {
	typ   config.DataType
	value frame.Value
	bytes []byte
}

func samples() []sample {
	bits := func(n int, v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v)[8-n:] }
	return []sample{
		{config.TypeUint16, frame.IntValue(0xABCD), bits(2, 0xABCD)},
		{config.TypeInt16, frame.IntValue(-12345), bits(2, 0xFFFF-12345+1)},
		{config.TypeUint32, frame.IntValue(0x89ABCDEF), bits(4, 0x89ABCDEF)},
		{config.TypeInt32, frame.IntValue(-123456789), bits(4, 1<<32-123456789)},
		{config.TypeUint64, frame.UintValue(0xFEDCBA9876543210), bits(8, 0xFEDCBA9876543210)},
		{config.TypeInt64, frame.IntValue(-1234567890123456789), bits(8, 1<<64-1234567890123456789)},
		{config.TypeFloat32, frame.FloatValue(-12.34), bits(4, uint64(math.Float32bits(-12.34)))},
		{config.TypeFloat64, frame.FloatValue(-98765.4321), bits(8, math.Float64bits(-98765.4321))},
		{config.TypeBCD16, frame.IntValue(9876), bits(2, 0x9876)},
		{config.TypeBCD32, frame.IntValue(12345678), bits(4, 0x12345678)},
	}
}

// onLine lays bytes, most significant first, out as registers: the letters of
// order say which byte comes where.
func onLine(order string, b []byte) []uint16 {
	letters := map[int]map[string]string{
		2: {"ABCD": "AB", "BADC": "BA", "CDAB": "AB", "DCBA": "BA"},
		4: {"ABCD": "ABCD", "BADC": "BADC", "CDAB": "CDAB", "DCBA": "DCBA"},
		8: {"ABCD": "ABCDEFGH", "BADC": "BADCFEHG", "CDAB": "GHEFCDAB", "DCBA": "HGFEDCBA"},
	}[len(b)][order]
	regs := make([]uint16, len(b)/2)
	for i := range letters {
		regs[i/2] |= uint16(b[letters[i]-'A']) << (8 * (1 - i%2))
	}
	return regs
}

// TestEveryTypeAndOrder reads and writes every data type in every byte order.
func TestEveryTypeAndOrder(t *testing.T) {
	for name, peer := range peers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, m, opts := peer(t)
			h, item := open(t, url)
			var vars []config.Variable
			regs := map[string][]uint16{}
			values := map[string]frame.Value{}
			addr := uint16(100)
			for _, order := range []string{"ABCD", "BADC", "CDAB", "DCBA"} {
				for _, s := range samples() {
					tag := fmt.Sprintf("%s_%s", s.typ, order)
					regs[tag], values[tag] = onLine(order, s.bytes), s.value
					for i, table := range []plcsim.Table{plcsim.Holding, plcsim.Input} {
						v := config.Variable{Tag: []string{"h_", "i_"}[i] + tag, Datatype: s.typ, ByteOrder: order,
							Access:  []config.Access{config.AccessRW, config.AccessR}[i],
							Address: config.Address{Type: []config.AddressType{config.AddrHolding, config.AddrInput}[i], Addr: uint32(addr)}}
						vars = append(vars, v)
						m.set(t, table, addr, regs[tag]...)
					}
					addr += uint16(len(regs[tag]))
				}
			}
			r := startDriver(t, h, item, vars, opts...)
			for tag, want := range values {
				for _, table := range []string{"h_", "i_"} {
					r.Log.Good(t, table+tag, 1)
					if got := r.Log.Of(table + tag)[0].Value; got != want {
						t.Errorf("%s%s: read %v, want %v", table, tag, got, want)
					}
				}
			}
			for _, v := range vars {
				if v.Access != config.AccessRW {
					continue
				}
				tag := strings.TrimPrefix(v.Tag, "h_")
				at := uint16(v.Address.Addr)
				m.set(t, plcsim.Holding, at, make([]uint16, len(regs[tag]))...)
				if res, err := r.Write(deadline(t), driver.Write{Tag: v.Tag, Value: values[tag]}); err != nil || res.ReadBack != values[tag] {
					t.Errorf("%s: wrote %v, read back %v, %v", v.Tag, values[tag], res.ReadBack, err)
				}
				if got := m.get(t, plcsim.Holding, at, len(regs[tag])); fmt.Sprint(got) != fmt.Sprint(regs[tag]) {
					t.Errorf("%s: the device holds %04X, want %04X", v.Tag, got, regs[tag])
				}
			}
		})
	}
}

// TestEveryFunction reads with 0x01 to 0x04 and writes with 0x05, 0x06, 0x0F,
// 0x10, 0x16 and 0x17, as far as the peer knows them.
func TestEveryFunction(t *testing.T) {
	for name, peer := range peers() {
		for _, how := range []string{"auto", "multiple", "read_write"} {
			if how == "read_write" && !strings.HasPrefix(name, "pymodbus") {
				continue // simonvetter's server has no 0x17
			}
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				url, m, opts := peer(t)
				testFunctions(t, url, m, append(opts, modbustest.Cfg("write_func", how)))
			})
		}
	}
}

func testFunctions(t *testing.T, url string, m memory, opts []modbustest.Option) {
	h, item := open(t, url)
	bit := uint8(9)
	vars := []config.Variable{
		{Tag: "coil", Access: config.AccessRW, Datatype: config.TypeBool, Address: config.Address{Type: config.AddrCoil, Addr: 7}},
		{Tag: "coils", Access: config.AccessRW, Datatype: config.TypeUint32, Address: config.Address{Type: config.AddrCoil, Addr: 20, Len: 19}},
		{Tag: "discrete", Datatype: config.TypeBool, Address: config.Address{Type: config.AddrDiscrete, Addr: 10012}},
		{Tag: "register", Access: config.AccessRW, Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrHolding, Addr: 40004}},
		{Tag: "registers", Access: config.AccessRW, Datatype: config.TypeString, Address: config.Address{Type: config.AddrHolding, Addr: 40011, Len: 6}},
		{Tag: "bit", Access: config.AccessRW, Datatype: config.TypeBool, Address: config.Address{Type: config.AddrHolding, Addr: 40030, Bit: &bit}},
		{Tag: "input", Datatype: config.TypeInt16, Address: config.Address{Type: config.AddrInput, Addr: 30006}},
	}
	m.set(t, plcsim.Coil, 7, 1)
	m.set(t, plcsim.Discrete, 11, 1)
	m.set(t, plcsim.Holding, 3, 4711)
	m.set(t, plcsim.Holding, 29, 0x0123)
	m.set(t, plcsim.Input, 5, 0xFFFF)
	r := startDriver(t, h, item, vars, opts...)
	for tag, want := range map[string]frame.Value{
		"coil": frame.BoolValue(true), "coils": frame.IntValue(0), "discrete": frame.BoolValue(true), "register": frame.IntValue(4711),
		"registers": frame.StringValue(""), "bit": frame.BoolValue(false), "input": frame.IntValue(-1),
	} {
		r.Log.Good(t, tag, 1)
		if got := r.Log.Of(tag)[0].Value; got != want {
			t.Errorf("%s: read %v, want %v", tag, got, want)
		}
	}
	for _, w := range []struct {
		tag   string
		value frame.Value
		table plcsim.Table
		addr  uint16
		want  []uint16
	}{
		{"coil", frame.BoolValue(false), plcsim.Coil, 6, []uint16{0, 0, 0}},
		{"coil", frame.BoolValue(true), plcsim.Coil, 6, []uint16{0, 1, 0}},
		{"coils", frame.IntValue(0x5000F), plcsim.Coil, 19, []uint16{0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0}},
		{"register", frame.IntValue(65535), plcsim.Holding, 2, []uint16{0, 65535, 0}},
		{"registers", frame.StringValue("Kessel 1"), plcsim.Holding, 9, []uint16{0, 0x4B65, 0x7373, 0x656C, 0x2031, 0, 0, 0}},
		{"bit", frame.BoolValue(true), plcsim.Holding, 28, []uint16{0, 0x0323, 0}},
		{"bit", frame.BoolValue(false), plcsim.Holding, 28, []uint16{0, 0x0123, 0}},
	} {
		res, err := r.Write(deadline(t), driver.Write{Tag: w.tag, Value: w.value})
		if err != nil || res.ReadBack != w.value {
			t.Errorf("%s: wrote %v, read back %v, %v", w.tag, w.value, res.ReadBack, err)
		}
		if got := m.get(t, w.table, w.addr, len(w.want)); fmt.Sprint(got) != fmt.Sprint(w.want) {
			t.Errorf("%s: wrote %v, the device holds %v, want %v", w.tag, w.value, got, w.want)
		}
	}
	if st := r.Status(); st.Errors != 0 || st.State != driver.Running {
		t.Errorf("status %+v", st)
	}
}

func startDriver(t *testing.T, ep endpoint.Acquirer, item config.Endpoint, vars []config.Variable, opts ...modbustest.Option) *modbustest.Rig {
	t.Helper()
	return modbustest.Start(t, ep, vars, append([]modbustest.Option{
		modbustest.Cfg("enable_write", true), modbustest.Cfg("timeout", "2s"), modbustest.Cfg("retry", 0), modbustest.Cfg("polling", "100ms"),
		func(c *driver.Config) { c.Endpoint = item },
	}, opts...)...)
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
