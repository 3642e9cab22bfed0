package opcua

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
	"github.com/gopcua/opcua/uapolicy"
)

// receive takes what comes until the connection ends.
func (c *channel) receive() {
	for {
		if err := c.receiveOne(); err != nil {
			_ = c.fail("receive", err) // whoever waits gets it
			return
		}
	}
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
	if b, err = check(b); err != nil {
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
