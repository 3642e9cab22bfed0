package receiver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"golang.org/x/net/proxy"

	"github.com/edge-gateway/edge-gateway/pkg/mqtt311"
	"github.com/edge-gateway/edge-gateway/pkg/mqttwire"
)

// dialTimeout bounds an attempt to connect.
const dialTimeout = 10 * time.Second

// maxPacket bounds a packet: a payload with its topic and properties.
const maxPacket = maxPayload + 1<<18

// schemes are those of brokers' addresses.
var schemes = map[string]struct{ tls, ws bool }{
	"mqtt": {}, "tcp": {}, "mqtts": {tls: true}, "tls": {tls: true}, "ssl": {tls: true}, "ws": {ws: true}, "wss": {tls: true, ws: true},
}

// dial connects to a broker, whose URL has a port: directly, or through the proxy that ALL_PROXY names.
func dial(ctx context.Context, cfg *Config, broker *url.URL, r *room) (net.Conn, error) {
	scheme, known := schemes[strings.ToLower(broker.Scheme)]
	switch {
	case !known:
		return nil, fmt.Errorf("%s: expected mqtt://, mqtts://, ws:// or wss://", broker.Host)
	case cfg.Old && scheme.ws:
		return nil, fmt.Errorf("%s: with MQTT 3.1.1 expected mqtt:// or mqtts://", broker.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	under, err := proxy.Dial(ctx, "tcp", broker.Host)
	if err != nil {
		return nil, err
	}
	c, err := layers(ctx, cfg, broker, under)
	if err != nil {
		_ = under.Close() // the first error counts
		return nil, err
	}
	return newConn(c, r), nil
}

// layers puts on a connection what lies below MQTT 5.
func layers(ctx context.Context, cfg *Config, broker *url.URL, c net.Conn) (net.Conn, error) {
	scheme := schemes[strings.ToLower(broker.Scheme)]
	if scheme.tls {
		own := cfg.TLS.Clone()
		if own == nil {
			own = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if own.ServerName == "" {
			own.ServerName = broker.Hostname()
		}
		t := tls.Client(c, own)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = t
	}
	if scheme.ws {
		return mqttwire.WebSocket(ctx, c, *broker, http.Header{}, dialTimeout, 2*maxPacket)
	}
	if cfg.Old {
		return mqtt311.New(c, maxPayload), nil
	}
	return c, nil
}

// conn is a connection to a broker that reads no packet larger than we ask for, and no
// further message while those that were read take too much memory. paho locks it.
type conn struct {
	net.Conn
	sync.Mutex
	sizes  mqttwire.Sizes
	room   *room
	once   sync.Once
	closed chan struct{}
}

var _ sync.Locker = (*conn)(nil)

func newConn(c net.Conn, r *room) *conn {
	k := &conn{Conn: c, sizes: mqttwire.Sizes{Max: maxPacket}, room: r, closed: make(chan struct{})}
	k.sizes.OnPacket(func(first byte, length int) {
		if first>>4 == packets.PUBLISH {
			r.take(length)
		}
	})
	r.begin()
	return k
}

// Read returns what the broker sends next. An error says nothing more is read.
func (c *conn) Read(p []byte) (int, error) {
	if c.sizes.Between() {
		c.room.wait(c.closed)
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		if serr := c.sizes.Follow(p[:n]); serr != nil {
			_ = c.Close() // the error is told
			return 0, serr
		}
	}
	return n, err
}

// Close ends the connection, and the wait for room.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// room is the memory of the messages that are read and not worked off. After maxWaiting
// bytes no more is read until all are. What it counts wrong, because paho drops a message,
// costs a pause.
type room struct {
	mu       sync.Mutex
	bytes    int // since all were worked off
	read     int // messages not worked off
	progress chan struct{}
}

const (
	maxWaiting = maxPayload
	maxPause   = 10 * time.Second // in which nothing is worked off
)

func newRoom() *room { return &room{progress: make(chan struct{}, 1)} }

// begin begins a connection: what is left of the one before is not counted again.
func (r *room) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes, r.read = 0, 0
}

// take counts a message that begins.
func (r *room) take(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes, r.read = r.bytes+bytes, r.read+1
}

// done counts messages that are worked off.
func (r *room) done(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read = max(0, r.read-n); r.read == 0 {
		r.bytes = 0
	}
	select {
	case r.progress <- struct{}{}:
	default:
	}
}

func (r *room) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes > maxWaiting
}

// wait waits for room, until closed.
func (r *room) wait(closed <-chan struct{}) {
	for r.full() {
		select {
		case <-closed:
			return
		case <-r.progress:
		case <-time.After(maxPause):
			r.begin()
			return
		}
	}
}
