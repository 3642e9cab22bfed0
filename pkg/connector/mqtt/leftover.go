package mqtt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
)

// What a connector puts at a broker outlives the connection, and often the
// configuration that asked for it: subscriptions of the session, the retained status
// message, which the last will sets too, and retained data. Each is noted durably before
// it is made, and taken back when the configuration does not ask for it any more.
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
	if err := s.source.Commit(bus.Commit{Put: []bus.Record{r}, Sync: sync}); err != nil {
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
	if s.kept[at] {
		delete(s.kept, at)
		return s.source.Commit(bus.Commit{Delete: []string{at.key()}})
	}
	return s.update(false, func(rec *sessionRecord) {
		rec.Retained = slices.DeleteFunc(rec.Retained, func(r retainedAt) bool { return r == at })
	})
}

// willSubscribe notes that subscriptions are about to be made.
func (s *session) willSubscribe(filters ...string) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	known := func(f string) bool { return slices.Contains(s.record.Subscribed, f) }
	fresh := slices.DeleteFunc(slices.Clone(filters), known)
	if len(fresh) == 0 {
		return nil
	}
	return s.update(true, func(rec *sessionRecord) { rec.Subscribed = append(rec.Subscribed, fresh...) })
}

// noLongerSubscribed may be lost in a crash: the subscriptions are then taken back once
// more.
func (s *session) noLongerSubscribed(filters ...string) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	return s.update(false, func(rec *sessionRecord) {
		rec.Subscribed = slices.DeleteFunc(rec.Subscribed, func(f string) bool { return slices.Contains(filters, f) })
	})
}

// noted returns what is noted.
func (s *session) noted() (subscribed []string, retained []retainedAt) {
	s.noting.Lock()
	defer s.noting.Unlock()
	return slices.Clone(s.record.Subscribed), slices.AppendSeq(slices.Clone(s.record.Retained), maps.Keys(s.kept))
}

// willKeep notes that a retained message of data is about to be set; with the record
// that says so, unless it is there. There may be as many as there are topics, so each
// has a record of its own.
func (s *session) willKeep(at retainedAt) (r bus.Record, fresh bool, err error) {
	s.noting.Lock()
	defer s.noting.Unlock()
	if s.kept[at] {
		return r, false, nil
	}
	s.kept[at] = true
	r, err = put(at.key(), at, bus.Range{})
	return r, true, err
}

// isData reports whether a noted message is one of data.
func (s *session) isData(at retainedAt) bool {
	s.noting.Lock()
	defer s.noting.Unlock()
	return s.kept[at]
}

// keepsData reports whether the broker is to keep the last message of a topic: one that
// data has now, and that retain_topics covers.
func (c *Connector) keepsData(topic string) bool {
	if !covered(c.retained, topic) {
		return false
	}
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "{driver}", "*", "{tag}", "*")
	match, err := path.Match(escape.Replace(c.template), topic)
	return match && err == nil
}

// key is the key of the record of a retained message of data.
func (at retainedAt) key() string {
	sum := sha256.Sum256([]byte(at.Server + " " + at.Topic))
	return keyRetained + hex.EncodeToString(sum[:])
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
	less, err := subscribe(ctx, l.client, c.commands.topic)
	if err == nil {
		c.warn(partCommandQoS, less)
	}
	return err
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
		if c.wanted(filter) || l.reads(filter) {
			continue
		}
		if err := c.unsubscribe(ctx, l, filter); err != nil {
			return err
		}
		c.log.Info("subscription of an earlier configuration taken back", "filter", filter)
	}
	return nil
}

func (c *Connector) unsubscribe(ctx context.Context, l *link, filters ...string) error {
	ack, err := l.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters})
	if ack != nil {
		if i := slices.IndexFunc(ack.Reasons, func(code byte) bool { return code >= 0x80 }); i >= 0 {
			err = &refusal{code: ack.Reasons[i]}
		}
	}
	if err != nil {
		return fmt.Errorf("unsubscribe from %s, which the configuration does not name any more (what comes on it is ignored): %w",
			strings.Join(filters, ", "), err)
	}
	return c.session.noLongerSubscribed(filters...)
}

// oldRetained returns the topics on which server may hold a message that the
// configuration does not ask for.
func (c *Connector) oldRetained(server string) []retainedAt {
	var out []retainedAt
	_, retained := c.session.noted()
	for _, at := range retained {
		asked := at.Topic == c.statusTopic() && c.keepsStatus() || at.Topic == c.seenTopic() || c.keepsData(at.Topic)
		if at.Server == server && !asked {
			out = append(out, at)
		}
	}
	return out
}

// readAtOnce bounds the topics that are read together, and clearAtOnce those that are
// cleared before something else gets its turn.
const readAtOnce, clearAtOnce = 64, 512

// clearOld removes messages of ours from topics that the configuration does not use any
// more. A topic may have passed on to another gateway, whose message stays: it is read
// before it is removed. A status topic is looked at until the last connection of before
// has ended even at a broker that did not notice its end: its will would set the message
// once more.
func (c *Connector) clearOld(ctx context.Context, l *link) error {
	var refused error
	old := c.oldRetained(l.server)
	for topics := range slices.Chunk(old[:min(len(old), clearAtOnce)], readAtOnce) {
		if c.session.currentLimits().noRetain { // nor has it kept anything
			for _, at := range topics {
				if err := c.session.noLongerRetained(at); err != nil {
					return err
				}
			}
			continue
		}
		kept, err := c.readRetained(ctx, l, topics)
		if err != nil {
			return err
		}
		for _, at := range topics {
			switch err := c.clear(ctx, l, at, kept[at.Topic]); {
			case err != nil && isRefusal(err):
				refused = err
			case err != nil:
				return err
			}
		}
	}
	return refused
}

