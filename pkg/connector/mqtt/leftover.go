package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// What a connector puts at a broker outlives the connection, and often the
// configuration that asked for it: subscriptions of the session, and the retained
// status message, which the last will sets too. Each is noted durably before it is
// made, and taken back when the configuration does not ask for it any more.
//
// A command does not depend on that: it is taken only on a topic that the present
// configuration subscribes to, whatever the broker delivers.

// retainedAt is a topic on which a server holds, or may hold, a retained message of
// ours.
type retainedAt struct {
	Server string `json:"server"`
	Topic  string `json:"topic"`
}

// maxRetained bounds the retained messages that are remembered: those of servers that
// are not in the configuration any more are never taken back. The oldest goes first.
const maxRetained = 32

// update changes the session record and stores it, under noting: what attends a
// connection notes things side by side.
func (s *session) update(sync bool, change func(*sessionRecord)) error {
	rec := s.record
	rec.Subscribed, rec.Retained = slices.Clone(rec.Subscribed), slices.Clone(rec.Retained)
	change(&rec)
	r, err := put(keySession, rec, bus.Range{})
	if err != nil {
		return err
	}
	if err := s.consumer.Commit(bus.Commit{Put: []bus.Record{r}, Sync: sync}); err != nil {
		return fmt.Errorf("store what the broker holds for us: %w", err)
	}
	s.record = rec
	return nil
}

// willRetain notes that a retained message is about to be set.
func (s *session) willRetain(server, topic string) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	at := retainedAt{server, topic}
	if slices.Contains(s.record.Retained, at) {
		return nil
	}
	return s.update(true, func(rec *sessionRecord) {
		rec.Retained = append(rec.Retained, at)
		rec.Retained = rec.Retained[max(0, len(rec.Retained)-maxRetained):]
	})
}

// noteStatus notes that the status message is about to be retained at srv, if it is.
func (c *Connector) noteStatus(srv server) error {
	if !c.keepsStatus() {
		return nil
	}
	return c.session.willRetain(srv.String(), c.statusTopic())
}

// keepsStatus reports whether the configuration asks for a retained status.
func (c *Connector) keepsStatus() bool { return c.config().Status.Enable && c.config().Status.Retain }

func (s *session) noLongerRetained(at retainedAt) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	return s.update(false, func(rec *sessionRecord) {
		rec.Retained = slices.DeleteFunc(rec.Retained, func(r retainedAt) bool { return r == at })
	})
}

// willSubscribe notes that a subscription is about to be made.
func (s *session) willSubscribe(filter string) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	if slices.Contains(s.record.Subscribed, filter) {
		return nil
	}
	return s.update(true, func(rec *sessionRecord) { rec.Subscribed = append(rec.Subscribed, filter) })
}

// noLongerSubscribed may be lost in a crash: the subscription is then taken back once
// more.
func (s *session) noLongerSubscribed(filter string) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	return s.update(false, func(rec *sessionRecord) {
		rec.Subscribed = slices.DeleteFunc(rec.Subscribed, func(f string) bool { return f == filter })
	})
}

// noted returns what is noted.
func (s *session) noted() (subscribed []string, retained []retainedAt) {
	s.noting.Lock()
	defer s.noting.Unlock()
	return slices.Clone(s.record.Subscribed), slices.Clone(s.record.Retained)
}

// wanted reports whether the present configuration subscribes to a filter.
func (c *Connector) wanted(filter string) bool {
	return c.commands != nil && filter == c.commands.topic || filter == c.seenTopic() || filter == c.statusTopic()
}

// subscribeCommands subscribes to what the configuration says.
func (c *Connector) subscribeCommands(ctx context.Context, l *link) error {
	if err := c.session.willSubscribe(c.commands.topic); err != nil {
		return err
	}
	return subscribe(ctx, l.client, c.commands.topic)
}

// tidy takes back what an earlier configuration has left at the broker. It is done when
// nothing is left that a connection of before could bring back.
func (c *Connector) tidy(ctx context.Context, l *link) (done bool, err error) {
	unsubscribed, err := c.tolerate("subscriptions of an earlier configuration", c.unsubscribeOld(ctx, l))
	if err != nil {
		return false, err
	}
	cleared, err := c.tolerate("status of an earlier configuration", c.clearOld(ctx, l))
	return unsubscribed && cleared && len(c.oldRetained(l.server)) == 0, err
}

