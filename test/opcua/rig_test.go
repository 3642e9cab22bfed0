// Package opcua tests the OPC UA driver against servers of other makes: node-opcua, in
// a process of its own, and gopcua's, in this one. scripts/setup installs the former.
package opcua

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/logtest"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// settings are those of the server in server/server.js.
type settings struct {
	Port          int      `json:"port"`
	Dir           string   `json:"dir"`
	Cert          string   `json:"cert"`
	Key           string   `json:"key"`
	Nodes         int      `json:"nodes,omitempty"`
	CountEvery    int      `json:"countEvery,omitempty"`  // milliseconds
	ChangeEvery   int      `json:"changeEvery,omitempty"` // milliseconds
	ClockOffset   int      `json:"clockOffset,omitempty"` // milliseconds
	MaxNodes      int      `json:"maxNodes,omitempty"`
	TokenLifetime int      `json:"tokenLifetime,omitempty"` // milliseconds
	Namespaces    []string `json:"namespaces,omitempty"`
	Hostname      string   `json:"hostname,omitempty"`
	History       bool     `json:"history,omitempty"` // of Count
	Structures    bool     `json:"structures,omitempty"`
	Loop          bool     `json:"loop,omitempty"`
}

// server is a node-opcua server in a process of its own.
type server struct {
	*peer.Node
	t   *testing.T
	cfg settings
}

// start runs a server until the test ends.
func start(t *testing.T, cfg settings) *server {
	t.Helper()
	if cfg.Port == 0 {
		cfg.Port = peer.FreePort(t)
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Cert == "" {
		cfg.Cert, cfg.Key = certificate(t, cfg.Dir, "server", func(*x509.Certificate) {})
	}
	s := &server{t: t, cfg: cfg}
	s.begin()
	t.Cleanup(func() { s.Kill() })
	return s
}

// everybody is the server that tests share which leave it as it is.
type everybody struct {
	once sync.Once
	srv  *server
}

var common everybody

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	if common.srv != nil {
		common.srv.Kill()
		_ = os.RemoveAll(common.srv.cfg.Dir) // of the system's temporary files
	}
	os.Exit(code)
}

// shared returns a server with 1,500 nodes that counts ten times a second.
func shared(t *testing.T) *server {
	t.Helper()
	common.once.Do(func() {
		dir, err := os.MkdirTemp("", "opcua-peer-")
		if err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, cfg: settings{Port: peer.FreePort(t), Dir: dir, Nodes: 1500, CountEvery: 100}}
		s.cfg.Cert, s.cfg.Key = certificate(t, dir, "server", func(*x509.Certificate) {})
		s.begin()
		common.srv = s
	})
	if common.srv == nil {
		t.Fatal("the server did not start")
	}
	return &server{Node: common.srv.Node, t: t, cfg: common.srv.cfg}
}

// begin starts the process and waits until it listens.
func (s *server) begin() {
	s.t.Helper()
	s.Node = peer.StartNode(s.t, s.cfg)
}

// restart ends the server and starts it anew, at the same port.
func (s *server) restart() {
	s.Kill()
	s.begin()
}

// do sends a command and returns the answer.
func (s *server) do(command map[string]any) map[string]any {
	s.t.Helper()
	line := s.Do(s.t, command)
	var out map[string]any
	if err := json.Unmarshal([]byte(line), &out); err != nil || out["error"] != nil {
		s.t.Fatalf("%v: %s", command, line)
	}
	return out
}

// answers returns how long the server takes to answer a command.
func (s *server) answers() time.Duration {
	s.t.Helper()
	began := time.Now()
	s.do(map[string]any{"cmd": "count"})
	return time.Since(began)
}

