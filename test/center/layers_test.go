package center_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/overlay"
)

// layered makes the tables of a fleet of these gateways that hold version v: each has an
// endpoint of its own name.
func layered(n, v int, gateways ...string) *config.Document {
	d := config.Delta{Put: map[config.Table]map[string]json.RawMessage{
		config.Groups:   {"press": json.RawMessage(`{"drivers":{"drv":{"cfg":{"polling":"200ms"}}},"select":"line=press"}`)},
		config.Gateways: {},
	}}
	for _, id := range gateways {
		d.Put[config.Gateways][id] = fmt.Appendf(nil, `{"endpoints":{"plc":{"host":%q}},"labels":{"line":"press"}}`, id+".local")
	}
	doc, err := d.Apply(document(n, v))
	if err != nil {
		fail(err)
	}
	return doc
}

// runOf is what a gateway of the fleet in doc runs.
func runOf(t *testing.T, doc *config.Document, gateway string) *config.Document {
	t.Helper()
	f, _ := overlay.New(doc)
	r, err := f.Render(gateway)
	if err != nil || len(r.Problems) > 0 {
		t.Fatal(err, r)
	}
	return r.Runs()
}

// version says what a writer's document of number n is, plain or of a fleet.
func version(n int) *config.Document {
	if names := os.Getenv("FLEET"); names != "" {
		return layered(20+n%30, n, strings.Fields(names)...)
	}
	return document(20+n%30, n)
}

// The server and those who push a fleet are killed at random moments. A gateway never runs
// anything but what is rendered for it, of one version whole, and one that isn't named runs
// nothing. The next push reaches them all.
func TestLayersKilled(t *testing.T) {
	dir := shortDir(t)
	endpoint := "unix:" + center.EmbeddedSocket(dir)
	srv, _ := child(t, "server", "DIR="+dir)
	names := []string{"lyon", "ulm", "turin"}
	for _, name := range names {
		_, stop := follow(t, []string{endpoint}, name, func(s *config.Snapshot) {
			if len(s.Variables) < 20 || s.Endpoints["plc"].Host != name+".local" || s.Drivers["drv"].Cfg["polling"] != "200ms" {
				t.Errorf("%s runs %+v, %+v", name, s.Endpoints["plc"], s.Drivers["drv"])
				return
			}
			for _, v := range s.Variables {
				if v.Unit != s.Variables[0].Unit {
					t.Errorf("%s runs versions %s and %s", name, s.Variables[0].Unit, v.Unit)
					return
				}
			}
		})
		defer stop()
	}
	_, stop := follow(t, []string{endpoint}, "outsider", func(s *config.Snapshot) { t.Errorf("the outsider runs %+v", s.Endpoints) })
	defer stop()

	l, acks := &ledger{acks: map[int64]string{}}, 0
	for round := range campaign(4, 200) {
		w, lines := child(t, "writer", "FLEET="+strings.Join(names, " "), "ENDPOINTS="+endpoint,
			fmt.Sprint("OPS=", []int{128, 14}[round%2]), fmt.Sprint("FROM=", round*1000))
		var wg sync.WaitGroup
		wg.Go(func() { l.read(t, lines) })
		until(t, "the writer is at work", func() bool { return l.len() > acks })
		acks = l.len()
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // the moment of the kill is the test
		if round%2 == 1 {
			kill(srv)
		}
		_ = w.Process.Kill()
		wg.Wait()
		kill(w)
		if round%2 == 1 {
			srv, _ = child(t, "server", "DIR="+dir)
		}
		expire(t, endpoint)
	}
	s := open(t, []string{endpoint}, 14)
	base, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doc := layered(33, -1, names...)
	if _, err := s.Push(t.Context(), base, doc, center.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "all run what is rendered for them", func() bool {
		all, err := s.Gateways(t.Context())
		ok := err == nil && len(all) == len(names)+1
		for _, g := range all {
			if g.Gateway == "outsider" {
				ok = ok && g.State == center.Rejected
			} else {
				ok = ok && g.State == center.Applied && g.SHA256 == runOf(t, doc, g.Gateway).SHA256()
			}
		}
		return ok
	})
	found, err := s.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		if d.Health == center.Sick {
			t.Errorf("%s: %s", d.Check, d.Message)
		}
	}
	l.check(t, s)
}
