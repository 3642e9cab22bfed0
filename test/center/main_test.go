package center_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// The test binary is also the processes that the tests kill.
func TestMain(m *testing.M) {
	switch os.Getenv("CENTER_CHILD") {
	case "":
		code := m.Run()
		peer.Cleanup()
		os.Exit(code)
	case "member":
		member()
	case "server":
		server()
	case "writer":
		writer()
	case "gateway":
		gatewayChild()
	}
}

// campaign returns the number of rounds: few of them in every test run, many with
// EDGE_CAMPAIGN set.
func campaign(few, many int) int {
	if os.Getenv("EDGE_CAMPAIGN") != "" {
		return many
	}
	return few
}

// child starts the test binary as another process and waits for its line "ready".
func child(t *testing.T, kind string, env ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=none")
	cmd.Env = append(append(os.Environ(), "CENTER_CHILD="+kind), env...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("%s did not start: %q", kind, lines.Text())
	}
	return cmd, lines
}

// kill ends a child as a power failure would.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may be dead already
	_ = cmd.Wait()         // its exit status is that of a killed process
}

// member is one of three etcd servers, with peers, as a fleet has them.
func member() {
	c := embed.NewConfig()
	c.Name, c.Dir = os.Getenv("NAME"), os.Getenv("DIR")
	c.ListenClientUrls, c.ListenPeerUrls = urls(os.Getenv("CLIENT")), urls(os.Getenv("PEER"))
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = c.ListenClientUrls, c.ListenPeerUrls
	c.InitialCluster = os.Getenv("CLUSTER")
	c.TickMs, c.ElectionMs = 50, 500
	if quota := os.Getenv("QUOTA"); quota != "" {
		c.QuotaBackendBytes = int64(atoi(quota))
	}
	if cert := os.Getenv("CERT"); cert != "" {
		c.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: os.Getenv("KEY"), TrustedCAFile: os.Getenv("CA"), ClientCertAuth: os.Getenv("CLIENT_CERTS") != ""}
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(c)
	if err != nil {
		fail(err)
	}
	fmt.Println("ready") // to be found; the first to start waits for the others
	fail(<-e.Err())
}

func urls(s string) []url.URL {
	u, err := url.Parse(s)
	if err != nil {
		fail(err)
	}
	return []url.URL{*u}
}

// server is the embedded server in a process of its own.
func server() {
	dir := os.Getenv("DIR")
	s, err := embedded.New(embedded.Config{
		Dir: filepath.Join(dir, "etcd"), Socket: center.EmbeddedSocket(dir), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { <-s.Ready(); fmt.Println("ready") }()
	if err := s.Run(ctx); err != nil {
		fail(err)
	}
}

// writer pushes one configuration after the other and prints what was acknowledged.
func writer() {
	s, err := center.Open(context.Background(), center.Config{
		Endpoints: strings.Split(os.Getenv("ENDPOINTS"), ","), MaxTxnOps: atoi(os.Getenv("OPS")),
	})
	if err != nil {
		fail(err)
	}
	fmt.Println("ready")
	for n := atoi(os.Getenv("FROM")); ; n++ {
		base, err := s.Load(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		c, err := s.Push(context.Background(), base, version(n), center.PushOptions{Message: strconv.Itoa(n)})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		fmt.Printf("%d %d %s\n", c.Rev, c.Release, c.SHA256)
	}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fail(err)
	}
	return n
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// document makes a configuration of n variables that holds version v.
func document(n, v int) *config.Document {
	cfg := map[string]any{"polling": "1s", "unit_id": int64(1)}
	vars := make([]config.Variable, n)
	for i := range vars {
		vars[i] = config.Variable{
			Tag: fmt.Sprintf("plant.tag%05d", i), DriverID: "drv", Access: config.AccessR, Unit: fmt.Sprint(v),
			Address: config.Address{Type: config.AddrHolding, Addr: 40001 + uint32(i%9000)}, Datatype: config.TypeUint16,
		}
	}
	snap := config.NewSnapshot(
		map[string]config.Endpoint{"plc": {Scheme: "tcp", Host: "127.0.0.1", Port: 502}},
		map[string]config.Driver{"drv": {Kind: config.KindStatic, EndpointID: "plc", Proto: "modbus", Cfg: cfg}}, vars, nil)
	return snap.Document()
}

// freePort returns an address that was free a moment ago: etcd's members have to
// know each other's before they start.
func freePort(t *testing.T) string {
	t.Helper()
	return peer.FreeAddr(t)
}

func open(t *testing.T, endpoints []string, ops int) *center.Store {
	t.Helper()
	s, err := center.Open(t.Context(), center.Config{Endpoints: endpoints, MaxTxnOps: ops, DialTimeout: 20 * time.Second, RequestTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// shortDir is a directory whose name leaves room for a socket's path.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
