// Package clienttls makes the TLS configuration of a client from the files that
// people name. Servers are always verified; TLS 1.2 is the least.
package clienttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// MaxFile bounds a certificate's or a key's file: a bundle of all public
// authorities has 200 KiB.
const MaxFile = 1 << 20

// Files names PEM files; "" is none.
type Files struct {
	CA   string // authorities that are trusted instead of the system's
	Cert string // of the client; with Key
	Key  string

	Password func() (string, error)            // of an encrypted key; nil: none
	Read     func(name string) ([]byte, error) // what a name stands for; nil: a regular file
}

// Errors that tell which file is at fault, so that a caller can name its setting.
var (
	ErrCA   = errors.New("CA certificate")
	ErrCert = errors.New("client certificate")
)

// Config reads the files.
func (f Files) Config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := f.read(f.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCA, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s: no certificate in PEM", ErrCA, f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("%w: a certificate needs its key, and a key its certificate", ErrCert)
	}
	if f.Cert != "" {
		pair, err := f.pair()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCert, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (f Files) read(name string) ([]byte, error) {
	if f.Read != nil {
		return f.Read(name)
	}
	return regular.ReadFile(name, MaxFile)
}

func (f Files) pair() (tls.Certificate, error) {
	cert, err := f.read(f.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := f.read(f.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if key, err = f.plainKey(key); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", f.Key, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s with %s: %w", f.Cert, f.Key, err)
	}
	return pair, nil
}