// certificate makes one for a server on 127.0.0.1; edit changes it before.
func certificate(t *testing.T, dir, name string, edit func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{{Scheme: "urn", Opaque: "test:server"}},
	}
	edit(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return cert, key
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rig is a driver that runs, and what it published.
type rig struct {
	t      *testing.T
	pki    *opcua.PKI
	driver driver.Driver
	reg    *prometheus.Registry
	table  *point.Table
	vars   []config.Variable
	log    logtest.Buffer

	mu     sync.Mutex
	frames []published
	cancel context.CancelFunc
	ended  chan struct{}
}

type published struct {
	frame.Frame
	tag string
	at  time.Time
}

// options say how a driver is made.
type options struct {
	port  int
	opts  map[string]string
	cfg   map[string]any
	vars  []config.Variable
	trust []string // certificates
}

// none is what makes a connection without security.
func none() map[string]string { return map[string]string{"security_policy": "None"} }

func variable(tag, node string, t config.DataType) config.Variable {
	return config.Variable{Tag: tag, DriverID: "d", Access: config.AccessRW, Datatype: t, Address: config.Address{Type: config.AddrOPCNode, Node: node}}
}

// run makes a driver and runs it until the test ends.
func run(t *testing.T, o options) *rig {
	t.Helper()
	r := build(t, o)
	r.run()
	return r
}

func build(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, vars: o.vars, reg: prometheus.NewRegistry(), pki: opcua.NewPKI(filepath.Join(t.TempDir(), "pki"), "gw-test")}
	for _, cert := range o.trust {
		if _, err := r.pki.Trust(cert); err != nil {
			t.Fatal(err)
		}
	}
	factory, err := opcua.NewFactory(r.reg, opcua.Options{PKI: r.pki, Name: "gw-test"})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := endpoint.NewPool(endpoint.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close(context.Background()) }) // an error is of leases, which the driver has given up
	item := config.Endpoint{Scheme: opcua.Scheme, Host: "127.0.0.1", Port: uint16(o.port), Opts: o.opts}
	tcp, _ := opcua.Transport(item)
	u, err := endpoint.FromTable(tcp.Scheme, tcp.Host, tcp.Port, tcp.Opts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pool.Open("e", u)
	if err != nil {
		t.Fatal(err)
	}
	if r.table, err = point.Compile("d", o.vars, nil); err != nil {
		t.Fatal(err)
	}
	r.driver, err = factory.New(
		driver.Config{ID: "d", Item: config.Driver{Kind: config.KindStatic, Proto: opcua.Proto, EndpointID: "e", Cfg: o.cfg}, Endpoint: item, Points: r.table},
		driver.Deps{Endpoint: h, Out: r, Log: r.log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ended = cancel, make(chan struct{})
	go func() {
		defer close(r.ended)
		if err := r.driver.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}()
	r.t.Cleanup(func() {
		r.stop()
		if r.t.Failed() || testing.Verbose() {
			r.t.Logf("the driver's log:\n%s", r.log.String())
		}
	})
}

func (r *rig) stop() {
	r.cancel()
	select {
	case <-r.ended:
	case <-time.After(5 * time.Second):
		r.t.Error("Run does not end")
	}
}

// Publish implements driver.Publisher.
func (r *rig) Publish(_ context.Context, b *frame.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, f := range b.Frames {
		r.frames = append(r.frames, published{f, b.Tag(i).Name, time.Now()})
	}
	return nil
}

// of returns the frames of a tag.
func (r *rig) of(tag string) (out []published) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frames {
		if f.tag == tag {
			out = append(out, f)
		}
	}
	return out
}

// wait waits until ok.
func (r *rig) wait(what string, limit time.Duration, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) { // it asks a driver that has no way to tell
		if time.Now().After(end) {
			r.t.Fatalf("after %v still not: %s (%+v)", limit, what, r.driver.Status())
		}
	}
}

// last returns a tag's last frame.
func (r *rig) last(tag string) (f published, ok bool) {
	list := r.of(tag)
	if len(list) == 0 {
		return f, false
	}
	return list[len(list)-1], true
}

// waitValue waits for a good value of a tag.
func (r *rig) waitValue(tag, want string) {
	r.t.Helper()
	r.wait(tag+" = "+want, patience, func() bool {
		f, ok := r.last(tag)
		return ok && f.Quality == frame.Good && f.Value.String() == want
	})
}

func itoa(n int) string { return fmt.Sprint(n) }

func rsaKey(t *testing.T, key any) *rsa.PrivateKey {
	t.Helper()
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("the key is a %T", key)
	}
	return k
}
