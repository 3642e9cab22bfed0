package opcua

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the standard names a certificate by it
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
	"github.com/gopcua/opcua/uapolicy"

	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// What we take of a server (OPC 10000-6, 7.1.2).
const (
	mostChunk   = 1 << 16
	mostMessage = 4 << 20
	mostChunks  = 4096

	tokenLifetime = time.Hour // asked for
)

// channel is a secure channel: requests go out, each with a number, and answers come
// back in any order. One goroutine, read, belongs to it; it ends with the channel.
// The channel never connects anew.
type channel struct {
	lease   endpoint.Lease
	in      *bufio.Reader
	sec     security
	timeout time.Duration

	chunk    int // largest that the server takes
	messages int // ditto, of a whole request; 0: any
	chunks   int // ditto, of its chunks; 0: any

	sendMu  sync.Mutex // chunks leave in the order of their numbers; guards what follows
	id      uint32
	seq     uint32
	request uint32
	out     *token
	nonce   []byte // of the token that is being asked for

	keyMu  sync.Mutex
	keys   []*token // that the server may use, the newest last
	inSeq  uint32
	expiry time.Time // when the newest should be replaced

	pendMu  sync.Mutex
	pending map[uint32]chan<- reply

	once sync.Once
	done chan struct{} // closed when nothing will be answered any more
	err  error         // why; set before done is closed
	read sync.WaitGroup

	listener atomic.Pointer[func(time.Time)] // told of each answer; nil: nobody is
}

// token is a set of keys.
type token struct {
	id   uint32
	seal sealer
}

// reply is what became of a request.
type reply struct {
	resp ua.Response
	err  error
}

// openChannel connects and opens a secure channel. ctx bounds that, not the channel's
// life.
func openChannel(ctx context.Context, ep endpoint.Acquirer, url string, sec security, timeout time.Duration) (*channel, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lease, err := ep.Acquire(ctx)
	if err != nil {
		return nil, &linkError{opConnect, err}
	}
	c := &channel{
		lease: lease, in: bufio.NewReaderSize(lease, mostChunk), sec: sec, timeout: timeout,
		pending: map[uint32]chan<- reply{}, done: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { _ = lease.SetDeadline(time.Unix(1, 0)) }) // ends what blocks; a refusal means that it has ended
	err = c.handshake(ctx, url)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = lease.SetDeadline(time.Now().Add(farAway)) // or the endpoint's own would end every silence
	}
	if err != nil {
		if ctx.Err() != nil && !isRefusal(err) {
			err = errNoAnswer
		}
		lease.Release(err)
		return nil, &linkError{"open a secure channel", err}
	}
	c.read.Go(c.receive)
	return c, nil
}

// farAway is a deadline that nobody waits for.
const farAway = 10 * 365 * 24 * time.Hour

// refusal is what a server says before it hangs up.
type refusal struct {
	code   ua.StatusCode
	reason string
}

func (e *refusal) Error() string {
	if e.reason == "" {
		return "the server refuses: " + describeStatus(e.code)
	}
	return fmt.Sprintf("the server refuses: %s (%q)", describeStatus(e.code), e.reason)
}

// Unwrap makes the status comparable.
func (e *refusal) Unwrap() error { return e.code }

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// setListener has tell called with the time of each answer.
func (c *channel) setListener(tell func(time.Time)) { c.listener.Store(&tell) }

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
	_, err = c.await(ctx, n, wait)
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

// send sends a request. wait, which must have room, gets what becomes of it unless
// the channel ends before: then done is closed.
func (c *channel) send(auth *ua.NodeID, req ua.Request, hint time.Duration, wait chan<- reply) (uint32, error) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if c.out == nil {
		return 0, &linkError{"send", errors.New("the channel is not open")}
	}
	header := binary.LittleEndian.AppendUint32(nil, c.out.id)
	return c.sendLocked("MSG", header, &c.out.seal, auth, req, hint, wait)
}

