package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/clienttls"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// settleTime is what a stop gives messages in flight: a part of the two seconds
// that the contract allows, so that the farewell fits in.
const settleTime = 1500 * time.Millisecond

// factory makes connectors of kind mqtt5.
type factory struct{ metrics *metrics }

// NewFactory returns the factory of connectors of kind "mqtt5". Their metrics are
// registered with reg; it fails if they are already.
func NewFactory(reg prometheus.Registerer) (connector.Factory, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	return &factory{metrics: m}, nil
}

// Kind implements [connector.Factory].
func (f *factory) Kind() string { return kindName }

// New implements [connector.Factory].
func (f *factory) New(name string, cfg map[string]any, deps connector.Deps) (connector.Connector, error) {
	c, err := decodeConfig(cfg)
	if err != nil {
		return nil, err
	}
	return newConnector(name, c, deps, f.metrics)
}

// Connector delivers frames to one broker.
type Connector struct {
	name     string
	cfg      atomic.Pointer[Config] // replaced by Update
	deps     connector.Deps
	log      *slog.Logger
	servers  []server
	clientID string
	template string   // of the data's topic, with the gateway's names filled in
	retained []string // filters of the topics whose data the broker keeps
	metrics  *metrics
	stats    *stats
	session  *session
	commands *commands // nil: not enabled

	// Only Run's goroutine uses these.
	terms     map[string]*terms // by server
	manners   manners
	atMessage bool    // the connection before was ended at a message
	detour    *server // the server that a broker has named instead of itself
	// Whoever floods the commands' topics makes some brokers send too much, and so
	// reconnections, several in a second: one in tellEvery is told.
	quiet    bool // the connection that comes is not told
	leftTold time.Time

	now  chan struct{} // capacity 1: connect at once
	kick chan struct{} // capacity 1: drop the connection

	mu         sync.Mutex
	paused     bool
	pausedAt   time.Time
	state      string // without "paused"
	since      time.Time
	next       time.Time        // when it is tried again; zero: it is being tried, or up
	err        error            // why it is not up
	warnings   map[string]error // what does not work though it is up
	peer       string
	link       *link // nil: not connected
	disputes   disputes
	memory     memory            // of the broker, of the log
	suspicion  suspicion         // used by the sender, and between two connections
	forgive    atomic.Bool       // an operator has asked for a new connection: suspicions are dropped
	blocked    error             // why nothing was delivered on the connections before this one
	unanswered int               // of them, those that were given up for want of an answer
	replayed   map[string]uint64 // last seq by topic of a replay
}

func newConnector(name string, cfg Config, deps connector.Deps, m *metrics) (*Connector, error) {
	servers, err := parseEndpoints(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	names := identityReplacer(deps.Identity)
	c := &Connector{name: name, deps: deps, log: deps.Log, servers: servers, clientID: cfg.ClientID, metrics: m,
		template: names.Replace(cfg.Topic), stats: &stats{name: name, m: m}, replayed: map[string]uint64{}, warnings: map[string]error{}, terms: map[string]*terms{}, now: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
	for _, filter := range cfg.RetainTopics {
		c.retained = append(c.retained, names.Replace(filter))
	}
	c.cfg.Store(&cfg)
	if c.clientID == "" {
		c.clientID = deps.Identity.Gateway
	}
	c.session = newSession(deps.Source, c.sessionLost)
	if cfg.Commands.Enable {
		if c.commands, err = newCommands(cfg.Commands, names, deps, m.commands.MustCurryWith(prometheus.Labels{"connector": name})); err != nil {
			return nil, err
		}
	}
	c.setState("stopped", nil)
	return c, nil
}

func (c *Connector) config() *Config { return c.cfg.Load() }

// Update implements [connector.Updater]: how frames are gathered into messages and
// how long to wait for a broker can change at any time. What is gathered when it
// changes goes by the old settings.
func (c *Connector) Update(cfg map[string]any) bool {
	next, err := decodeConfig(cfg)
	if err != nil {
		return false // a new connector will say why
	}
	same := next
	now := c.config()
	same.MaxFrames, same.MaxBytes, same.MaxInterval, same.Backoff, same.OnRefused, same.Backlog = now.MaxFrames, now.MaxBytes, now.MaxInterval, now.Backoff, now.OnRefused, now.Backlog
	if !reflect.DeepEqual(&same, now) {
		return false
	}
	c.cfg.Store(&next)
	c.session.poke()
	return true
}

func (c *Connector) sessionLost(messages int) {
	c.metrics.sessionLost.WithLabelValues(c.name).Inc()
	c.log.Warn("the broker has lost the session; what was in flight is sent anew and may arrive twice", "messages", messages)
}

// Run implements [connector.Connector].
func (c *Connector) Run(ctx context.Context) error {
	c.metrics.begin(c.name)
	defer c.metrics.forget(c.name)
	defer c.setState("stopped", nil)
	if err := c.begin(); err != nil {
		return err
	}
	if c.commands != nil {
		work, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); c.commands.run(work) }()
		defer func() { stop(); <-done }()
	}
	defer c.monitor()()
	for attempt := 0; ; attempt++ {
		delivered, began := c.stats.delivered(), time.Now()
		up, err := c.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if c.stats.delivered() != delivered {
			attempt = 0
		}
		wait := max(c.backoff(max(attempt, c.ended(up, err, time.Since(began)))), c.manners.note(up, err, time.Since(began)))
		c.failed(err, wait)
		select {
		case <-ctx.Done():
			return nil
		case <-c.now:
		case <-time.After(wait):
		}
		c.stats.reconnect()
	}
}

