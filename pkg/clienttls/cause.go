package clienttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// Cause is why a TLS connection failed.
type Cause int

// The causes. What a server refuses comes as a TLS alert (RFC 8446, 6.2).
const (
	Unknown          Cause = iota
	UnknownAuthority       // its certificate is not signed by an authority that is trusted
	OtherName              // its certificate is for another name
	NotValidNow            // its certificate is expired or not yet valid, or our clock is wrong
	NotTLS                 // it does not speak TLS
	HungUp                 // it closed the connection at the first word of TLS
	Silent                 // it does not answer to the first word of TLS
	CertWanted             // it wants a client certificate
	CertExpired            // it says that the client's certificate has expired
	CertRefused            // it does not accept the client's certificate
	CertUnknown            // it does not know the authority of the client's certificate
	CertRevoked            // it says that the client's certificate was revoked
	NoVersion              // no common version of TLS
	NoCipher               // no common cipher, or a client certificate is wanted
	UnknownName            // it does not know the name that was asked for
	NoProtocol             // it expects another protocol name (ALPN)
)

// CauseOf finds out why a connection failed. Some libraries hand on the text of an
// error and not the error, so the texts of crypto/tls and crypto/x509 do as well.
func CauseOf(err error) Cause {
	if err == nil {
		return Unknown
	}
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		return UnknownAuthority
	case errors.As(err, &name):
		return OtherName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return NotValidNow
	case errors.As(err, &header):
		return NotTLS
	}
	if _, alert, ok := strings.Cut(text, "remote error: tls: "); ok {
		return alertCause(alert)
	}
	for _, t := range []struct {
		text  string
		cause Cause
	}{
		{"x509: certificate signed by unknown authority", UnknownAuthority},
		{"x509: certificate is valid for ", OtherName}, {"x509: certificate is not valid for any names", OtherName},
		{"x509: cannot validate certificate for ", OtherName},
		{"x509: certificate has expired or is not yet valid", NotValidNow},
		{"first record does not look like a TLS handshake", NotTLS},
	} {
		if strings.Contains(text, t.text) {
			return t.cause
		}
	}
	return Unknown
}

// alertCause is the cause that a server names in an alert.
func alertCause(alert string) Cause {
	for _, a := range []struct {
		text  string
		cause Cause
	}{
		{"expired certificate", CertExpired}, {"certificate required", CertWanted}, {"bad certificate", CertRefused},
		{"unknown certificate authority", CertUnknown}, {"unknown certificate", CertRefused}, {"unsupported certificate", CertRefused},
		{"access denied", CertRefused}, {"error decrypting message", CertRefused}, {"revoked certificate", CertRevoked},
		{"protocol version not supported", NoVersion}, {"handshake failure", NoCipher}, {"unrecognized name", UnknownName},
		{"no application protocol", NoProtocol},
	} {
		if strings.HasPrefix(alert, a.text) {
			return a.cause
		}
	}
	return Unknown
}

// HandshakeCause is [CauseOf] for an error of the handshake itself, where the end of the
// connection says something, too.
func HandshakeCause(err error) Cause {
	var n net.Error
	if c := CauseOf(err); c != Unknown {
		return c
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errkind.Reset(err):
		return HungUp
	case errors.As(err, &n) && n.Timeout():
		return Silent
	}
	return Unknown
}

// Settings are the names under which a person finds what to change.
type Settings struct {
	Peer       string // "the broker"
	CA         string // "tls.ca"
	Cert       string // "tls.client_cert"
	Key        string // "tls.client_key"
	Address    string // "endpoint", the setting that has the name of the peer
	ServerName string // "tls.server_name"; "": there is none
	ALPN       string // "tls.alpn"; "": there is none
	Plain      string // how an unencrypted connection is asked for: "use mqtt:// in endpoint"
	User       string // "--user"
	Password   string // "--password-file"
}

// Explain says what a person can do about a cause, "" about [Unknown].
func (s Settings) Explain(c Cause) string {
	switch c {
	case UnknownAuthority:
		return fmt.Sprintf("%s's certificate is not signed by an authority that is trusted here: set %s to the certificate of the authority that signed it", s.Peer, s.CA)
	case OtherName:
		return s.or(fmt.Sprintf("%s's certificate is for another name: use one in %s that the certificate holds", s.Peer, s.Address), s.ServerName, "set %s to one")
	case NotValidNow:
		return fmt.Sprintf("%s's certificate is not valid now, %s: it has expired, or this machine's clock is wrong", s.Peer, time.Now().Format(time.DateOnly))
	case NotTLS:
		return "the server does not answer in TLS: this port is for plain connections; " + s.Plain
	case HungUp:
		return fmt.Sprintf("the server closed the connection at the first word of TLS: this port may be for plain connections; %s then", s.Plain)
	case Silent:
		return fmt.Sprintf("no answer to the first word of TLS: this port may be for plain connections; %s then", s.Plain)
	case CertWanted:
		return fmt.Sprintf("%s wants a client certificate: set %s and %s", s.Peer, s.Cert, s.Key)
	case CertExpired:
		return fmt.Sprintf("%s says that %s has expired: renew it, and check the clocks", s.Peer, s.Cert)
	case CertRefused:
		return fmt.Sprintf("%s does not accept %s: it wants one, or another one, or one of another authority", s.Peer, s.Cert)
	case CertUnknown:
		return fmt.Sprintf("%s does not know the authority that signed %s", s.Peer, s.Cert)
	case CertRevoked:
		return fmt.Sprintf("%s says that %s was revoked: renew it", s.Peer, s.Cert)
	case NoVersion:
		return s.Peer + " speaks no version of TLS from 1.2 on, and older ones are not safe: update it"
	case NoCipher:
		return fmt.Sprintf("there is no cipher that %s speaks too, or it wants a client certificate (%s)", s.Peer, s.Cert)
	case UnknownName:
		return s.or(fmt.Sprintf("%s does not know the name in %s", s.Peer, s.Address), s.ServerName, "set %s to the one that it expects")
	case NoProtocol:
		return s.or(s.Peer+" expects another protocol name (ALPN)", s.ALPN, "set %s, such as [mqtt]")
	}
	return ""
}

// or adds what a setting can do, where there is one.
func (s Settings) or(text, setting, advice string) string {
	if setting == "" {
		return text
	}
	return text + ", or " + fmt.Sprintf(advice, setting)
}

// Explained adds what a person can do to an error that came on a TLS connection.
func (s Settings) Explained(err error) error { return s.because(CauseOf(err), err) }

// ExplainedHandshake does so to an error of the handshake itself.
func (s Settings) ExplainedHandshake(err error) error { return s.because(HandshakeCause(err), err) }

func (s Settings) because(c Cause, err error) error {
	if text := s.Explain(c); text != "" {
		return fmt.Errorf("%s (%w)", text, err)
	}
	return err
}
