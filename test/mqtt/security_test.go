package mqtt

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
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// authority is a certificate authority for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.pem, a.key, a.cert = a.sign(tmpl, nil)
	return a
}

// sign returns a certificate, by a's key or self-signed.
func (a *authority) sign(tmpl *x509.Certificate, parent *authority) (string, *ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	issuer, signer := tmpl, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key, cert
}

// issue returns certificate and key in PEM.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	cert, k, _ := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// TestTLS delivers to a broker that wants client certificates; certificate and
// key come by secret reference, the authority from a file.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := newAuthority(t, "test authority")
	cert, key := ca.issue("localhost")
	caFile := file("ca.pem", ca.pem)
	plain := peer.FreeAddr(t)
	_, port, err := net.SplitHostPort(plain)
	if err != nil {
		t.Fatal(err)
	}
	broker := peer.StartMosquitto(t, "cafile "+caFile, "certfile "+file("cert.pem", cert), "keyfile "+file("key.pem", key),
		"require_certificate true", "use_identity_as_username true", "listener "+port+" 127.0.0.1")
	sub := peer.Subscribe(t, plain, "sub", dataTopic)

	clientCert, clientKey := ca.issue("gw-test")
	secrets := map[string]string{"${file:cert}": clientCert, "${file:key}": clientKey}
	resolve := func(s string) (string, error) {
		if v, ok := secrets[s]; ok {
			return v, nil
		}
		return s, nil
	}
	tlsCfg := map[string]any{"ca": caFile, "client_cert": "${file:cert}", "client_key": "${file:key}"}
	r := newRig(t, "mqtts://"+broker.Addr, map[string]any{"tls": tlsCfg})
	r.secret = resolve
	r.start()
	r.publish(1000)
	r.waitDelivered(10 * time.Second)
	checkAll(t, sub, 1000)
	steps := testSteps(t, r.conn)
	if s := steps["tls"]; s.Err != nil || !strings.Contains(s.Text, "localhost") {
		t.Errorf("step tls: %+v", s)
	}

	for name, c := range map[string]struct {
		tls  map[string]any
		want string
		step string
	}{
		"unknown authority": {map[string]any{}, "tls.ca", "tls"},
		"no certificate":    {map[string]any{"ca": caFile}, "", "connect"},
		"missing file":      {map[string]any{"ca": filepath.Join(dir, "none.pem")}, "none.pem", "tls"},
		"not PEM":           {map[string]any{"ca": file("text.pem", "hello")}, "no certificate", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "mqtts://"+broker.Addr, map[string]any{"tls": c.tls, "client_id": name})
			r.secret = resolve
			r.start()
			s := testSteps(t, r.conn)[c.step]
			if s.Err == nil || !strings.Contains(s.Err.Error(), c.want) {
				t.Errorf("step %s: %v, want an error with %q", c.step, s.Err, c.want)
			}
			peer.WaitFor(t, 10*time.Second, "the state", func() bool { return r.conn.Status().Error != "" })
		})
	}
}

func testSteps(t *testing.T, c connector.Connector) map[string]connector.Step {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	steps := map[string]connector.Step{}
	c.Test(ctx, func(s connector.Step) {
		t.Logf("%s %v %s %v", s.Name, s.Err, s.Text, s.Took)
		steps[s.Name] = s
	})
	return steps
}

// TestSteps goes through the test of a connector against brokers with different
// faults.
func TestSteps(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "passwords")
	// edge:secret, as mosquitto_passwd writes it, would need the tool; a broker
	// without any user refuses everybody just as well.
	if err := os.WriteFile(passwords, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	acl := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(acl, []byte("topic read #\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }() // the test is over
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // hangs up at once
		}
	}()
	cases := []struct {
		name, endpoint, step, want string
	}{
		{"all well", peer.StartMosquitto(t).URL(), "", ""},
		{"no such name", "mqtt://no-such-host.invalid", "name", "no-such-host.invalid"},
		{"nobody listens", "mqtt://" + peer.FreeAddr(t), "tcp", "refused"},
		{"no broker", "mqtt://" + silent.Addr().String(), "connect", "MQTT 5"},
		{"not TLS", "mqtts://" + peer.StartMosquitto(t).Addr, "tls", ""},
		{"no password", peer.StartMosquitto(t, "allow_anonymous false", "password_file "+passwords).URL(), "connect", "not authorized"},
		{"no right", peer.StartMosquitto(t, "acl_file "+acl, "max_queued_messages 1000000").URL(), "publish data", "not authorized"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.endpoint, map[string]any{"commands": map[string]any{"enable": true}})
			r.start()
			steps := testSteps(t, r.conn)
			var failed []string
			for name, s := range steps {
				if s.Err != nil {
					failed = append(failed, name)
					if !strings.Contains(s.Err.Error(), c.want) {
						t.Errorf("step %s: %v, want an error with %q", name, s.Err, c.want)
					}
				}
			}
			switch {
			case c.step == "" && (len(failed) > 0 || len(steps) < 6):
				t.Errorf("steps: %v", steps)
			case c.step != "" && (len(failed) != 1 || failed[0] != c.step):
				t.Errorf("failed: %v, want %s", failed, c.step)
			}
		})
	}
}

// TestSecretMissing shows why there is no connection when a secret is missing,
// without saying what it stands for.
func TestSecretMissing(t *testing.T) {
	broker := peer.StartMosquitto(t)
	r := newRig(t, broker.URL(), map[string]any{"username": "edge", "password": "${file:mqtt_password}"})
	r.secret = func(s string) (string, error) {
		if strings.HasPrefix(s, "${") {
			return "", errors.New("file mqtt_password: no such file in secrets_dir")
		}
		return s, nil
	}
	r.start()
	r.waitState("down")
	if s := r.conn.Status(); !strings.Contains(s.Error, "password") || !strings.Contains(s.Error, "secrets_dir") {
		t.Errorf("status: %+v", s)
	}
}