// ended takes notice of how a round ended and how long it lasted, and returns how
// often to double the back-off at least.
func (c *Connector) ended(up bool, err error, lasted time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disputes.note(up, err, lasted, c.steady(), c.atMessage)
}

// round tries the servers in order, delivers with the first that takes us, and
// returns when that connection has ended; up reports whether there was one.
func (c *Connector) round(ctx context.Context) (up bool, err error) {
	var errs []error
	for _, srv := range c.route() {
		up, err := c.follow(ctx, srv)
		if up || ctx.Err() != nil {
			return up, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", srv, err))
	}
	return false, errors.Join(errs...)
}

// route returns the servers to try: one that was named instead of another first.
func (c *Connector) route() []server {
	if c.detour == nil {
		return c.servers
	}
	return append([]server{*c.detour}, c.servers...)
}

// maxHops bounds how often a server may send us to another one.
const maxHops = 3

// follow connects to srv, or to where it sends us, and delivers until the
// connection ends.
func (c *Connector) follow(ctx context.Context, srv server) (up bool, err error) {
	for hop := 0; ; hop++ {
		up, err = c.connectAndServe(ctx, srv)
		var r *refusal
		if !errors.As(err, &r) || r.code != codeElsewhere && r.code != codeMoved {
			if c.detour != nil && c.detour.addr == srv.addr && (!up || !c.detour.lasting) {
				c.detour = nil // it was for once, or it does not take us
			}
			return up, err
		}
		next, nerr := srv.instead(r)
		switch {
		case !c.config().FollowRedirect:
			return up, err
		case nerr != nil:
			return up, fmt.Errorf("%w; it cannot be followed: %w", err, nerr)
		case hop == maxHops:
			return up, fmt.Errorf("%w; it was followed %d times already", err, hop)
		case up:
			c.detour = &next
			return up, err // the next round begins there
		}
		c.log.Info("the broker names another server", "server", srv.String(), "instead", next.String(), "for_good", next.lasting)
		c.detour, srv = &next, next
	}
}

// begin loads what an earlier run left.
func (c *Connector) begin() error {
	st, err := c.session.load()
	if err != nil {
		return fmt.Errorf("load the session: %w", err)
	}
	if c.commands != nil {
		if err := c.commands.load(st.commands); err != nil {
			return fmt.Errorf("load the commands: %w", err)
		}
	}
	return nil
}

// backoff returns how long to wait after so many failures: twice as long each
// time, with jitter, so that a fleet does not return in step.
func (c *Connector) backoff(attempt int) time.Duration {
	b := c.config().Backoff
	return supervise.Delay(b.Base.Std(), b.Max.Std(), attempt+1)
}

// failed notes why there is no connection.
func (c *Connector) failed(err error, wait time.Duration) {
	if err == nil {
		err = errors.New("connection closed")
	}
	state := "down"
	var r *refusal
	if errors.As(err, &r) && needsPerson(r.code) || isOneOf(err, errNotOurs, errSpeaksTLS, errSpeaksHTTP, errClientCert, clienttls.ErrKey) || c.isBlocked() {
		state = "fault"
	}
	c.setState(state, err)
	c.mu.Lock()
	c.next = time.Now().Add(wait)
	c.mu.Unlock()
	level := slog.LevelWarn
	if c.quiet = errors.Is(err, errLeft) && time.Since(c.leftTold) < tellEvery; c.quiet {
		level = slog.LevelDebug
	} else if errors.Is(err, errLeft) {
		c.leftTold = time.Now()
	}
	c.log.Log(context.Background(), level, "no connection to the broker", append([]any{"error", err, "retry_in", wait.Round(time.Millisecond).String()}, supervise.Stack(err)...)...)
}

func isOneOf(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// needsPerson reports whether a refusal will not go away by itself.
func needsPerson(code byte) bool {
	switch code {
	case codeVersion, 0x85, 0x86, codeNotAuthorized, 0x8A, 0x8C, codeTakenOver, 0x90, codeTooLarge, 0x99, codeNoRetain, codeNoQoS, codeMoved:
		return true
	}
	return false
}

// connectAndServe makes one connection and delivers until it ends; up reports
// whether there was one.
func (c *Connector) connectAndServe(ctx context.Context, srv server) (up bool, err error) {
	c.setState("connecting", nil)
	c.setPeer(srv.String())
	c.atMessage = false
	if c.forgive.Swap(false) {
		c.suspicion.forget()
		clear(c.terms)
	}
	st, err := c.session.load()
	if err != nil {
		return false, fmt.Errorf("load the session: %w", err)
	}
	if err := c.noteStatus(srv); err != nil { // by the last will, from CONNECT on
		return false, err
	}
	l, err := c.connect(ctx, srv, plainStep)
	if err != nil {
		return false, err
	}
	c.setUp()
	drain(c.kick) // asked for before this connection was made, which is what was asked for
	drain(c.now)
	c.tellShortfalls(srv)
	c.metrics.up.WithLabelValues(c.name).Set(1)
	defer c.metrics.up.WithLabelValues(c.name).Set(0)
	level := slog.LevelInfo
	if c.quiet {
		level = slog.LevelDebug
	}
	c.log.Log(ctx, level, "connected to the broker", "server", srv.String(), "in_flight", len(c.session.inflight))
	c.setLink(l)
	err = c.serve(ctx, l, st)
	c.setLink(nil)
	l.close(errors.Is(err, errStopped))
	if bye := c.session.farewell(); bye != nil {
		if bye.code == codeTakenOver {
			if err := c.takenOver(); err != nil {
				return true, err
			}
		}
		err = bye // it says more than what followed from it
	}
	c.noteUnanswered(err)
	return true, err
}

var (
	errReconnect = errors.New("reconnecting on request")
	errStopped   = errors.New("stopped")
	errWhole     = errors.New("reconnecting to ask for the whole last will once more")
)

// serve delivers on a connection until it ends, an operator wants another one, or
// ctx ends, which gives what is in flight some time to settle.
func (c *Connector) serve(ctx context.Context, l *link, st *stored) error {
	look, err := c.lookBack(ctx, l)
	if err != nil {
		return err
	}
	limits := c.session.currentLimits()
	if err := c.settleQoS(l, &limits); err != nil {
		return err
	}
	up, err := c.newUplink(l, st, limits)
	if err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(context.Background()) // not of ctx: a stop settles first
	var wg sync.WaitGroup
	wg.Go(func() { cancel(supervise.Contain(func() error { return up.run(work) })) })
	wg.Go(func() {
		if err := supervise.Contain(func() error { return c.attend(work, l) }); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if err := supervise.Contain(func() error { return c.keepSeen(work, l, look) }); err != nil {
			cancel(err)
		}
	})
	var whole <-chan time.Time
	if t := c.terms[l.server]; t != nil && l.will != t.next().will { // it was a guess
		whole = time.After(wholeAgain)
	}
	select {
	case <-work.Done():
		l.settle(context.Cause(work))
	case <-l.client.Done():
		cancel(l.why())
	case <-c.kick:
		cancel(errReconnect)
	case <-whole:
		cancel(errWhole)
	case <-ctx.Done():
		up.stop()
		select {
		case <-work.Done():
		case <-l.client.Done():
		case <-time.After(settleTime):
		}
		c.lastSeen(l)
		cancel(errStopped)
	}
	err = context.Cause(work)
	if why := l.conn.why(); why != nil && !isOneOf(err, errStopped, errReconnect, errWhole) {
		err = fmt.Errorf("connection lost: %w", why) // what it was followed by says less
	}
	l.interrupt(errors.Is(err, errStopped))
	wg.Wait()
	c.noteDeath(l, up.sender, err)
	return err
}

// Reconnect implements [connector.Connector].
func (c *Connector) Reconnect() {
	c.forgive.Store(true)
	// The connection goes first: with the attempt asked for first, that attempt could
	// be over, and its connection be the one that is dropped.
	poke(c.kick)
	poke(c.now)
}

// drain takes the token out of a channel of capacity 1, if there is one.
func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}

// poke puts a token into a channel of capacity 1, unless one is there.
func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it will happen anyway
	}
}

// SetPaused implements [connector.Connector]. What is in flight is settled.
func (c *Connector) SetPaused(p bool) {
	c.mu.Lock()
	if p && !c.paused {
		c.pausedAt = time.Now()
	}
	c.paused = p
	c.mu.Unlock()
	c.session.poke()
}

func (c *Connector) isPaused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}
