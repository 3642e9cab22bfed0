package mqtt

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// rude is a broker that answers CONNECT with what a test gives it, on its first
// connections, and is a polite one from then on.
type rude struct {
	addr  string
	met   atomic.Int32
	conns sync.WaitGroup
}

func startRude(t *testing.T, polite string, times int32, answer []byte) *rude {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rude{addr: l.Addr().String()}
	r.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			r.conns.Go(func() {
				defer func() { _ = c.Close() }() // given up
				if r.met.Add(1) <= times {
					attack(c, answer)
					return
				}
				forward(c, polite)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return r
}

// attack reads CONNECT, says its piece, and reads for a moment.
func attack(c net.Conn, answer []byte) {
	if c.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return
	}
	if _, err := c.Read(make([]byte, 64<<10)); err != nil {
		return
	}
	if _, err := c.Write(answer); err != nil {
		return // the gateway hung up: what the test asks for in some cases
	}
	if c.SetReadDeadline(time.Now().Add(200*time.Millisecond)) == nil {
		_, _ = io.Copy(io.Discard, c) // until one of both has enough
	}
}

func forward(c net.Conn, to string) {
	b, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = b.Close() }() // given up
	go func() {
		_, _ = io.Copy(b, c) // until one side ends
		_ = b.Close()        // so the other does
	}()
	_, _ = io.Copy(c, b)
}

// wire makes a packet of MQTT 5.
func wire(first byte, parts ...any) []byte {
	var body []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			body = append(binary.BigEndian.AppendUint16(body, uint16(len(p))), p...)
		case int:
			body = append(body, byte(p))
		case []byte:
			body = append(body, p...)
		}
	}
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

// properties makes the properties of a packet.
func properties(parts ...any) []byte { return wire(0, parts...)[1:] }

