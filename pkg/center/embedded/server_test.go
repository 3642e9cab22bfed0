package embedded_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
)

// run starts a server in dir and returns it with a function that stops it and
// returns what Run returned.
func run(t *testing.T, dir, listen string, log *slog.Logger) (*embedded.Server, func() error) {
	t.Helper()
	s, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "etcd"), Socket: center.EmbeddedSocket(dir), Listen: listen, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := func() error { cancel(); err := <-done; done <- err; return err }
	t.Cleanup(func() { _ = stop() })
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatalf("Run: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("not ready in 20 s")
	}
	return s, stop
}

func client(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// shortDir is a directory whose name leaves room for a socket's path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestServesAndKeeps(t *testing.T) {
	dir := shortDir(t)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))

	begin := time.Now()
	s, stop := run(t, dir, "unix", log)
	t.Logf("first start: %v", time.Since(begin))
	c := client(t, s.Endpoint())
	if _, err := c.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != "" {
		t.Errorf("listens on %s", s.Addr())
	}
	for path, want := range map[string]os.FileMode{s.Endpoint()[len("unix:"):]: 0o600, filepath.Join(dir, "etcd"): 0o700} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %o", path, fi, err, want)
		}
	}

	// A client that watches must not hold up the stop.
	w := c.Watch(t.Context(), "k", clientv3.WithCreatedNotify())
	<-w
	begin = time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("stopping took %v", d)
	} else {
		t.Logf("stop: %v", d)
	}

	begin = time.Now()
	s, _ = run(t, dir, "127.0.0.1:0", log)
	t.Logf("second start: %v", time.Since(begin))
	got, err := client(t, s.Addr()).Get(t.Context(), "k")
	if err != nil || got.Count != 1 {
		t.Fatalf("after a restart: %v, %v", got, err)
	}
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "took too long") { // a busy machine
			t.Errorf("a normal life logs: %s", line)
		}
	}
}

// Damaged data is an error of Run, not the end of the process.
func TestDamagedLog(t *testing.T) {
	dir := shortDir(t)
	_, stop := run(t, dir, "", slog.New(slog.DiscardHandler))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	b, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 64; i < 512; i++ {
		b[i] ^= 0x5a
	}
	if err := os.WriteFile(logs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "etcd"), Socket: center.EmbeddedSocket(dir), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("Run with a damaged log: %v", err)
	}
	t.Log(err)
}

func TestConfig(t *testing.T) {
	ok := embedded.Config{Dir: "d", Socket: "s", Log: slog.New(slog.DiscardHandler)}
	for name, tc := range map[string]struct {
		change func(*embedded.Config)
		want   string
	}{
		"fine":        {func(*embedded.Config) {}, ""},
		"no dir":      {func(c *embedded.Config) { c.Dir = "" }, "must be set"},
		"long socket": {func(c *embedded.Config) { c.Socket = strings.Repeat("x", 108) }, "shorter data_dir"},
		"listen":      {func(c *embedded.Config) { c.Listen = "somewhere" }, "HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := ok
			tc.change(&cfg)
			_, err := embedded.New(cfg)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestFirstStartCutOff: a store that was never ready is made anew, and one that was stays.
func TestFirstStartCutOff(t *testing.T) {
	dir := shortDir(t)
	quiet := slog.New(slog.DiscardHandler)
	mark := filepath.Join(dir, "etcd", "BEGINNING")
	endpoint := "unix:" + center.EmbeddedSocket(dir)
	for n, keys := range []int64{0, 1, 0} {
		if n == 2 { // as if it had been killed before it was ready
			if err := os.WriteFile(mark, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, stop := run(t, dir, "", quiet)
		if _, err := os.Stat(mark); !os.IsNotExist(err) {
			t.Errorf("start %d: ready, and the mark is there (%v)", n, err)
		}
		etcd := client(t, endpoint)
		got, err := etcd.Get(t.Context(), "a")
		if err != nil || got.Count != keys {
			t.Fatalf("start %d: %d keys, want %d; %v", n, got.Count, keys, err)
		}
		if _, err := etcd.Put(t.Context(), "a", "b"); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}
