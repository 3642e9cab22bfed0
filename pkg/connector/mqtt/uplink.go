package mqtt

import (
	"context"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// uplink is the reader and the sender on one connection.
type uplink struct {
	reader   *reader
	sender   *sender
	rest     []*window
	stopping chan struct{}
}

func (c *Connector) newUplink(l *link, st *stored, limits limits) (*uplink, error) {
	free := make(chan []byte, 8)
	newMaker := func() *maker {
		return &maker{fetch: c.deps.Source.Fetch, codecs: map[encoding]*codec{}, free: free}
	}
	var skip []bus.Range
	for _, m := range c.session.inflight {
		skip = append(skip, m.window.rng())
	}
	for _, w := range st.windows {
		skip = append(skip, w.rng())
	}
	cfg := c.config()
	qos := min(cfg.QoS, limits.maxQoS)
	beside := c.overhead()
	payloadLimit := func() int { return c.payloadLimit(beside, l, limits) }
	o := readerOptions{qos: qos, liveFirst: cfg.LiveFirst, pace: func() pace {
		now := c.config()
		allowed, _ := now.Backlog.allowance() // checked
		return pace{now.MaxFrames, now.MaxInterval.Std(), payloadLimit(), allowed}
	}, warn: func(err error) { c.warn(partBacklog, err) }}
	c.warn(partBacklog, nil)
	o.record = windowRecord{Template: c.template, encoding: c.encoding(l)}
	if o.liveFirst {
		o.record.Stream = streamLive
	}
	r, err := newReader(c.deps.Source, skip, o, newMaker())
	if err != nil {
		return nil, err
	}
	r.chains = maps.Clone(c.session.chains)
	if o.liveFirst {
		r.goOn()
	}
	sealing := newMaker()
	sealing.envelope = c.envelope
	s := &sender{session: c.session, conn: l.conn, make: sealing, windows: r.windows, limits: limits, stats: c.stats, log: c.log,
		aliases: map[string]uint16{}, expiry: uint32(cfg.MessageExpiry.Std() / time.Second)}
	s.server = l.server
	if len(c.retained) > 0 {
		s.keeps = c.keepsData
	}
	s.suspicion, s.config = &c.suspicion, cfg
	if c.suspicion.silent {
		s.honesty = dishonest
	}
	s.parkedDue = len(st.parked) > 0
	c.warn("message size", c.suspicion.words)
	s.options = senderOptions{describe: c.describe, paused: c.isPaused, backoff: c.backoff, fault: c.setFault,
		settled: c.moves, answerTime: c.answerTime, config: c.config, warn: c.warn,
		present: func() present { return present{windowRecord: o.record, qos: qos} }, payloadLimit: payloadLimit}
	return &uplink{reader: r, sender: s, rest: st.windows, stopping: make(chan struct{})}, nil
}

// overhead is what a packet holds beside its payload, in bytes, at most. What a
// topic with {driver} or {tag} needs is not known here: where it is more than
// supposed, the sender cuts the message.
type overhead struct {
	packet   int // header, topic and properties
	envelope int // around the payload, where it has an envelope
}

// overhead measures the largest message. It does not change while a connection
// lasts, and costs too much to be asked for each message.
func (c *Connector) overhead() overhead {
	topic := strings.NewReplacer("{driver}", likelyName, "{tag}", likelyName).Replace(c.template)
	largest := uint64(math.MaxUint64)
	r := messageRecord{ID: 1, QoS: 2, Topic: topic, Stream: streamBacklog, Prev: largest}
	made := payload{first: largest, last: largest, configRev: largest}
	h := publishHeader{id: 1, qos: 2, topic: topic, contentType: "application/x-protobuf", expiry: math.MaxUint32,
		user: c.describe(&r, &made)}
	head, _ := appendPublish(nil, &h, maxPacketSize/2, nil)
	e := c.envelope(&r, &made)
	return overhead{packet: len(head) + aliasRoom, envelope: len(e.AppendJSON(nil, nil))}
}

// payloadLimit is the size of a payload before compression, in bytes, so that its
// packet fits.
func (c *Connector) payloadLimit(o overhead, on *link, l limits) int {
	limit := min(int(c.config().MaxBytes), l.packetSize-o.packet)
	if c.encoding(on).Envelope {
		limit -= o.envelope
	}
	if n := int(c.suspicion.learned.Load()); n > 0 {
		limit = min(limit, n)
	}
	return max(1, limit)
}

// likelyName is as long as names of drivers and tags mostly are.
const likelyName = "plant.line.machine.measurement_01"

// encoding is how new messages on a connection are encoded: in an envelope where it
// is configured, or where there are no properties.
func (c *Connector) encoding(on *link) encoding {
	cfg := c.config()
	return encoding{Filter: cfg.Filter.text(), Payload: cfg.Payload, Unit: frame.TimestampUnit(cfg.TimestampUnit), Envelope: cfg.Envelope == "true" || cfg.Envelope == "auto" && on.old}
}

// envelope returns what a message says of itself.
func (c *Connector) envelope(r *messageRecord, made *payload) frame.Envelope {
	return frame.Envelope{Gateway: c.deps.Identity.Gateway, Epoch: c.deps.Source.Epoch(), FirstSeq: made.first, LastSeq: made.last,
		PrevSeq: r.Prev, ConfigRev: made.configRev, Stream: r.Stream}
}

// describe returns the user properties of a message: its envelope, and how it is
// compressed.
func (c *Connector) describe(r *messageRecord, made *payload) []userProperty {
	enc := "identity"
	if r.compressed() {
		enc = "zstd"
	}
	e := c.envelope(r, made)
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	user := []userProperty{
		{"gw", e.Gateway}, {"epoch", e.Epoch}, {"first_seq", number(e.FirstSeq)}, {"last_seq", number(e.LastSeq)},
		{"prev_seq", number(e.PrevSeq)}, {"config_rev", number(e.ConfigRev)}, {"encoding", enc},
	}
	if e.Stream != "" {
		user = append(user, userProperty{"stream", e.Stream})
	}
	return user
}

// run delivers until the connection ends, or, after stop, nothing is in flight.
func (u *uplink) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := supervise.Contain(func() error { return u.reader.run(ctx, u.rest) }); err != nil {
			cancel(err)
		}
	}()
	err := u.sender.run(ctx, u.stopping)
	if err == nil {
		err = errStopped
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	cancel(nil)
	<-done
	return err
}

// stop lets what is in flight settle and takes nothing new. It is called once.
func (u *uplink) stop() { close(u.stopping) }
