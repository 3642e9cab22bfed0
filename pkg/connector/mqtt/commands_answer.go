package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// A result whose topic makes the broker hang up must not keep the gateway offline:
// it is tried on maxTries connections, and then no result goes to such a topic for
// shunTime, be it that of the configuration or any that commands name.
const (
	maxTries = 3
	shunTime = time.Hour
)

// finish stores the result and has it sent.
func (c *commands) finish(rec *commandRecord, res frame.CommandResult) {
	c.mu.Lock()
	rec.Result, rec.State = rec.reply(c.deps.Identity.Gateway, res), commandDone
	rec.Value = nil // its hash is enough for repeats
	c.mu.Unlock()
	c.counter.WithLabelValues(rec.Result.Result).Inc()
	if !res.OK {
		c.log.Warn("command not confirmed", "result", rec.Result.Result, "tag", rec.Tag, "seq", rec.Seq, "reason", cut(res.Reason, maxReason))
	}
	if err := c.store(rec, true); err != nil {
		c.log.Error("result of a command not stored", "tag", rec.Tag, "seq", rec.Seq, "error", err)
	}
	c.mu.Lock()
	c.queueLocked(rec)
	c.mu.Unlock()
	c.wakeReplies()
}

// refuse answers a command that was turned down, if there were not too many of them
// lately. Nothing of it is kept: the same command may be sent again and be taken
// then.
func (c *commands) refuse(rec *commandRecord, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.results) >= maxAnswers || !c.answers.Allow() {
		return
	}
	rec.Result, rec.State, rec.refused = rec.reply(c.deps.Identity.Gateway, frame.CommandResult{Reason: reason.Error()}), commandDone, true
	rec.Value, rec.Topic = nil, ""
	c.queueLocked(rec)
	c.wakeReplies()
}

// queueLocked has a result sent. The caller holds mu.
func (c *commands) queueLocked(rec *commandRecord) {
	if !rec.queued {
		rec.queued, rec.Replied = true, false
		c.results = append(c.results, rec)
	}
}

func (c *commands) wakeReplies() { poke(c.replies) }

// nextResult returns the first result that waits to be sent, nil if there is none.
func (c *commands) nextResult() *commandRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.results) > 0 {
		rec := c.results[0]
		named := rec.Reply != c.reply
		if rec.tries >= maxTries {
			c.log.Error("a result is given up: the connection has ended each time that it was sent; does the broker allow its topic?",
				"reply", rec.Reply, "tag", rec.Tag, "seq", rec.Seq, "next_in", shunTime)
			c.shunned[named] = time.Now().Add(shunTime)
		}
		if time.Now().After(c.shunned[named]) {
			rec.tries++
			return rec
		}
		c.settleLocked(rec)
	}
	return nil
}

// answer sends the results that are ready, until ctx ends or one cannot be sent.
func (c *Connector) answer(ctx context.Context, l *link) error {
	for {
		rec := c.commands.nextResult()
		if rec == nil {
			return nil
		}
		body, err := json.Marshal(rec.Result)
		if err != nil {
			return err
		}
		err = c.publish(ctx, l, &paho.Publish{Topic: rec.Reply, Payload: body,
			Properties: &paho.PublishProperties{ContentType: "application/json", CorrelationData: rec.Correlation}})
		if _, err := c.tolerate(partResults, err); err != nil {
			return err
		}
		if ctx.Err() != nil || err != nil && l.inbox.leaves() {
			c.commands.untried(rec)
			return nil
		}
		var r *refusal
		if err != nil && !errors.As(err, &r) && !errors.Is(err, paho.ErrInvalidArguments) {
			return nil // the connection has ended: the next one sends it
		}
		if err := c.commands.answered(rec); err != nil {
			return err
		}
	}
}

// untried takes back a try that the gateway itself has broken off.
func (c *commands) untried(rec *commandRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec.tries--
}

// answered notes that the result was sent.
func (c *commands) answered(rec *commandRecord) error {
	c.mu.Lock()
	c.settleLocked(rec)
	c.mu.Unlock()
	if rec.refused {
		return nil
	}
	return c.store(rec, false) // if lost, it is sent once more
}

// settleLocked takes a result, the first, from those that wait. The caller holds mu.
func (c *commands) settleLocked(rec *commandRecord) {
	c.results[0] = nil
	c.results = c.results[1:]
	rec.queued = false
	if rec.refused {
		return
	}
	if !rec.settled {
		c.finished = append(c.finished, rec)
	}
	rec.settle()
}

// prune deletes the records whose window is over, and the oldest beyond maxFinished.
func (c *commands) prune(now time.Time) {
	c.mu.Lock()
	var old []string
	if now.Sub(c.pruned) >= pruneEvery || len(c.finished) > maxFinished {
		c.pruned = now
		for len(c.finished) > 0 {
			rec := c.finished[0]
			if len(c.finished) <= maxFinished && now.Sub(rec.Received) <= c.cfg.Dedup.Std() || rec.queued {
				break
			}
			old = append(old, rec.key())
			delete(c.known, rec.ID)
			c.finished[0] = nil
			c.finished = c.finished[1:]
		}
	}
	c.mu.Unlock()
	if len(old) == 0 {
		return
	}
	if err := c.deps.Source.Commit(bus.Commit{Delete: old}); err != nil {
		c.log.Error("old commands not deleted", "error", err)
	}
}
