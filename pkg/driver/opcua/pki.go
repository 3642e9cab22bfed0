package opcua

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // OPC UA names certificates by it
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// The errors of a server's certificate. What wraps them says what to do about it.
var (
	ErrUntrusted   = errors.New("the server's certificate is not trusted")
	ErrExpired     = errors.New("the server's certificate is expired or not yet valid")
	ErrWrongHost   = errors.New("the server's certificate is for another host")
	ErrWrongServer = errors.New("the server's certificate is for another application")
	ErrRevoked     = errors.New("the server's certificate is revoked")
	ErrWeakKey     = errors.New("the server's certificate has a weak key")
)

// The folders of a trust list.
const (
	folderOwn      = "own"
	folderTrusted  = "trusted"
	folderIssuers  = "issuers"
	folderRevoked  = "crl"
	folderRejected = "rejected"
)

const (
	ownCert = "cert.pem"
	ownKey  = "key.pem"

	derFile = ".der"
	byHand  = ".refused.der" // in rejected: a person put it there, and no authority is asked

	maxCertFile  = 1 << 20
	mostRejected = 100
	ownValid     = 5 * 365 * 24 * time.Hour
	renewBefore  = 30 * 24 * time.Hour
	leastKeyBits = 2048
	madeByUs     = "Edge Gateway" // organization of the certificates that are renewed by us
)

// PKI is a trust list on disk and the gateway's own application certificate. The files are read each time that the list is needed: a certificate that a
// person trusts counts from the next connection on. The methods may be called from any
// goroutine.
type PKI struct {
	dir  string
	name string // of the gateway

	mu sync.Mutex // held while own is made
}

// NewPKI returns the trust list in dir, which need not exist yet. The gateway's own
// certificate is made for the name.
func NewPKI(dir, name string) *PKI { return &PKI{dir: dir, name: name} }

// Dir returns the directory of the list.
func (p *PKI) Dir() string { return p.dir }

// Entry is a certificate of a trust list.
type Entry struct {
	Thumbprint string // SHA-1 of the certificate, 40 hexadecimal digits
	Folder     string // "own", "trusted", "issuers" or "rejected"; "": File is not in the list
	File       string // path
	Cert       *x509.Certificate
}

// Thumbprint returns the SHA-1 of a certificate, 40 hexadecimal digits. Of a chain in DER
// it takes the first certificate.
func Thumbprint(der []byte) string {
	sum := sha1.Sum(firstCert(der)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// List returns the certificates of the folders own, trusted, issuers and rejected, in that
// order. A certificate that is in two folders comes twice. Files that hold no certificate
// are left out. A file that can't be read is an error.
func (p *PKI) List() ([]Entry, error) {
	var out []Entry
	for _, folder := range []string{folderOwn, folderTrusted, folderIssuers, folderRejected} {
		part, err := p.folder(folder)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// folder reads the certificates of one folder. Files that hold none are left out,
// those that can't be read are an error.
func (p *PKI) folder(name string) ([]Entry, error) {
	files, err := p.files(name)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, file := range files {
		content, err := regular.ReadFile(file, maxCertFile)
		if err != nil {
			return nil, err
		}
		for _, der := range blocks(content, "CERTIFICATE") {
			if cert, err := x509.ParseCertificate(firstCert(der)); err == nil {
				out = append(out, Entry{Thumbprint(der), name, file, cert})
			}
		}
	}
	return out, nil
}

func (p *PKI) files(folder string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(p.dir, folder))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("trust list: %w", err)
	}
	var out []string
	for _, e := range list {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.Join(p.dir, folder, e.Name()))
		}
	}
	return out, nil
}

// blocks returns the DER of each PEM block of that type, or the content itself
// where it is DER.
func blocks(content []byte, kind string) (out [][]byte) {
	if len(content) > 0 && content[0] == 0x30 {
		return [][]byte{content}
	}
	for rest := content; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		if b.Type == kind {
			out = append(out, b.Bytes)
		}
	}
}

// ErrNotFound means that no certificate in the trust list has the thumbprint.
var ErrNotFound = errors.New("no such certificate in the trust list")

