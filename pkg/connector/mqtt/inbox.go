package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// inbox holds the messages that have come in on a connection and are not safe yet.
// While the log is full they wait here, and what the broker may not send before
// they are acknowledged waits there: paho's reading goroutine, on which the answers
// to our own messages come, is held up for no longer than [mostWait].
type inbox struct {
	queue chan *paho.Publish
	work  sync.WaitGroup

	waited time.Duration // for room, by paho's reading goroutine alone

	mu   sync.Mutex
	left int       // messages for which there was no room, left unacknowledged
	told time.Time // when it was last told that messages of QoS 0 are turned away
}

// ourReceiveMaximum bounds the commands that the broker sends before they are
// acknowledged.
const ourReceiveMaximum = 32

// newInbox has room for the receive maximum, and as much again for QoS 0, for
// which there is no such bound.
func newInbox() *inbox { return &inbox{queue: make(chan *paho.Publish, 2*ourReceiveMaximum)} }

// tellEvery bounds how often it is logged that commands are turned away.
const tellEvery = 10 * time.Second

// incoming takes a message from paho, without waiting.
func (c *Connector) incoming(l *link, p *paho.Publish) error {
	if l.watches(p) || p.Topic == c.seenTopic() || p.Topic == c.statusTopic() {
		return c.session.acknowledge(p.QoS, p.PacketID)
	}
	if c.commands == nil || !covers(c.commands.topic, p.Topic) { // a subscription of an earlier configuration
		c.metrics.commands.WithLabelValues(c.name, "rejected").Inc()
		l.inbox.tell(c.log, "a message on a topic that the configuration does not subscribe to is ignored", p.Topic)
		return c.session.acknowledge(p.QoS, p.PacketID)
	}
	if p.QoS == 0 && len(l.inbox.queue) >= ourReceiveMaximum {
		c.commands.turnedAway(l.inbox, p.Topic)
		return nil
	}
	if !l.inbox.put(p) {
		l.inbox.mu.Lock()
		defer l.inbox.mu.Unlock()
		l.inbox.left++
	}
	return nil
}

// How long paho's reading goroutine waits for room: once, and on one connection.
const (
	onePatience = 250 * time.Millisecond
	mostWait    = 5 * time.Second
)

// put queues a message, if there is room or soon will be. Mosquitto 2.0 sends more than the
// receive maximum when a session goes on, all of a flood at once if nothing limits it.
// Most of that is refused in no time, and read no faster. What the log has no room for is
// left unacknowledged, with all behind it, and delivered again on the next connection.
func (in *inbox) put(p *paho.Publish) bool {
	if in.leaves() {
		return false
	}
	select {
	case in.queue <- p:
		return true
	default:
	}
	if in.waited >= mostWait {
		return false
	}
	began := time.Now()
	defer func() { in.waited += time.Since(began) }()
	patience := time.NewTimer(onePatience)
	defer patience.Stop()
	select {
	case in.queue <- p:
		return true
	case <-patience.C:
		return false
	}
}

// leaves reports whether messages were left: it is the gateway that ends the connection then.
func (in *inbox) leaves() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.left > 0
}

// overflowed reports whether messages were left, and nothing else waits.
func (in *inbox) overflowed() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.left > 0 && len(in.queue) == 0
}

var errLeft = errors.New("reconnecting for messages that the broker sent beyond the receive maximum")

// turnedAway counts a command of QoS 0 for which there is no room.
func (c *commands) turnedAway(in *inbox, topic string) {
	c.counter.WithLabelValues("rejected").Inc()
	in.tell(c.log, "commands with QoS 0 come faster than they can be logged; some are dropped", topic)
}

// tell logs what became of a message, not too often.
func (in *inbox) tell(log *slog.Logger, what, topic string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if time.Since(in.told) > tellEvery {
		in.told = time.Now()
		log.Warn(what, "topic", topic, "waiting", len(in.queue))
	}
}

// handle makes the messages of l's inbox safe, in order, and acknowledges them,
// until ctx ends. What it does not acknowledge the broker delivers again on the
// next connection; for that it ends this one when a command cannot be logged.
func (c *Connector) handle(ctx context.Context, l *link) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-l.inbox.queue:
			err := supervise.Contain(func() error { return c.commands.take(ctx, p) })
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				c.log.Error("command not logged; the broker will deliver it again", append([]any{"topic", p.Topic, "error", err}, supervise.Stack(err)...)...)
				_ = l.conn.Close() // ends the connection
				return
			}
			if err := c.session.acknowledge(p.QoS, p.PacketID); err != nil {
				return // the connection has ended
			}
			if l.inbox.overflowed() {
				c.settle(ctx, l)
				poke(c.now)
				l.ended(errLeft)
				_ = l.conn.Close() // the next one brings the rest
				return
			}
		}
	}
}

// settle waits until the broker has read the acknowledgements, or a bound has passed. A
// connection that is closed while more comes is reset, and the broker may lose what it had
// not read: all of it would come again on the next connection, for ever.
func (c *Connector) settle(ctx context.Context, l *link) {
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	if err := c.subscribe(ctx, l); err != nil { // there already: it is asked for its answer
		c.log.Debug("the broker does not say whether it has read the acknowledgements", "error", err)
	}
}
