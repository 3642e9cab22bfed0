package alerts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/simonvetter/modbus"

	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// device is a PLC that refuses registers from 100 on and takes its time, for each
// request or for one of a few.
type device struct {
	peer.PLC
	takes time.Duration
	late  int64 // one of so many answers comes after the driver's timeout; 0: none
	asked atomic.Int64
}

// HandleHoldingRegisters implements the server's handler.
func (d *device) HandleHoldingRegisters(req *modbus.HoldingRegistersRequest) ([]uint16, error) {
	time.Sleep(d.takes)
	if d.late > 0 && d.asked.Add(1)%d.late == 0 {
		time.Sleep(1200 * time.Millisecond)
	}
	if req.Addr+req.Quantity > 100 {
		return nil, modbus.ErrIllegalDataAddress
	}
	return make([]uint16, req.Quantity), nil
}

func startDevice(t *testing.T, takes time.Duration) (addr string) {
	t.Helper()
	return serve(t, &device{takes: takes})
}

func serve(t *testing.T, d *device) (addr string) {
	t.Helper()
	addr = peer.FreeAddr(t)
	server, err := modbus.NewServer(&modbus.ServerConfiguration{URL: "tcp://" + addr, Timeout: time.Minute, MaxClients: 8}, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() }) // it ends with the process at the latest
	return addr
}

// tables are those of drivers, each with an endpoint and a device of its own.
func tables(polling string, devices map[string]string) map[string]string {
	var endpoints, drivers, vars strings.Builder
	for id, addr := range devices {
		host, port, _ := strings.Cut(addr, ":")
		fmt.Fprintf(&endpoints, "%s: {scheme: tcp, host: %s, port: %s, opts: {timeout: 1s}}\n", id, host, port)
		fmt.Fprintf(&drivers, "%s: {kind: static, endpoint_id: %s, proto: modbus, cfg: {unit_id: 1, polling: %s}}\n", id, id, polling)
		vars.WriteString(variables(id, 2))
	}
	return map[string]string{"endpoints.yml": endpoints.String(), "drivers.yml": drivers.String(), "variables.yml": vars.String()}
}

func variables(driver string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "- {tag: %s.r%d, driver_id: %s, access: R, address: {type: holding, addr: %d}, datatype: uint16}\n", driver, i, driver, i)
	}
	return b.String()
}

func connectorTo(name, url, more string) string {
	return fmt.Sprintf("  %s: {kind: mqtt5, endpoint: %q, client_id: %s, max_interval: 100ms, backoff: {base: 100ms, max: 1s}%s}\n", name, url, name, more)
}

// newWell makes a gateway to which nothing is wrong.
func newWell(t *testing.T) *peer.Gateway {
	t.Helper()
	broker := fakebroker.Start(t, fakebroker.Script{})
	return peer.NewGateway(t, "connectors:\n"+connectorTo("mqtt", broker.URL(), ""), tables("500ms", map[string]string{"line": startDevice(t, 0)}))
}

// newAway makes a gateway whose configuration center does not answer.
func newAway(t *testing.T) *peer.Gateway {
	t.Helper()
	g := newWell(t)
	text, err := os.ReadFile(filepath.Join(g.Dir, "gateway.yml"))
	if err != nil {
		t.Fatal(err)
	}
	g.WriteFile(t, "gateway.yml", strings.Replace(string(text), "{source: dir, dir: ./config}",
		fmt.Sprintf("{source: etcd, etcd: {endpoints: [%q]}}", peer.FreeAddr(t)), 1))
	return g
}

// newFull makes a gateway whose log is full soon, since its broker is away.
func newFull(t *testing.T, overflow string) *peer.Gateway {
	t.Helper()
	plc := peer.StartPLC(t, "")
	files := tables("10ms", map[string]string{"line": plc.Addr})
	files["variables.yml"] = variables("line", 500)
	return peer.NewGateway(t, fmt.Sprintf("bus: {overflow: %s, wal_max_bytes: 1M}\nconnectors:\n", overflow)+
		connectorTo("mqtt", "mqtt://"+peer.FreeAddr(t), ""), files)
}

// sick is a gateway with many faults.
type sick struct {
	*peer.Gateway
	forgetful *fakebroker.Broker
	forgets   atomic.Bool
}

func newSick(t *testing.T) *sick {
	t.Helper()
	s := new(sick)
	s.forgetful = fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		switch p.Type() {
		case packets.Connect:
			return fakebroker.Answer{Forget: s.forgets.Load()}
		case packets.Publish:
			return fakebroker.Answer{Lost: !s.forgets.Load()} // so that there is something in flight
		}
		return fakebroker.Answer{}
	}})
	refusing := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Publish {
			return fakebroker.Answer{Code: packets.ErrNotAuthorized.Code}
		}
		return fakebroker.Answer{}
	}})
	locked := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Connect {
			return fakebroker.Answer{Code: packets.ErrBadUsernameOrPassword.Code}
		}
		return fakebroker.Answer{}
	}})
	good := fakebroker.Start(t, fakebroker.Script{})
	files := tables("100ms", map[string]string{
		"dead": peer.FreeAddr(t), "refuses": startDevice(t, 0), "slow": startDevice(t, 250*time.Millisecond), "held": startDevice(t, 0),
		"lossy": serve(t, &device{late: 4}),
	})
	files["variables.yml"] += "- {tag: refused, driver_id: refuses, access: R, address: {type: holding, addr: 200}, datatype: uint16}\n"
	s.Gateway = peer.NewGateway(t, fmt.Sprintf("bus: {min_free: %d}\nconnectors:\n", free(t)*3/4)+
		connectorTo("away", "mqtts://"+peer.FreeAddr(t), ", tls: {client_cert: ./cert.pem, client_key: ./key.pem}")+
		connectorTo("locked", locked.URL(), "")+connectorTo("held", good.URL(), "")+
		connectorTo("refused", refusing.URL(), "")+connectorTo("forgotten", s.forgetful.URL(), ""), files)
	cert, key := pair(t, time.Now().Add(30*time.Hour))
	s.WriteFile(t, "cert.pem", cert)
	s.WriteFile(t, "key.pem", key)
	return s
}

// breakMore does what takes a gateway that runs.
func (s *sick) breakMore(t *testing.T) {
	t.Helper()
	control(t, s.Gateway, 0, "connector", "held", "pause")
	control(t, s.Gateway, 0, "drivers", "pause", "held")
	s.forgets.Store(true)
	s.forgetful.Disconnect(packets.ErrSessionTakenOver.Code)
}

// free returns how many bytes the disk of the tests' directories has left.
func free(t *testing.T) uint64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(t.TempDir(), &st); err != nil {
		t.Fatal(err)
	}
	return st.Bavail * uint64(st.Bsize)
}

// pair makes a certificate that ends at end, and its key, in PEM.
func pair(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "gw"}, NotBefore: end.Add(-48 * time.Hour), NotAfter: end, SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}
