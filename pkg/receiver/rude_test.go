package receiver

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// rudeBroker serves each connection with f, and returns its address.
func rudeBroker(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // the test is over
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

const connack = "\x20\x03\x00\x00\x00"

// connected answers what a client begins with, and then sends first.
func connected(c net.Conn, first string) error {
	if _, err := packets.ReadPacket(c); err != nil {
		return err
	}
	_, err := io.WriteString(c, connack+first)
	return err
}

// TestVerifierOfABrokerThatAnnouncesTooMuch: a header alone takes no memory, in the place of a
// CONNACK too, however often it comes, and over a WebSocket.
func TestVerifierOfABrokerThatAnnouncesTooMuch(t *testing.T) {
	huge := "\xff\xff\xff\x7f"
	for name, c := range map[string]struct {
		scheme string
		before bool // the CONNACK
		send   string
		old    bool
	}{
		"instead of CONNACK": {"mqtt", true, "\x20" + huge, false},
		"publish at once":    {"mqtt", true, "\x30" + huge, false},
		"publish":            {"mqtt", false, "\x30" + huge, false},
		"endless length":     {"mqtt", false, "\x30\x80\x80\x80\x80\x80\x80\x80", false},
		"websocket":          {"ws", false, "HTTP/1.1 101 Switching Protocols\r\n", false},
		"old":                {"mqtt", true, "\x20" + huge, true},
	} {
		t.Run(name, func(t *testing.T) {
			var came atomic.Int32
			var sent atomic.Int64
			addr := rudeBroker(t, func(conn net.Conn) {
				came.Add(1)
				switch {
				case c.scheme == "ws":
					if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
						return
					}
					_, _ = io.WriteString(conn, c.send) // a client may be gone
				case c.before:
					_, _ = io.WriteString(conn, c.send)
				default:
					if connected(conn, c.send) != nil {
						return
					}
				}
				for line := []byte("X-Header: " + strings.Repeat("x", 60000) + "\r\n"); ; { // as much as it likes
					n, err := conn.Write(line)
					sent.Add(int64(n))
					if err != nil || sent.Load() > 1<<30 {
						return
					}
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			ledger, err := OpenLedger("")
			if err != nil {
				t.Fatal(err)
			}
			err = Run(ctx, Config{Broker: c.scheme + "://" + addr, Topic: "#", ClientID: "v", QoS: 2, Old: c.old, Ledger: ledger, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Error(err)
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 48<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
			if n := came.Load(); n == 0 || n > 20 {
				t.Errorf("the client came %d times", n)
			}
		})
	}
}

// TestMessagesWaitAtTheBroker: a broker that sends faster than messages are worked off is
// read no further, whatever it was told of a receive maximum.
func TestMessagesWaitAtTheBroker(t *testing.T) {
	const size = 8 << 20
	ours, theirs := net.Pipe()
	defer ours.Close()
	r := newRoom()
	c := newConn(ours, r)
	var sent atomic.Int64
	go func() {
		head := binary.AppendUvarint([]byte{0x30}, size)
		for {
			if _, err := theirs.Write(head); err != nil {
				return
			}
			if _, err := theirs.Write(make([]byte, size)); err != nil {
				return
			}
			sent.Add(1)
		}
	}()
	read := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, c)
		read <- err
	}()
	deadline := time.Now().Add(20 * time.Second)
	for !r.full() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // polls another goroutine's progress
	}
	most := int64(maxWaiting/size + 1)
	waitSent := func(n int64) {
		t.Helper()
		for sent.Load() < n && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if got := sent.Load(); got != n {
			t.Fatalf("%d messages were read, expected %d", got, n)
		}
	}
	waitSent(most)
	r.done(int(most) - 1) // one is still at work
	if !r.full() {
		t.Error("there is room before all are worked off")
	}
	r.done(1)
	waitSent(2 * most)
	_ = c.Close() // a reader that waits for room is let go
	select {
	case <-read:
	case <-time.After(10 * time.Second):
		t.Error("the reader still waits")
	}
}

// TestLedgerHasBounds: what anybody publishes can't make it grow without end.
func TestLedgerHasBounds(t *testing.T) {
	l, err := OpenLedger("")
	if err != nil {
		t.Fatal(err)
	}
	batch := func(gateway string) *Batch {
		return &Batch{Gateway: gateway, Epoch: "e", Topic: "t", FirstSeq: 1, LastSeq: 1, Samples: []frame.Sample{{Seq: 1}}}
	}
	l.Take(batch(strings.Repeat("g", maxName+1)))
	for i := range maxNames {
		l.Take(batch(fmt.Sprint("g", i)))
	}
	if l.names > maxNames+1 || len(l.logs) > maxNames || l.bad < maxNames/2 {
		t.Errorf("%d names, %d logs, %d bad", l.names, len(l.logs), l.bad)
	}
	l, err = OpenLedger("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxNames + 10 {
		b := batch("g")
		b.Replay = fmt.Sprint(i)
		l.Take(b)
	}
	if n := len(l.logs[logName{"g", "e"}].Replays); n > maxNames {
		t.Errorf("%d replays", n)
	}
	l.runs = maxAllRuns
	if l.Take(batch("another")); !strings.Contains(l.badMsg, "begin a new ledger") {
		t.Errorf("%q", l.badMsg)
	}
}
