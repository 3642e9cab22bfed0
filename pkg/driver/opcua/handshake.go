package opcua

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
)

// handshake says hello and opens the channel.
func (c *channel) handshake(ctx context.Context, url string) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.lease.SetDeadline(deadline); err != nil {
			return err
		}
	}
	hello := uacp.Hello{ReceiveBufSize: mostChunk, SendBufSize: mostChunk, MaxMessageSize: mostMessage, MaxChunkCount: mostChunks, EndpointURL: url}
	body, err := hello.Encode()
	if err != nil {
		return err
	}
	b := append([]byte("HELF\x00\x00\x00\x00"), body...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	if _, err := c.lease.Write(b); err != nil {
		return err
	}
	kind, _, b, err := c.readChunk()
	if err != nil {
		return err
	}
	if kind != "ACK" {
		return fmt.Errorf("the server answers hello with %q: it does not speak OPC UA", kind)
	}
	var ack uacp.Acknowledge
	if _, err := ack.Decode(b[8:]); err != nil {
		return fmt.Errorf("acknowledge message: %w", err)
	}
	if ack.ReceiveBufSize < 8192 {
		return fmt.Errorf("the server takes chunks of %d bytes only; the standard wants 8192 at least", ack.ReceiveBufSize)
	}
	c.chunk, c.messages, c.chunks = int(min(ack.ReceiveBufSize, mostChunk)), int(ack.MaxMessageSize), int(ack.MaxChunkCount)
	return c.open(ctx)
}

// open asks for the channel's first token. read does not run yet.
func (c *channel) open(ctx context.Context) error {
	wait := make(chan reply, 1)
	if _, err := c.sendOpen(ua.SecurityTokenRequestTypeIssue, wait); err != nil {
		return err
	}
	for {
		if err := c.receiveOne(); err != nil {
			return err
		}
		select {
		case r := <-wait:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
}

// renew replaces the token. Requests may be in flight meanwhile.
func (c *channel) renew(ctx context.Context) error {
	wait := make(chan reply, 1)
	n, err := c.sendOpen(ua.SecurityTokenRequestTypeRenew, wait)
	if err != nil {
		return err
	}
	_, err = c.await(ctx, n, wait, c.timeout)
	return err
}

// renewal returns when the token should be renewed.
func (c *channel) renewal() time.Time {
	c.keyMu.Lock()
	defer c.keyMu.Unlock()
	return c.expiry
}

func (c *channel) sendOpen(kind ua.SecurityTokenRequestType, wait chan<- reply) (uint32, error) {
	algo, err := c.sec.asymmetric("")
	if err != nil {
		return 0, err
	}
	nonce, err := algo.MakeNonce()
	if err != nil {
		return 0, err
	}
	req := &ua.OpenSecureChannelRequest{
		RequestType: kind, SecurityMode: c.sec.mode, ClientNonce: nonce, RequestedLifetime: uint32(tokenLifetime / time.Millisecond),
	}
	header := ua.NewBuffer(nil)
	header.WriteString(c.sec.policy)
	if c.sec.none() {
		header.WriteByteString(nil)
		header.WriteByteString(nil)
	} else {
		header.WriteByteString(c.sec.cert)
		print := sha1.Sum(firstCert(c.sec.remote)) //nolint:gosec // as above
		header.WriteByteString(print[:])
	}
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.nonce = nonce
	s := sealer{algo, !c.sec.none(), !c.sec.none()}
	return c.sendLocked("OPN", header.Bytes(), &s, nil, req, c.timeout, wait)
}

// firstCert returns the certificate of its owner in a chain.
func firstCert(der []byte) []byte {
	if cert, err := leaf(der); err == nil {
		return cert.Raw
	}
	return der
}
