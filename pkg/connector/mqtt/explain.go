package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
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
	return brokerSettings().Explained(err) // an alert about our certificate comes with the first read
}

// brokerSettings are the settings that an error of TLS may be about.
func brokerSettings() clienttls.Settings {
	return clienttls.Settings{Peer: "the broker", CA: "tls.ca", Cert: "tls.client_cert", Key: "tls.client_key", Address: "endpoint",
		ServerName: "tls.server_name", ALPN: "tls.alpn", Plain: "use mqtt:// (or ws://) in endpoint"}
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
			moment.Format(leaf.NotAfter), moment.Format(now))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%w is valid from %s on: the gateway's clock says %s", errClientCert,
			moment.Format(leaf.NotBefore), moment.Format(now))
	}
	return nil
}
