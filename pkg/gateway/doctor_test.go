package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// TestDoctor damages an installation in one way after the other: each is told under its id,
// and the sound one has no errors.
func TestDoctor(t *testing.T) {
	now := time.Now()
	const certs = "connectors: {m: {kind: mqtt5, endpoint: 'mqtts://127.0.0.1:1', tls: {ca: ca.pem}}}\n"
	chmod := func(name string, mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, name), mode)) }
	}
	unit := func(drop, add string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			text, err := os.ReadFile("../../packaging/edge-gw.service")
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "unit"), []byte(strings.Replace(string(text), drop, "", 1)+add), 0o600))
		}
	}
	for _, c := range []struct {
		name, text string
		damage     func(*testing.T, string)
		id         string
		health     center.Health
		root       bool // only root can do the damage
	}{
		{name: "sound", damage: unit("", "")},
		{name: "setting", text: "admin: {mode: '0666'}\n", id: "wide-socket", health: center.Doubt},
		{name: "tables", damage: func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "tables", "drivers.yml"), []byte("d: {kind: static, proto: modbus, endpoint_id: nobody, cfg: {unit_id: 1, polling: 1s}}\n"), 0o600))
		}, id: "reference", health: center.Sick},
		{name: "gateway.yml for all", damage: chmod("gateway.yml", 0o666), id: "config-file", health: center.Sick},
		{name: "data_dir for all", damage: chmod("data", 0o777), id: "data-dir", health: center.Sick},
		{name: "file for all", damage: chmod("data/instance", 0o666), id: "data-modes", health: center.Sick},
		{name: "file of root", damage: func(t *testing.T, dir string) { must(t, os.Chown(filepath.Join(dir, "data", "instance"), 12345, -1)) }, id: "data-owner", health: center.Sick, root: true},
		{name: "secret of another", text: "secrets_dir: ./secrets\n", damage: func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, "secrets"), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "secrets", "pw"), []byte("x"), 0o600))
			must(t, os.Chown(filepath.Join(dir, "secrets", "pw"), 12345, -1))
		}, id: "secret-owner", health: center.Sick, root: true},
		{name: "secret for all", text: "secrets_dir: ./secrets\n", damage: func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, "secrets"), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "secrets", "pw"), []byte("x"), 0o600))
			must(t, os.Chmod(filepath.Join(dir, "secrets", "pw"), 0o644))
		}, id: "wide-secret", health: center.Doubt},
		{name: "socket for all", damage: socketOf("data/admin.sock", 0o666), id: "socket-mode", health: center.Sick},
		{name: "socket of another", damage: func(t *testing.T, dir string) {
			socketOf("data/admin.sock", 0o600)(t, dir)
			must(t, os.Lchown(filepath.Join(dir, "data", "admin.sock"), 12345, -1))
		}, id: "socket-owner", health: center.Sick, root: true},
		{name: "etcd for all", damage: socketOf("data/etcd.sock", 0o777), id: "etcd-socket", health: center.Sick},
		{name: "unit of root", damage: unit("User=edge-gw", ""), id: "unit-user", health: center.Sick},
		{name: "unit with cores", damage: unit("LimitCORE=0", "#LimitCORE=0\n"), id: "unit", health: center.Doubt},
		{name: "unit overridden", damage: unit("", "UMask=0000\n"), id: "unit", health: center.Doubt},
		{name: "certificate ended", text: certs, damage: certificate(now.Add(-48*time.Hour), now.Add(-time.Hour)), id: "certificate-ended", health: center.Sick},
		{name: "certificate ends", text: certs, damage: certificate(now.Add(-time.Hour), now.Add(5*24*time.Hour)), id: "certificate-ends", health: center.Doubt},
		{name: "certificate early", text: certs, damage: certificate(now.Add(time.Hour), now.Add(48*time.Hour)), id: "certificate-early", health: center.Sick},
		{name: "clock", text: "clock: {not_before: 2999-01-01}\n", id: "clock", health: center.Sick},
		{name: "disk", text: "bus: {wal_max_bytes: 8000000G}\n", id: "disk", health: center.Doubt},
		{name: "not running", id: "running", health: center.Doubt},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.root && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			dir := plantDir(t, c.text)
			for _, sub := range []string{"data", "secrets"} {
				must(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
			}
			must(t, os.WriteFile(filepath.Join(dir, "data", "instance"), []byte("i\n"), 0o600))
			file := filepath.Join(dir, "gateway.yml")
			must(t, os.Chmod(file, 0o640))
			if c.damage != nil {
				c.damage(t, dir)
			}
			cfg, err := bootstrap.Load(file, nil, nil)
			must(t, err)
			found := Doctor(t.Context(), cfg, DoctorOptions{Config: file, Units: []string{filepath.Join(dir, "none"), filepath.Join(dir, "unit")}, Now: func() time.Time { return now }})
			sick := slices.ContainsFunc(found, func(d center.Diagnosis) bool { return d.Health == center.Sick })
			if c.id == "" && sick {
				t.Errorf("a sound installation: %+v", found)
			}
			if c.id != "" && !slices.ContainsFunc(found, func(d center.Diagnosis) bool { return d.Check == c.id && d.Health == c.health }) {
				t.Errorf("no %s %s in %+v", c.health, c.id, found)
			}
			for _, d := range found {
				if d.Check == "" || d.Message == "" || d.Health == "" {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// socketOf leaves a socket that nobody answers on.
func socketOf(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		must(t, err)
		l.SetUnlinkOnClose(false)
		must(t, l.Close())
		must(t, os.Chmod(path, mode))
	}
}

// certificate writes ca.pem, good for a while.
func certificate(from, to time.Time) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	}
}
