package mqtt

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// tunnel listens for clients of a proxy, has greet find out where each wants to go,
// and takes it there.
func tunnel(t *testing.T, greet func(c net.Conn, r *bufio.Reader) (addr string)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() }) // the connector has gone
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		addr := greet(c, r)
		if addr == "" {
			return
		}
		far, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		wg.Go(func() { _, _ = io.Copy(c, far); _ = c.Close() }) // until either end closes
		_, _ = io.Copy(far, r)
		_ = far.Close()
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	return l.Addr().String()
}

// greetHTTP speaks CONNECT, and wants a user and a password.
func greetHTTP(c net.Conn, r *bufio.Reader) string {
	req, err := http.ReadRequest(r)
	answer := "HTTP/1.1 200 OK\r\n\r\n"
	if err != nil || req.Method != http.MethodConnect || req.Header.Get("Proxy-Authorization") != "Basic dTpw" {
		answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
	}
	if _, err := io.WriteString(c, answer); err != nil || !strings.Contains(answer, "200") {
		return ""
	}
	return req.Host
}

// greetSOCKS speaks SOCKS5 without credentials (RFC 1928), for addresses of IPv4.
func greetSOCKS(c net.Conn, r *bufio.Reader) string {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return ""
	}
	if _, err := r.Discard(int(head[1])); err != nil {
		return ""
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return ""
	}
	req := make([]byte, 10)
	if _, err := io.ReadFull(r, req); err != nil || req[3] != 1 {
		return ""
	}
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return ""
	}
	addr := &net.TCPAddr{IP: req[4:8], Port: int(req[8])<<8 | int(req[9])}
	return addr.String()
}

// TestProxy delivers by way of proxies, and says what one that refuses wants.
func TestProxy(t *testing.T) {
	t.Parallel()
	web, socks := tunnel(t, greetHTTP), tunnel(t, greetSOCKS)
	for name, proxy := range map[string]string{"HTTP": "http://u:p@" + web, "SOCKS5": "socks5://" + socks} {
		t.Run(name, func(t *testing.T) {
			b, r := fakeRig(t, fakebroker.Script{}, map[string]any{"proxy": proxy})
			r.start()
			r.waitState("up")
			deliver(t, b, r)
			if s := testSteps(t, r.conn)["proxy"]; s.Err != nil || strings.Contains(s.Text, "u:p@") {
				t.Errorf("test: proxy %v %q", s.Err, s.Text)
			}
			r.stopConnector()
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		_, r := fakeRig(t, fakebroker.Script{}, map[string]any{"proxy": "http://u:wrong@" + web})
		r.start()
		says(t, r, "down", "the proxy wants a user and a password")
		if s := r.conn.Status().Error; strings.Contains(s, "wrong") {
			t.Errorf("the password is shown: %s", s)
		}
		r.stopConnector()
	})
}

// TestMessageExpiry sets it on data, and on nothing else.
func TestMessageExpiry(t *testing.T) {
	t.Parallel()
	b, r := fakeRig(t, fakebroker.Script{}, map[string]any{"message_expiry": "1h"})
	r.start()
	r.waitState("up")
	deliver(t, b, r)
	b.WaitFor(5*time.Second, "the status", func() bool { return b.Retained("/edge/status/acme/line-1") != nil })
	for _, p := range b.Packets(packets.Publish) {
		if want := map[bool]uint32{true: 3600}[p.TopicName == dataTopic]; p.Properties.MessageExpiryInterval != want {
			t.Errorf("%s: message expiry %d", p.TopicName, p.Properties.MessageExpiryInterval)
		}
	}
}

// TestWebSocketHeaders opens a WebSocket with the headers of the configuration.
func TestWebSocketHeaders(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 16)
	addr := tunnel(t, func(_ net.Conn, r *bufio.Reader) string {
		if req, err := http.ReadRequest(r); err == nil {
			got <- req.Header
		}
		return ""
	})
	r := newRig(t, "ws://"+addr, map[string]any{"ws_headers": map[string]any{"Authorization": "${file:token}"}})
	r.secret = func(s string) (string, error) {
		if s == "${file:token}" {
			return "Bearer x", nil
		}
		return s, nil
	}
	r.start()
	if h := <-got; h.Get("Authorization") != "Bearer x" || h.Get("Sec-Websocket-Protocol") != "mqtt" {
		t.Errorf("headers %v", h)
	}
	r.stopConnector()
}
