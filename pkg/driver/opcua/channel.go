package opcua

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"

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
	return c.callFor(ctx, auth, req, c.timeout)
}

// callFor sends a request and waits that long for its answer.
func (c *channel) callFor(ctx context.Context, auth *ua.NodeID, req ua.Request, limit time.Duration) (ua.Response, error) {
	wait := make(chan reply, 1)
	n, err := c.send(auth, req, limit, wait)
	if err != nil {
		return nil, err
	}
	return c.await(ctx, n, wait, limit)
}

// await waits that long for the answer to request n.
func (c *channel) await(ctx context.Context, n uint32, wait <-chan reply, limit time.Duration) (ua.Response, error) {
	timer := time.NewTimer(limit)
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
