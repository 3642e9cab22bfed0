package embedded

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// TestKeepsItselfSmall writes five times what the database may have, over the same keys,
// faster than it is looked after: it fills, and makes room by itself, the alarm included.
func TestKeepsItselfSmall(t *testing.T) {
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const quota = 4 << 20
	s, err := New(Config{Dir: filepath.Join(dir, "etcd"), Socket: filepath.Join(dir, "s"), Quota: quota, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.look = 300 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	value := make([]byte, 512<<10)
	full := 0
	for i := 0; i < 5*quota/len(value); {
		_, _ = rand.Read(value) // never fails
		_, err := c.Put(t.Context(), string(rune('a'+i%2)), string(value))
		if err == nil {
			i++
			continue
		}
		if full++; full > 100 {
			t.Fatalf("it stays full: %v, %+v", err, s.Usage())
		}
		time.Sleep(100 * time.Millisecond) // as somebody who pushes again
	}
	if full == 0 {
		t.Error("it never was full: the test has nothing to show")
	}
	for deadline := time.Now().Add(10 * time.Second); s.Usage().Full || s.Usage().Size > quota; time.Sleep(50 * time.Millisecond) { // the server is at work
		if time.Now().After(deadline) {
			t.Fatalf("it stays full: %+v", s.Usage())
		}
	}
}
