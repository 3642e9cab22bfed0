package mqtt

import (
	"bytes"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/google/go-cmp/cmp"
)

// TestPublishPacket reads what appendPublish writes with paho.
func TestPublishPacket(t *testing.T) {
	for _, c := range []struct {
		name    string
		h       publishHeader
		payload int
	}{
		{"plain", publishHeader{id: 1, qos: 2, topic: "a/b", contentType: "application/json"}, 10},
		{"all", publishHeader{id: 65535, qos: 1, dup: true, topic: "ü", alias: 7, contentType: "x", user: []userProperty{{"gw", "g"}, {"é", ""}}}, 200},
		{"alias alone", publishHeader{id: 3, qos: 2, alias: 1, contentType: "x"}, 127},
		{"qos 0", publishHeader{topic: "t", contentType: "x"}, 0},
		{"large", publishHeader{id: 9, qos: 2, topic: strings.Repeat("t", 300), contentType: "x", user: []userProperty{{"k", strings.Repeat("v", 20000)}}}, 3 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload := bytes.Repeat([]byte{'p'}, c.payload)
			head, _ := appendPublish(nil, &c.h, len(payload), nil)
			cp, err := packets.ReadPacket(bytes.NewReader(append(head, payload...)))
			if err != nil {
				t.Fatal(err)
			}
			p := cp.Content.(*packets.Publish)
			got := publishHeader{id: p.PacketID, qos: p.QoS, dup: p.Duplicate, topic: p.Topic, contentType: p.Properties.ContentType}
			if p.Properties.TopicAlias != nil {
				got.alias = *p.Properties.TopicAlias
			}
			for _, u := range p.Properties.User {
				got.user = append(got.user, userProperty{u.Key, u.Value})
			}
			if diff := cmp.Diff(c.h, got, cmp.AllowUnexported(publishHeader{}, userProperty{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !bytes.Equal(p.Payload, payload) || p.Retain {
				t.Errorf("payload of %d bytes, want %d", len(p.Payload), len(payload))
			}
		})
	}
	for _, code := range []byte{0, codeNotFound} {
		cp, err := packets.ReadPacket(bytes.NewReader(appendPubrel(nil, 513, code)))
		if err != nil {
			t.Fatal(err)
		}
		if p := cp.Content.(*packets.Pubrel); p.PacketID != 513 || p.ReasonCode != code || cp.Flags != 2 {
			t.Errorf("PUBREL: %+v", p)
		}
	}
}

// TestPacketSize holds the size that a message is supposed to have against the one
// that it has.
func TestPacketSize(t *testing.T) {
	b := newBench(t, "t", 2)
	b.connect(false)
	for _, size := range []int{1, 100, 127, 128, 200, 16_000, 16_383, 70_000} {
		m := &message{record: messageRecord{ID: 1, QoS: 2, Topic: "a/topic", Prev: 1, encoding: encoding{Payload: payloadJSON}},
			made: payload{body: make([]byte, size), first: 2, last: 3}}
		supposed := b.sender.packetSize(&m.record, &m.made)
		for _, alias := range []uint16{0, 1} { // the first message with an alias has both
			h := b.sender.header0(&m.record, &m.made)
			h.alias = alias
			head, _ := appendPublish(nil, &h, size, nil)
			if n := len(head) + size; n > supposed || n < supposed-aliasRoom {
				t.Errorf("a packet of %d bytes, supposed %d", n, supposed)
			}
		}
	}
}