// clear removes one message, if it is ours.
func (c *Connector) clear(ctx context.Context, l *link, at retainedAt, k kept) error {
	if k.refused != nil {
		if err := c.session.noLongerRetained(at); err != nil {
			return err
		}
		return fmt.Errorf("a message of this gateway may be retained on %s, "+
			"which cannot be read to see whose it is; remove it at the broker: %w", at.Topic, k.refused)
	}
	if whose(k.message) == c.deps.Identity.Gateway {
		if err := c.publish(ctx, l, &paho.Publish{Topic: at.Topic, Retain: true}); err != nil {
			return err
		}
		c.log.Info("retained message of an earlier configuration removed", "topic", at.Topic)
	}
	if c.session.isData(at) || time.Since(l.since) > 2*c.config().Keepalive.Std() {
		if err := c.session.noLongerRetained(at); err != nil {
			return err
		}
	}
	return nil
}

// whose returns the gateway that a retained message names, "" for none: in its
// properties, in its envelope, or, as a status, in its text.
func whose(p *paho.Publish) string {
	if p == nil || len(p.Payload) == 0 {
		return ""
	}
	if p.Properties != nil {
		if gw := p.Properties.User.Get("gw"); gw != "" {
			return gw
		}
	}
	var said struct {
		Gateway string `json:"gateway"` // a status
		GW      string `json:"gw"`      // an envelope
	}
	if json.Unmarshal(p.Payload, &said) != nil {
		return ""
	}
	return cmp.Or(said.GW, said.Gateway)
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// retainedWait is how long retained messages may take to come behind SUBACK.
const retainedWait = time.Second

// kept is what a broker keeps on a topic.
type kept struct {
	message *paho.Publish // nil: none
	refused error         // why it can't be read
}

// readRetained reads what the broker keeps on topics.
func (c *Connector) readRetained(ctx context.Context, l *link, topics []retainedAt) (map[string]kept, error) {
	var names []string
	for _, at := range topics {
		names = append(names, at.Topic)
	}
	r, err := c.openReading(ctx, l, names)
	if err != nil {
		return nil, err
	}
	for late := time.After(retainedWait); r.left() > 0; {
		p, ok := r.next(ctx, late)
		if !ok {
			break
		}
		r.kept[p.Topic] = kept{message: p}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r.kept, c.closeReading(ctx, l, r)
}

// reading is a look at what a broker keeps on some topics. It is open from its
// subscription until that is taken back.
type reading struct {
	topics []string
	came   chan *paho.Publish // has room for a message of each topic
	kept   map[string]kept    // what is known, by topic
}

// openReading subscribes to topics. A topic that the broker turns down is kept as
// refused; an error means that nobody knows.
func (c *Connector) openReading(ctx context.Context, l *link, topics []string) (*reading, error) {
	if err := c.session.willSubscribe(topics...); err != nil {
		return nil, err
	}
	r := &reading{topics: topics, came: make(chan *paho.Publish, len(topics)), kept: map[string]kept{}}
	l.watch(r)
	options := make([]paho.SubscribeOptions, len(topics))
	for i, topic := range topics {
		options[i] = paho.SubscribeOptions{Topic: topic, NoLocal: true}
	}
	ack, err := l.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: options})
	if ack == nil {
		l.unwatch(r)
		return nil, err
	}
	for i, code := range ack.Reasons {
		if code >= 0x80 && i < len(topics) {
			r.kept[topics[i]] = kept{refused: fmt.Errorf("subscribe to %s: %w", topics[i], &refusal{code: code})}
		}
	}
	return r, nil
}

// left returns from how many topics something may still come.
func (r *reading) left() int { return len(r.topics) - len(r.kept) }

// next waits for a message.
func (r *reading) next(ctx context.Context, late <-chan time.Time) (p *paho.Publish, ok bool) {
	select {
	case p = <-r.came:
		return p, true
	case <-late:
	case <-ctx.Done():
	}
	return nil, false
}

// closeReading takes the subscriptions back. Those that fail are taken back on the next
// connection.
func (c *Connector) closeReading(ctx context.Context, l *link, r *reading) error {
	l.unwatch(r)
	return c.unsubscribe(ctx, l, r.topics...)
}

// watch has the retained messages of the reading's topics come to it.
func (l *link) watch(r *reading) {
	l.watching.Lock()
	defer l.watching.Unlock()
	l.readings = append(l.readings, r)
}

func (l *link) unwatch(r *reading) {
	l.watching.Lock()
	defer l.watching.Unlock()
	l.readings = slices.DeleteFunc(l.readings, func(o *reading) bool { return o == r })
}

// reads reports whether a topic is being read.
func (l *link) reads(topic string) bool {
	l.watching.Lock()
	defer l.watching.Unlock()
	return slices.ContainsFunc(l.readings, func(r *reading) bool { return slices.Contains(r.topics, topic) })
}

// watches reports whether p is on a topic that is being read; whoever reads it gets it,
// if it is what the broker keeps.
func (l *link) watches(p *paho.Publish) (yes bool) {
	l.watching.Lock()
	defer l.watching.Unlock()
	for _, r := range l.readings {
		if !slices.Contains(r.topics, p.Topic) {
			continue
		}
		yes = true
		if p.Retain {
			select {
			case r.came <- p:
			default: // one of each is enough
			}
		}
	}
	return yes
}

// covered reports whether one of filters covers a topic.
func covered(filters []string, topic string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return covers(f, topic) })
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
