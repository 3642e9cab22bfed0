package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// policyOf reads a gateway.yml with a policy.
func policyOf(t *testing.T, text string) (*policy, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "gateway.yml")
	if err := os.WriteFile(path, []byte("gateway_id: gw\ndata_dir: data\nsecrets_dir: secrets\n"+strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "secrets", "tables"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secrets/mqtt_password", "secrets/tables/psk", "secrets/tables/other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("00ff"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := bootstrap.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "plc.inside":
			return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.1.2.3")}, nil
		case "rebound.evil":
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		}
		return nil, errors.New("no such host")
	}
	return p, dir
}

func urlOf(t *testing.T, scheme, host string, port uint16, opts map[string]string) endpoint.URL {
	t.Helper()
	u, err := endpoint.FromTable(scheme, host, port, opts)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestPusherSendsNoSecretElsewhere: who pushes tables can't have a secret sent to a host
// that it is not for, nor any secret that is not for tables.
func TestPusherSendsNoSecretElsewhere(t *testing.T) {
	t.Setenv("EDGE_SECRET_BROKER", "hidden")
	t.Setenv("EDGE_SECRET_PLC", "shown")
	for name, text := range map[string]string{
		"with a policy": "policy: {secrets: {psk: ['10.1.1.5:4433', '*.plant.example'], EDGE_SECRET_PLC: [10.1.1.8/31], mqtt_password: []}}\n",
		"without":       "",
	} {
		p, _ := policyOf(t, text)
		allowed := map[[2]string]string{}
		if text != "" {
			allowed = map[[2]string]string{
				{"${file:psk}", "10.1.1.5:4433"}: "00ff", {"${file:psk}", "PLC1.plant.example:1"}: "00ff", {"${env:EDGE_SECRET_PLC}", "10.1.1.9:5"}: "shown",
			}
		}
		for _, ref := range []string{"${file:psk}", "${file:other}", "${file:mqtt_password}", "${file:absent}", "${env:EDGE_SECRET_BROKER}", "${env:EDGE_SECRET_PLC}", "${file:../mqtt_password}"} {
			for _, to := range []string{"10.1.1.5:4433", "10.1.1.5:4434", "PLC1.plant.example:1", "evil.example:4433", "10.1.1.9:5", "plant.example.evil:1", "nonsense"} {
				got, err := p.Secret(ref, to)
				want, ok := allowed[[2]string{ref, to}]
				if (err == nil) != ok || got != want {
					t.Errorf("%s: %s for %s: %q, %v", name, ref, to, got, err)
				}
			}
		}
		// Whether there is such a secret is not told.
		_, there := p.Secret("${file:mqtt_password}", "h:1")
		_, absent := p.Secret("${file:absent_passwort}", "h:1")
		if a, b := there.Error(), absent.Error(); strings.ReplaceAll(a, "mqtt_password", "X") != strings.ReplaceAll(b, "absent_passwort", "X") {
			t.Errorf("a secret that is there is told apart: %s / %s", a, b)
		}
	}
}

// TestUserNameTakesNoSecret: a user name goes to whoever listens.
func TestUserNameTakesNoSecret(t *testing.T) {
	for _, ref := range []string{"${file:mqtt_password}", "${env:EDGE_SECRET_X}", "x${file:a}"} {
		if _, err := endpoint.FromTable("tcp+dtls", "h", 1, map[string]string{"username": ref, "password": "00"}); err == nil || strings.Contains(err.Error(), ref) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestPusherReachesAllowedHostsOnly is what the policy says of networks and names, of
// backups too, and of names that lead elsewhere.
func TestPusherReachesAllowedHostsOnly(t *testing.T) {
	p, _ := policyOf(t, "policy: {hosts: [10.1.0.0/16, 192.168.1.7, 192.168.1.8:502, '*.plant.example', 'fe80::/10', plc:502]}\n")
	for address, want := range map[string]string{
		"10.1.200.3:502": "10.1.200.3:502", "10.2.0.1:502": "", "192.168.1.7:9": "192.168.1.7:9", "192.168.1.8:502": "192.168.1.8:502", "192.168.1.8:503": "",
		"a.plant.example:1": "a.plant.example:1", "A.Plant.Example:1": "A.Plant.Example:1", "plant.example:1": "", "plant.example.evil:1": "",
		"plc.inside:502": "10.1.2.3:502", "rebound.evil:502": "", "absent:502": "", "[fe80::1]:502": "[fe80::1]:502", "[::ffff:10.1.0.1]:502": "[::ffff:10.1.0.1]:502",
		"169.254.169.254:80": "", "127.0.0.1:2379": "", "plc:502": "plc:502", "plc:22": "", "0x7f000001:2379": "", "[::1]:2379": "",
	} {
		got, err := p.Target(t.Context(), urlOf(t, "tcp", "h", 1, nil), address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
	for _, u := range []endpoint.URL{
		urlOf(t, "tcp", "127.0.0.1", 2379, nil), urlOf(t, "tcp", "10.1.1.1", 502, map[string]string{"backup": "169.254.169.254:80"}),
	} {
		if err := p.check(u); !errors.Is(err, errPolicy) {
			t.Errorf("%s: %v", u, err)
		}
	}
	if err := p.check(urlOf(t, "tcp", "10.1.1.1", 502, map[string]string{"backup": "unknown.name:502"})); err != nil {
		t.Errorf("a name may lead into a network that is allowed: %v", err)
	}
}

// TestPolicyHoldsBeforeTheFirstByte: where nothing may be connected to, nothing is.
func TestPolicyHoldsBeforeTheFirstByte(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	came := make(chan struct{}, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
			came <- struct{}{}
		}
	}()
	p, _ := policyOf(t, "policy: {hosts: [10.1.0.0/16]}\n")
	pool, err := endpoint.NewPool(endpoint.PoolOptions{Guard: p, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	for _, u := range []endpoint.URL{urlOf(t, "tcp", "127.0.0.1", port, nil), urlOf(t, "tcp", "localhost", port, nil)} {
		h, err := pool.Open(u.Host(), u)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := h.Acquire(ctx); err == nil {
			t.Errorf("%s was connected to", u)
		}
		cancel()
	}
	select {
	case <-came:
		t.Error("somebody came")
	default:
	}
}

// TestPusherOpensAllowedDevicesAndFilesOnly: no other device, no other file, whatever
// a path leads to; and which files there are is not told.
func TestPusherOpensAllowedDevicesAndFilesOnly(t *testing.T) {
	p, dir := policyOf(t, "policy: {serial: [/dev/ttyUSB*], certificates: [DIR/certs]}\n")
	for device, want := range map[string]bool{"/dev/ttyUSB0": true, "/dev/sda": false, "/dev/../etc/passwd": false, "/dev/ttyUSB0/../sda": false, "/dev/./ttyUSB1": true} {
		if err := p.device(device); (err == nil) != want {
			t.Errorf("%s: %v", device, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	good, link := filepath.Join(dir, "certs", "ca.pem"), filepath.Join(dir, "certs", "link.pem")
	if err := os.WriteFile(good, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "secrets", "mqtt_password"), link); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for path, want := range map[string]bool{
		good: true, filepath.Join(dir, "certs", "absent"): true, link: false, dir + "/certs/../secrets/mqtt_password": false,
		"/etc/passwd": false, "/etc/absent": false, dir + "/certsx": false,
	} {
		err := p.File(path)
		if (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("refusals differ: %q, %q", text, texts[0])
		}
	}
}

// TestErrorsDoNotTellFilesApart: without a policy for certificates, too, a pusher does
// not learn which files there are.
func TestErrorsDoNotTellFilesApart(t *testing.T) {
	p, dir := policyOf(t, "")
	pool, err := endpoint.NewPool(endpoint.PoolOptions{Guard: p, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	texts := map[string]bool{}
	for name, path := range map[string]string{"there": dir + "/gateway.yml", "absent": dir + "/absent", "directory": dir, "device": "/dev/zero", "forbidden": "/root/x/y"} {
		for _, option := range []string{"ca", "client_cert"} {
			opts := map[string]string{option: path}
			if option == "client_cert" {
				opts["client_key"] = path
			}
			h, err := pool.Open(name+option, urlOf(t, "tcp+tls", "127.0.0.1", uint16(l.Addr().(*net.TCPAddr).Port), opts))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err = h.Acquire(ctx)
			cancel()
			if err == nil {
				t.Fatalf("%s was taken", path)
			}
			text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "endpoint "+name+option), "(since")
			texts[text] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("files are told apart: %v", texts)
	}
}

// TestPolicyIsRead refuses what would allow less or more than is meant.
func TestPolicyIsRead(t *testing.T) {
	for _, text := range []string{"hosts: ['10.0.0.0/33']", "hosts: ['http://x']", "hosts: ['a b']", "hosts: ['[']", "secrets: {../x: [a]}", "secrets: {x: ['10/8']}", "serial: ['/dev/[']"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "gateway.yml")
		if err := os.WriteFile(path, []byte("gateway_id: gw\npolicy: {"+text+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := bootstrap.Load(path, nil, nil)
		if err == nil {
			_, err = newPolicy(cfg)
		}
		if err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

// TestSignersOfADirectory: tables in a directory can't be signed, so that signers there
// would promise what nobody keeps.
func TestSignersOfADirectory(t *testing.T) {
	const key = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for text, want := range map[string]string{
		"policy: {signers: ['" + key + "']}\n": "config.source to etcd",
		"policy: {signers: [mykey]}\n":         "a public key as edge-cfg key show prints it",
	} {
		_, err := checked(t, filepath.Join(plantDir(t, text), "gateway.yml"), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := checked(t, filepath.Join(plantDir(t, "policy: {signers: ['"+key+"']}\n"), "gateway.yml"), map[string]string{"config.source": "etcd"}); err != nil {
		t.Errorf("with etcd: %v", err)
	}
}
