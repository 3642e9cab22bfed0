package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/klauspost/compress/zstd"
)

// Frame is one frame of a JSON payload, decoded without the product's code.
type Frame struct {
	Seq     uint64  `json:"seq"`
	Tag     string  `json:"tag"`
	TS      int64   `json:"ts"`
	Value   any     `json:"value"`
	Quality string  `json:"quality"`
	Unit    *string `json:"unit"`
}

// Subscriber is a plain MQTT 5 client with a persistent session at QoS 2, as any
// user would write one. It knows nothing of repeats: it counts what arrives.
type Subscriber struct {
	manager *autopaho.ConnectionManager
	decoder *zstd.Decoder
	tb      testing.TB

	mu       sync.Mutex
	messages []Message
	frames   int
}

// Message is one message as it arrived.
type Message struct {
	Topic      string
	Properties map[string]string // user properties
	Type       string            // content type
	Frames     []Frame
	Received   time.Time
}

// Subscribe connects and subscribes before it returns; it reconnects by itself
// and ends with the test.
func Subscribe(t testing.TB, addr, clientID, filter string) *Subscriber {
	t.Helper()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Subscriber{decoder: decoder, tb: t}
	subscribed := make(chan error, 16)
	ctx, cancel := context.WithCancel(context.Background())
	server := &url.URL{Scheme: "mqtt", Host: addr}
	s.manager, err = autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{server},
		KeepAlive:                     20,
		CleanStartOnInitialConnection: false,
		SessionExpiryInterval:         3600,
		ReconnectBackoff:              func(int) time.Duration { return 200 * time.Millisecond },
		ConnectTimeout:                5 * time.Second,
		AttemptConnection: func(ctx context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
		},
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			_, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 2}}})
			select {
			case subscribed <- err:
			default: // a later reconnect; nobody waits
			}
		},
		ClientConfig: paho.ClientConfig{
			ClientID:          clientID,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){s.received},
		},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		<-s.manager.Done()
		decoder.Close()
	})
	select {
	case err := <-subscribed:
		if err != nil {
			t.Fatalf("subscribe to %s: %v", filter, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no subscription to %s at %s in 10 s", filter, addr)
	}
	return s
}

func (s *Subscriber) received(p paho.PublishReceived) (bool, error) {
	m := Message{Topic: p.Packet.Topic, Type: p.Packet.Properties.ContentType, Properties: map[string]string{}, Received: time.Now()}
	for _, u := range p.Packet.Properties.User {
		m.Properties[u.Key] = u.Value
	}
	payload := p.Packet.Payload
	if m.Properties["encoding"] == "zstd" {
		plain, err := s.decoder.DecodeAll(payload, nil)
		if err != nil {
			s.tb.Errorf("payload on %s is not zstd: %v", m.Topic, err)
			return true, nil
		}
		payload = plain
	}
	if err := json.Unmarshal(payload, &m.Frames); err != nil {
		s.tb.Errorf("payload on %s is no JSON array of frames: %v\n%.200s", m.Topic, err, payload)
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	s.frames += len(m.Frames)
	return true, nil
}

// Count returns the number of frames that arrived.
func (s *Subscriber) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames
}

// Messages returns what arrived, in order.
func (s *Subscriber) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// FirstSeq returns the seq that arrived first, 1 if none has.
func (s *Subscriber) FirstSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.messages) == 0 || len(s.messages[0].Frames) == 0 {
		return 1
	}
	return s.messages[0].Frames[0].Seq
}

// LastSeq returns the highest seq that arrived.
func (s *Subscriber) LastSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last uint64
	for _, m := range s.messages {
		if n := len(m.Frames); n > 0 {
			last = max(last, m.Frames[n-1].Seq)
		}
	}
	return last
}

// Account returns how many frames there were from first to last, which of them never came,
// and how many came again. last is 0 for the highest that came.
func (s *Subscriber) Account(first, last uint64) (accepted, lost, repeated uint64) {
	seen := map[uint64]bool{}
	for _, m := range s.Messages() {
		for _, f := range m.Frames {
			if seen[f.Seq] {
				repeated++
			}
			seen[f.Seq] = true
			last = max(last, f.Seq)
		}
	}
	if last < first {
		return 0, 0, repeated
	}
	for seq := first; seq <= last; seq++ {
		if !seen[seq] {
			lost++
		}
	}
	return last - first + 1, lost, repeated
}

// Check returns what is wrong with the arrivals so far: a seq that came twice, one
// that is missing below the highest, an order that goes back, a broken chain of
// prev_seq, properties that contradict the frames. Nothing wrong is an empty list.
func (s *Subscriber) Check() []string { return s.CheckFrom(1) }

// CheckFrom is Check for a subscriber that came when first was the next seq.
func (s *Subscriber) CheckFrom(first uint64) []string {
	var wrong []string
	seen := map[uint64]bool{}
	last := first - 1
	for i, m := range s.Messages() {
		if len(m.Frames) == 0 {
			wrong = append(wrong, fmt.Sprintf("message %d holds no frame", i))
			continue
		}
		begin, end := m.Frames[0].Seq, m.Frames[len(m.Frames)-1].Seq
		for name, want := range map[string]uint64{"first_seq": begin, "last_seq": end, "prev_seq": last} {
			if got := m.Properties[name]; got != strconv.FormatUint(want, 10) {
				wrong = append(wrong, fmt.Sprintf("message %d (seq %d to %d): %s is %q, want %d", i, begin, end, name, got, want))
			}
		}
		for _, f := range m.Frames {
			if seen[f.Seq] {
				wrong = append(wrong, fmt.Sprintf("seq %d came twice", f.Seq))
			}
			seen[f.Seq] = true
			if f.Seq != last+1 {
				wrong = append(wrong, fmt.Sprintf("seq %d follows %d", f.Seq, last))
			}
			last = f.Seq
		}
	}
	if len(wrong) > 20 {
		wrong = append(wrong[:20], fmt.Sprintf("… and %d more", len(wrong)-20))
	}
	return wrong
}
