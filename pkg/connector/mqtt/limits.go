package mqtt

import (
	"math"

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
	return l
}
