package admin

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/edge-gateway/edge-gateway/pkg/intake"
)

// Peer is the process at the other end of a connection, as the kernel says.
type Peer struct {
	UID, GID uint32
	PID      int32

	role Role
}

// String returns the form that audit records use.
func (p Peer) String() string { return fmt.Sprintf("uid=%d gid=%d pid=%d", p.UID, p.GID, p.PID) }

// AuthType names the kind of credentials, for gRPC.
func (Peer) AuthType() string { return "unix-peer" }

// peerCredentials are gRPC credentials that ask the kernel who the client is.
type peerCredentials struct{ grants *grants }

// ServerHandshake reads the client's credentials; nothing goes over the wire.
func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p, err := peerOf(conn)
	if err != nil {
		return nil, nil, err
	}
	p.role = c.grants.roleOf(p)
	return conn, p, nil
}

// peerOf asks the kernel who is at the other end of c.
func peerOf(c net.Conn) (Peer, error) {
	if b, ok := c.(*intake.Conn); ok {
		c = b.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.New("peer credentials: not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	p, err := credentialsOf(raw)
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	return p, nil
}

// ClientHandshake is not used: clients take insecure credentials.
func (peerCredentials) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, Peer{}, nil
}

// Info describes the credentials, for gRPC.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix-peer"}
}

// Clone returns c: it has no state.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing; gRPC's interface still wants it.
func (peerCredentials) OverrideServerName(string) error { return nil }

// callerOf returns who made a call.
func callerOf(ctx context.Context) Peer {
	if p, ok := peer.FromContext(ctx); ok {
		if who, ok := p.AuthInfo.(Peer); ok {
			return who
		}
	}
	return Peer{}
}
