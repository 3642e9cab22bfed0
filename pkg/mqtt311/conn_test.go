package mqtt311

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const most = 128 << 10

// wire is one side of a connection: what is written to it is kept, and what is read
// from it comes from from.
type wire struct {
	net.Conn
	to   bytes.Buffer
	from io.Reader
}

func (w *wire) Write(p []byte) (int, error) { return w.to.Write(p) }
func (w *wire) Read(p []byte) (int, error)  { return w.from.Read(p) }

// TestToBroker translates packets of the client, whole and byte by byte.
func TestToBroker(t *testing.T) {
	expiry := uint32(60)
	connectPacket := packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "gw", KeepAlive: 30, UsernameFlag: true, Username: "u", PasswordFlag: true, Password: []byte("p"),
		WillFlag: true, WillRetain: true, WillQOS: 1, WillTopic: "w", WillMessage: []byte("gone"), WillProperties: &packets.Properties{ContentType: "x"},
		Properties: &packets.Properties{SessionExpiryInterval: &expiry}}
	cases := []struct {
		name string
		p    interface {
			WriteTo(io.Writer) (int64, error)
		}
		want string
	}{
		{"CONNECT", &connectPacket, "\x10\x1d\x00\x04MQTT\x04\xec\x00\x1e\x00\x02gw\x00\x01w\x00\x04gone\x00\x01u\x00\x01p"},
		{"CONNECT, password only", &packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "gw", PasswordFlag: true, Password: []byte("p"), CleanStart: true, Properties: &packets.Properties{}},
			"\x10\x13\x00\x04MQTT\x04\xc2\x00\x00\x00\x02gw\x00\x00\x00\x01p"},
		{"PUBLISH 2", &packets.Publish{PacketID: 7, QoS: 2, Topic: "t", Payload: []byte("data"), Properties: &packets.Properties{ContentType: strings.Repeat("x", 200)}}, "\x34\x09\x00\x01t\x00\x07data"},
		{"PUBLISH 0", &packets.Publish{Topic: "t", Properties: &packets.Properties{}}, "\x30\x03\x00\x01t"},
		{"PUBACK", &packets.Puback{PacketID: 7, Properties: &packets.Properties{}}, "\x40\x02\x00\x07"},
		{"PUBREC", &packets.Pubrec{PacketID: 7, ReasonCode: 0x10, Properties: &packets.Properties{}}, "\x50\x02\x00\x07"},
		{"PUBREL", &packets.Pubrel{PacketID: 7, ReasonCode: 0x92, Properties: &packets.Properties{}}, "\x62\x02\x00\x07"},
		{"SUBSCRIBE", &packets.Subscribe{PacketID: 7, Properties: &packets.Properties{}, Subscriptions: []packets.SubOptions{{Topic: "a/#", QoS: 1, RetainAsPublished: true}, {Topic: "b"}}},
			"\x82\x0c\x00\x07\x00\x03a/#\x01\x00\x01b\x00"},
		{"UNSUBSCRIBE", &packets.Unsubscribe{PacketID: 7, Properties: &packets.Properties{}, Topics: []string{"a", "b"}}, "\xa2\x08\x00\x07\x00\x01a\x00\x01b"},
		{"PINGREQ", packets.NewControlPacket(packets.PINGREQ), "\xc0\x00"},
		{"DISCONNECT", &packets.Disconnect{Properties: &packets.Properties{SessionExpiryInterval: &expiry}}, "\xe0\x00"},
		{"DISCONNECT with the will", &packets.Disconnect{ReasonCode: 4, Properties: &packets.Properties{}}, ""},
	}
	var all, want bytes.Buffer
	for _, c := range cases {
		w := &wire{}
		if _, err := c.p.WriteTo(New(w, most)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := w.to.String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if _, err := c.p.WriteTo(&all); err != nil {
			t.Fatal(err)
		}
		want.WriteString(c.want)
	}
	for range 50 {
		w := &wire{}
		c := New(w, most)
		for rest := all.Bytes(); len(rest) > 0; {
			n := 1 + rand.IntN(min(len(rest), 40))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if w.to.String() != want.String() {
			t.Fatalf("in pieces: %q, want %q", w.to.String(), want.String())
		}
	}
}

// TestToClient translates packets of the broker, which paho then reads.
func TestToClient(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	from := "\x20\x02\x01\x00" + "\x90\x04\x00\x07\x01\x80" + "\x40\x02\x00\x07" + "\xd0\x00" + "\xb0\x02\x00\x07" +
		"\x32\xa5\x8d\x06\x00\x01t\x00\x09" + big + "\x30\x03\x00\x01t"
	for name, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "half": iotest.HalfReader} {
		t.Run(name, func(t *testing.T) {
			w := &wire{from: wrap(strings.NewReader(from))}
			c := New(w, most)
			if _, err := (&packets.Unsubscribe{PacketID: 7, Properties: &packets.Properties{}, Topics: []string{"a", "b"}}).WriteTo(c); err != nil {
				t.Fatal(err)
			}
			next := func() any {
				p, err := packets.ReadPacket(c)
				if err != nil {
					t.Fatal(err)
				}
				return p.Content
			}
			if p := next().(*packets.Connack); !p.SessionPresent || p.ReasonCode != 0 {
				t.Errorf("CONNACK %+v", p)
			}
			if p := next().(*packets.Suback); p.PacketID != 7 || !bytes.Equal(p.Reasons, []byte{1, 0x80}) {
				t.Errorf("SUBACK %+v", p)
			}
			if p := next().(*packets.Puback); p.PacketID != 7 || p.ReasonCode != 0 {
				t.Errorf("PUBACK %+v", p)
			}
			next() // PINGRESP
			if p := next().(*packets.Unsuback); p.PacketID != 7 || !bytes.Equal(p.Reasons, []byte{0, 0}) {
				t.Errorf("UNSUBACK %+v", p)
			}
			if p := next().(*packets.Publish); p.PacketID != 9 || p.QoS != 1 || p.Topic != "t" || string(p.Payload) != big {
				t.Errorf("PUBLISH %d on %s", len(p.Payload), p.Topic)
			}
			if p := next().(*packets.Publish); p.Topic != "t" || len(p.Payload) != 0 {
				t.Errorf("PUBLISH %+v", p)
			}
		})
	}
}

