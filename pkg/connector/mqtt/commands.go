package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

const (
	// maxWaiting bounds the commands that are accepted and not executed.
	maxWaiting = 256
	// executeTimeout bounds one execution.
	executeTimeout = 30 * time.Second
	// pruneEvery is how often old records are deleted.
	pruneEvery = time.Minute
)

// commands takes commands from the broker to the devices, each once.
//
// A command is logged, and a record of it stored, both synced, before the broker's
// message is acknowledged: a crash before that makes the broker deliver it again,
// a crash after it leaves the record. The record moves to "started" before the
// device is asked and to "done" after. So after a crash a logged command is
// executed, and a started one, which may have reached the device, is not: its
// value is read back and reported. Repeats find the record.
type commands struct {
	cfg     Commands
	topic   string // what to subscribe to
	reply   string // where results go unless a command says otherwise
	deps    connector.Deps
	log     *slog.Logger
	counter *prometheus.CounterVec // result
	limiter *rate.Limiter

	mu      sync.Mutex
	known   map[string]*commandRecord   // by id
	queues  map[string][]*commandRecord // by tag: commands of one tag are executed in order
	waiting int
	pruned  time.Time
	work    sync.WaitGroup
	ctx     context.Context // of run; nil before and after

	replies chan struct{} // capacity 1: there may be results to send
}

func newCommands(cfg Commands, names *strings.Replacer, deps connector.Deps, counter *prometheus.CounterVec) (*commands, error) {
	n, per, err := parseRate(cfg.Rate)
	if err != nil {
		return nil, fmt.Errorf("commands.rate: %w", err)
	}
	return &commands{cfg: cfg, topic: names.Replace(cfg.Topic), reply: names.Replace(cfg.Reply), deps: deps, log: deps.Log, counter: counter,
		limiter: rate.NewLimiter(rate.Every(per/time.Duration(n)), n), known: map[string]*commandRecord{},
		queues: map[string][]*commandRecord{}, replies: make(chan struct{}, 1)}, nil
}

// load takes the records of an earlier run.
func (c *commands) load(records []bus.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		rec := new(commandRecord)
		if err := json.Unmarshal(r.Value, rec); err != nil {
			return fmt.Errorf("record %s: %w", r.Key, err)
		}
		c.known[rec.ID] = rec
	}
	return nil
}

// run executes commands until ctx ends, those of an earlier run first.
func (c *commands) run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	// In the order in which they came, since the commands of one tag build on
	// each other.
	for _, rec := range slices.SortedFunc(maps.Values(c.known), func(a, b *commandRecord) int { return a.Received.Compare(b.Received) }) {
		if rec.State != commandDone {
			c.enqueueLocked(rec)
		}
	}
	c.mu.Unlock()
	c.wakeReplies()
	<-ctx.Done()
	c.mu.Lock()
	c.ctx = nil
	c.mu.Unlock()
	c.work.Wait()
}

// take accepts or turns down one command.
func (c *commands) take(ctx context.Context, p *paho.Publish) error {
	now := time.Now()
	seq, tag, value, err := parseCommand(p.Payload)
	rec := &commandRecord{State: commandLogged, Seq: seq, Tag: tag, Topic: p.Topic, Reply: c.reply, Received: now}
	rec.ID = commandID(p, seq)
	if pr := p.Properties; pr != nil {
		rec.Correlation = pr.CorrelationData
		if pr.ResponseTopic != "" && !strings.ContainsAny(pr.ResponseTopic, "+#") {
			rec.Reply = pr.ResponseTopic
		}
		if pr.MessageExpiry != nil {
			rec.Expires = now.Add(time.Duration(*pr.MessageExpiry) * time.Second)
		}
	}
	if err == nil {
		err = c.admissible(p, rec)
	}
	if errors.Is(err, errRepeat) {
		c.counter.WithLabelValues("duplicate").Inc()
		return nil
	}
	if err != nil {
		c.counter.WithLabelValues("rejected").Inc()
		c.log.Warn("command rejected", "topic", p.Topic, "tag", tag, "seq", seq, "error", err)
		c.finishUnlogged(rec, err)
		return nil
	}
	rec.Value = value.AppendJSON(nil)
	return c.accept(ctx, rec)
}

var errRepeat = errors.New("a repeat")

