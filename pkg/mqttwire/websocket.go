package mqttwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// MaxGreeting bounds, in bytes, what a server says in HTTP before the connection is
// ours: the answer of a proxy, the beginning of a WebSocket.
const MaxGreeting = 64 << 10

// Greeting is a connection of which only so much is read, until the greeting is over.
type Greeting struct {
	net.Conn
	left int
	over bool
}

// NewGreeting begins a greeting.
func NewGreeting(c net.Conn) *Greeting { return &Greeting{Conn: c, left: MaxGreeting} }

// Over ends it.
func (g *Greeting) Over() { g.over = true }

// Read reads what is left at most.
func (g *Greeting) Read(p []byte) (int, error) {
	if g.over {
		return g.Conn.Read(p)
	}
	if g.left <= 0 {
		return 0, fmt.Errorf("the server's answer has no end: %d bytes were read", MaxGreeting)
	}
	n, err := g.Conn.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, err
}

// WebSocket opens MQTT's subprotocol over a connection (6.0), TLS included where there is
// any. u says the host and the path. limit bounds a WebSocket message in bytes.
func WebSocket(ctx context.Context, under net.Conn, u url.URL, header http.Header, timeout time.Duration, limit int64) (net.Conn, error) {
	u.Scheme = "ws" // TLS, if any, is under it already
	if u.Path == "" {
		u.Path = "/mqtt"
	}
	head := NewGreeting(under)
	d := websocket.Dialer{
		NetDialContext:   func(context.Context, string, string) (net.Conn, error) { return head, nil },
		Subprotocols:     []string{"mqtt"},
		HandshakeTimeout: timeout,
	}
	c, resp, err := d.DialContext(ctx, u.String(), header)
	if resp != nil {
		_ = resp.Body.Close() // of no use beside the status
		if err != nil {
			return nil, fmt.Errorf("%w: the server answered %s", err, resp.Status)
		}
	}
	if err != nil {
		return nil, err
	}
	head.Over()
	c.SetReadLimit(limit) // of a message, which may hold several packets
	return &webSocket{Conn: under, ws: c}, nil
}

// webSocket carries MQTT in binary WebSocket messages, whose borders mean nothing.
type webSocket struct {
	net.Conn // deadlines and addresses
	ws       *websocket.Conn
	left     []byte
}

// Read returns what is left of the message at hand, or of the next one.
func (c *webSocket) Read(p []byte) (int, error) {
	for len(c.left) == 0 {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			return 0, err
		}
		if kind != websocket.BinaryMessage {
			return 0, errors.New("the broker sent a WebSocket message that is not binary")
		}
		c.left = data
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// Write sends p as one message.
func (c *webSocket) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the connection below.
func (c *webSocket) Close() error { return c.ws.Close() }