// sendLocked sends a request in as many chunks as it needs. sendMu is held.
func (c *channel) sendLocked(kind string, header []byte, s *sealer, auth *ua.NodeID, req ua.Request, hint time.Duration, wait chan<- reply) (uint32, error) {
	c.request++
	n := c.request
	if auth == nil {
		auth = ua.NewTwoByteNodeID(0)
	}
	req.SetHeader(&ua.RequestHeader{
		AuthenticationToken: auth, Timestamp: time.Now(), RequestHandle: n,
		TimeoutHint: uint32(min(hint, 24*time.Hour) / time.Millisecond), AdditionalHeader: ua.NewExtensionObject(nil),
	})
	body, err := encodeService(req)
	if err != nil {
		return 0, err
	}
	room := s.room(c.chunk, len(header))
	count := max(1, (len(body)+room-1)/room)
	if c.messages > 0 && len(body) > c.messages || c.chunks > 0 && count > c.chunks {
		return 0, fmt.Errorf("a request of %d bytes is more than the server takes; set cfg.max_per_request lower", len(body))
	}
	if wait != nil {
		c.pendMu.Lock()
		c.pending[n] = wait
		c.pendMu.Unlock()
	}
	if err := c.lease.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, c.fail("send", err)
	}
	for i := range count {
		part, more := body, byte('F')
		if len(part) > room {
			part, more = part[:room], 'C'
		}
		body = body[len(part):]
		c.seq++
		b := make([]byte, 0, chunkHeader+len(header)+sequenceHeader+len(part)+1024)
		b = append(append(b, kind...), more, 0, 0, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, c.id)
		b = append(b, header...)
		b = binary.LittleEndian.AppendUint32(b, c.seq)
		b = binary.LittleEndian.AppendUint32(b, n)
		b = append(b, part...)
		b, err := s.seal(b, chunkHeader+len(header))
		if err != nil {
			return 0, c.fail("send", err)
		}
		if kind == "OPN" && i > 0 {
			return 0, errors.New("our certificate is too large for the server")
		}
		if _, err := c.lease.Write(b); err != nil {
			return 0, c.fail("send", err)
		}
	}
	return n, nil
}

func encodeService(req ua.Request) ([]byte, error) {
	buf := ua.NewBuffer(nil)
	buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(req)))
	buf.WriteStruct(req)
	return buf.Bytes(), buf.Error()
}

// call sends a request and waits for its answer.
func (c *channel) call(ctx context.Context, auth *ua.NodeID, req ua.Request) (ua.Response, error) {
	wait := make(chan reply, 1)
	n, err := c.send(auth, req, c.timeout, wait)
	if err != nil {
		return nil, err
	}
	return c.await(ctx, n, wait)
}

// await waits for the answer to request n.
func (c *channel) await(ctx context.Context, n uint32, wait <-chan reply) (ua.Response, error) {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	forget := func() {
		c.pendMu.Lock()
		delete(c.pending, n)
		c.pendMu.Unlock()
	}
	select {
	case r := <-wait:
		return r.resp, r.err
	case <-c.done:
		return nil, c.err
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	case <-timer.C:
		forget()
		return nil, errNoAnswer
	}
}

// receive takes what comes until the connection ends.
func (c *channel) receive() {
	for {
		if err := c.receiveOne(); err != nil {
			_ = c.fail("receive", err) // whoever waits gets it
			return
		}
	}
}

// fail ends the channel and returns why it ended.
func (c *channel) fail(op string, err error) error {
	c.once.Do(func() {
		c.err = &linkError{op, err}
		_ = c.lease.Close() // ends read; the lease is released by close
		close(c.done)
	})
	return c.err
}

// close ends the channel, waits for its goroutine, and gives the connection back.
func (c *channel) close(err error) {
	_ = c.fail("close", err)
	c.read.Wait()
	if errors.Is(err, errLeaving) {
		err = endpoint.ErrStale // nobody's failure
	}
	c.lease.Release(err)
}

// errLeaving is why we hang up ourselves.
var errLeaving = errors.New("the driver ends its session")

