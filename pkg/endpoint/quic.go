package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
)

// quicALPN is the application protocol that we offer unless alpn names another. QUIC
// demands one; there is none for Modbus and its like.
const quicALPN = "edge-gw"

// quicWindow is how much a device may send ahead of our reading, in bytes.
const quicWindow = 1 << 20

// quicConn is a QUIC connection with one stream, which reads and writes like a TCP
// connection. The device learns of the stream by the first bytes that are written.
type quicConn struct {
	*quic.Stream
	conn      *quic.Conn
	transport *quic.Transport
	below     Conn

	closing sync.Once
	closed  chan struct{}
}

// quicClient opens a connection and its stream. Datagrams, and streams that the
// device opens, are refused.
func (c *certificates) quicClient(ctx context.Context, below Conn, host string) (Conn, error) {
	shared, err := c.load()
	if err != nil {
		return nil, err
	}
	o := &c.options
	config := shared.Clone()
	config.ServerName, config.MinVersion = o.serverName(host), tls.VersionTLS13
	config.NextProtos = []string{quicALPN}
	if o.ALPN != "" {
		config.NextProtos = []string{o.ALPN}
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return clientCertificate(config), nil
	}
	q := &quicConn{transport: &quic.Transport{Conn: &packets{below}}, below: below, closed: make(chan struct{})}
	q.conn, err = q.transport.Dial(ctx, below.RemoteAddr(), config, &quic.Config{
		HandshakeIdleTimeout: o.Timeout, KeepAlivePeriod: o.KeepAlive, MaxIdleTimeout: 3 * o.KeepAlive,
		MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
		MaxStreamReceiveWindow: quicWindow, MaxConnectionReceiveWindow: quicWindow,
	})
	if err != nil {
		_ = q.transport.Close() // the handshake's error counts
		if _, idle := errors.AsType[*quic.IdleTimeoutError](err); idle || errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer: the peer is away, or does not speak QUIC there")
		}
		return nil, fmt.Errorf("QUIC handshake: %w", explainQUIC(err))
	}
	if q.Stream, err = q.conn.OpenStreamSync(ctx); err != nil {
		_ = q.Close() // the first error counts
		return nil, fmt.Errorf("QUIC stream: %w", explainQUIC(err))
	}
	return q, nil
}

func (c *quicConn) LocalAddr() net.Addr  { return c.below.LocalAddr() }
func (c *quicConn) RemoteAddr() net.Addr { return c.below.RemoteAddr() }

func (c *quicConn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	return n, c.socketError(err)
}

func (c *quicConn) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	return n, c.socketError(err)
}

// Close tells the device and does not wait for what was written last.
func (c *quicConn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		close(c.closed)
		err = errors.Join(c.conn.CloseWithError(0, ""), c.transport.Close(), c.below.Close())
	})
	return err
}

// socketError speaks of deadlines and closing as package net does.
func (c *quicConn) socketError(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return err
	}
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok && e.Remote && e.ErrorCode == 0 {
		return io.EOF
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok && e.Remote && e.ErrorCode == quic.NoError {
		return io.EOF
	}
	return explainQUIC(err)
}

func (c *quicConn) certExpiry() time.Time {
	return c.conn.ConnectionState().TLS.PeerCertificates[0].NotAfter
}

func (c *quicConn) check() error {
	if c.conn.Context().Err() != nil {
		return fmt.Errorf("found closed: %w", c.socketError(context.Cause(c.conn.Context())))
	}
	return unasked(c)
}

// explainQUIC is explainTLS for quic-go's errors. No other is a timeout: the
// connection is lost for good.
func explainQUIC(err error) error {
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return errors.New("connection lost: the peer was silent for too long")
	}
	e, ok := errors.AsType[*quic.TransportError](err)
	if !ok || !e.ErrorCode.IsCryptoError() {
		return err
	}
	if e.Remote {
		err = fmt.Errorf("remote error: %w", tls.AlertError(e.ErrorCode&0xff))
	}
	if clienttls.CauseOf(err) == clienttls.NoProtocol {
		return fmt.Errorf("peer has another application protocol than opts.alpn: %w", err)
	}
	return explainTLS(err, true)
}

// packets is a connection as the socket that quic-go wants. It offers neither control
// messages nor larger buffers: a device's answers are small, and a path that takes no
// 1,280 bytes at once is none for QUIC.
type packets struct{ Conn }

func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.RemoteAddr(), err
}

func (p *packets) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }
func (p *packets) SetReadBuffer(int) error                   { return nil }
func (p *packets) SetWriteBuffer(int) error                  { return nil }

// looseUDP is a UDP socket that talks with one address and isn't connected to it: when
// the gateway's own address changes, what it sends leaves from the new one, and a QUIC
// connection goes on.
type looseUDP struct {
	*net.UDPConn
	peer netip.AddrPort
}

func dialLooseUDP(ctx context.Context, o Options, address string) (Conn, error) {
	probe, err := dialUDP(ctx, o, address) // resolves the name, and chooses the family
	if err != nil {
		return nil, err
	}
	peer := probe.RemoteAddr().(*net.UDPAddr)
	_ = probe.Close() // nothing was sent
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(o.Source)})
	if err != nil {
		return nil, fmt.Errorf("dial udp %s: %w", address, err)
	}
	return &looseUDP{UDPConn: c, peer: peer.AddrPort()}, nil
}

func (c *looseUDP) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.peer) }

// Read drops what others send.
func (c *looseUDP) Read(p []byte) (int, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(p)
		if err != nil || from.Port() == c.peer.Port() && from.Addr().Unmap() == c.peer.Addr().Unmap() {
			return n, err
		}
	}
}

func (c *looseUDP) Write(p []byte) (int, error) { return c.WriteToUDPAddrPort(p, c.peer) }
