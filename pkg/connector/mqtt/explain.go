package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/mqtt311"
)

// What a peer that is not the expected broker, or does not want us, does instead of
// speaking MQTT, in words a person can act on.
var (
	errHungUp     = errors.New("the broker closed the connection without a reason")
	errUnanswered = errors.New("the broker closed the connection without an answer to CONNECT: it may be about to stop, allow fewer connections, not speak MQTT 5 (see version), " +
		"or expect TLS (mqtts://); its log may say more")
	errSpeaksTLS  = errors.New("the server answers in TLS: this port is for encrypted connections; use mqtts:// (or wss://) in endpoint")
	errSpeaksHTTP = errors.New("the server answers in HTTP: this port is for WebSockets; use ws:// (or wss://) in endpoint")
)

// listen looks at the first bytes of the first packet, which is a CONNACK if a
// broker sends it.
func (c *conn) listen() error {
	first, err := c.r.Peek(1)
	if err != nil {
		return err
	}
	const connack, auth = 0x20, 0xF0
	switch first[0] {
	case connack:
		return c.listenVersion()
	case auth:
		return nil
	case 0xE0: // DISCONNECT, which no broker may send yet and some do
		return nil
	case 0x15, 0x16: // a TLS record: alert, handshake
		return errSpeaksTLS
	case 'H', '<':
		return errSpeaksHTTP
	}
	some, _ := c.r.Peek(min(c.r.Buffered(), 16)) // which is there already
	return fmt.Errorf("the server does not answer in MQTT, but with %q; check host and port in endpoint", some)
}

// listenVersion refuses the CONNACK of a broker that speaks MQTT 3.1.1 alone, which
// is shorter than any of version 5.
func (c *conn) listenVersion() error {
	head, err := c.r.Peek(4)
	if err != nil {
		return err
	}
	if head[1] != 2 {
		return nil
	}
	if code := head[3]; code > 1 {
		return &refusal{code: mqtt311.ReasonCode(code)} // it means what it says, whatever the version
	}
	return &refusal{code: codeVersion}
}

// explainEnd says what the end of a connection means.
func explainEnd(err error) error {
	var n net.Error
	var ws *websocket.CloseError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errkind.Reset(err),
		errors.As(err, &ws):
		return fmt.Errorf("%w (%w)", errHungUp, err)
	case errors.As(err, &n) && n.Timeout():
		return fmt.Errorf("the broker has taken nothing for %s: %w", writeTimeout, err)
	}
	return explainAlert(err)
}

// explainAlert adds what to do about a TLS alert of the broker, which comes with
// the first read when it concerns our certificate.
func explainAlert(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return err
	}
	text := strings.TrimPrefix(op.Err.Error(), "tls: ")
	if advice := alertAdvice(text); advice != "" {
		return fmt.Errorf("%s (%w)", advice, err)
	}
	return err
}

// alertAdvice says what a TLS alert means here, "" if nothing more than its name.
func alertAdvice(alert string) string {
	switch alert {
	case "expired certificate":
		return "the broker says that tls.client_cert has expired: renew it, and check the clocks"
	case "certificate required":
		return "the broker wants a client certificate: set tls.client_cert and tls.client_key"
	case "bad certificate":
		return "the broker does not accept tls.client_cert: it wants one, or another one, or one of another authority"
	case "unknown certificate authority":
		return "the broker does not know the authority that signed tls.client_cert"
	case "unknown certificate", "unsupported certificate", "access denied":
		return "the broker does not accept tls.client_cert"
	case "revoked certificate":
		return "tls.client_cert was revoked: renew it"
	case "protocol version not supported":
		return "the broker speaks no version of TLS from 1.2 on, and older ones are not safe: update it"
	case "handshake failure":
		return "the broker and the gateway agree on no cipher, or it wants a client certificate (tls.client_cert)"
	case "unrecognized name":
		return "the broker does not know the name in endpoint: set tls.server_name to the one that it expects"
	case "no application protocol":
		return "the broker expects another protocol name (ALPN): set tls.alpn, such as [mqtt]"
	}
	return ""
}

// explainTLS adds what to do about a common fault of a handshake.
func explainTLS(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; set tls.ca to the certificate of the authority that signed the broker's", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w; use a name in endpoint that the certificate holds, or set tls.server_name to one", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the broker's certificate is not valid now, %s: it has expired, or the gateway's clock is wrong (%w)", time.Now().Format(time.DateOnly), err)
	case errors.As(err, &header):
		return fmt.Errorf("the server does not answer in TLS: this port is for plain connections; use mqtt:// (or ws://) in endpoint (%w)", err)
	case errors.Is(err, io.EOF), errkind.Reset(err):
		return fmt.Errorf("the server closed the connection at the first word of TLS: this port may be for plain connections; use mqtt:// (or ws://) in endpoint then (%w)", err)
	case isTimeout(err):
		return fmt.Errorf("no answer to the first word of TLS: this port may be for plain connections; use mqtt:// (or ws://) in endpoint then (%w)", err)
	}
	return explainAlert(err)
}

// errClientCert says that the client certificate cannot be used; a person must act.
var errClientCert = errors.New("tls.client_cert")

// checkClientCert refuses a client certificate that no broker would take: it says
// so on the next read only, and often just hangs up.
func checkClientCert(pair *tls.Certificate, now time.Time) error {
	switch leaf := pair.Leaf; {
	case leaf == nil:
		return nil
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%w expired on %s: renew it (or the gateway's clock is wrong: it says %s)", errClientCert,
			leaf.NotAfter.Format(time.DateOnly), now.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%w is valid from %s on: the gateway's clock says %s", errClientCert,
			leaf.NotBefore.Format(time.DateTime), now.Format(time.DateTime))
	}
	return nil
}
