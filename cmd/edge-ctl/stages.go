package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// stage is one step on the way to an answer.
type stage struct {
	Name  string  `json:"name"` // "name", "route", "tcp", "tls", "answer" …
	Ms    float64 `json:"ms"`
	Text  string  `json:"text,omitempty"`
	Error string  `json:"error,omitempty"` // where it ended
}

// line shows the stage to a person.
func (s stage) line() string {
	text := s.Text
	if s.Error != "" {
		text = "failed: " + s.Error
	}
	return fmt.Sprintf("%-8s %8.1f ms  %s", s.Name, s.Ms, text)
}

// journey notes stages.
type journey struct{ stages []stage }

// step runs do as one stage.
func (j *journey) step(name string, do func() (string, error)) error {
	began := time.Now()
	text, err := do()
	s := stage{Name: name, Ms: ms(time.Since(began)), Text: text}
	if err != nil {
		s.Error = err.Error()
	}
	j.stages = append(j.stages, s)
	return err
}

// probeDirect dials to, step by step, and asks once. An error is of the way
// there; the stages tell how far it went.
func probeDirect(ctx context.Context, to target, q modbus.Question) (modbus.Answer, []stage, error) {
	var j journey
	began := time.Now()
	conn, err := j.dial(ctx, to.url)
	if err != nil {
		return modbus.Answer{}, j.stages, err
	}
	connected := time.Since(began)
	a, err := modbus.Probe(ctx, once{conn}, to.item, q)
	a.Connect = connected
	return a, j.stages, err
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
		if layer != endpoint.TLS && layer != endpoint.DTLS || len(j.stages) == 0 || j.stages[len(j.stages)-1].Error != "" {
			continue
		}
		s := stage{Name: layer.String(), Ms: ms(time.Since(opened)), Text: "secured"}
		if err != nil {
			s.Error = err.Error()
		}
		j.stages = append(j.stages, s)
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

// once is an endpoint with one connection, for one question.
type once struct{ conn net.Conn }

// Acquire implements [endpoint.Acquirer].
func (o once) Acquire(context.Context) (endpoint.Lease, error) { return onceLease{o.conn}, nil }

type onceLease struct{ net.Conn }

// Release closes the connection: it has had its answer.
func (l onceLease) Release(error) { _ = l.Close() }
