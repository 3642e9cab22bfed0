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

// TestHeaderRoom holds that the room left for a header suffices.
func TestHeaderRoom(t *testing.T) {
	b := newBench(t, "t", 2)
	b.cfg.LiveFirst = true
	b.open()
	long := messageRecord{Topic: "t", Prev: 1<<64 - 1, Stream: streamBacklog, encoding: encoding{Payload: payloadProtobufZstd}}
	h := publishHeader{id: 1, qos: 2, topic: "t", alias: 1, contentType: long.contentType(),
		user: b.conn.describe(&long, &payload{first: 1<<64 - 1, last: 1<<64 - 1, configRev: 1<<64 - 1})}
	head, _ := appendPublish(nil, &h, maxPacketSize-headerRoom, nil)
	const gatewayName = 128 // an id is no longer
	if n := len(head) + gatewayName; n > headerRoom {
		t.Errorf("a header may have %d bytes, %d are left for it", n, headerRoom)
	}
}