// admissible returns why a command is not executed, nil if it is.
func (c *commands) admissible(p *paho.Publish, rec *commandRecord) error {
	if p.Retain {
		return errors.New("a retained message is not executed: it would be again with every connection")
	}
	c.mu.Lock()
	old, ok := c.known[rec.ID]
	if ok && old.State == commandDone {
		old.Replied = false // whoever asks again has not seen the answer
	}
	waiting := c.waiting
	c.mu.Unlock()
	if ok {
		c.wakeReplies()
		return errRepeat
	}
	if !rec.Expires.IsZero() && !rec.Received.Before(rec.Expires) {
		return errors.New("expired")
	}
	if !c.allowed(rec.Tag) {
		return fmt.Errorf("tag %s is not in commands.allow", rec.Tag)
	}
	if waiting >= maxWaiting {
		return fmt.Errorf("%d commands wait already", waiting)
	}
	if !c.limiter.Allow() {
		return fmt.Errorf("more commands than %s", c.cfg.Rate)
	}
	return nil
}

func (c *commands) allowed(tag string) bool {
	for _, glob := range c.cfg.Allow {
		if ok, err := path.Match(glob, tag); err == nil && ok {
			return true
		}
	}
	return false
}

// accept logs a command durably and queues it.
func (c *commands) accept(ctx context.Context, rec *commandRecord) error {
	cmd, err := rec.command()
	if err != nil {
		return err
	}
	if err := c.deps.Commands.Log(ctx, cmd); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if err := c.store(rec, true); err != nil {
		return err
	}
	c.counter.WithLabelValues("accepted").Inc()
	c.mu.Lock()
	c.known[rec.ID] = rec
	c.enqueueLocked(rec)
	c.mu.Unlock()
	c.prune(time.Now())
	return nil
}

// store writes a record as it is now.
func (c *commands) store(rec *commandRecord, sync bool) error {
	c.mu.Lock()
	r, err := rec.put()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.deps.Consumer.Commit(bus.Commit{Put: []bus.Record{r}, Sync: sync}); err != nil {
		return fmt.Errorf("store command: %w", err)
	}
	return nil
}

// enqueueLocked queues rec behind the commands of its tag, one goroutine per tag
// that has some: a device that does not answer holds up no other. The caller
// holds mu.
func (c *commands) enqueueLocked(rec *commandRecord) {
	if c.ctx == nil {
		return // it stays in the records
	}
	c.waiting++
	q, running := c.queues[rec.Tag]
	c.queues[rec.Tag] = append(q, rec)
	if running {
		return
	}
	ctx := c.ctx
	c.work.Go(func() {
		for rec := c.head(ctx, rec.Tag); rec != nil; rec = c.head(ctx, rec.Tag) {
			if err := contain(func() error { c.execute(ctx, rec); return nil }); err != nil {
				c.log.Error("command failed", "tag", rec.Tag, "seq", rec.Seq, "error", err)
				c.finish(rec, frame.CommandResult{Unknown: true, Reason: "internal error, see the gateway's log"})
			}
		}
	})
}

// head takes the next command of a tag from its queue; nil when there is none or
// the gateway stops.
func (c *commands) head(ctx context.Context, tag string) *commandRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.queues[tag]
	if len(q) == 0 || ctx.Err() != nil {
		c.waiting -= len(q)
		delete(c.queues, tag)
		return nil
	}
	c.waiting--
	c.queues[tag] = q[1:]
	return q[0]
}

// execute carries out one command, or finds out what became of it before a crash.
func (c *commands) execute(ctx context.Context, rec *commandRecord) {
	cmd, err := rec.command()
	if err != nil {
		c.finish(rec, frame.CommandResult{Reason: err.Error()})
		return
	}
	work, cancel := context.WithTimeout(ctx, executeTimeout)
	defer cancel()
	switch {
	case rec.State == commandStarted:
		c.finish(rec, c.readBack(work, cmd))
	case !cmd.Expires.IsZero() && !time.Now().Before(cmd.Expires), time.Since(rec.Received) > c.cfg.Dedup.Std():
		c.finish(rec, frame.CommandResult{Reason: "expired before it was executed"})
	case !covers(c.topic, rec.Topic) || !c.allowed(rec.Tag): // logged under another configuration
		c.finish(rec, frame.CommandResult{Reason: "not executed: the configuration of the gateway does not allow it any more"})
	default:
		c.setState(rec, commandStarted)
		if err := c.store(rec, true); err != nil {
			c.log.Error("command not executed", "tag", rec.Tag, "seq", rec.Seq, "error", err)
			return
		}
		res := c.deps.Commands.Execute(work, cmd)
		if ctx.Err() != nil && !res.OK {
			return // the stop interrupted it: the next start reads back
		}
		c.finish(rec, res)
	}
}

