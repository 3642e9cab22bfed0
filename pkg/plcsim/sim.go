package plcsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/simonvetter/modbus"
)

// Config says what to simulate.
type Config struct {
	// Listen is the TCP address; port 0 takes a free one. Default 127.0.0.1:0.
	Listen string
	// Units are the unit ids that answer; others get exception 0x0B, as from a
	// Modbus gateway. Default: 1.
	Units []uint8
	// Layout are the signals that move in every unit.
	Layout Layout
	// Step is how often signals move. Default 100 ms.
	Step time.Duration
	// Size is the number of items of each table of a unit, 1 to 65536; addresses
	// from there on get exception 0x02. Default 10,000, or what Layout needs.
	Size int
	// Cert and ClientCAs, if set, make it Modbus/TCP Security: TLS with a client
	// certificate.
	Cert      *tls.Certificate
	ClientCAs *x509.CertPool
}

const (
	defaultSize = 10000
	defaultStep = 100 * time.Millisecond
	maxClients  = 4096
	idleTimeout = 10 * time.Minute
	portTries   = 20
)

// Sim is a running PLC.
type Sim struct {
	layout Layout
	step   time.Duration
	addr   string
	server *modbus.ModbusServer
	units  map[uint8]*unit
	done   chan struct{} // closed when Run ends

	mu    sync.Mutex
	start time.Time
	rnd   *rand.Rand
}

// New binds the listener and begins to answer; signals move while Run runs. Call
// Run, or Close, to free the listener.
func New(cfg Config) (*Sim, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if len(cfg.Units) == 0 {
		cfg.Units = []uint8{1}
	}
	if cfg.Step <= 0 {
		cfg.Step = defaultStep
	}
	if err := cfg.Layout.check(); err != nil {
		return nil, fmt.Errorf("simulated PLC: %w", err)
	}
	if cfg.Size == 0 {
		cfg.Size = max(defaultSize, cfg.Layout.size())
	}
	if cfg.Size < cfg.Layout.size() || cfg.Size > 1<<16 {
		return nil, fmt.Errorf("simulated PLC: size %d, expected %d to 65536", cfg.Size, max(1, cfg.Layout.size()))
	}
	s := &Sim{
		layout: cfg.Layout, step: cfg.Step,
		units: make(map[uint8]*unit, len(cfg.Units)),
		done:  make(chan struct{}),
		start: time.Now(),
		rnd:   rand.New(rand.NewPCG(1, 2)), // the same walk every time
	}
	for _, id := range cfg.Units {
		s.units[id] = newUnit(cfg.Size)
	}
	s.move(s.start)
	if err := s.listen(cfg); err != nil {
		return nil, fmt.Errorf("simulated PLC: listen on %s: %w", cfg.Listen, err)
	}
	return s, nil
}

// listen starts the server. The library does not tell which port it was given,
// so a free one is looked for first.
func (s *Sim) listen(cfg Config) error {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		s.addr = cfg.Listen
		if port == "0" {
			if s.addr, err = freePort(host); err != nil {
				return err
			}
		}
		if s.server, err = modbus.NewServer(s.serverConfig(cfg), s); err != nil {
			return err
		}
		err = s.server.Start()
		if err == nil || port != "0" || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
}

func (s *Sim) serverConfig(cfg Config) *modbus.ServerConfiguration {
	c := &modbus.ServerConfiguration{
		URL:        "tcp://" + s.addr,
		Timeout:    idleTimeout,
		MaxClients: maxClients,
		Logger:     log.New(io.Discard, "", 0),
	}
	if cfg.Cert != nil {
		c.URL = "tcp+tls://" + s.addr
		c.TLSServerCert, c.TLSClientCAs = cfg.Cert, cfg.ClientCAs
	}
	return c
}

func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Addr returns the address that the PLC listens on, host:port.
func (s *Sim) Addr() string { return s.addr }

// Run moves the signals until ctx ends, then closes every connection and the
// listener.
func (s *Sim) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.step)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.move(now)
		case <-s.done:
			return nil
		case <-ctx.Done():
			return s.Close()
		}
	}
}

// Close frees the listener and ends Run. It may be called once Run has ended.
func (s *Sim) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return nil
	default:
		close(s.done)
	}
	if err := s.server.Stop(); err != nil {
		return fmt.Errorf("simulated PLC: %w", err)
	}
	return nil
}

// PowerOff closes every connection and the listener: dialling is refused.
func (s *Sim) PowerOff() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.Stop()
}

// PowerOn listens again after PowerOff.
func (s *Sim) PowerOn() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.Start()
}

// move gives every signal its value at now.
func (s *Sim) move(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := now.Sub(s.start)
	for _, u := range s.units {
		u.mu.Lock()
		for i := range s.layout {
			s.layout[i].move(u, t, s.rnd)
		}
		u.mu.Unlock()
	}
}
