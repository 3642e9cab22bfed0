package mqtt

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// checkOnce fails the test unless frames arrived, each once, in unbroken chains.
func checkOnce(t *testing.T, b *fakebroker.Broker, frames int) {
	t.Helper()
	n, repeats, gaps := summed(b.Ledger())
	if n != uint64(frames) || repeats != 0 || gaps != 0 {
		t.Errorf("%d frames, %d repeats, %d gaps; want %d frames once: %+v", n, repeats, gaps, frames, b.Ledger())
	}
}

// TestUnanswered has a broker that answers pings and leaves an exchange open, and then
// heals. Nothing but a new connection brings the exchange on, and nobody asks for one.
func TestUnanswered(t *testing.T) {
	swallow := func(kind byte, from int) func(*fakebroker.Packet) fakebroker.Answer {
		return func(p *fakebroker.Packet) fakebroker.Answer {
			return fakebroker.Answer{Swallow: p.Type() == kind && p.Nth >= from && (kind != packets.Publish || p.FixedHeader.Qos == 2 || p.User("first_seq") != "")}
		}
	}
	cases := []struct {
		name    string
		qos     int
		on      func(*fakebroker.Packet) fakebroker.Answer
		missing string
	}{
		{"no PUBREC", 2, swallow(packets.Publish, 1), "no PUBREC"},
		{"no PUBCOMP", 2, swallow(packets.Pubrel, 1), "no PUBCOMP"},
		{"no PUBACK", 1, swallow(packets.Publish, 1), "no PUBACK"},
		{"no PUBREC for a later one", 2, func(p *fakebroker.Packet) fakebroker.Answer {
			first, _ := strconv.Atoi(p.User("first_seq"))
			return fakebroker.Answer{Swallow: first > 50}
		}, "no PUBREC"},
		{"the message is lost", 2, func(p *fakebroker.Packet) fakebroker.Answer {
			return fakebroker.Answer{Lost: p.Type() == packets.Publish && p.FixedHeader.Qos == 2}
		}, "no PUBREC"},
	}
	row := faults.Open(t, "broker-half-open")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			row.Fault(1)
			b := fakebroker.Start(t, fakebroker.Script{On: c.on})
			r := newRig(t, b.URL(), map[string]any{"keepalive": "1s", "qos": c.qos, "max_frames": 50})
			r.start()
			for range 6 {
				r.publish(50)
				time.Sleep(60 * time.Millisecond) // so that there are several messages, on most machines
			}
			b.WaitFor(10*time.Second, "a second try", func() bool { return b.Accepted() >= 3 })
			peerWait(t, "the words", func() bool {
				st := r.conn.Status()
				return st.State == "fault" && strings.Contains(st.Error, c.missing) && strings.Contains(st.Error, "look at the broker's log")
			})
			b.Heal()
			healed := time.Now()
			r.waitDelivered(15 * time.Second)
			row.Recovered(time.Since(healed))
			peerWait(t, "the all-clear", func() bool { st := r.conn.Status(); return st.State == "up" && st.Error == "" })
			if c.qos == 2 {
				checkOnce(t, b, 300)
			} else if n, _, gaps := summed(b.Ledger()); n != 300 || gaps != 0 {
				t.Errorf("%d frames, %d gaps", n, gaps)
			}
			row.Count(account(b, 300, c.qos))
		})
	}
}

// account returns what was accepted, lost and repeated of so many frames. QoS 1 may repeat.
func account(b *fakebroker.Broker, frames uint64, qos int) (accepted, lost, repeated uint64) {
	n, repeats, _ := summed(b.Ledger())
	if qos < 2 {
		repeats = 0
	}
	return frames, frames - min(frames, n), repeats
}

// peerWait waits for something in the connector's status.
func peerWait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) { // polling a status
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s in vain for %s", what)
		}
	}
}

// TestSlowIsNotUnanswered has a broker that takes its time, longer than the keepalive
// for a whole run of messages but not for one.
func TestSlowIsNotUnanswered(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "broker-slow")
	b := fakebroker.Start(t, fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
		if p.Type() == packets.Publish && p.FixedHeader.Qos == 2 {
			row.Fault(1)
			time.Sleep(250 * time.Millisecond) // it answers in order
		}
		return fakebroker.Answer{}
	}})
	r := newRig(t, b.URL(), map[string]any{"keepalive": "2s", "max_frames": 1, "max_bytes": 1024, "max_interval": "1ms"})
	r.start()
	r.publish(100)
	r.waitDelivered(20 * time.Second)
	if n := b.Accepted(); n > 2 { // one for the clean start
		t.Errorf("%d connections", n)
	}
	checkOnce(t, b, 100)
	row.Count(account(b, 100, 2))
}
