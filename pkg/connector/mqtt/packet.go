package mqtt

import (
	"encoding/binary"

	"github.com/eclipse/paho.golang/packets"
)

// maxPacketSize is the largest remaining length that MQTT can write (2.1.4).
const maxPacketSize = 268_435_455

// userProperty is a user property of a PUBLISH.
type userProperty struct{ key, value string }

// publishHeader is all of a PUBLISH packet but its payload.
type publishHeader struct {
	id          uint16 // 0 with QoS 0
	qos         byte
	dup         bool
	retain      bool
	topic       string // empty: the alias says it
	alias       uint16 // 0: none
	contentType string
	expiry      uint32 // seconds; 0: none
	user        []userProperty
}

// appendPublish appends the packet up to the payload of the given size. It
// reuses scratch for the properties.
func appendPublish(dst []byte, h *publishHeader, payload int, scratch []byte) (packet, props []byte) {
	props = scratch[:0]
	if h.alias != 0 {
		props = append(props, packets.PropTopicAlias)
		props = binary.BigEndian.AppendUint16(props, h.alias)
	}
	if h.expiry != 0 {
		props = append(props, packets.PropMessageExpiry)
		props = binary.BigEndian.AppendUint32(props, h.expiry)
	}
	props = append(props, packets.PropContentType)
	props = appendText(props, h.contentType)
	for _, u := range h.user {
		props = append(props, packets.PropUser)
		props = appendText(appendText(props, u.key), u.value)
	}
	flags := packets.PUBLISH<<4 | h.qos<<1
	if h.dup {
		flags |= 1 << 3
	}
	if h.retain {
		flags |= 1
	}
	size := 2 + len(h.topic) + lenVarint(len(props)) + len(props) + payload
	if h.qos > 0 {
		size += 2
	}
	dst = append(dst, flags)
	dst = appendVarint(dst, size)
	dst = appendText(dst, h.topic)
	if h.qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, h.id)
	}
	dst = appendVarint(dst, len(props))
	return append(dst, props...), props
}

// appendPubrel appends a PUBREL packet.
func appendPubrel(dst []byte, id uint16, code byte) []byte {
	if code == 0 {
		dst = append(dst, packets.PUBREL<<4|2, 2)
		return binary.BigEndian.AppendUint16(dst, id)
	}
	dst = append(dst, packets.PUBREL<<4|2, 3)
	dst = binary.BigEndian.AppendUint16(dst, id)
	return append(dst, code)
}

// appendText appends a string as MQTT writes it (1.5.4).
func appendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// appendVarint appends n as a variable byte integer (1.5.5).
func appendVarint(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

func lenVarint(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