// Find returns the certificate whose thumbprint begins with text; colons and case don't
// matter. It fails with [ErrNotFound] if there is none, and with another error if there are
// several.
func (p *PKI) Find(text string) (Entry, error) {
	list, err := p.List()
	if err != nil {
		return Entry{}, err
	}
	text = strings.ToLower(strings.ReplaceAll(text, ":", ""))
	var found []Entry
	for _, e := range list {
		if text != "" && strings.HasPrefix(e.Thumbprint, text) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) == 0:
		return Entry{}, fmt.Errorf("%s: %w %s", text, ErrNotFound, p.dir)
	case found[0].Thumbprint != found[len(found)-1].Thumbprint:
		return Entry{}, fmt.Errorf("%s: several certificates begin like this; write more of the thumbprint", text)
	}
	return found[0], nil
}

// Trust moves a certificate to the trusted ones. The text is the beginning of a thumbprint,
// as for [PKI.Find], or the path of a file with the certificate in PEM or DER. The
// gateway's own certificate can't be moved.
func (p *PKI) Trust(text string) (Entry, error) { return p.move(text, folderTrusted) }

// Reject moves a certificate to the rejected ones: servers that show it are refused from
// the next connection on, whoever signed it. The text is as for [PKI.Trust].
func (p *PKI) Reject(text string) (Entry, error) {
	e, err := p.move(text, folderRejected)
	if err != nil {
		return e, err
	}
	if err := p.save(folderRejected, e.Thumbprint+byHand, e.Cert.Raw); err != nil {
		return e, err
	}
	if err := os.Remove(filepath.Join(p.dir, folderRejected, e.Thumbprint+derFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return e, fmt.Errorf("trust list: %w", err)
	}
	return e, nil
}

func (p *PKI) move(text, to string) (Entry, error) {
	e, err := p.find(text)
	switch {
	case err != nil:
		return e, err
	case e.Folder == folderOwn:
		return e, fmt.Errorf("%s is the gateway's own certificate", e.Thumbprint)
	}
	if e.Folder != to {
		if err := p.save(to, e.Thumbprint+derFile, e.Cert.Raw); err != nil {
			return e, err
		}
	}
	list, err := p.List()
	if err != nil {
		return e, err
	}
	for _, other := range list { // of the same certificate, wherever it is
		if other.Thumbprint == e.Thumbprint && other.Folder != to && other.Folder != folderOwn {
			if err := os.Remove(other.File); err != nil && !errors.Is(err, os.ErrNotExist) {
				return e, fmt.Errorf("trust list: %w", err)
			}
		}
	}
	e.Folder = to
	return e, nil
}

// find takes a file's name too.
func (p *PKI) find(text string) (Entry, error) {
	e, err := p.Find(text)
	if !errors.Is(err, ErrNotFound) {
		return e, err
	}
	content, readErr := regular.ReadFile(text, maxCertFile)
	if readErr != nil {
		return e, err
	}
	certs := blocks(content, "CERTIFICATE")
	if len(certs) == 0 {
		return e, fmt.Errorf("%s holds no certificate", text)
	}
	cert, err := x509.ParseCertificate(firstCert(certs[0]))
	if err != nil {
		return e, fmt.Errorf("%s: %w", text, err)
	}
	return Entry{Thumbprint: Thumbprint(certs[0]), File: text, Cert: cert}, nil
}

// save writes a certificate into a folder.
func (p *PKI) save(folder, name string, der []byte) error {
	dir := filepath.Join(p.dir, folder)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("trust list: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, name), firstCert(der), 0o640); err != nil {
		return fmt.Errorf("trust list: %w", err)
	}
	return nil
}

// rejected keeps a certificate that was not trusted, for a person to look at. Of a
// server that shows another one each time, only the last ones are kept.
func (p *PKI) rejected(der []byte) error {
	if err := p.save(folderRejected, Thumbprint(der)+derFile, der); err != nil {
		return err
	}
	files, err := p.files(folderRejected)
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, byHand) })
	if err != nil || len(files) <= mostRejected {
		return err
	}
	age := func(file string) int64 {
		info, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(files, func(a, b string) int { return int(min(1, max(-1, age(a)-age(b)))) })
	for _, file := range files[:len(files)-mostRejected] {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("trust list: %w", err)
		}
	}
	return nil
}

