package opcua

import (
	"crypto/x509"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
)

// Every policy and mode works with every kind of user.
func TestSecurity(t *testing.T) {
	srv := shared(t)
	userCert, userKey := certificate(t, t.TempDir(), "user", func(*x509.Certificate) {})
	users := map[string]map[string]string{
		"anonymous":   {},
		"password":    {"username": "edge", "password": "secret"},
		"certificate": {"user_cert": userCert, "user_key": userKey},
	}
	ways := map[string]map[string]string{"auto": {}, "None": none()}
	for _, policy := range []string{"Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"} {
		for _, mode := range []string{"Sign", "SignAndEncrypt"} {
			ways[policy+"/"+mode] = map[string]string{"security_policy": policy, "security_mode": mode}
		}
	}
	for way, opts := range ways {
		for user, more := range users {
			t.Run(way+"/"+user, func(t *testing.T) {
				t.Parallel()
				all := maps.Clone(opts)
				maps.Copy(all, more)
				r := run(t, options{port: srv.cfg.Port, opts: all, trust: []string{srv.cfg.Cert}, vars: []config.Variable{variable("a", "ns=2;s=Temp", config.TypeFloat64)},
					cfg: map[string]any{"publishing": "50ms"}})
				r.waitValue("a", "20")
				want := "policy=Aes256_Sha256_RsaPss mode=SignAndEncrypt"
				if way == "None" {
					want = "policy=None mode=None"
				} else if p, m, ok := strings.Cut(way, "/"); ok {
					want = "policy=" + p + " mode=" + m
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if !strings.Contains(r.log.String(), want) {
					t.Errorf("the log does not say %q:\n%s", want, r.log.String())
				}
			})
		}
	}
}

// What is wrong with a server or a user has an error of its own, and nothing secret is
// sent.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	expired, expiredKey := certificate(t, dir, "expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	other, otherKey := certificate(t, dir, "other", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 9)} })
	app, appKey := certificate(t, dir, "app", func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "urn", Opaque: "somebody"}} })
	for name, c := range map[string]struct {
		cert, key string
		opts      map[string]string
		trusted   bool
		want      []string // parts of the reason
	}{
		"untrusted":  {"", "", nil, false, []string{opcua.ErrUntrusted.Error(), "edge-ctl pki trust"}},
		"expired":    {expired, expiredKey, nil, true, []string{opcua.ErrExpired.Error()}},
		"other host": {other, otherKey, nil, true, []string{opcua.ErrWrongHost.Error(), "127.0.0.9"}},
		"other app":  {app, appKey, nil, true, []string{opcua.ErrWrongServer.Error()}},
		"password":   {"", "", map[string]string{"username": "edge", "password": "wrong"}, true, []string{"BadUserAccessDenied"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := shared(t)
			if c.cert != "" {
				if !long() {
					t.Skip("EDGE_OPCUA=all runs it; pkg/driver/opcua has the same without a server")
				}
				srv = start(t, settings{Cert: c.cert, Key: c.key})
			}
			o := options{port: srv.cfg.Port, opts: c.opts, vars: []config.Variable{variable("a", "ns=2;s=Temp", config.TypeFloat64)}}
			if c.trusted {
				o.trust = []string{srv.cfg.Cert}
			}
			r := run(t, o)
			r.wait("a reason", patience, func() bool { return r.driver.Status().State == driver.Fault })
			reason, _ := r.driver.(driver.Reasoner).Reasons()
			for _, part := range c.want {
				if !strings.Contains(reason.Text, part) || reason.Hint == "" {
					t.Errorf("the reason is %+v, want %q in it and a hint", reason, part)
				}
			}
			if c.trusted {
				return
			}
			if _, err := r.pki.Trust(opcua.Thumbprint(derOf(t, srv.cfg.Cert))); err != nil {
				t.Fatal(err)
			}
			r.waitValue("a", "20")
		})
	}
}

// derOf reads a certificate.
func derOf(t *testing.T, file string) []byte {
	t.Helper()
	p := opcua.NewPKI(filepath.Join(t.TempDir(), "pki"), "x")
	e, err := p.Trust(file)
	if err != nil {
		t.Fatal(err)
	}
	return e.Cert.Raw
}

// Without a word about security the driver never comes without it.
func TestNeverNone(t *testing.T) {
	srv := shared(t)
	r := build(t, options{port: srv.cfg.Port, vars: []config.Variable{variable("a", "ns=2;s=Temp", config.TypeFloat64)}})
	r.run()
	r.wait("fault", patience, func() bool { return r.driver.Status().State == driver.Fault })
	if _, err := os.Stat(filepath.Join(r.pki.Dir(), "rejected")); err != nil {
		t.Errorf("the certificate is not among the rejected: %v", err)
	}
	if f, ok := r.last("a"); ok && !f.Value.IsNone() {
		t.Errorf("%v came", f)
	}
}