// goodbye tells the server that the channel ends.
func (c *channel) goodbye() {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if c.out == nil {
		return
	}
	header := binary.LittleEndian.AppendUint32(nil, c.out.id)
	_, _ = c.sendLocked("CLO", header, &c.out.seal, nil, &ua.CloseSecureChannelRequest{}, c.timeout, nil) // it sees the connection end anyway
}

// readChunk reads one chunk: its kind, whether more follow ('C'), all its bytes.
func (c *channel) readChunk() (kind string, more byte, b []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return "", 0, nil, err
	}
	kind, more = string(head[:3]), head[3]
	size := binary.LittleEndian.Uint32(head[4:])
	if size < 8 || size > mostChunk {
		return "", 0, nil, fmt.Errorf("the server sends a chunk of %d bytes", size)
	}
	b = make([]byte, size)
	copy(b, head[:])
	if _, err := io.ReadFull(c.in, b[8:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", 0, nil, err
	}
	if kind == "ERR" {
		var e uacp.Error
		if _, err := e.Decode(b[8:]); err != nil {
			return "", 0, nil, fmt.Errorf("error message: %w", err)
		}
		return "", 0, nil, &refusal{ua.StatusCode(e.ErrorCode), e.Reason}
	}
	return kind, more, b, nil
}

// receiveOne takes one whole message and hands it to whoever waits for it.
func (c *channel) receiveOne() error {
	var message []byte
	for chunks := 1; ; chunks++ {
		kind, more, b, err := c.readChunk()
		if err != nil {
			return err
		}
		request, body, err := c.openChunk(kind, b)
		if err != nil {
			return err
		}
		switch more {
		case 'A':
			c.deliver(request, reply{err: abortOf(body)})
			return nil
		case 'C', 'F':
		default:
			return fmt.Errorf("the server sends a chunk of kind %q", more)
		}
		if len(message)+len(body) > mostMessage || chunks > mostChunks {
			return fmt.Errorf("the server sends a message of more than %d bytes; set cfg.max_per_request lower", mostMessage)
		}
		if message == nil {
			message = body
		} else {
			message = append(message, body...)
		}
		if more == 'F' {
			if tell := c.listener.Load(); tell != nil {
				(*tell)(time.Now())
			}
			return c.dispatch(kind, request, message)
		}
	}
}

func abortOf(body []byte) error {
	buf := ua.NewBuffer(body)
	code := ua.StatusCode(buf.ReadUint32())
	if buf.Error() != nil || code == 0 {
		code = ua.StatusBadUnknownResponse
	}
	return &serviceError{"answer", code}
}

// openChunk checks a chunk and returns its request's number and its body.
func (c *channel) openChunk(kind string, b []byte) (request uint32, body []byte, err error) {
	if len(b) < chunkHeader+4 {
		return 0, nil, errors.New("the server sends a chunk without its headers")
	}
	var s *sealer
	header := chunkHeader + 4
	switch kind {
	case "OPN":
		s, header, err = c.openHeader(b)
	case "MSG":
		s, err = c.keysOf(binary.LittleEndian.Uint32(b[chunkHeader:]))
	default:
		err = fmt.Errorf("the server sends a message %q", kind)
	}
	if err != nil {
		return 0, nil, err
	}
	plain, err := s.open(b, header)
	if err != nil {
		return 0, nil, err
	}
	if len(plain) < sequenceHeader {
		return 0, nil, errors.New("the server sends a chunk without its headers")
	}
	seq := binary.LittleEndian.Uint32(plain)
	if s.sign && c.inSeq != 0 && seq != c.inSeq+1 && (seq >= 1024 || c.inSeq < 1<<32-1-1024) {
		return 0, nil, fmt.Errorf("the server's messages are not in order: %d follows %d", seq, c.inSeq)
	}
	c.inSeq = seq
	return binary.LittleEndian.Uint32(plain[4:]), plain[sequenceHeader:], nil
}

