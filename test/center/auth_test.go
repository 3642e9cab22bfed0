package center_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	lasts time.Duration // of what is signed next, from now on
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir(), lasts: time.Hour}
	a.cert, a.key = a.sign("ca", nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// sign makes name.crt and name.key; without a parent, an authority of its own.
func (a *authority) sign(name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(a.lasts),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, signKey := tmpl, key
	if parent == nil {
		tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		signer, signKey = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer, &key.PublicKey, signKey)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", "CERTIFICATE", der)
	a.write(name+".key", "EC PRIVATE KEY", keyDER)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// Who is turned away is told why, with etcd's own reason, and exit code 2.
func TestTLSAndPasswords(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	ca.sign("server", ca)
	ca.sign("ann", ca)
	client, peerAddr := freePort(t), freePort(t)
	child(t, "member", "NAME=m0", "DIR="+t.TempDir(), "CLIENT=https://"+client, "PEER=http://"+peerAddr, "CLUSTER=m0=http://"+peerAddr,
		"CERT="+ca.path("server.crt"), "KEY="+ca.path("server.key"), "CA="+ca.path("ca.crt"), "CLIENT_CERTS=yes")
	good := center.TLS{CA: ca.path("ca.crt"), Cert: ca.path("ann.crt"), Key: ca.path("ann.key")}
	cfg := center.Config{Endpoints: []string{client}, TLS: &good, DialTimeout: 5 * time.Second}

	admin, err := center.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := admin.Push(t.Context(), center.Version{}, document(3, 1), center.PushOptions{})
	if err != nil || c.Author.EtcdUser != "ann" {
		t.Fatalf("push with a certificate: %+v, %v", c, err)
	}
	if err := admin.Close(); err != nil {
		t.Error(err)
	}
	enableAuth(t, client, good)

	_, port, err := net.SplitHostPort(client)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := "localhost:" + port // its certificate is for the address alone
	for name, tc := range map[string]struct {
		change func(*center.Config)
		want   error
		says   string
	}{
		"another CA": {func(c *center.Config) {
			c.TLS = &center.TLS{CA: stranger.path("ca.crt"), Cert: good.Cert, Key: good.Key}
		}, center.ErrRefused, "set config.etcd.tls.ca to the certificate"},
		"another name":          {func(c *center.Config) { c.Endpoints = []string{elsewhere} }, center.ErrRefused, "use one in config.etcd.endpoints"},
		"no client certificate": {func(c *center.Config) { c.TLS = &center.TLS{CA: good.CA} }, center.ErrRefused, "config.etcd.tls.client_cert"},
		"no TLS":                {func(c *center.Config) { c.TLS = nil }, center.ErrUnavailable, "it may expect TLS (set config.etcd.tls.ca)"},
		"TLS for none":          {func(c *center.Config) { c.Endpoints = []string{peerAddr} }, center.ErrRefused, "leave config.etcd.tls out"},
		"wrong password":        {func(c *center.Config) { c.User, c.Password = "operator", "wrong" }, center.ErrRefused, "check config.etcd.username and config.etcd.password"},
		"unknown user":          {func(c *center.Config) { c.User, c.Password = "nobody", "pw" }, center.ErrRefused, "check config.etcd.username"},
		"right password":        {func(c *center.Config) { c.User, c.Password = "operator", "secret" }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := cfg
			tc.change(&c)
			s, err := center.Open(t.Context(), c)
			if err == nil {
				defer func() { _ = s.Close() }() // it served its purpose
			}
			if !errors.Is(err, tc.want) {
				t.Fatalf("Open: %v, expected %v", err, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it doesn't say %q: %v", tc.says, err)
			}
			t.Log(err)
		})
	}

	// The command tells the same, with exit code 2.
	password := ca.path("password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := ca.path("wrong")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--endpoints", client, "--cert", good.Cert, "--key", good.Key}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--cacert", stranger.path("ca.crt"), "log"}, 2, "set --cacert to the certificate of the authority that signed it"},
		{[]string{"--cacert", good.CA, "--user", "operator", "--password-file", wrong, "log"}, 2, "user name or password is wrong: check --user and --password-file"},
		{[]string{"--cacert", good.CA, "--user", "reader", "--password-file", password, "set", "bus.wal_flush_ms", "20"}, 2, "the rights of this user don't allow it"},
		{[]string{"--cacert", good.CA, "--user", "reader", "--password-file", password, "log"}, 0, ""},
		{[]string{"--cacert", good.CA, "--user", "operator", "--password-file", password, "set", "bus.wal_flush_ms", "20"}, 0, ""},
		{[]string{"--cacert", good.CA, "--user", "operator", "--password-file", password, "log"}, 0, "operator ("},
	} {
		out, code := edgeCfg(t, append(flags, tc.args...)...)
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("edge-cfg %s: exit code %d, expected %d with %q:\n%s", strings.Join(tc.args, " "), code, tc.code, tc.want, out)
		}
	}

	// One who may only read is refused when pushing, and nothing is left behind.
	c2 := cfg
	c2.User, c2.Password = "reader", "secret"
	reader, err := center.Open(t.Context(), c2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }() // as above
	base, err := reader.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Push(t.Context(), base, document(4, 1), center.PushOptions{}); !errors.Is(err, center.ErrRefused) {
		t.Errorf("a reader pushed: %v", err)
	}
}

// edgeCfg runs the command and returns all that it printed, and its exit code.
func edgeCfg(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peer.Build(t, "edge-cfg"), args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// enableAuth turns passwords on, with an operator and one who may only read.
func enableAuth(t *testing.T, endpoint string, files center.TLS) {
	t.Helper()
	config, err := transport.TLSInfo{TrustedCAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // what it did was answered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	end := clientv3.GetPrefixRangeEnd("/edge/")
	must(c.RoleAdd(ctx, "operator"))
	must(c.RoleGrantPermission(ctx, "operator", "/edge/", end, clientv3.PermissionType(clientv3.PermReadWrite)))
	must(c.RoleAdd(ctx, "reader"))
	must(c.RoleGrantPermission(ctx, "reader", "/edge/", end, clientv3.PermissionType(clientv3.PermRead)))
	for user, role := range map[string]string{"root": "root", "operator": "operator", "reader": "reader"} {
		must(c.UserAdd(ctx, user, "secret"))
		must(c.UserGrantRole(ctx, user, role))
	}
	must(c.AuthEnable(ctx))
}

// changePassword gives the operator another password.
func changePassword(t *testing.T, endpoint string, files center.TLS) {
	t.Helper()
	config, err := transport.TLSInfo{TrustedCAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: config, Username: "root", Password: "secret", DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // what it did was answered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.UserChangePassword(ctx, "operator", "another"); err != nil {
		t.Fatal(err)
	}
}
