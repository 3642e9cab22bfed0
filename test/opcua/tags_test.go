package opcua

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// A node that the server does not have is bad alone, with the server's reason; one whose
// value is bad has the server's status.
func TestBadAlone(t *testing.T) {
	srv := start(t, settings{MaxNodes: 2}) // the limits of the server are kept
	r := run(t, options{port: srv.cfg.Port, opts: none(), cfg: map[string]any{"publishing": "50ms", "polling": "50ms", "retry": "1s"}, vars: []config.Variable{
		variable("good", "ns=2;s=Temp", config.TypeFloat64), variable("more", "ns=2;s=Press", config.TypeFloat64), variable("level", "ns=2;s=Level", config.TypeFloat64),
		variable("unknown", "ns=2;s=Nope", config.TypeFloat64), variable("path", "/Objects/2:Line/2:Nope", config.TypeFloat64),
		variable("uri", "nsu=urn:nowhere;s=Temp", config.TypeFloat64), variable("folder", "i=85", config.TypeFloat64),
		variable("text", "ns=2;s=ScalarString", config.TypeFloat64), variable("small", "ns=2;s=ScalarUInt32", config.TypeUint8),
	}})
	for _, tag := range []string{"good", "more", "level"} {
		r.wait(tag, patience, func() bool { f, ok := r.last(tag); return ok && f.Quality == frame.Good })
	}
	for tag, want := range map[string]string{
		"unknown": "BadNodeIdUnknown", "path": "BadNoMatch", "uri": "no namespace urn:nowhere", "folder": "BadAttributeIdInvalid", "text": "String", "small": "4294967295",
	} {
		r.wait(tag+" is bad", patience, func() bool { f, ok := r.last(tag); return ok && f.Quality == frame.Bad })
		_, reasons := r.driver.(driver.Reasoner).Reasons()
		if got := reasons[tag]; !strings.Contains(got.Text, want) || got.Hint == "" {
			t.Errorf("%s: the reason is %+v, want %q in it and a hint", tag, got, want)
		}
	}
	time.Sleep(1500 * time.Millisecond) // one more attempt
	for _, tag := range []string{"unknown", "path", "uri"} {
		if n := len(r.of(tag)); n != 1 {
			t.Errorf("%s was told bad %d times", tag, n)
		}
	}
	srv.do(map[string]any{"cmd": "bad", "node": "Temp", "status": "BadSensorFailure"})
	r.wait("the sensor's failure", patience, func() bool { f, _ := r.last("good"); return f.Quality == frame.Bad })
	if _, reasons := r.driver.(driver.Reasoner).Reasons(); !strings.Contains(reasons["good"].Text, "BadSensorFailure") {
		t.Errorf("reasons %+v", reasons)
	}
	srv.do(map[string]any{"cmd": "set", "node": "Temp", "value": 21.5})
	r.waitValue("good", "21.5")
	if _, reasons := r.driver.(driver.Reasoner).Reasons(); reasons["good"].Text != "" {
		t.Errorf("reasons %+v", reasons)
	}
}

