package mqtt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// setState notes a new state and why. An attempt after one that failed changes
// neither: until it ends there is no connection, since the time and for the reason
// that are known.
func (c *Connector) setState(state string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = time.Time{}
	if state != "up" && state != "fault" {
		clear(c.warnings)
	}
	away := c.state == "down" || c.state == "fault" || c.state == "connecting"
	if away && state == "connecting" {
		return
	}
	if c.state != state {
		if !away || state != "down" && state != "fault" {
			c.since = time.Now()
		}
		c.state = state
	}
	c.err = err
}

// setUp notes that there is a connection. As long as what kept messages from being
// delivered on the connections before may do so on this one too, that is no more than a
// chance.
func (c *Connector) setUp() {
	c.mu.Lock()
	blocked := c.blocked
	c.mu.Unlock()
	if blocked != nil {
		c.setState("fault", blocked)
		return
	}
	c.setState("up", nil)
}

func (c *Connector) isBlocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked != nil
}

// noteUnanswered remembers that a connection was given up for want of an answer.
func (c *Connector) noteUnanswered(err error) {
	var e *unansweredError
	if !errors.As(err, &e) {
		return
	}
	c.stats.unanswered()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unanswered++
	e.times = c.unanswered
	c.blocked = e
}

// noteDeath remembers at what a connection ended that the broker has ended.
func (c *Connector) noteDeath(l *link, s *sender, err error) {
	if bye := c.session.farewell(); bye != nil {
		err = bye
	} else if errors.Is(err, net.ErrClosed) {
		err = l.why()
	}
	if t := c.terms[l.server]; t != nil {
		t.noteQoS(s, err)
		if !c.config().Lower {
			err = t.suspectQoS(err)
		}
	}
	c.suspicion.note(s, err)
	c.atMessage = hungUp(err) && !s.heard && len(s.unanswered()) > 0
	if u := &c.suspicion; u.strikes >= diedTwice {
		c.mu.Lock()
		c.blocked = fmt.Errorf("the broker has ended %d connections at the same message, on %s with the frames %d to %d, without an answer to it (%w); "+
			"it is tried with the present configuration and in smaller parts", u.strikes, u.topic, u.first, u.last, err)
		c.mu.Unlock()
	}
}

// moves notes that a message has arrived: nothing is in the way any more.
func (c *Connector) moves() {
	c.mu.Lock()
	was := c.blocked != nil
	c.blocked, c.unanswered = nil, 0
	c.mu.Unlock()
	if was {
		c.log.Info("messages are delivered again")
		c.setState("up", nil)
	}
}

// setFault notes that the broker refuses messages, or with nil that it does not
// any more. A refusal that only a person can end is a fault at once, any other when
// it lasts.
func (c *Connector) setFault(err error) {
	var r *refusal
	var m *refusedError
	if err == nil || errors.As(err, &r) && !needsPerson(r.code) && (!errors.As(err, &m) || m.times < lasting) {
		c.setState("up", err)
		return
	}
	c.setState("fault", err)
}

// tellShortfalls warns of what the server lacks that is asked for.
func (c *Connector) tellShortfalls(srv server) {
	l := c.session.currentLimits()
	found := c.shortfalls(l)
	if will := c.termsOf(srv).accepted(!l.noRetain); will != nil {
		found = append(found, shortfall{partWill, will})
	}
	for _, s := range found {
		c.warn(s.part, s.err)
		c.log.Warn("the broker does not allow all", "what", s.part, "error", s.err)
	}
}

func (c *Connector) setPeer(p string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer = p
}

// Status implements [connector.Connector].
func (c *Connector) Status() connector.Status {
	c.mu.Lock()
	st := connector.Status{State: c.state, Since: c.since, Peer: c.peer, NextAttempt: c.next}
	var words []string
	if c.err != nil {
		words = append(words, c.err.Error())
	}
	if c.paused && st.State != "stopped" {
		if st.State != "up" && c.err != nil {
			words[0] = "and not connected: " + words[0]
		}
		st.State, st.Since = "paused", c.pausedAt
	}
	lasts := time.Duration(0)
	if c.link != nil {
		lasts = time.Since(c.link.since)
	}
	if w := c.disputes.warning(c.clientID, c.steady(), lasts); w != nil {
		words = append(words, w.Error())
	}
	for _, what := range slices.Sorted(maps.Keys(c.warnings)) {
		words = append(words, what+": "+c.warnings[what].Error())
	}
	st.Error = strings.Join(words, "; ")
	c.mu.Unlock()
	c.stats.fill(&st)
	return st
}

// monitor keeps the age of the backlog in the metrics until stop is called, which
// waits for its end.
func (c *Connector) monitor() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(monitorEvery); ; {
			c.metrics.backlogAge.WithLabelValues(c.name).Set(c.backlogAge().Seconds())
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

// implausible is an age that no backlog reaches.
const implausible = 10 * 365 * 24 * time.Hour

const monitorEvery = 5 * time.Second

// backlogAge returns the age of the oldest frame that is not delivered.
func (c *Connector) backlogAge() time.Duration {
	next := c.deps.Source.Acked() + 1
	if next > c.deps.Source.Head() {
		return 0
	}
	batches, err := c.deps.Source.Fetch(next, next)
	if err != nil || len(batches) == 0 || len(batches[0].Frames) == 0 {
		return 0 // gone to the log's limit, or just delivered
	}
	age := max(0, time.Since(time.Unix(0, batches[0].Frames[0].TS)))
	if age > implausible { // a clock that wasn't set: how old it is isn't known
		return 0
	}
	return age
}
