package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// stage is a step on the way to an answer, as it is printed.
type stage struct {
	Name  string  `json:"name"` // "name", "route", "tcp", "tls", "answer" …
	Ms    float64 `json:"ms"`
	Text  string  `json:"text,omitempty"`
	Error string  `json:"error,omitempty"` // where it ended
}

func stageOf(s driver.Step) stage { return stage{s.Name, driver.Milliseconds(s.Took), s.Text, s.Error} }

// line shows the stage to a person.
func (s stage) line() string {
	text := s.Text
	if s.Error != "" {
		text = "failed: " + s.Error
	}
	return fmt.Sprintf("%-8s %8.1f ms  %s", s.Name, s.Ms, text)
}

// wayThere implements [endpoint.Acquirer]: each connection is dialled for its lease. It
// notes the steps of the first.
type wayThere struct {
	url   endpoint.URL
	mu    sync.Mutex
	began bool
	steps []driver.Step // once the first connection is there, or has failed
}

// Acquire implements [endpoint.Acquirer].
func (w *wayThere) Acquire(ctx context.Context) (endpoint.Lease, error) {
	w.mu.Lock()
	first := !w.began
	w.began = true
	w.mu.Unlock()
	var j journey
	conn, err := j.dial(ctx, w.url)
	if first {
		w.steps = j.steps
	}
	if err != nil {
		return nil, err
	}
	return onceLease{conn}, nil
}

type onceLease struct{ net.Conn }

// Release closes the connection: it has had its answer.
func (l onceLease) Release(error) { _ = l.Close() }

// journey notes steps.
type journey struct{ steps []driver.Step }

// step runs do as one step.
func (j *journey) step(name string, do func() (string, error)) error {
	began := time.Now()
	text, err := do()
	s := driver.Step{Name: name, Took: time.Since(began), Text: text}
	if err != nil {
		s.Error = err.Error()
	}
	j.steps = append(j.steps, s)
	return err
}

// dial opens a connection to u.
func (j *journey) dial(ctx context.Context, u endpoint.URL) (net.Conn, error) {
	if u.Transport() != endpoint.Serial {
		if err := j.find(ctx, u.Host(), u.Port()); err != nil {
			return nil, err
		}
	}
	opened := time.Now()
	transport := func(ctx context.Context, u endpoint.URL, address string) (conn endpoint.Conn, err error) {
		err = j.step(u.Transport().String(), func() (string, error) {
			conn, err = endpoint.SystemTransport(ctx, u, address)
			return address, err
		})
		opened = time.Now()
		return conn, err
	}
	conn, err := endpoint.Dial(ctx, u, endpoint.DialOptions{Secret: secret, Transport: transport})
	for _, layer := range u.Schemes() {
		if layer != endpoint.TLS && layer != endpoint.DTLS || len(j.steps) == 0 || j.steps[len(j.steps)-1].Error != "" {
			continue
		}
		s := driver.Step{Name: layer.String(), Took: time.Since(opened), Text: "secured"}
		if err != nil {
			s.Error = err.Error()
		}
		j.steps = append(j.steps, s)
	}
	return conn, err
}

// find resolves host and looks which way leads there; nothing is sent.
func (j *journey) find(ctx context.Context, host string, port uint16) error {
	if net.ParseIP(host) == nil {
		err := j.step("name", func() (string, error) {
			found, err := net.DefaultResolver.LookupHost(ctx, host)
			return strings.Join(found, ", "), err
		})
		if err != nil {
			return err
		}
	}
	return j.step("route", func() (string, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "udp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			return "", err
		}
		defer c.Close() //nolint:errcheck // nothing was sent
		from, _, err := net.SplitHostPort(c.LocalAddr().String())
		return "from " + from + by(from), err
	})
}

// by names the interface that has an address: ", eth0".
func by(address string) string {
	ifaces, err := net.Interfaces()
	if err != nil {
		return "" // it is a courtesy
	}
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.String() == address {
				return ", " + i.Name
			}
		}
	}
	return ""
}
