package embedded_test

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
)

// TestServesNothingBesideItsAPI: who may reach the listener gets etcd's API, and neither
// the command line nor anything else in HTTP.
func TestServesNothingBesideItsAPI(t *testing.T) {
	s, stop := run(t, shortDir(t), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	c := client(t, s.Addr())
	if _, err := c.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/debug/vars", "/debug/pprof/", "/metrics", "/version", "/health"} {
		h := http.Client{Timeout: 2 * time.Second}
		resp, err := h.Get("http://" + s.Addr() + path)
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK || strings.Contains(string(body), "cmdline") {
			t.Errorf("%s: %s %.80s", path, resp.Status, body)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestSocketIsBornPrivate: under any umask the socket is never open to others, not for
// the moment before its mode is set either.
func TestSocketIsBornPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := shortDir(t)
	stopLooking := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			for _, path := range []string{center.EmbeddedSocket(dir), filepath.Join(dir, "etcd", "http")} {
				if fi, err := os.Stat(path); err == nil && fi.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has mode %v", path, fi.Mode())
					return
				}
			}
			select {
			case <-stopLooking:
				return
			default:
			}
		}
	})
	_, stop := run(t, dir, "127.0.0.1:0", slog.New(slog.DiscardHandler))
	close(stopLooking)
	looking.Wait()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
