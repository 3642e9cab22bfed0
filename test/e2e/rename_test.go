package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestRenameConnector renames a connector whose broker is away, by rename_from and back
// by edge-bus consumers mv: what was delivered is not delivered again, what was in
// flight or waited is delivered once.
func TestRenameConnector(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), "    payload: json\n"), tables(plc.Addr, 10, "50ms"))
	file := filepath.Join(gw.Dir, "gateway.yml")
	rewrite := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), from) {
			t.Fatalf("no %q in %s", from, text)
		}
		gw.WriteFile(t, "gateway.yml", strings.Replace(string(text), from, to, 1))
	}
	round := func(rename func()) {
		t.Helper()
		gw.Start(t)
		n := sub.Count()
		peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Count() > n+200 })
		broker.Stop(t) // in the middle of delivery
		time.Sleep(500 * time.Millisecond)
		gw.Stop(t)
		rename()
		broker.Start(t)
	}
	round(func() { rewrite("  mqtt:\n", "  cloud:\n    rename_from: mqtt\n") })
	round(func() {
		rewrite("  cloud:\n    rename_from: mqtt\n", "  mqtt:\n")
		run(t, "edge-bus", "--wal-dir", filepath.Join(gw.Dir, "data", "log"), "consumers", "mv", "cloud", "mqtt")
	})
	gw.Start(t)
	n := sub.Count()
	peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Count() > n+200 })
	gw.Stop(t)
	seen, last := map[string]bool{}, uint64(0)
	for _, m := range sub.Messages() {
		for _, f := range m.Frames {
			key := fmt.Sprint(m.Properties["epoch"], "/", f.Seq)
			if seen[key] {
				t.Fatalf("%s arrived twice", key)
			}
			seen[key], last = true, max(last, f.Seq)
		}
	}
	if uint64(len(seen)) != last {
		t.Errorf("%d frames of %d", len(seen), last)
	}
	if !strings.Contains(gw.Output(), "a connector was renamed") {
		t.Error("nobody was told")
	}
}
