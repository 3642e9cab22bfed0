package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// TestSafe: whatever the tables hold, a gateway that is started with --safe touches neither
// devices nor brokers, and its store and its admin socket are there to put it right.
func TestSafe(t *testing.T) {
	var dialled atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			dialled.Add(1)
			_ = c.Close()
		}
	}()
	dir, err := os.MkdirTemp("", "safe") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := l.Addr().(*net.TCPAddr).Port
	for name, text := range map[string]string{
		"gateway.yml": fmt.Sprintf("gateway_id: g\ndata_dir: %s/data\nmetrics: {listen: \"\"}\nconfig: {dir: %s/config}\n"+
			"connectors: {mqtt: {kind: mqtt5, endpoint: \"mqtt://127.0.0.1:%d\", topic: /t}}\n", dir, dir, port),
		"config/endpoints.yml": fmt.Sprintf("plc: {scheme: tcp, host: 127.0.0.1, port: %d}\n", port),
		"config/drivers.yml":   "line: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 50ms}}\n",
		"config/variables.yml": "- {tag: a, driver_id: line, access: R, address: {type: holding, addr: 40001}, datatype: uint16}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := bootstrap.Load(filepath.Join(dir, "gateway.yml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, safe := range []bool{true, false} { // without it, this test sees what it looks for
		dialled.Store(0)
		g, err := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar), Safe: safe})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		if safe {
			rescue(t, dir, cfg)
		} else {
			for until := time.Now().Add(time.Minute); dialled.Load() == 0 && time.Now().Before(until); {
				time.Sleep(10 * time.Millisecond) // asked again
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := dialled.Load(); (n == 0) != safe {
			t.Errorf("safe %v: %d connections were made", safe, n)
		}
	}
}

// rescue does what a person would who puts a gateway right.
func rescue(t *testing.T, dir string, cfg *bootstrap.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var store *center.Store
	err := again(ctx, func() (err error) {
		store, err = center.Open(ctx, center.Config{Endpoints: []string{"unix:" + center.EmbeddedSocket(cfg.DataDir)}, Prefix: cfg.Config.Etcd.Prefix})
		return err
	})
	if err != nil {
		t.Fatalf("the store: %v", err)
	}
	defer func() { _ = store.Close() }()
	base, err := store.Load(ctx)
	if err == nil {
		_, err = store.Push(ctx, base, &config.Document{}, center.PushOptions{})
	}
	if err != nil {
		t.Errorf("a push: %v", err)
	}
	var told string
	err = again(ctx, func() error {
		c, err := admin.Dial(ctx, cfg.Admin.Socket)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		s, err := c.Status.GetStatus(ctx, &pb.GetStatusRequest{})
		told = fmt.Sprint(s.GetProblems())
		return err
	})
	if err != nil || !strings.Contains(told, "--safe") {
		t.Errorf("the status: %s, %v", told, err)
	}
}

// again tries until f succeeds or ctx ends.
func again(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond) // asked again
	}
}
