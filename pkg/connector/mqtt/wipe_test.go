package mqtt

import (
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/connectortest"
)

// slowBroker is a broker that has a session and takes a while to end it after a
// DISCONNECT; then it closes the connection.
func slowBroker(t *testing.T) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // ends the accepting
	var ended atomic.Bool
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }() // the other side may have
		for {
			p, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			switch k := p.Content.(type) {
			case *packets.Connect:
				ack := packets.Connack{SessionPresent: !k.CleanStart && !ended.Load(), Properties: &packets.Properties{}}
				if _, err := ack.WriteTo(c); err != nil {
					return
				}
			case *packets.Disconnect:
				time.Sleep(50 * time.Millisecond) // it has other things to do
				ended.Store(true)
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return "mqtt://" + l.Addr().String()
}

// TestWipeIsWaitedFor has a broker that is slow to end the session that is wiped:
// the connection after that must not find it.
func TestWipeIsWaitedFor(t *testing.T) {
	cfg := defaults()
	cfg.Topic, cfg.Endpoint = "t", slowBroker(t)
	c, err := newConnector("mqtt", cfg, connector.Deps{Identity: connector.Identity{Gateway: "gw"}, Source: connectortest.NewLog(),
		Log: slog.New(slog.DiscardHandler), Secret: func(s string) (string, error) { return s, nil }, ConfigRev: func() uint64 { return 1 }}, testMetrics(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.session.load(); err != nil {
		t.Fatal(err)
	}
	l, err := c.connect(t.Context(), c.servers[0], plainStep)
	if err != nil {
		t.Fatal(err)
	}
	l.close(false)
}
