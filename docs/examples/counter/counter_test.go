package counter_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/docs/examples/counter"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// device serves one counter, until the test ends.
func device(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // ends Accept
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				in := bufio.NewScanner(c)
				for n := 1; in.Scan(); n++ {
					answer := "?"
					if in.Text() == "parts" {
						answer = fmt.Sprint(n)
					}
					if _, err := fmt.Fprintln(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func variable(tag, node string) config.Variable {
	return config.Variable{Tag: tag, DriverID: "d1", Access: config.AccessR, Datatype: config.TypeUint64,
		Address: config.Address{Type: config.AddrOPCNode, Node: node}}
}

// TestRuns: the gateway's side of a protocol.
func TestRuns(t *testing.T) {
	factories, _, err := protocols.List{counter.Protocol()}.Factories(driver.Host{Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	addr := device(t)
	log := modbustest.NewLog()
	d, err := factories["counter"].New(driver.Config{
		ID: "d1", Item: config.Driver{Kind: config.KindStatic, Proto: "counter", Cfg: map[string]any{"polling": "10ms"}},
		Points: modbustest.Compile(t, []config.Variable{variable("a", "parts"), variable("b", "nothing")}, nil),
	}, driver.Deps{Endpoint: modbustest.Dial(t, "tcp", func() string { return addr }), Out: log})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- d.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil { // the test's context has ended
			t.Error(err)
		}
	})
	log.Good(t, "a", 3)
	if log.Bad("b") == 0 || log.Last("b").Quality != frame.Bad {
		t.Error("what the device does not know is not bad")
	}
	if st := d.Status(); st.State != driver.Running || st.Polls == 0 {
		t.Errorf("%+v", st)
	}
	if r, err := d.Read(t.Context(), "a"); err != nil || r.Value.Uint() == 0 {
		t.Errorf("read %v, %v", r.Value, err)
	}
}

// TestProbe: the side of the commands, which take the protocol from the list by the
// scheme of a URL, and of the gateway.
func TestProbe(t *testing.T) {
	addr := device(t)
	p, ok := append(protocols.Builtin(), counter.Protocol()).ForScheme("counter")
	if !ok || p.Name != "counter" {
		t.Fatalf("%q answers to counter://", p.Name)
	}
	to := driver.Target{Endpoint: modbustest.Dial(t, "tcp", func() string { return addr })}
	for _, want := range []struct{ name, document, cells, failure string }{
		{"parts", `{"counter":"parts","value":1}`, "[[parts 1]]", ""},
		{"nothing", `{"counter":"nothing","value":0}`, "[]", `the device has no counter "nothing"`},
	} {
		var cells [][]string
		r, err := p.Ability(driver.AbilityProbe).Run(t.Context(), to, driver.Args{Options: map[string]string{"counter": want.name}}, func(e driver.Event) error {
			cells = append(cells, e.Item.Cells)
			return nil
		})
		if err != nil || string(r.Document) != want.document || fmt.Sprint(cells) != want.cells || r.Failure != want.failure || len(r.Steps) != 1 {
			t.Errorf("%s: %s, %v, %+v, %v", want.name, r.Document, cells, r, err)
		}
	}
}

// TestLint: lint's side.
func TestLint(t *testing.T) {
	snap := &config.Snapshot{
		Endpoints: map[string]config.Endpoint{"e": {Scheme: "tcp", Host: "h", Port: 1}},
		Drivers:   map[string]config.Driver{"d1": {Kind: config.KindStatic, Proto: "counter", EndpointID: "e", Cfg: map[string]any{"polling": "5"}}},
		Variables: []config.Variable{variable("a", "parts"), variable("b", "")},
	}
	found := lint.Snapshot(snap, nil, append(protocols.Builtin(), counter.Protocol()))
	text := fmt.Sprint(found)
	if len(found) != 2 || !strings.Contains(text, "cfg.polling") || !strings.Contains(text, "expected node") {
		t.Errorf("found %v", found)
	}
}