func (c *commands) setState(rec *commandRecord, s commandState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec.State = s
}

// readBack finds out whether a command that was started before a crash was
// executed.
func (c *commands) readBack(ctx context.Context, cmd frame.Command) frame.CommandResult {
	const began = "the gateway restarted before the result was known"
	v, err := c.deps.Commands.ReadBack(ctx, cmd.Tag)
	if err != nil {
		return frame.CommandResult{Unknown: true, Reason: fmt.Sprintf("%s, and the device cannot be read: %v", began, err)}
	}
	res := frame.CommandResult{ReadBack: v, TS: time.Now().UnixNano(), OK: sameValue(v, cmd.Value)}
	if res.Unknown = !res.OK; res.OK {
		res.Reason = "confirmed by reading back (" + began + ")"
	} else {
		res.Reason = began + "; the device holds another value"
	}
	return res
}

// sameValue compares values as a device would: 42 and 42.0 are the same.
func sameValue(a, b frame.Value) bool {
	if x, ok := a.Number(); ok {
		y, ok := b.Number()
		return ok && x == y
	}
	return a == b
}

// finish stores the result and has it sent.
func (c *commands) finish(rec *commandRecord, res frame.CommandResult) {
	c.mu.Lock()
	rec.Result, rec.State = rec.reply(c.deps.Identity.Gateway, res), commandDone
	c.mu.Unlock()
	c.counter.WithLabelValues(rec.Result.Result).Inc()
	if !res.OK {
		c.log.Warn("command not confirmed", "result", rec.Result.Result, "tag", rec.Tag, "seq", rec.Seq, "reason", res.Reason)
	}
	if err := c.store(rec, true); err != nil {
		c.log.Error("result of a command not stored", "tag", rec.Tag, "seq", rec.Seq, "error", err)
	}
	c.wakeReplies()
}

// finishUnlogged answers a command that was turned down. Nothing of it is kept:
// the same command may be sent again and be taken then.
func (c *commands) finishUnlogged(rec *commandRecord, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec.Result, rec.State = rec.reply(c.deps.Identity.Gateway, frame.CommandResult{Reason: reason.Error()}), commandDone
	key := "rejected:" + rec.ID
	if len(c.known) < 2*maxWaiting || c.known[key] != nil {
		rec.ID = key
		c.known[key] = rec
	}
	c.wakeReplies()
}

func (c *commands) wakeReplies() { poke(c.replies) }

// unanswered returns the records whose result has not been sent.
func (c *commands) unanswered() []*commandRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*commandRecord
	for _, rec := range c.known {
		if rec.State == commandDone && !rec.Replied {
			out = append(out, rec)
		}
	}
	return out
}

// answer sends the results that are ready, until ctx ends or one cannot be sent.
func (c *Connector) answer(ctx context.Context, l *link) error {
	for _, rec := range c.commands.unanswered() {
		body, err := json.Marshal(rec.Result)
		if err != nil {
			return err
		}
		err = c.publish(ctx, l, &paho.Publish{Topic: rec.Reply, Payload: body,
			Properties: &paho.PublishProperties{ContentType: "application/json", CorrelationData: rec.Correlation}})
		if _, err := c.tolerate(partResults, err); err != nil {
			return err
		}
		var r *refusal
		if err != nil && !errors.As(err, &r) {
			return nil // the connection has ended: the next one sends it
		}
		if err := c.commands.answered(rec); err != nil {
			return err
		}
	}
	return nil
}

// answered notes that the result was sent.
func (c *commands) answered(rec *commandRecord) error {
	c.mu.Lock()
	rec.Replied = true
	rejected := strings.HasPrefix(rec.ID, "rejected:")
	if rejected {
		delete(c.known, rec.ID)
	}
	c.mu.Unlock()
	if rejected {
		return nil
	}
	return c.store(rec, false) // if lost, it is sent once more
}

// prune deletes the records whose window is over.
func (c *commands) prune(now time.Time) {
	c.mu.Lock()
	var old []string
	if now.Sub(c.pruned) >= pruneEvery {
		c.pruned = now
		for id, rec := range c.known {
			if rec.State == commandDone && rec.Replied && now.Sub(rec.Received) > c.cfg.Dedup.Std() {
				old = append(old, rec.key())
				delete(c.known, id)
			}
		}
	}
	c.mu.Unlock()
	if len(old) == 0 {
		return
	}
	if err := c.deps.Consumer.Commit(bus.Commit{Delete: old}); err != nil {
		c.log.Error("old commands not deleted", "error", err)
	}
}
