// Package demo runs the whole gateway on one machine with nothing else installed:
// simulated PLCs on loopback, an embedded MQTT broker, and a consumer that proves that
// every value of the PLCs arrives, and only once. The gateway between them is the
// product, started from files like any other.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/gateway"
)

// Options choose what the demo shows.
type Options struct {
	PLCs     int           // 1–200
	Points   int           // per PLC, 1–50000
	Polling  time.Duration // 10ms or more
	Duration time.Duration // 0: until ctx ends
	DataDir  string        // "": a temporary directory, removed at the end
	Broker   string        // URL; "": an embedded broker
}

func (o *Options) check() error {
	switch {
	case o.PLCs < 1 || o.PLCs > 200:
		return cli.Usagef("--plcs %d: expected 1 to 200", o.PLCs)
	case o.Points < 1 || o.Points > 50000:
		return cli.Usagef("--points %d: expected 1 to 50000", o.Points)
	case o.Polling < 10*time.Millisecond:
		return cli.Usagef("--polling %s: expected 10ms or more", o.Polling)
	case o.Duration < 0:
		return cli.Usagef("--duration %s: expected 0 or more", o.Duration)
	}
	return nil
}

// What the demo's gateway.yml says.
const (
	gatewayID = "demo"
	topic     = "/edge/acme/line-1/data"
)

// Run shows the demo until ctx ends or o.Duration is over.
func Run(ctx context.Context, out *cli.Output, o Options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	if o.DataDir == "" {
		if o.DataDir, err = os.MkdirTemp("", "edge-gw-demo-"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.DataDir)) }()
	}
	if o.DataDir, err = filepath.Abs(o.DataDir); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	s := &stage{out: out, log: log, level: level, opts: o}
	defer s.close()
	if err := s.build(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return s.play(ctx)
}

// stage is everything that the demo runs.
type stage struct {
	out   *cli.Output
	log   *slog.Logger
	level *slog.LevelVar
	opts  Options

	plant  *plant
	broker *broker
	gw     *gateway.Gateway
	proof  *proof
	url    string // of the broker
}

// build starts the PLCs and the broker, writes the files, and opens the gateway.
func (s *stage) build() (err error) {
	if s.plant, err = newPlant(s.opts.PLCs, s.opts.Points, s.opts.Polling); err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler) // the broker's log would drown the gateway's
	if s.url = s.opts.Broker; s.url == "" {
		if s.broker, err = startBroker(quiet); err != nil {
			return err
		}
		s.url = s.broker.URL()
	}
	cfg, err := s.writeFiles()
	if err != nil {
		return err
	}
	if s.proof, err = startProof(context.Background(), s.url, s.opts.DataDir, s.log); err != nil {
		return err
	}
	// The picture is the demo's output; of the log only what is wrong belongs
	// beside it.
	cfg.Log.Level = "warn"
	s.gw, err = gateway.Open(cfg, gateway.Options{Log: s.log, Level: s.level})
	return err
}

// dataDir is the gateway's data_dir, as gateway.yml names it.
func (s *stage) dataDir() string { return filepath.Join(s.opts.DataDir, "data") }

func (s *stage) writeFiles() (*bootstrap.Gateway, error) {
	tables := filepath.Join(s.opts.DataDir, "config")
	if err := os.MkdirAll(tables, 0o700); err != nil {
		return nil, err
	}
	if err := s.plant.writeTables(tables); err != nil {
		return nil, err
	}
	// The PLCs of an earlier run were elsewhere: its etcd is of no use.
	for _, name := range []string{"etcd", "config.cache"} {
		if err := os.RemoveAll(filepath.Join(s.dataDir(), name)); err != nil {
			return nil, err
		}
	}
	// The port that Prometheus expects, if it is free. Somebody may take it
	// before the gateway does; then the gateway says so.
	l, err := listenNear("127.0.0.1:9100")
	if err != nil {
		return nil, err
	}
	metrics := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	path := filepath.Join(s.opts.DataDir, "gateway.yml")
	if err := writeGatewayYML(path, metrics, s.url); err != nil {
		return nil, err
	}
	return bootstrap.Load(path, nil, nil)
}

// play runs the gateway until ctx ends; PLCs, broker and consumer outlive it, so
// that the last value still arrives.
func (s *stage) play(ctx context.Context) error {
	world, stopWorld := context.WithCancel(context.WithoutCancel(ctx))
	var sims sync.WaitGroup
	defer sims.Wait()
	defer stopWorld()
	for _, sim := range s.plant.sims {
		sims.Go(func() {
			if err := sim.Run(world); err != nil {
				s.log.Error("a simulated PLC has failed", "error", err)
			}
		})
	}
	v := &view{out: s.out, gw: s.gw, proof: s.proof, began: time.Now(), where: listening{
		Metrics: s.gw.Addresses().Metrics, Broker: config.MaskUser(s.url), Admin: s.gw.Addresses().Admin, DataDir: s.opts.DataDir, Topic: topic,
		Center: "unix:" + center.EmbeddedSocket(s.dataDir()),
	}}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() {
		defer stop() // a gateway that ends ends the show
		ran <- s.gw.Run(ctx)
	}()
	shown := v.run(ctx)
	stop()
	return errors.Join(shown, <-ran, v.end())
}

// close releases what build took, in whatever state it is.
func (s *stage) close() {
	if s.proof != nil {
		s.proof.stop()
	}
	if s.plant != nil {
		for _, sim := range s.plant.sims {
			if err := sim.Close(); err != nil {
				s.log.Debug("close a simulated PLC", "error", err)
			}
		}
	}
	if s.broker != nil {
		if err := s.broker.Close(); err != nil {
			s.log.Debug("close the broker", "error", err)
		}
	}
}

// portOf returns the port of a URL or address, for what is typed by hand.
func portOf(url string) string {
	_, port, err := net.SplitHostPort(url)
	if err != nil {
		return "1883"
	}
	return port
}
