package opcua

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// issue makes a certificate, signed by parent or itself.
func issue(t *testing.T, key *rsa.PrivateKey, parent *x509.Certificate, parentKey *rsa.PrivateKey, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "server"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"plc1"}, URIs: []*url.URL{{Scheme: "urn", Opaque: "plc1"}}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	edit(c)
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func put(t *testing.T, p *PKI, folder, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(p.dir, folder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, folder, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Who is believed, and which error says why somebody isn't.
func TestVerify(t *testing.T) {
	key, now := newKey(t, 2048), time.Now()
	same := func(*x509.Certificate) {}
	authority := func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "plant CA" }
	ca := issue(t, key, nil, nil, authority)
	middle := issue(t, key, ca, key, func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "line CA" })
	own := issue(t, key, nil, nil, same)
	signed := issue(t, key, middle, key, same)
	expired := issue(t, key, nil, nil, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	early := issue(t, key, nil, nil, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })
	weak := issue(t, newKey(t, 1024), nil, nil, same)
	late := issue(t, key, ca, key, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: signed.SerialNumber, RevocationTime: now}},
	}, middle, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		shown           []*x509.Certificate
		trusted, others []*x509.Certificate
		crl             bool
		host, uri       string
		want            error
	}{
		"trusted itself":        {shown: []*x509.Certificate{own}, trusted: []*x509.Certificate{own}},
		"nobody":                {shown: []*x509.Certificate{own}, trusted: []*x509.Certificate{ca}, want: ErrUntrusted},
		"by its authority":      {shown: []*x509.Certificate{signed, middle}, trusted: []*x509.Certificate{ca}},
		"chain from issuers":    {shown: []*x509.Certificate{signed}, trusted: []*x509.Certificate{ca}, others: []*x509.Certificate{middle}},
		"chain is broken":       {shown: []*x509.Certificate{signed}, trusted: []*x509.Certificate{ca}, want: ErrUntrusted},
		"issuers are not trust": {shown: []*x509.Certificate{signed}, others: []*x509.Certificate{ca, middle}, want: ErrUntrusted},
		"revoked":               {shown: []*x509.Certificate{signed, middle}, trusted: []*x509.Certificate{ca}, crl: true, want: ErrRevoked},
		"revoked, and trusted":  {shown: []*x509.Certificate{signed, middle}, trusted: []*x509.Certificate{signed}, crl: true, want: ErrRevoked},
		"expired":               {shown: []*x509.Certificate{expired}, trusted: []*x509.Certificate{expired}, want: ErrExpired},
		"expired, of a CA":      {shown: []*x509.Certificate{late}, trusted: []*x509.Certificate{ca}, want: ErrExpired},
		"not yet":               {shown: []*x509.Certificate{early}, trusted: []*x509.Certificate{early}, want: ErrExpired},
		"weak":                  {shown: []*x509.Certificate{weak}, trusted: []*x509.Certificate{weak}, want: ErrWeakKey},
		"its host":              {shown: []*x509.Certificate{own}, trusted: []*x509.Certificate{own}, host: "plc1", uri: "urn:plc1"},
		"its address":           {shown: []*x509.Certificate{own}, trusted: []*x509.Certificate{own}, host: "127.0.0.1"},
		"another host":          {shown: []*x509.Certificate{own}, trusted: []*x509.Certificate{own}, host: "plc2", want: ErrWrongHost},
		"another application":   {shown: []*x509.Certificate{own}, trusted: []*x509.Certificate{own}, host: "plc1", uri: "urn:plc2", want: ErrWrongServer},
		"no certificate":        {want: ErrUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPKI(t.TempDir(), "gw")
			for i, cert := range c.trusted {
				put(t, p, folderTrusted, string(rune('a'+i))+".der", cert.Raw)
			}
			for i, cert := range c.others {
				put(t, p, folderIssuers, string(rune('a'+i))+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
			}
			if c.crl {
				put(t, p, folderRevoked, "line.crl", list)
				put(t, p, folderIssuers, "line.der", middle.Raw)
			}
			var shown []byte
			for _, cert := range c.shown {
				shown = append(shown, cert.Raw...)
			}
			err := p.verify(shown, c.host, c.uri, now)
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if len(c.shown) == 0 || !errors.Is(err, ErrUntrusted) {
				return
			}
			if !strings.Contains(err.Error(), "edge-ctl pki trust "+Thumbprint(shown)[:12]+" --pki "+p.dir) {
				t.Errorf("the error has no way out: %v", err)
			}
			if _, err := p.Trust(Thumbprint(shown)[:12]); err != nil {
				t.Fatal(err)
			}
			if err := p.verify(shown, c.host, c.uri, now); err != nil {
				t.Errorf("after it was trusted: %v", err)
			}
			if _, err := p.Reject(Thumbprint(shown)); err != nil {
				t.Fatal(err)
			}
			if err := p.verify(shown, c.host, c.uri, now); !errors.Is(err, ErrUntrusted) {
				t.Errorf("after it was rejected: %v", err)
			}
		})
	}
}

