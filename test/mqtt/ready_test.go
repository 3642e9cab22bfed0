package mqtt

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-gateway/edge-gateway/test/peer"
	"github.com/edge-gateway/edge-gateway/test/peer/fakebroker"
)

// TestReadyMeansDelivering runs a gateway at many brokers that misbehave, one for each
// kind: readyz is false as long as nothing is delivered, and it and edge-ctl status name
// the reason; when the broker is well again, or the setting is mended, everything goes
// on by itself, each frame has arrived once, and nothing is complained of any more.
func TestReadyMeansDelivering(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	at := func(kind byte, a fakebroker.Answer) func(*fakebroker.Packet) fakebroker.Answer {
		return func(p *fakebroker.Packet) fakebroker.Answer {
			if p.Type() == kind && (kind != packets.Publish || data(p)) {
				return a
			}
			return fakebroker.Answer{}
		}
	}
	publish := func(a fakebroker.Answer) fakebroker.Script { return fakebroker.Script{On: at(packets.Publish, a)} }
	connect := func(a fakebroker.Answer) fakebroker.Script { return fakebroker.Script{On: at(packets.Connect, a)} }
	cases := []struct {
		name   string
		script fakebroker.Script
		cfg    string
		ready  bool // it delivers all the same
		words  string
	}{
		{name: "topic refused", script: publish(fakebroker.Answer{Code: 0x87}), words: "0x87: not authorized"},
		{name: "refused without a reason", script: publish(fakebroker.Answer{Code: 0x83}), words: "0x83: implementation specific error"},
		{name: "quota of messages", script: publish(fakebroker.Answer{Code: 0x97}), words: "0x97: quota exceeded"},
		{name: "no PUBREC", script: publish(fakebroker.Answer{Swallow: true}), words: "no PUBREC"},
		{name: "no PUBCOMP", script: fakebroker.Script{On: at(packets.Pubrel, fakebroker.Answer{Swallow: true})}, words: "no PUBCOMP"},
		{name: "hangs up at data", script: publish(fakebroker.Answer{Close: true, Lost: true}), words: "set qos: 1, or lower_qos: true"},
		{name: "password", script: connect(fakebroker.Answer{Code: 0x86}), words: "check username and password"},
		{name: "too many connections", script: connect(fakebroker.Answer{Code: 0x9F}), words: "connection rate exceeded"},
		{name: "hangs up at CONNECT", script: connect(fakebroker.Answer{Close: true}), words: "CONNECT"},
		{name: "another server", script: connect(fakebroker.Answer{Code: 0x9C}), words: "use another server"},
		{name: "3.1.1 only", script: fakebroker.Script{Versions: []byte{4}}, words: "version"},
		{name: "no retained will", ready: true, script: fakebroker.Script{On: func(p *fakebroker.Packet) fakebroker.Answer {
			if p.Type() == packets.Connect && p.Connect.WillRetain {
				return fakebroker.Answer{Code: 0x9A}
			}
			return fakebroker.Answer{}
		}}, words: "set status.retain: false"},
		{name: "no wildcards", ready: true, script: fakebroker.Script{Connack: packets.Properties{WildcardSubAvailableFlag: true}},
			cfg: "    commands: {enable: true, allow: ['*']}\n", words: "set commands.topic without + and #"},
		{name: "small packets", script: fakebroker.Script{Connack: packets.Properties{MaximumPacketSize: 150}}, words: "packet too large"},
	}
	brokers := make([]*fakebroker.Broker, len(cases))
	text := "bus: {min_free: 0}\nconnectors:\n"
	name := func(i int) string { return fmt.Sprintf("c%02d", i) }
	for i, c := range cases {
		brokers[i] = fakebroker.Start(t, c.script)
		text += fmt.Sprintf("  %s:\n    kind: mqtt5\n    endpoint: %s\n    payload: json\n    topic: %s\n    max_interval: 50ms\n    keepalive: 1s\n"+
			"    backoff: {base: 50ms, max: 300ms}\n%s", name(i), brokers[i].URL(), dataTopic, c.cfg)
	}
	gw := peer.NewGateway(t, text, peer.Tables(plc.Addr, 5, "100ms"))
	gw.Start(t)
	for i, c := range cases {
		what, says := "connector "+name(i)+": ", ""
		waitSaying(t, 30*time.Second, c.name+": readyz with "+c.words, &says, func() bool {
			var missing string
			missing, says = line(readyz(gw), what)
			return c.ready == (missing == "") && (c.ready || strings.Contains(missing, c.words))
		})
		waitSaying(t, 10*time.Second, c.name+": status with "+c.words, &says, func() bool {
			var problem string
			problem, says = line(status(t, gw), what)
			return strings.Contains(problem, c.words)
		})
	}
	for i, c := range cases {
		brokers[i].Heal()
		if c.ready || strings.Contains(c.words, "CONNECT") { // what a connection lacks is told until its end
			if out, err := exec.Command(peer.Build(t, "edge-ctl"), "--socket", gw.Socket(), "connector", name(i), "reconnect").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	says := ""
	waitSaying(t, 30*time.Second, "readyz and status without a complaint of a connector", &says, func() bool {
		ready, text := gw.Readyz()
		says = text + "\n" + status(t, gw)
		complaint, _ := line(says, "connector c") // the driver may complain of a busy machine
		return ready && complaint == "" && strings.Contains(says, "problems ")
	})
	seen, _ := gw.Metric(`framebus_publish_total{kind="data"}`)
	for i, c := range cases {
		waitSaying(t, 20*time.Second, c.name+": what was published", &c.name, func() bool { n, _, _ := summed(brokers[i].Ledger()); return float64(n) >= seen })
	}
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for i, c := range cases {
		if n, repeats, gaps := summed(brokers[i].Ledger()); n == 0 || repeats != 0 || gaps != 0 {
			t.Errorf("%s: %d frames, %d repeats, %d gaps", c.name, n, repeats, gaps)
		}
	}
}

// waitSaying waits for cond, and says what was seen last when it gives up.
func waitSaying(t *testing.T, limit time.Duration, what string, says *string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(50 * time.Millisecond) { // polling another process
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s; last it said:\n%s", limit, what, *says)
		}
	}
}

// readyz returns what readyz misses, a line each.
func readyz(gw *peer.Gateway) string {
	_, text := gw.Readyz()
	var said struct{ Missing []string }
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return "readyz: " + err.Error() + ": " + text
	}
	return strings.Join(said.Missing, "\n")
}

func status(t *testing.T, gw *peer.Gateway) string {
	t.Helper()
	out, err := exec.Command(peer.Build(t, "edge-ctl"), "--socket", gw.Socket(), "status").CombinedOutput()
	if err != nil {
		return fmt.Sprint(string(out), err)
	}
	return string(out)
}

// line returns the line of text that has what, and the text.
func line(text, what string) (string, string) {
	for l := range strings.Lines(text) {
		if strings.Contains(l, what) {
			return l, text
		}
	}
	return "", text
}
