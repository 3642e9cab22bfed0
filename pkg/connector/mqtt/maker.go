package mqtt

import (
	"errors"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// maker makes payloads from the log.
type maker struct {
	fetch  func(first, last uint64) ([]*frame.Batch, error)
	codecs map[encoding]*codec
	free   chan []byte // bodies to use again

	// envelope describes a message. Without it no payload is sealed.
	envelope func(*messageRecord, *payload) frame.Envelope
}

var errNothingLeft = errors.New("the log holds none of its frames")

// again makes the payload of a message that was stored before. When the log has
// lost some of its frames, the error is a *bus.GoneError, and the payload holds
// those that are left, if any.
func (k *maker) again(r *messageRecord) (payload, error) {
	if r.From != 0 {
		return k.make(r, r.From, r.To)
	}
	return k.make(r, r.First, r.Last)
}

// make is again for the frames from…to of the message.
func (k *maker) make(r *messageRecord, from, to uint64) (payload, error) {
	c, err := k.codec(r.encoding)
	if err != nil {
		return payload{}, err
	}
	batches, err := k.fetch(from, to)
	if err != nil && !isGone(err) {
		return payload{}, err
	}
	b := newBuilder(c, newRouter(r.Template))
	b.only = r.Topic
	for _, batch := range chosen(batches, r.Of) {
		b.add(batch)
	}
	switch {
	case len(b.parts) > 0:
		p := k.finish(b.codec, b.parts[0])
		return p, errors.Join(err, k.seal(r, &p))
	case err == nil:
		err = fmt.Errorf("frames %d to %d on %s: %w", from, to, r.Topic, errNothingLeft)
	}
	return payload{}, err
}

// isGone reports whether frames were taken out of the log, by a repair of damage.
func isGone(err error) bool {
	var gone *bus.GoneError
	return errors.As(err, &gone)
}

// finish makes a payload of a part.
func (k *maker) finish(c *codec, p *part) payload {
	var body []byte
	select {
	case body = <-k.free:
	default:
	}
	return payload{body: c.finish(body[:0], p.plain), first: p.first, last: p.last, frames: p.frames, configRev: p.configRev, plain: len(p.plain) - 1}
}

// seal puts a payload into its envelope, if the message has one. What it says of the
// message must be final.
func (k *maker) seal(r *messageRecord, p *payload) error {
	if !r.Envelope || k.envelope == nil {
		return nil
	}
	c, err := k.codec(r.encoding)
	if err != nil {
		return err
	}
	p.body = c.seal(p.body, k.envelope(r, p))
	return nil
}

// recycle takes a body back that was written.
func (k *maker) recycle(body []byte) {
	select {
	case k.free <- body:
	default: // enough are kept
	}
}

func (k *maker) codec(e encoding) (*codec, error) {
	if c, ok := k.codecs[e]; ok {
		return c, nil
	}
	c, err := newCodec(e)
	if err == nil {
		k.codecs[e] = c
	}
	return c, err
}