// openHeader reads the security header of an OPN chunk. What it says must be what
// was asked for.
func (c *channel) openHeader(b []byte) (*sealer, int, error) {
	buf := ua.NewBuffer(b[chunkHeader:])
	policy := buf.ReadString()
	sender := buf.ReadBytes()
	_ = buf.ReadBytes() // the thumbprint of ours
	if err := buf.Error(); err != nil {
		return nil, 0, fmt.Errorf("security header: %w", err)
	}
	if policy != c.sec.policy {
		return nil, 0, fmt.Errorf("the server answers with security policy %q, asked for %q", policy, c.sec.policy)
	}
	if !c.sec.none() && string(firstCert(sender)) != string(firstCert(c.sec.remote)) {
		return nil, 0, errors.New("the server answers with another certificate than it announced")
	}
	algo, err := c.sec.asymmetric("")
	if err != nil {
		return nil, 0, err
	}
	return &sealer{algo, !c.sec.none(), !c.sec.none()}, chunkHeader + buf.Pos(), nil
}

// keysOf returns the keys of token id.
func (c *channel) keysOf(id uint32) (*sealer, error) {
	c.keyMu.Lock()
	defer c.keyMu.Unlock()
	for _, t := range c.keys {
		if t.id == id {
			return &t.seal, nil
		}
	}
	return nil, fmt.Errorf("the server uses security token %d, which it never gave", id)
}

// dispatch decodes a message and hands it to whoever waits for it.
func (c *channel) dispatch(kind string, request uint32, message []byte) error {
	resp, err := decodeService(message)
	if err != nil {
		c.deliver(request, reply{err: err})
		return nil
	}
	if opened, ok := resp.(*ua.OpenSecureChannelResponse); ok && kind == "OPN" {
		if code := opened.ResponseHeader.ServiceResult; code == ua.StatusOK {
			if err := c.install(opened); err != nil {
				return err
			}
		}
	}
	if code := resp.Header().ServiceResult; isBad(code) {
		c.deliver(request, reply{resp: resp, err: &serviceError{serviceName(resp), code}})
		return nil
	}
	c.deliver(request, reply{resp: resp})
	return nil
}

// install takes the keys of a new token.
func (c *channel) install(r *ua.OpenSecureChannelResponse) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if r.SecurityToken == nil || c.nonce == nil {
		return errors.New("the server opens the channel, and nobody asked")
	}
	algo, err := uapolicy.Symmetric(c.sec.policy, c.nonce, r.ServerNonce)
	if err != nil {
		return err
	}
	c.nonce = nil
	t := &token{r.SecurityToken.TokenID, sealer{algo, c.sec.mode != ua.MessageSecurityModeNone, c.sec.mode == ua.MessageSecurityModeSignAndEncrypt}}
	c.id, c.out = r.SecurityToken.ChannelID, t
	life := time.Duration(r.SecurityToken.RevisedLifetime) * time.Millisecond
	if life <= 0 {
		life = tokenLifetime
	}
	c.keyMu.Lock()
	defer c.keyMu.Unlock()
	c.keys = append(c.keys[max(0, len(c.keys)-1):], t)
	c.expiry = time.Now().Add(life * 3 / 4)
	return nil
}

// deliver hands an answer to whoever waits for it, if anybody does.
func (c *channel) deliver(request uint32, r reply) {
	c.pendMu.Lock()
	wait := c.pending[request]
	delete(c.pending, request)
	c.pendMu.Unlock()
	if wait != nil {
		wait <- r // it has room
	}
}

// decodeService decodes an answer. A panic of the library is an error.
func decodeService(b []byte) (resp ua.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the server's answer cannot be read: %v", p)
		}
	}()
	if err := check(b); err != nil {
		return nil, err
	}
	_, body, err := ua.DecodeService(b)
	if err != nil {
		return nil, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	resp, ok := body.(ua.Response)
	if !ok || resp.Header() == nil {
		return nil, fmt.Errorf("the server's answer is a %T", body)
	}
	return resp, nil
}

// serviceName names the service of an answer.
func serviceName(resp ua.Response) string {
	name := fmt.Sprintf("%T", resp)
	name = name[len("*ua."):]
	if n := len(name) - len("Response"); n > 0 && name[n:] == "Response" {
		return name[:n]
	}
	return "request"
}