// Values are written in the server's own type, whatever the variable's is.
func TestWrites(t *testing.T) {
	srv := start(t, settings{}) // of its own: it is changed
	types := map[string]config.DataType{
		"Boolean": config.TypeBool, "SByte": config.TypeInt16, "Byte": config.TypeUint8, "Int16": config.TypeInt32, "UInt16": config.TypeFloat64, "Int32": config.TypeInt32,
		"UInt32": config.TypeUint32, "Int64": config.TypeInt64, "UInt64": config.TypeUint64, "Float": config.TypeFloat64, "Double": config.TypeFloat32,
		"String": config.TypeString, "DateTime": config.TypeString, "LocalizedText": config.TypeString, "ByteString": config.TypeBinary,
		"Guid": config.TypeString, "StatusCode": config.TypeUint32,
	}
	vars := []config.Variable{variable("array", "ns=2;s=ArrayInt32", config.TypeInt32), variable("gone", "ns=2;s=Nope", config.TypeInt32)}
	for name, t := range types {
		vars = append(vars, variable(name, "ns=2;s=Scalar"+name, t))
	}
	ro := variable("readonly", "ns=2;s=Level", config.TypeUint16)
	ro.Access = config.AccessR
	r := run(t, options{port: srv.cfg.Port, opts: none(), vars: append(vars, ro), cfg: map[string]any{"enable_write": true, "verify_write": true, "publishing": "50ms", "polling": "50ms"}})
	r.wait("values", patience, func() bool { return len(r.of("Double")) > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for name, v := range map[string]frame.Value{
		"Boolean": frame.BoolValue(false), "SByte": frame.IntValue(-5), "Byte": frame.IntValue(7), "Int16": frame.IntValue(-300), "UInt16": frame.FloatValue(77),
		"Int32": frame.IntValue(-70000), "UInt32": frame.IntValue(4000000000), "Int64": frame.IntValue(-9007199254740993), "UInt64": frame.UintValue(18446744073709551614),
		"Float": frame.FloatValue(2.25), "Double": frame.FloatValue(-0.5), "String": frame.StringValue("neu"), "DateTime": frame.StringValue("2027-01-02T03:04:05Z"),
		"LocalizedText": frame.StringValue("an"), "ByteString": frame.BytesValue([]byte{1, 2, 3}), "Guid": frame.StringValue("09087E75-8E5E-499B-954F-F2A9603DB28A"),
		"StatusCode": frame.IntValue(0),
	} {
		res, err := r.driver.Write(ctx, driver.Write{Tag: name, Value: v})
		if err != nil {
			t.Errorf("write %v to %s: %v", v, name, err)
			continue
		}
		if res.ReadBack.String() != v.String() {
			t.Errorf("write %v to %s: read back %v", v, name, res.ReadBack)
		}
		r.waitValue(name, v.String())
	}
	for tag, c := range map[string]struct {
		v    frame.Value
		want error
		text string
	}{
		"SByte": {frame.IntValue(200), point.ErrRange, "SByte"}, "UInt16": {frame.FloatValue(1.5), point.ErrRange, "UInt16"}, "array": {frame.IntValue(1), nil, "array"},
		"gone": {frame.IntValue(1), nil, "BadNodeIdUnknown"}, "readonly": {frame.IntValue(1), driver.ErrAccess, "access"}, "Guid": {frame.StringValue("x"), point.ErrRange, "GUID"},
	} {
		_, err := r.driver.Write(ctx, driver.Write{Tag: tag, Value: c.v})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("write %v to %s: %v, want %v and %q", c.v, tag, err, c.want, c.text)
		}
	}
}

// A server that gives its namespaces other indexes when it starts anew: nodes with their
// namespace's URI are found again.
func TestNamespacesMove(t *testing.T) {
	if !long() {
		t.Skip("EDGE_OPCUA=all runs it")
	}
	srv := start(t, settings{})
	r := run(t, options{port: srv.cfg.Port, opts: none(), vars: []config.Variable{variable("a", "nsu=urn:plant:line1;s=Temp", config.TypeFloat64)},
		cfg: map[string]any{"publishing": "50ms", "keepalive": "500ms", "timeout": "2s"}})
	r.waitValue("a", "20")
	srv.Kill()
	r.wait("bad", patience, func() bool { f, _ := r.last("a"); return f.Quality == frame.Bad })
	srv.cfg.Namespaces = []string{"urn:new:1", "urn:new:2"}
	srv.begin()
	r.waitValue("a", "20")
}

// Ten thousand nodes are subscribed in the server's own portions; a change of one
// variable disturbs no other.
func TestManyNodes(t *testing.T) {
	nodes, srv := 1500, shared(t)
	if long() {
		nodes = 10_000
		srv = start(t, settings{Nodes: nodes, CountEvery: 100})
	}
	vars := []config.Variable{variable("Count", "ns=2;s=Count", config.TypeUint32)}
	for i := range nodes {
		vars = append(vars, variable(fmt.Sprintf("n%05d", i), fmt.Sprintf("ns=2;s=N%d", i), config.TypeInt32))
	}
	r := run(t, options{port: srv.cfg.Port, opts: none(), vars: vars, cfg: map[string]any{"publishing": "100ms", "polling": "50ms", "timeout": "20s", "queue_size": 100}})
	began := time.Now()
	r.wait("all values", 2*patience, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.frames) > nodes })
	t.Logf("%d nodes after %v", nodes, time.Since(began).Round(time.Millisecond))
	r.wait("all good", patience, func() bool {
		for i := range vars {
			if f, ok := r.last(vars[i].Tag); !ok || f.Quality != frame.Good {
				return false
			}
			if i > 20 {
				return true
			}
		}
		return true
	})
	changed := append([]config.Variable{}, vars...)
	changed[1].Address.Node = "ns=2;s=N2"
	changed[2].Scale = "value * 10"
	table, err := point.Compile("d", changed, r.table)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.driver.Update(table); err != nil {
		t.Fatal(err)
	}
	r.waitValue("n00000", "2")
	r.waitValue("n00001", "10")
	time.Sleep(500 * time.Millisecond) // some counts more
	if l := r.ledger(); l.missing > 0 || len(l.gaps) > 0 {
		t.Errorf("the update cost values: %+v", l)
	}
	if n := len(r.of("n00005")); n != 1 {
		t.Errorf("a variable that stayed has %d frames", n)
	}
}

// Browsing finds each node once below each parent, and what it says can be read.
func TestBrowse(t *testing.T) {
	srv := shared(t)
	r := build(t, options{port: srv.cfg.Port, opts: none()})
	item := config.Endpoint{Scheme: opcua.Scheme, Host: "127.0.0.1", Port: uint16(srv.cfg.Port), Opts: none()}
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(context.Background())
	tcp, _ := opcua.Transport(item)
	u, err := endpoint.FromTable(tcp.Scheme, tcp.Host, tcp.Port, tcp.Opts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pool.Open("b", u)
	if err != nil {
		t.Fatal(err)
	}
	opts := opcua.Options{PKI: r.pki, Name: "test"}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s, err := opcua.Connect(ctx, h, item, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	line, err := opcua.ParseNode("/Objects/2:Line")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]opcua.Found{}
	if err := s.Browse(ctx, line, opcua.BrowseOptions{Values: true, Found: func(f opcua.Found) error { found[f.Path] = f; return nil }}); err != nil {
		t.Fatal(err)
	}
	if f := found["/2:N7"]; f.Node != "ns=2;s=N7" || f.Stable != "nsu=urn:plant:line1;s=N7" || f.Type != "Int32" || f.Value != "7" || f.Access != "RW" {
		t.Errorf("N7 is %+v", f)
	}
	if len(found) < 1500 {
		t.Errorf("%d nodes were found", len(found))
	}
	all := 0
	root, _ := opcua.ParseNode("/")
	if err := s.Browse(ctx, root, opcua.BrowseOptions{Found: func(opcua.Found) error { all++; return nil }}); err != nil || all < 4000 {
		t.Errorf("from the root: %d nodes, %v", all, err)
	}
	p, err := opcua.Probe(ctx, h, item, opts)
	if err != nil || p.Session != nil || p.State != "Running" || len(p.Offers) != 7 || !errors.Is(p.Trust, opcua.ErrUntrusted) || len(p.Namespaces) != 3 {
		t.Errorf("probe: %+v, %v", p, err)
	}
}