// verify says whether the server at host, which calls itself uri, is to be believed
// that certificate. uri and host are not compared where they are empty.
func (p *PKI) verify(der []byte, host, uri string, now time.Time) error {
	chain, err := x509.ParseCertificates(der)
	switch {
	case err != nil:
		return fmt.Errorf("%w: it cannot be read: %w", ErrUntrusted, err)
	case len(chain) == 0:
		return fmt.Errorf("%w: it shows none", ErrUntrusted)
	}
	cert := chain[0]
	if _, err := os.Lstat(filepath.Join(p.dir, folderRejected, Thumbprint(cert.Raw)+byHand)); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: somebody rejected it; if it is the right one: edge-ctl pki trust %s --pki %s", ErrUntrusted, Thumbprint(cert.Raw)[:12], p.dir)
	}
	if err := p.trusts(chain, now); err != nil {
		return err
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	switch {
	case now.Before(cert.NotBefore) || now.After(cert.NotAfter):
		return fmt.Errorf("%w: valid from %s to %s; check the clocks, or give the server a new one",
			ErrExpired, moment.Format(cert.NotBefore), moment.Format(cert.NotAfter))
	case !ok || key.N.BitLen() < leastKeyBits:
		return fmt.Errorf("%w: expected RSA with %d bits at least", ErrWeakKey, leastKeyBits)
	case host != "" && cert.VerifyHostname(host) != nil:
		return fmt.Errorf("%w: it names %s, and the endpoint's host is %s; give the server one with that name, or set opts.check_host: false",
			ErrWrongHost, names(cert), host)
	case uri != "" && !slices.ContainsFunc(cert.URIs, func(u *url.URL) bool { return u.String() == uri }):
		return fmt.Errorf("%w: the server calls itself %s, its certificate says %v; give the server a right one, or set opts.check_host: false",
			ErrWrongServer, uri, cert.URIs)
	}
	return nil
}

func names(cert *x509.Certificate) string {
	list := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "no host"
	}
	return strings.Join(list, ", ")
}

// trusts says whether somebody trusts the first certificate of chain: itself, or one
// that signed it.
func (p *PKI) trusts(chain []*x509.Certificate, now time.Time) error {
	trusted, err := p.folder(folderTrusted)
	if err != nil {
		return err
	}
	issuers, err := p.folder(folderIssuers)
	if err != nil {
		return err
	}
	cert := chain[0]
	if err := p.notRevoked(chain, append(slices.Clone(trusted), issuers...)); err != nil {
		return err
	}
	isTrusted := func(c *x509.Certificate) bool {
		return slices.ContainsFunc(trusted, func(e Entry) bool { return e.Cert.Equal(c) })
	}
	if isTrusted(cert) {
		return nil
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, e := range append(trusted, issuers...) {
		if bytes.Equal(e.Cert.RawIssuer, e.Cert.RawSubject) {
			opts.Roots.AddCert(e.Cert)
		} else {
			opts.Intermediates.AddCert(e.Cert)
		}
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	built, err := cert.Verify(opts)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: %w", ErrExpired, err)
	}
	for _, way := range built {
		if slices.ContainsFunc(way, isTrusted) {
			return nil
		}
	}
	if err := p.rejected(cert.Raw); err != nil {
		return fmt.Errorf("%w, and cannot be kept for a person to look at: %w", ErrUntrusted, err)
	}
	return fmt.Errorf("%w: %s, thumbprint %s; if it is the right one: edge-ctl pki trust %s --pki %s",
		ErrUntrusted, cert.Subject, Thumbprint(cert.Raw), Thumbprint(cert.Raw)[:12], p.dir)
}

// notRevoked looks for the certificates of chain in the revocation lists of their
// issuers.
func (p *PKI) notRevoked(chain []*x509.Certificate, known []Entry) error {
	files, err := p.files(folderRevoked)
	if err != nil || len(files) == 0 {
		return err
	}
	issuers := slices.Clone(chain)
	for _, e := range known {
		issuers = append(issuers, e.Cert)
	}
	for _, file := range files {
		content, err := regular.ReadFile(file, maxCertFile)
		if err != nil {
			return err
		}
		for _, der := range blocks(content, "X509 CRL") {
			list, err := x509.ParseRevocationList(der)
			if err != nil {
				return fmt.Errorf("revocation list %s: %w", file, err)
			}
			if !slices.ContainsFunc(issuers, func(c *x509.Certificate) bool { return list.CheckSignatureFrom(c) == nil }) {
				continue // nobody that we know signed it
			}
			for _, c := range chain {
				if bytes.Equal(c.RawIssuer, list.RawIssuer) && slices.ContainsFunc(list.RevokedCertificateEntries,
					func(r x509.RevocationListEntry) bool { return r.SerialNumber.Cmp(c.SerialNumber) == 0 }) {
					return fmt.Errorf("%w: by %s, in %s", ErrRevoked, c.Issuer, file)
				}
			}
		}
	}
	return nil
}

// own returns the gateway's certificate, with its chain, and its key. They are made
// at first use, and renewed before they end unless a person put them there.
func (p *PKI) own(now time.Time) (cert []byte, key *rsa.PrivateKey, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cert, key, err = p.loadOwn()
	if errors.Is(err, os.ErrNotExist) {
		return p.makeOwn(now)
	}
	if err != nil {
		return nil, nil, err
	}
	first, err := leaf(cert)
	if err != nil {
		return nil, nil, fmt.Errorf("the gateway's own certificate: %w", err)
	}
	switch ours := slices.Contains(first.Subject.Organization, madeByUs) && bytes.Equal(first.RawIssuer, first.RawSubject); {
	case ours && now.Add(renewBefore).After(first.NotAfter):
		return p.makeOwn(now)
	case now.After(first.NotAfter):
		return nil, nil, fmt.Errorf("the gateway's own certificate in %s ended at %s; put a new one there, or remove it with its key and one is made",
			filepath.Join(p.dir, folderOwn), moment.Format(first.NotAfter))
	}
	return cert, key, nil
}

// loadOwn reads certificate and key. It fails with [os.ErrNotExist] if there is
// neither.
func (p *PKI) loadOwn() ([]byte, *rsa.PrivateKey, error) {
	dir := filepath.Join(p.dir, folderOwn)
	content, err := regular.ReadFile(filepath.Join(dir, ownCert), maxCertFile)
	if err != nil {
		return nil, nil, err
	}
	var chain []byte
	for _, der := range blocks(content, "CERTIFICATE") {
		chain = append(chain, der...)
	}
	if _, err := leaf(chain); err != nil {
		return nil, nil, fmt.Errorf("%s holds no certificate: %w", filepath.Join(dir, ownCert), err)
	}
	key, err := loadKey(filepath.Join(dir, ownKey))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is there without its key %s; put it there, or remove the certificate and both are made", ownCert, filepath.Join(dir, ownKey))
	}
	return chain, key, err
}