// TestReturnCodes maps each return code of a CONNACK.
func TestReturnCodes(t *testing.T) {
	for code, want := range []byte{0, 0x84, 0x85, 0x88, 0x86, 0x87, 0x80} {
		c := New(&wire{from: strings.NewReader("\x20\x02\x01" + string(rune(code)))}, most)
		p, err := packets.ReadPacket(c)
		if err != nil {
			t.Fatal(err)
		}
		if ack := p.Content.(*packets.Connack); ack.ReasonCode != want || ack.SessionPresent != (code == 0) {
			t.Errorf("return code %d: %+v", code, ack)
		}
	}
}

// TestForeign passes on what is no MQTT, so that it can be recognised.
func TestForeign(t *testing.T) {
	got, err := io.ReadAll(New(&wire{from: iotest.OneByteReader(strings.NewReader("HTTP/1.1 400 Bad Request"))}, most))
	if err != nil || string(got) != "HTTP/1.1 400 Bad Request" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzStream feeds anything: it ends in an error or goes on, and never panics.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x20\x02\x01\x00\x32\x05\x00\x01t\x00\x09"), byte(3))
	f.Add([]byte("\x10\x1d\x00\x04MQTT\x05\xec\x00\x1e\x00\x00\x02gw"), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		c := New(&wire{from: bytes.NewReader(data)}, most)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+int(size))
			if _, err := c.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(io.Discard, c) }() // an error ends it
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatal("does not end")
		}
	})
}

// TestPublishIsCut: a broker of 3.1.1 can't be asked for less, and a message that is
// too long must not end the connection, since it would come again.
func TestPublishIsCut(t *testing.T) {
	const size = 20 << 20
	head := string(binary.AppendUvarint([]byte{0x32}, size))
	from := io.MultiReader(strings.NewReader("\x20\x02\x00\x00"+head+"\x00\x01t\x00\x09"), io.LimitReader(zeros{}, size-5), strings.NewReader("\x30\x03\x00\x01u"))
	c := New(&wire{from: from}, most)
	var got []*packets.Publish
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			break
		}
		if publish, ok := p.Content.(*packets.Publish); ok {
			got = append(got, publish)
		}
	}
	if len(got) != 2 || got[0].PacketID != 9 || len(got[0].Payload) != most || got[1].Topic != "u" || len(got[1].Payload) != 0 {
		t.Fatalf("%d messages", len(got))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
