//go:build !nobroker

package demo

import (
	"fmt"
	"log/slog"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// broker is the MQTT broker inside the demo: in memory, on loopback, open to
// whoever is on this machine.
type broker struct {
	server *mochi.Server
	addr   string
}

// startBroker listens on 127.0.0.1:1883, or on a free port where that one is
// taken.
func startBroker(log *slog.Logger) (*broker, error) {
	l, err := listenNear("127.0.0.1:1883")
	if err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	caps := mochi.NewDefaultServerCapabilities()
	// Subscribers that are typed in by hand may be slow; the broker drops what
	// a client does not fetch, so give it room.
	caps.MaximumClientWritesPending = 64 << 10
	caps.MaximumInflight = 1<<16 - 1
	server := mochi.New(&mochi.Options{Capabilities: caps, Logger: log})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		_ = l.Close() // the start fails with the error below
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	if err := server.AddListener(listeners.NewNet("tcp", l)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("demo broker: %w", err)
	}
	return &broker{server: server, addr: l.Addr().String()}, nil
}

// URL is the address as gateway.yml writes it.
func (b *broker) URL() string { return "mqtt://" + b.addr }

// Close ends the broker and its connections.
func (b *broker) Close() error { return b.server.Close() }