// loadKey reads an RSA key, as PKCS #8 or PKCS #1, in PEM or DER.
func loadKey(file string) (*rsa.PrivateKey, error) {
	content, err := regular.ReadFile(file, maxCertFile)
	if err != nil {
		return nil, err
	}
	for _, der := range append(blocks(content, "PRIVATE KEY"), blocks(content, "RSA PRIVATE KEY")...) {
		if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return key, nil
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if key, ok := key.(*rsa.PrivateKey); ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s holds no RSA key", file)
}

// loadUser reads the certificate and the key of a user.
func loadUser(certFile, keyFile string) ([]byte, *rsa.PrivateKey, error) {
	content, err := regular.ReadFile(certFile, maxCertFile)
	if err != nil {
		return nil, nil, fmt.Errorf("user_cert: %w", err)
	}
	certs := blocks(content, "CERTIFICATE")
	if len(certs) == 0 {
		return nil, nil, fmt.Errorf("user_cert: %s holds no certificate", certFile)
	}
	key, err := loadKey(keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("user_key: %w", err)
	}
	return firstCert(certs[0]), key, nil
}

// makeOwn makes a certificate signed by itself.
func (p *PKI) makeOwn(now time.Time) ([]byte, *rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, leastKeyBits)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: p.name, Organization: []string{madeByUs}},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(ownValid),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{{Scheme: "urn", Opaque: "edge-gateway:" + url.PathEscape(host) + ":" + url.PathEscape(p.name)}},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the gateway's own certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the gateway's own certificate: %w", err)
	}
	dir := filepath.Join(p.dir, folderOwn)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the gateway's own certificate: %w", err)
	}
	// The key first: a certificate without its key would be a person's.
	for _, f := range []struct {
		name, kind string
		der        []byte
		mode       os.FileMode
	}{{ownKey, "PRIVATE KEY", pkcs8, 0o600}, {ownCert, "CERTIFICATE", der, 0o644}} {
		content := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := durable.WriteFile(filepath.Join(dir, f.name), content, f.mode); err != nil {
			return nil, nil, fmt.Errorf("make the gateway's own certificate: %w", err)
		}
	}
	return der, key, nil
}

// applicationURI returns what a certificate says that its application is.
func applicationURI(der []byte, name string) string {
	if cert, err := leaf(der); err == nil && len(cert.URIs) > 0 {
		return cert.URIs[0].String()
	}
	return "urn:edge-gateway:" + name
}
