package gateway

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestIdleScrapers: connections that say nothing, or only the beginning of a request,
// neither grow in number without end nor keep Prometheus out.
func TestIdleScrapers(t *testing.T) {
	s, err := listenHTTP("127.0.0.1:0", prometheus.NewRegistry(), func() Readiness { return Readiness{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	open := 0
	for i := range 2 * httpMax {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nX: "); err != nil {
				continue
			}
		}
		if i > httpMaxPeer {
			if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 1)); strings.Contains(err.Error(), "timeout") {
				open++
			}
		}
	}
	if open > 0 {
		t.Errorf("%d connections of one host beyond the bound stay open", open)
	}
	deadline := time.Now().Add(3 * httpGrace)
	for {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := client.Get("http://" + s.Addr() + "/metrics")
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("idle connections keep others out: %v", err)
		}
		time.Sleep(100 * time.Millisecond) // until one of them was idle for long enough
	}
}
