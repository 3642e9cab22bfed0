package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// The broker keeps, retained, how far the log has come: in the status message, and on a
// topic below the status topic's, which the last will does not overwrite with what was
// true when the connection began. A connector of a process that has just started looks
// there before it sends anything: a disk may have been put back to an earlier state.
const (
	// claimEvery bounds how often the broker is told. What was sent since is not
	// guarded.
	claimEvery = 2 * time.Second
	// lookTime bounds the look back at the start, and retainedTime how long a
	// retained message may come behind the SUBACK. One that comes later counts too.
	lookTime, retainedTime = 3 * time.Second, 200 * time.Millisecond
	// maxClaimLosses is how often a connection may end over this, without an answer,
	// before the connector does without it: some brokers hang up on a client that
	// may not use a topic.
	maxClaimLosses = 2
)

// seenMessage is what the topic holds. It is part of the status message too.
type seenMessage struct {
	Gateway string `json:"gateway"`
	bus.Seen
}

// memory is what a connector knows of the broker's memory of the log.
type memory struct {
	mu      sync.Mutex
	checked bool     // the broker was asked, and has answered or knows nothing
	losses  int      // connections that ended over a question, in a row
	told    bus.Seen // what the broker has
}

func (c *Connector) seenTopic() string { return c.statusTopic() + "/seq" }

// witness returns the hold that the log has on what was seen of it, nil if it has none.
func (c *Connector) witness() connector.Witness {
	w, _ := c.deps.Source.(connector.Witness)
	return w
}

// claim returns what the status message says of the log.
func (c *Connector) claim() bus.Seen {
	if w := c.witness(); w != nil {
		return w.Claim()
	}
	return bus.Seen{}
}

// lookBack asks the broker how far the log had come, and waits for the answer. An error
// means that the log has forgotten. It costs nothing once there was an answer. What it
// returns is still open: the answer may come late.
func (c *Connector) lookBack(ctx context.Context, l *link) (*reading, error) {
	m := &c.memory
	m.mu.Lock()
	skip := m.checked || m.losses >= maxClaimLosses || c.witness() == nil || !c.retains(l)
	m.mu.Unlock()
	if skip {
		return nil, nil
	}
	ask, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	r, err := c.openReading(ask, l, []string{c.seenTopic(), c.statusTopic()})
	switch {
	case r != nil: // taken, or turned down: then there is nobody to ask
	case ask.Err() == nil:
		return nil, c.claimLost(err)
	default:
		c.log.Info("the broker does not say in time how far the log had come", "topic", c.seenTopic())
		return nil, nil // asked again on the next connection
	}
	for late := time.After(retainedTime); r.left() > 0; {
		p, ok := r.next(ask, late)
		if !ok {
			break
		}
		if err := c.weigh(p); err != nil {
			return nil, err
		}
		if r.kept[p.Topic] = (kept{message: p}); p.Topic == c.seenTopic() {
			break // it knows more than the other
		}
	}
	m.mu.Lock()
	m.checked, m.losses = true, 0
	m.mu.Unlock()
	return r, nil
}

// weigh holds the log to one message. What is not of this gateway says nothing.
func (c *Connector) weigh(p *paho.Publish) error {
	var said seenMessage
	w := c.witness()
	if err := json.Unmarshal(p.Payload, &said); err != nil || said.Gateway != c.deps.Identity.Gateway || w == nil {
		return nil
	}
	return w.Witness(said.Seen, "the broker (topic "+p.Topic+")")
}

// keepSeen tells the broker how far the log has come, now and then, while the
// connection lasts, and takes what it says late to the question of r, if that is not
// nil. It returns an error to end the connection.
func (c *Connector) keepSeen(ctx context.Context, l *link, r *reading) error {
	if c.witness() == nil {
		return nil
	}
	var came <-chan *paho.Publish
	if r != nil {
		came = r.came
	}
	tick := time.NewTicker(claimEvery)
	defer tick.Stop()
	for {
		if err := c.tellSeen(ctx, l); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case p := <-came:
			if err := c.weigh(p); err != nil {
				return err
			}
		case <-tick.C:
			if r != nil { // by now what is retained has come
				c.leaveSeen(ctx, l, r)
				r, came = nil, nil
			}
		}
	}
}

// leaveSeen ends the subscription, for the broker that keeps sessions. One that does
// not answer keeps it: our own messages don't come back, and others are left alone.
func (c *Connector) leaveSeen(ctx context.Context, l *link, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if err := c.closeReading(ctx, l, r); err != nil {
		c.log.Debug("the subscription to the gateway's own status stays", "error", err)
	}
}

// tellSeen tells the broker how far the log has come, if that is news.
func (c *Connector) tellSeen(ctx context.Context, l *link) error {
	m, now := &c.memory, c.claim()
	m.mu.Lock()
	skip := now == m.told || now.Seq == 0 || m.losses >= maxClaimLosses || !c.retains(l)
	m.mu.Unlock()
	if skip {
		return nil
	}
	body, err := json.Marshal(seenMessage{Gateway: c.deps.Identity.Gateway, Seen: now})
	if err != nil {
		return err
	}
	if err := c.session.willRetain(l.server, c.seenTopic()); err != nil {
		return err
	}
	err = c.publish(ctx, l, &paho.Publish{Topic: c.seenTopic(), Payload: body, Retain: true,
		Properties: &paho.PublishProperties{ContentType: "application/json"}})
	var r *refusal
	switch {
	case errors.As(err, &r):
		c.forgo(fmt.Errorf("how far the log has come is not kept at the broker, since it refuses: %w", err))
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return c.claimLost(err)
	default:
		m.mu.Lock()
		m.told, m.losses = now, 0
		m.mu.Unlock()
	}
	return nil
}

// forgo does without the broker's memory until the next start.
func (c *Connector) forgo(why error) {
	c.memory.mu.Lock()
	c.memory.losses = maxClaimLosses
	c.memory.mu.Unlock()
	c.log.Warn("a disk that is put back to an earlier state will not be noticed", "reason", why)
}

// claimLost counts a connection that ended over a question.
func (c *Connector) claimLost(err error) error {
	c.memory.mu.Lock()
	c.memory.losses++
	over := c.memory.losses >= maxClaimLosses
	c.memory.mu.Unlock()
	if over {
		c.forgo(fmt.Errorf("the broker ends the connection over the topic %s: allow the client to publish and subscribe there: %w", c.seenTopic(), err))
	}
	return fmt.Errorf("ask the broker how far the log had come: %w", err)
}

// lastSeen tells the broker before a connection is ended in good order.
func (c *Connector) lastSeen(l *link) {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTime)
	defer cancel()
	if c.witness() == nil {
		return
	}
	if err := c.tellSeen(ctx, l); err != nil {
		c.log.Debug("the broker was not told how far the log has come", "error", err)
	}
}