func (c *Connector) unsubscribeOld(ctx context.Context, l *link) error {
	subscribed, _ := c.session.noted()
	for _, filter := range subscribed {
		if c.wanted(filter) {
			continue
		}
		if err := c.unsubscribe(ctx, l, filter); err != nil {
			return err
		}
		c.log.Info("subscription of an earlier configuration taken back", "filter", filter)
	}
	return nil
}

func (c *Connector) unsubscribe(ctx context.Context, l *link, filter string) error {
	ack, err := l.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{filter}})
	if ack != nil && len(ack.Reasons) > 0 && ack.Reasons[0] >= 0x80 {
		err = &refusal{code: ack.Reasons[0]}
	}
	if err != nil {
		return fmt.Errorf("unsubscribe from %s, which the configuration does not name any more (what comes on it is ignored): %w", filter, err)
	}
	return c.session.noLongerSubscribed(filter)
}

// oldRetained returns the topics on which server may hold a status message that the
// configuration does not ask for.
func (c *Connector) oldRetained(server string) []retainedAt {
	var out []retainedAt
	_, retained := c.session.noted()
	for _, at := range retained {
		if at.Server == server && (at.Topic != c.statusTopic() || !c.keepsStatus()) && at.Topic != c.seenTopic() {
			out = append(out, at)
		}
	}
	return out
}

// clearOld removes status messages of ours from topics that the configuration does not
// use any more. A topic may have passed on to another gateway, whose message stays: it
// is read before it is removed. The topic is looked at until the last connection of
// before has ended even at a broker that did not notice its end: its will would set the
// message once more.
func (c *Connector) clearOld(ctx context.Context, l *link) error {
	var refused error
	for _, at := range c.oldRetained(l.server) {
		if c.session.currentLimits().noRetain { // nor has it kept anything
			if err := c.session.noLongerRetained(at); err != nil {
				return err
			}
			continue
		}
		message, err := c.readRetained(ctx, l, at.Topic)
		var r *refusal
		if errors.As(err, &r) {
			refused = fmt.Errorf("a message of this gateway may be retained on %s, which cannot be read to see whose it is; remove it at the broker: %w", at.Topic, err)
			if err := c.session.noLongerRetained(at); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		var status statusMessage
		if message != nil && json.Unmarshal(message, &status) == nil && status.Gateway == c.deps.Identity.Gateway {
			if err := c.publish(ctx, l, &paho.Publish{Topic: at.Topic, Retain: true}); err != nil {
				return err
			}
			c.log.Info("retained status of an earlier configuration removed", "topic", at.Topic)
		}
		if time.Since(l.since) > 2*c.config().Keepalive.Std() {
			if err := c.session.noLongerRetained(at); err != nil {
				return err
			}
		}
	}
	return refused
}

// retainedWait is how long a retained message may take to come behind SUBACK.
const retainedWait = time.Second

// readRetained returns the retained message of a topic, nil if there is none.
func (c *Connector) readRetained(ctx context.Context, l *link, topic string) ([]byte, error) {
	if err := c.session.willSubscribe(topic); err != nil {
		return nil, err
	}
	messages := l.watch(topic)
	defer l.watch("")
	if err := subscribe(ctx, l.client, topic); err != nil {
		return nil, errors.Join(err, c.session.noLongerSubscribed(topic))
	}
	var message []byte
	select {
	case message = <-messages:
	case <-time.After(retainedWait):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return message, c.unsubscribe(ctx, l, topic)
}

// watching is where retained messages of one topic go while it is looked at.
type watching struct {
	topic    string
	messages chan []byte // capacity 1
}

// watch has the next retained message of topic come on the channel; "" ends it.
func (l *link) watch(topic string) <-chan []byte {
	w := &watching{topic, make(chan []byte, 1)}
	l.watched.Store(w)
	return w.messages
}

// watches reports whether p is for the one who looks at its topic, who gets it then.
func (l *link) watches(p *paho.Publish) bool {
	w := l.watched.Load()
	if w == nil || w.topic == "" || w.topic != p.Topic {
		return false
	}
	if p.Retain {
		select {
		case w.messages <- p.Payload:
		default: // one is enough
		}
	}
	return true
}

// covers reports whether a topic filter covers a topic (MQTT 5, 4.7, 4.8.2).
func covers(filter, topic string) bool {
	if rest, shared := strings.CutPrefix(filter, "$share/"); shared {
		_, filter, _ = strings.Cut(rest, "/")
	}
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		level, f, more := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		name, t, has := strings.Cut(topic, "/")
		if level != "+" && level != name {
			return false
		}
		if !more || !has {
			return !more && !has || more && f == "#" // "a/#" covers "a" too
		}
		filter, topic = f, t
	}
}
