package center

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// startEtcd runs an embedded server until the test ends and returns its endpoint.
func startEtcd(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	endpoint, _ := startEtcdIn(t, dir)
	return endpoint
}

// startEtcdIn runs a server on dir until stop is called or the test ends.
func startEtcdIn(t testing.TB, dir string) (endpoint string, stop func()) {
	t.Helper()
	srv, err := embedded.New(embedded.Config{
		Dir: filepath.Join(dir, "etcd"), Socket: EmbeddedSocket(dir), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Run(ctx); err != nil {
			t.Errorf("etcd: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	select {
	case <-srv.Ready():
	case <-done:
		t.FailNow()
	}
	return srv.Endpoint(), stop
}

// openStore returns a store that is closed when the test ends.
func openStore(t testing.TB, endpoint string, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Endpoints: []string{endpoint}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// small bounds transactions, so that little pushes need many of them.
func small(ops int) func(*Config) {
	return func(c *Config) { c.MaxTxnOps = ops }
}

// docOf makes a document of n variables whose JSON holds v, and one endpoint and
// driver.
func docOf(t testing.TB, n int, v any) *config.Document {
	t.Helper()
	tables := map[config.Table][]config.Item{
		config.Endpoints: {{ID: "plc", JSON: []byte(`{"host":"127.0.0.1","port":502,"scheme":"tcp"}`)}},
		config.Drivers:   {{ID: "drv", JSON: []byte(`{"cfg":{"polling":"1s","unit_id":1},"endpoint_id":"plc","kind":"static","proto":"modbus"}`)}},
	}
	for i := range n {
		tables[config.Variables] = append(tables[config.Variables], variable(i, v))
	}
	doc, err := config.NewDocument(tables)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// variable returns an item as the tables have them; v goes into its unit.
func variable(i int, v any) config.Item {
	tag := fmt.Sprintf("plant.line%02d.tag%06d", i%20, i)
	unit, err := json.Marshal(fmt.Sprint(v))
	if err != nil {
		panic(err)
	}
	return config.Item{ID: tag, JSON: fmt.Appendf(nil, `{"access":"R","address":{"addr":%d,"type":"holding"},"datatype":"uint16","driver_id":"drv","tag":%q,"unit":%s}`,
		40001+i%9000, tag, unit)}
}

// with returns doc with one more or another item.
func with(t testing.TB, doc *config.Document, table config.Table, it config.Item) *config.Document {
	t.Helper()
	d := config.Delta{Put: map[config.Table]map[string]json.RawMessage{table: {it.ID: it.JSON}}}
	next, err := d.Apply(doc)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func mustLoad(t testing.TB, s *Store) Version {
	t.Helper()
	v, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustPush(t testing.TB, s *Store, doc *config.Document) Commit {
	t.Helper()
	c, err := s.Push(t.Context(), mustLoad(t, s), doc, PushOptions{Author: Author{OSUser: "ann", Host: "pc"}, Message: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// holds checks that the store's head and its item keys are doc.
func holds(t testing.TB, s *Store, doc *config.Document) {
	t.Helper()
	v := mustLoad(t, s)
	if v.Document().SHA256() != doc.SHA256() || v.Commit.SHA256 != doc.SHA256() {
		t.Fatalf("the store holds %.12s (commit %.12s), expected %.12s", v.Document().SHA256(), v.Commit.SHA256, doc.SHA256())
	}
	items, err := s.readItems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := items.changesTo(doc); len(diff) > 0 {
		t.Fatalf("%d item keys differ from the document, the first is %s/%s: %s", len(diff), diff[0].Table, diff[0].ID, diff[0].Old)
	}
}

// eventually waits for cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // other goroutines and etcd are at work
	}
}
