package mqtt

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// maxInflight bounds the messages that are sent and not settled, whatever more
// the broker would take: at two syncs and two round trips each, more of them
// would not go faster.
const maxInflight = 64

// limits is what the broker allows on a connection.
type limits struct {
	inflight   int // messages of ours
	packetSize int
	aliases    uint16
	replyQoS   byte // for the PUBLISH of paho's own
	maxQoS     byte
	noRelease  bool // what was sent with QoS 2 was not taken: there is no exchange to end
	noRetain   bool
	noWildcard bool
	noShared   bool
	expiry     *uint32 // seconds for which it keeps the session; nil: as asked
	keepalive  *uint16 // seconds; nil: as asked
}

// readLimits reads what a CONNACK allows. One message of the receive maximum is
// left for the connector's own: birth, command results.
func readLimits(p *packets.Properties) limits {
	l := limits{inflight: maxInflight, packetSize: maxPacketSize, replyQoS: 1, maxQoS: 2}
	if p == nil {
		return l
	}
	if p.ReceiveMaximum != nil {
		l.inflight = min(maxInflight, max(1, int(*p.ReceiveMaximum)-1))
		if *p.ReceiveMaximum < 2 {
			l.replyQoS = 0
		}
	}
	if p.MaximumPacketSize != nil {
		l.packetSize = int(min(*p.MaximumPacketSize, math.MaxInt32))
	}
	if p.TopicAliasMaximum != nil {
		l.aliases = *p.TopicAliasMaximum
	}
	if p.MaximumQOS != nil {
		l.maxQoS = *p.MaximumQOS
		l.replyQoS = min(l.replyQoS, l.maxQoS)
	}
	l.noRetain, l.noWildcard, l.noShared = isZero(p.RetainAvailable), isZero(p.WildcardSubAvailable), isZero(p.SharedSubAvailable)
	l.expiry, l.keepalive = p.SessionExpiryInterval, p.ServerKeepAlive
	return l
}

// isZero reports whether a property is there and says no.
func isZero(b *byte) bool { return b != nil && *b == 0 }

// The parts of the connector's work that a broker may not allow, as the status
// names them.
const (
	partWill     = "last will"
	partStatus   = "status"
	partCommands = "commands"
	partResults  = "command results"
	partSession  = "session"
	partBacklog  = "backlog"
	partQoS      = "qos"

	partCommandQoS = "commands' qos"
	partRetain     = "retained data"
)

// shortfall is what a broker lacks that the configuration asks for.
type shortfall struct {
	part string
	err  error
}

// shortfalls returns what the configuration asks for and the broker does not give,
// other than the last will, with the way out.
func (c *Connector) shortfalls(l limits) []shortfall {
	var out []shortfall
	cfg := c.config()
	if asked := cfg.SessionExpiry.Std(); l.expiry != nil && time.Duration(*l.expiry)*time.Second < asked.Truncate(time.Second) {
		kept, way := time.Duration(*l.expiry)*time.Second, "raise the broker's limit"
		if kept > 0 {
			way += fmt.Sprintf(", or set session_expiry: %s", kept)
		}
		out = append(out, shortfall{partSession, fmt.Errorf("the broker keeps it for %s, session_expiry asks for %s: after an outage longer than that, "+
			"what was in flight is sent anew and may arrive twice, and commands sent meanwhile are lost; %s", kept, asked, way)})
	}
	if cfg.Status.Enable && cfg.Status.Retain && l.noRetain {
		out = append(out, shortfall{partStatus, errors.New("the broker keeps no retained messages (retain unavailable): status is sent without retain, " +
			"so who subscribes later does not see it; set status.retain: false")})
	}
	if len(c.retained) > 0 && l.noRetain {
		out = append(out, shortfall{partRetain, errors.New("the broker keeps no retained messages (retain unavailable): data is sent without retain, " +
			"so who subscribes later sees it with the next message; set retain_topics: []")})
	}
	if c.commands != nil {
		if err := l.takesFilter(c.commands.topic); err != nil {
			out = append(out, shortfall{partCommands, err})
		}
	}
	return out
}

// takesFilter returns why the broker does not take a subscription.
func (l limits) takesFilter(filter string) error {
	switch {
	case l.noShared && strings.HasPrefix(filter, "$share/"):
		return fmt.Errorf("not subscribed to %s: %w", filter, &refusal{code: 0x9E, own: true})
	case l.noWildcard && strings.ContainsAny(filter, "+#"):
		return fmt.Errorf("not subscribed to %s: %w", filter, &refusal{code: 0xA2, own: true})
	}
	return nil
}

// String says what a person should know of the limits.
func (l limits) String() string {
	s := fmt.Sprintf("QoS up to %d, packets up to %d bytes, %d messages at a time, %d topic aliases", l.maxQoS, l.packetSize, l.inflight, l.aliases)
	if l.keepalive != nil {
		s += fmt.Sprintf(", keep alive %d s", *l.keepalive)
	}
	return s
}
