package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eclipse/paho.golang/paho"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

const (
	// maxWaiting bounds the commands that are accepted and not executed, maxAnswers
	// the results that wait to be sent.
	maxWaiting = 256
	maxAnswers = 512
	// maxFinished bounds the answered commands that are remembered; beyond it the
	// oldest are forgotten before their window is over.
	maxFinished = 50_000
	// executeTimeout bounds one execution.
	executeTimeout = 30 * time.Second
	// pruneEvery is how often old records are deleted.
	pruneEvery = time.Minute
	// Who may send commands may send them without end: so many that are turned down
	// or repeated are answered, and of so many the log tells, in a second and at
	// once.
	answerRate, answerBurst = 10, 100
	tellRate, tellBurst     = 1, 10
)

// commands takes commands from the broker to the devices, each once.
//
// A command is logged, and a record of it stored, both synced, before the broker's
// message is acknowledged: a crash before that makes the broker deliver it again,
// a crash after it leaves the record. The record moves to "started" before the
// device is asked and to "done" after. So after a crash a logged command is
// executed, and a started one, which may have reached the device, is not: its
// value is read back and reported. Repeats find the record.
//
// Everything that a sender causes has a bound: the bytes of what is kept of a
// command, the number of records, of answers and of lines in the log.
type commands struct {
	cfg     Commands
	topic   string   // what to subscribe to
	reply   string   // where results go unless a command says otherwise
	below   []string // response topics that a command may name
	others  string   // a filter of every gateway's command topics
	deps    connector.Deps
	log     *slog.Logger
	counter *prometheus.CounterVec // result
	limiter *rate.Limiter
	answers *rate.Limiter // of what is not executed
	tells   *rate.Limiter

	mu       sync.Mutex
	known    map[string]*commandRecord   // by id
	queues   map[string][]*commandRecord // by tag: commands of one tag are executed in order
	waiting  int
	results  []*commandRecord   // those that wait to be sent, in order
	finished []*commandRecord   // answered, in order
	shunned  map[bool]time.Time // until when no result is sent to the configured topic (false), or to those that commands name (true)
	untold   int                // turned down since the log told of one
	pruned   time.Time
	work     sync.WaitGroup
	ctx      context.Context // of run; nil before and after

	replies chan struct{} // capacity 1: there may be results to send
}

func newCommands(cfg Commands, names *strings.Replacer, deps connector.Deps, counter *prometheus.CounterVec) (*commands, error) {
	most, err := parseSpeed(cfg.Rate, math.MaxInt32)
	if err != nil {
		return nil, fmt.Errorf("commands.rate: %w", err)
	}
	c := &commands{cfg: cfg, topic: names.Replace(cfg.Topic), reply: names.Replace(cfg.Reply), deps: deps, log: deps.Log, counter: counter,
		others:  strings.NewReplacer("{gateway}", "+", "{tenant}", "+", "{device}", "+").Replace(cfg.Topic),
		limiter: rate.NewLimiter(rate.Every(most.takes(1)), int(most.n)), answers: rate.NewLimiter(answerRate, answerBurst),
		tells: rate.NewLimiter(tellRate, tellBurst), known: map[string]*commandRecord{}, shunned: map[bool]time.Time{},
		queues: map[string][]*commandRecord{}, replies: make(chan struct{}, 1)}
	for _, topic := range cfg.ReplyBelow {
		c.below = append(c.below, names.Replace(topic))
	}
	if len(c.below) == 0 {
		c.below = []string{c.reply}
	}
	return c, nil
}

// load takes the records of an earlier run.
func (c *commands) load(records []bus.Record) error {
	var done []*commandRecord
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		rec := new(commandRecord)
		if err := json.Unmarshal(r.Value, rec); err != nil {
			return fmt.Errorf("record %s: %w", r.Key, err)
		}
		rec.ID = strings.TrimPrefix(r.Key, keyCommand) // which was longer once
		c.known[rec.ID] = rec
		if rec.State == commandDone && rec.Result != nil {
			done = append(done, rec)
		}
	}
	slices.SortFunc(done, func(a, b *commandRecord) int { return a.Received.Compare(b.Received) })
	for _, rec := range done {
		if rec.Replied {
			rec.settle()
			c.finished = append(c.finished, rec)
		} else {
			c.queueLocked(rec)
		}
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
	rec := &commandRecord{ID: commandID(p, seq), State: commandLogged, Seq: seq, Tag: cut(tag, maxTag), Topic: p.Topic, Reply: c.reply, Received: now}
	if err == nil {
		rec.Value = value.AppendJSON(nil)
		rec.Hash = content(tag, rec.Value)
		err = c.checkSizes(p)
	}
	elsewhere := c.address(rec, p)
	if pr := p.Properties; pr != nil && pr.MessageExpiry != nil {
		rec.Expires = now.Add(time.Duration(*pr.MessageExpiry) * time.Second)
	}
	if err == nil {
		err = c.admissible(p, rec)
	}
	switch {
	case errors.Is(err, errRepeat):
		c.counter.WithLabelValues("duplicate").Inc()
		return nil
	case err != nil:
		c.counter.WithLabelValues("rejected").Inc()
		c.tell("command rejected", rec, "error", cut(err.Error(), 256))
		c.refuse(rec, err)
		return nil
	case elsewhere != nil:
		c.tell("a command is answered elsewhere than it asks for", rec, "reply", rec.Reply, "error", elsewhere)
	}
	return c.accept(ctx, rec)
}

