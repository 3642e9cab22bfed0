package mqtt

import (
	"context"
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
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
		return &maker{fetch: c.deps.Consumer.Fetch, codecs: map[encoding]*codec{}, free: free}
	}
	var skip []bus.Range
	for _, m := range c.session.inflight {
		skip = append(skip, m.window.rng())
	}
	for _, w := range st.windows {
		skip = append(skip, w.rng())
	}
	cfg := c.config()
	o := readerOptions{qos: cfg.QoS, liveFirst: cfg.LiveFirst, pace: func() pace {
		now := c.config()
		return pace{now.MaxFrames, now.MaxInterval.Std(), c.payloadLimit(limits)}
	}}
	o.record = windowRecord{Template: c.template, encoding: encoding{Payload: cfg.Payload, Unit: frame.TimestampUnit(cfg.TimestampUnit)}}
	if o.liveFirst {
		o.record.Stream = streamLive
	}
	r, err := newReader(c.deps.Consumer, skip, o, newMaker())
	if err != nil {
		return nil, err
	}
	r.chains = maps.Clone(c.session.chains)
	if o.liveFirst {
		r.goOn()
	}
	s := &sender{session: c.session, conn: l.conn, make: newMaker(), windows: r.windows, limits: limits, stats: c.stats, log: c.log,
		aliases: map[string]uint16{}}
	s.suspicion, s.config = &c.suspicion, cfg
	if c.suspicion.silent {
		s.honesty = dishonest
	}
	s.parkedDue = len(st.parked) > 0
	c.warn("message size", c.suspicion.words)
	s.options = senderOptions{describe: c.describe, paused: c.isPaused, backoff: c.backoff, fault: c.setFault,
		settled: c.moves, answerTime: c.answerTime, config: c.config, warn: c.warn,
		present: func() present { return present{windowRecord: o.record, qos: cfg.QoS} }, payloadLimit: func() int { return c.payloadLimit(limits) }}
	return &uplink{reader: r, sender: s, rest: st.windows, stopping: make(chan struct{})}, nil
}

// payloadLimit is the size of a payload before compression, in bytes, so that its
// packet fits. What a topic with {driver} or {tag} needs is not known here: where it
// is more than supposed, the sender cuts the message.
func (c *Connector) payloadLimit(l limits) int {
	topic := strings.NewReplacer("{driver}", likelyName, "{tag}", likelyName).Replace(c.template)
	largest := uint64(math.MaxUint64)
	r := messageRecord{ID: 1, QoS: 2, Topic: topic, Stream: streamBacklog, Prev: largest}
	h := publishHeader{id: 1, qos: 2, topic: topic, contentType: "application/x-protobuf",
		user: c.describe(&r, &payload{first: largest, last: largest, configRev: largest})}
	head, _ := appendPublish(nil, &h, maxPacketSize/2, nil)
	limit := min(int(c.config().MaxBytes), l.packetSize-len(head)-aliasRoom)
	if n := int(c.suspicion.learned.Load()); n > 0 {
		limit = min(limit, n)
	}
	return max(1, limit)
}

// likelyName is as long as names of drivers and tags mostly are.
const likelyName = "plant.line.machine.measurement_01"

// describe returns the user properties of a message.
func (c *Connector) describe(r *messageRecord, made *payload) []userProperty {
	enc := "identity"
	if r.compressed() {
		enc = "zstd"
	}
	user := []userProperty{
		{"gw", c.deps.Identity.Gateway}, {"epoch", c.deps.Consumer.Epoch()},
		{"first_seq", strconv.FormatUint(made.first, 10)}, {"last_seq", strconv.FormatUint(made.last, 10)},
		{"prev_seq", strconv.FormatUint(r.Prev, 10)}, {"config_rev", strconv.FormatUint(made.configRev, 10)},
		{"encoding", enc},
	}
	if r.Stream != "" {
		user = append(user, userProperty{"stream", r.Stream})
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
		if err := contain(func() error { return u.reader.run(ctx, u.rest) }); err != nil {
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
