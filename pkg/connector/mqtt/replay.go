package mqtt

import (
	"context"
	"errors"
	"fmt"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Replay implements [connector.Connector]: the frames go to TOPIC/replay/ID, in
// messages that bear the property replay, with QoS 1 at most.
func (c *Connector) Replay(ctx context.Context, id string, batches []*frame.Batch) (string, error) {
	where := c.template + "/replay/" + id
	if err := checkTopic("replay", id); err != nil {
		return where, err
	}
	l := c.currentLink()
	if l == nil {
		return where, connector.ErrDown
	}
	m := &maker{codecs: map[encoding]*codec{}, envelope: func(r *messageRecord, p *payload) frame.Envelope {
		e := c.envelope(r, p)
		e.Replay = id
		return e
	}}
	enc := c.encoding(l)
	enc.Filter = "" // whoever asks for frames gets them
	cd, err := m.codec(enc)
	if err != nil {
		return where, err
	}
	b := newBuilder(cd, newRouter(where))
	b.limit = c.payloadLimit(c.overhead(), l, c.session.currentLimits())
	send := func() error {
		defer b.reset()
		for _, p := range b.parts {
			if err := c.publishReplay(ctx, l, m, &messageRecord{Topic: p.topic, encoding: enc}, id, m.finish(cd, p)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, batch := range batches {
		for batch != nil {
			n := b.add(batch)
			if n == len(batch.Frames) {
				break
			}
			if err := send(); err != nil {
				return where, err
			}
			batch = batch.Slice(batch.FirstSeq+uint64(n), batch.LastSeq())
		}
	}
	return where, send()
}

// publishReplay sends one message of a replay. Its prev_seq is that of the
// replay, which is a chain of its own.
func (c *Connector) publishReplay(ctx context.Context, l *link, m *maker, r *messageRecord, id string, made payload) error {
	topic := r.Topic
	c.mu.Lock()
	r.Prev = c.replayed[topic]
	c.mu.Unlock()
	if err := m.seal(r, &made); err != nil {
		return err
	}
	p := &paho.Publish{Topic: topic, Payload: made.body, Properties: &paho.PublishProperties{ContentType: r.contentType()}}
	for _, u := range c.describe(r, &made) {
		p.Properties.User.Add(u.key, u.value)
	}
	p.Properties.User.Add("replay", id)
	if err := c.publish(ctx, l, p); err != nil {
		if errors.Is(err, paho.ErrConnectionLost) {
			err = connector.ErrDown
		}
		return fmt.Errorf("replay frames %d to %d: %w", made.first, made.last, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.replayed) > maxReplays {
		clear(c.replayed)
	}
	c.replayed[topic] = made.last
	return nil
}

// maxReplays bounds the chains of replays that are remembered.
const maxReplays = 10_000

// currentLink returns the connection, nil if there is none.
func (c *Connector) currentLink() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

func (c *Connector) setLink(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
}