// maxTag bounds a tag in what is kept and logged of a command, in bytes.
const maxTag = 4 * 128

// checkSizes refuses what no sender needs.
func (c *commands) checkSizes(p *paho.Publish) error {
	if len(p.Topic) > maxTopic {
		return fmt.Errorf("its topic has %d bytes; at most %d are taken", len(p.Topic), maxTopic)
	}
	if p.Properties != nil && len(p.Properties.CorrelationData) > maxCorrelation {
		return fmt.Errorf("its correlation data has %d bytes; at most %d are taken", len(p.Properties.CorrelationData), maxCorrelation)
	}
	return nil
}

// address says where and under what the answer goes. It returns why it does not go
// where the command asks for.
func (c *commands) address(rec *commandRecord, p *paho.Publish) error {
	pr := p.Properties
	if pr == nil {
		return nil
	}
	if len(pr.CorrelationData) <= maxCorrelation {
		rec.Correlation = pr.CorrelationData
	}
	if pr.ResponseTopic == "" {
		return nil
	}
	if err := c.mayAnswer(pr.ResponseTopic); err != nil {
		return err
	}
	rec.Reply = pr.ResponseTopic
	return nil
}

// mayAnswer returns why nothing is published on a response topic: its choice is the
// sender's, and what is published there is published with the gateway's rights.
func (c *commands) mayAnswer(topic string) error {
	switch {
	case len(topic) > maxTopic || strings.ContainsAny(topic, "+#") || strings.ContainsFunc(topic, unicode.IsControl) || !utf8.ValidString(topic):
		return errors.New("the response topic is none that can be published on")
	case strings.HasPrefix(topic, "$"), covers(c.others, topic), covers(c.topic, topic):
		return fmt.Errorf("nothing is published on %q for others: it is the broker's, or one of commands", cut(topic, 64))
	}
	for _, prefix := range c.below {
		if rest, ok := strings.CutPrefix(topic, strings.TrimSuffix(prefix, "/")); ok && (rest == "" || rest[0] == '/') {
			return nil
		}
	}
	return fmt.Errorf("the response topic %q is not below one of commands.reply_below (%s)", cut(topic, 64), strings.Join(c.below, ", "))
}

// tell logs what became of a command that is not executed as it was sent, unless it
// has told enough lately.
func (c *commands) tell(what string, rec *commandRecord, args ...any) {
	c.mu.Lock()
	untold := c.untold
	told := c.tells.Allow()
	if c.untold++; told {
		c.untold = 0
	}
	c.mu.Unlock()
	if told {
		c.log.Warn(what, append([]any{"topic", cut(rec.Topic, 256), "tag", cut(rec.Tag, 256), "seq", rec.Seq, "untold", untold}, args...)...)
	}
}

var errRepeat = errors.New("a repeat")

// admissible returns why a command is not executed, nil if it is.
func (c *commands) admissible(p *paho.Publish, rec *commandRecord) error {
	if p.Retain {
		return errors.New("a retained message is not executed: it would be again with every connection")
	}
	c.mu.Lock()
	old, ok := c.known[rec.ID]
	repeat := ok && (old.Hash == rec.Hash || old.Hash == "" && old.Tag == rec.Tag)
	if repeat && old.State == commandDone && !old.queued && c.answers.Allow() {
		old.Reply, old.Correlation = rec.Reply, rec.Correlation // whoever asks again has not seen the answer
		c.queueLocked(old)
	}
	waiting, unsent := c.waiting, len(c.results)
	c.mu.Unlock()
	switch {
	case repeat:
		c.wakeReplies()
		return errRepeat
	case ok:
		return errors.New("another command had the same correlation data, or the same topic and seq, with another tag or value: not executed")
	case !rec.Expires.IsZero() && !rec.Received.Before(rec.Expires):
		return errors.New("expired")
	case !c.allowed(rec.Tag):
		return fmt.Errorf("tag %s is not in commands.allow", rec.Tag)
	case waiting >= maxWaiting:
		return fmt.Errorf("%d commands wait already", waiting)
	case unsent >= maxAnswers:
		return fmt.Errorf("%d results wait to be sent", unsent)
	case !c.limiter.Allow():
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
	if err := c.deps.Source.Commit(bus.Commit{Put: []bus.Record{r}, Sync: sync}); err != nil {
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
			if err := supervise.Contain(func() error { c.execute(ctx, rec); return nil }); err != nil {
				c.log.Error("command failed", append([]any{"tag", rec.Tag, "seq", rec.Seq, "error", err}, supervise.Stack(err)...)...)
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