// TestRudeBroker: whatever a broker answers, the gateway neither ends nor fills its memory,
// goes nowhere else, and delivers as soon as there is a polite one.
func TestRudeBroker(t *testing.T) {
	ok := wire(0x20, 0, 0, properties())
	many := func(p []byte, n int) []byte { return bytes.Repeat(p, n) }
	connack := func(props ...any) []byte { return wire(0x20, 0, 0, properties(props...)) }
	for name, answer := range map[string][]byte{
		"alias nobody offered":    append(ok, wire(0x30, "", properties(0x23, 0, 1), []byte("x"))...),
		"alias 0":                 append(ok, wire(0x30, "", properties(0x23, 0, 0), []byte("x"))...),
		"alias 65535 with topic":  append(ok, many(wire(0x30, "a/b", properties(0x23, 255, 255), []byte("x")), 1000)...),
		"no topic, no alias":      append(ok, wire(0x30, "", properties(), []byte("x"))...),
		"publish of QoS 3":        append(ok, wire(0x36, "a", 0, 1, properties(), []byte("x"))...),
		"publish without id":      append(ok, wire(0x32, "a", 0, 0, properties(), []byte("x"))...),
		"publish cut short":       append(ok, 0x32, 1, 0),
		"wildcard as a topic":     append(ok, many(wire(0x32, "#", 0, 1, properties(), []byte("x")), 100)...),
		"one id over and over":    append(ok, many(wire(0x34, "a", 0, 7, properties(), []byte("x")), 5000)...),
		"topic of a terminal":     append(ok, wire(0x30, "\x1b[2J\x1b]0;x\a", properties(), []byte("\x1b"))...),
		"acks for nothing":        append(ok, many(slices.Concat(wire(0x40, 0, 9), wire(0x50, 0, 9), wire(0x62, 0, 9), wire(0x70, 0, 9)), 2000)...),
		"ack without id":          append(ok, 0x50, 1, 0),
		"acks of unknown reasons": append(ok, many(wire(0x50, 0, 1, 0x77, properties(0x1f, strings.Repeat("\x1b", 1000))), 500)...),
		"suback for nothing":      append(ok, wire(0x90, 0, 9, properties(), many([]byte{0}, 50_000))...),
		"pingresp for nothing":    append(ok, many([]byte{0xd0, 0}, 20_000)...),
		"auth for nothing":        append(ok, wire(0xf0, 0x18, properties(0x15, "SCRAM-SHA-1", 0x16, strings.Repeat("x", 60_000)))...),
		"connect from a broker":   append(ok, wire(0x10, "MQTT", 5, 2, 0, 60, properties(), "x")...),
		"subscribe from a broker": append(ok, wire(0x82, 0, 1, properties(), "#", 2)...),
		"connack twice":           append(ok, many(ok, 50)...),
		"reserved type":           append(ok, 0x00, 0x00),
		"receive maximum 0":       connack(0x21, 0, 0),
		"packet size 0":           connack(0x27, 0, 0, 0, 0),
		"packet size 5":           connack(0x27, 0, 0, 0, 5),
		"QoS 9":                   connack(0x24, 9),
		"keep alive 0":            connack(0x13, 0, 0),
		"keep alive 1 s":          connack(0x13, 0, 1),
		"another client id":       connack(0x12, strings.Repeat("\x1b", 60_000)),
		"properties without end":  connack(many(slices.Concat([]byte{0x26}, wire(0, "k")[2:], wire(0, "v")[2:]), 30_000)),
		"unknown property":        connack(0x7f, 1, 2, 3),
		"property twice":          connack(0x21, 0, 9, 0x21, 0, 8),
		"properties too long":     wire(0x20, 0, 0, []byte{0xff, 0xff, 0x7f}),
		"session of nobody":       wire(0x20, 1, 0, properties()),
		"unknown refusal":         wire(0x20, 0, 0xee, properties(0x1f, strings.Repeat("\x1b[31m", 8000))),
		"redirect to etcd":        wire(0x20, 0, 0x9c, properties(0x1c, "127.0.0.1:2379")),
		"redirect to itself":      wire(0x20, 0, 0x9d, properties(0x1c, "mqtt://user:pass@\x1b[2J/..:99999 "+strings.Repeat("x", 50_000))),
		"redirect to a socket":    append(ok, wire(0xe0, 0x9c, properties(0x1c, "unix:/run/edge-gw/admin.sock"))...),
		"goodbye of 60 KB":        append(ok, wire(0xe0, 0x8b, properties(0x1f, strings.Repeat("\x1b", 60_000)))...),
		"goodbye to nobody":       append(ok, wire(0xe0, 0, properties(0x11, 0, 0, 0, 0))...),
		"a web server":            []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nnot MQTT\n"),
		"noise":                   many([]byte{0x20, 0xa5, 0x5a}, 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			polite := fakebroker.Start(t, fakebroker.Script{})
			r := startRude(t, polite.Addr, 2, answer)
			g := newRig(t, "mqtt://"+r.addr, map[string]any{"commands": map[string]any{"enable": true}})
			g.start()
			g.publish(100)
			peer.WaitFor(t, time.Minute, "the polite broker to be met", func() bool { return r.met.Load() > 2 })
			peer.WaitFor(t, time.Minute, "the connector to be up", func() bool { return g.conn.Status().State == "up" })
			before := len(polite.Packets())
			g.publish(100)
			g.waitDelivered(time.Minute)
			if len(polite.Packets()) == before {
				t.Error("nothing came to the polite broker")
			}
			if st := g.conn.Status().Error; len(st) > 2000 {
				t.Errorf("the status takes %d bytes", len(st))
			}
			if n := len(g.logs.String()); n > 256<<10 {
				t.Errorf("the log takes %d bytes", n)
			}
		})
	}
	t.Cleanup(func() { // after all of them
		var m runtime.MemStats
		if runtime.ReadMemStats(&m); m.HeapInuse > 512<<20 {
			t.Errorf("%d MiB are in use", m.HeapInuse>>20)
		}
	})
}