// A server that shows another certificate each time does not fill the disk.
func TestRejectedIsBounded(t *testing.T) {
	p, key := NewPKI(t.TempDir(), "gw"), newKey(t, 2048)
	for range mostRejected + 5 {
		if err := p.rejected(issue(t, key, nil, nil, func(*x509.Certificate) {}).Raw); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := p.folder(folderRejected); err != nil || len(list) != mostRejected {
		t.Errorf("%d are kept, %v", len(list), err)
	}
	if err := filepath.Walk(p.dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o027 != 0 && path != p.dir {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// A server whose certificate a person has rejected is refused even if an authority that is
// trusted signed it, and a flood of others' certificates takes that back as little as an
// authority that becomes trusted later.
func TestRejectedByHand(t *testing.T) {
	p, key, now := NewPKI(t.TempDir(), "gw"), newKey(t, 2048), time.Now()
	ca := issue(t, key, nil, nil, func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "plant CA" })
	middle := issue(t, key, ca, key, func(c *x509.Certificate) { c.IsCA, c.Subject.CommonName = true, "line CA" })
	stolen := issue(t, key, middle, key, func(*x509.Certificate) {})
	other := issue(t, key, middle, key, func(*x509.Certificate) {})
	chain := func(c *x509.Certificate) []byte { return append(bytes.Clone(c.Raw), middle.Raw...) }
	for _, c := range []*x509.Certificate{stolen, other} {
		if err := p.verify(chain(c), "", "", now); !errors.Is(err, ErrUntrusted) {
			t.Fatalf("before anything is trusted: %v", err)
		}
	}
	put(t, p, folderTrusted, "ca.der", ca.Raw)
	for _, c := range []*x509.Certificate{stolen, other} { // that it was refused once is no judgement
		if err := p.verify(chain(c), "", "", now); err != nil {
			t.Fatalf("once its authority is trusted: %v", err)
		}
	}
	for range 2 {
		if _, err := p.Reject(Thumbprint(stolen.Raw)); err != nil {
			t.Fatal(err)
		}
	}
	for range mostRejected + 5 {
		if err := p.rejected(issue(t, key, nil, nil, func(*x509.Certificate) {}).Raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.verify(chain(stolen), "", "", now); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "edge-ctl pki trust") {
		t.Errorf("after it was rejected: %v", err)
	}
	if err := p.verify(chain(other), "", "", now); err != nil {
		t.Errorf("another one of the authority: %v", err)
	}
	if _, err := p.Trust(Thumbprint(stolen.Raw)); err != nil {
		t.Fatal(err)
	}
	if err := p.verify(chain(stolen), "", "", now); err != nil {
		t.Errorf("after it was trusted again: %v", err)
	}
}

// What lies in the folders and is no file is passed over: it neither hangs a dial nor is
// followed out of the list. A file without an end of its own is refused.
func TestFoldersOfATrustList(t *testing.T) {
	p, key, now := NewPKI(t.TempDir(), "gw"), newKey(t, 2048), time.Now()
	cert := issue(t, key, nil, nil, func(*x509.Certificate) {})
	outside := filepath.Join(t.TempDir(), "outside.der")
	if err := os.WriteFile(outside, cert.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{folderTrusted, folderIssuers, folderRevoked, folderRejected} {
		dir := filepath.Join(p.dir, folder)
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "folder.der"), 0o700), syscall.Mkfifo(filepath.Join(dir, "pipe.der"), 0o600),
			os.Symlink(outside, filepath.Join(dir, "link.der")), os.Symlink("/dev/zero", filepath.Join(dir, "zero.der"))); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- p.verify(cert.Raw, "", "", now) }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrUntrusted) {
			t.Errorf("a link out of the list is trusted: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the trust list hangs")
	}
	put(t, p, folderTrusted, "large.pem", make([]byte, maxCertFile+1))
	if err := p.verify(cert.Raw, "", "", now); err == nil || errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file that is too large: %v", err)
	}
}

// The gateway's own certificate is made once, renewed in time, and never replaced if a
// person put it there.
func TestOwn(t *testing.T) {
	p, now := NewPKI(t.TempDir(), "gw-1"), time.Now()
	cert, key, err := p.own(now)
	if err != nil {
		t.Fatal(err)
	}
	if uri := applicationURI(cert, ""); !strings.HasPrefix(uri, "urn:edge-gateway:") || !strings.HasSuffix(uri, ":gw-1") {
		t.Errorf("its application is %s", uri)
	}
	if again, k, err := p.own(now.Add(ownValid - renewBefore - time.Hour)); err != nil || !bytes.Equal(again, cert) || !k.Equal(key) {
		t.Errorf("it was made again: %v", err)
	}
	if other, _, err := p.own(now.Add(ownValid - renewBefore + time.Hour)); err != nil || bytes.Equal(other, cert) {
		t.Errorf("it was not renewed: %v", err)
	}
	if info, err := os.Stat(filepath.Join(p.dir, folderOwn, ownKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its key: %v, %v", info.Mode(), err)
	}
	k := newKey(t, 2048)
	plant := issue(t, k, nil, nil, func(*x509.Certificate) {})
	put(t, p, folderOwn, ownCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: plant.Raw}))
	put(t, p, folderOwn, ownKey, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	if got, gotKey, err := p.own(now); err != nil || !bytes.Equal(got, plant.Raw) || !gotKey.Equal(k) {
		t.Errorf("a plant's: %v", err)
	}
	if _, _, err := p.own(now.Add(2 * time.Hour)); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a plant's that ended: %v", err)
	}
	if err := os.Remove(filepath.Join(p.dir, folderOwn, ownKey)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.own(now); err == nil || !strings.Contains(err.Error(), "without its key") {
		t.Errorf("without its key: %v", err)
	}
}
