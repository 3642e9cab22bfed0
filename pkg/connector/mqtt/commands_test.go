package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/mqttwire"
)

// shelf is a consumer that keeps records only.
type shelf struct {
	connector.Source
	mu      sync.Mutex
	records map[string]bus.Record
}

func (s *shelf) Commit(c bus.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range c.Put {
		s.records[r.Key] = r
	}
	for _, key := range c.Delete {
		delete(s.records, key)
	}
	return nil
}

func (s *shelf) all() (out []bus.Record, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		out, size = append(out, r), size+len(r.Value)
	}
	return out, size
}

// device executes whatever it is told.
type device struct {
	mu   sync.Mutex
	done []frame.Command
}

func (d *device) Log(context.Context, frame.Command) error { return nil }

func (d *device) Execute(_ context.Context, cmd frame.Command) frame.CommandResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, cmd)
	return frame.CommandResult{OK: true, ReadBack: cmd.Value, TS: 1}
}

func (d *device) ReadBack(context.Context, string) (frame.Value, error) { return frame.Value{}, io.EOF }

func (d *device) executed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.done)
}

// desk is commands with a device, a shelf and a log behind them, and no broker.
type desk struct {
	*commands
	t      *testing.T
	device *device
	shelf  *shelf
	log    *bytes.Buffer
	stop   func()
}

func newDesk(t *testing.T, shelved *shelf, change func(*Commands)) *desk {
	t.Helper()
	if shelved == nil {
		shelved = &shelf{records: map[string]bus.Record{}}
	}
	d := &desk{t: t, device: &device{}, shelf: shelved, log: &bytes.Buffer{}}
	cfg := defaults().Commands
	cfg.Enable, cfg.Allow, cfg.Rate = true, []string{"plant.*"}, "1000000/s"
	if change != nil {
		change(&cfg)
	}
	deps := connector.Deps{Identity: connector.Identity{Gateway: "gw", Tenant: "acme", Device: "line"}, Source: d.shelf, Commands: d.device,
		Log: slog.New(slog.NewJSONHandler(d.log, nil))}
	var err error
	d.commands, err = newCommands(cfg, identityReplacer(deps.Identity), deps, testMetrics(t).commands.MustCurryWith(prometheus.Labels{"connector": "mqtt"}))
	if err != nil {
		t.Fatal(err)
	}
	records, _ := shelved.all()
	if err := d.load(records); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.run(ctx) }()
	d.stop = func() { cancel(); <-done }
	synctest.Wait()
	return d
}

// send takes one command in and waits until nothing more happens.
func (d *desk) send(payload string, props *paho.PublishProperties) {
	d.t.Helper()
	if err := d.take(d.t.Context(), &paho.Publish{Topic: "/edge/cmd/acme/line/x", QoS: 1, Payload: []byte(payload), Properties: props}); err != nil {
		d.t.Fatal(err)
	}
	synctest.Wait()
}

// answered takes the results that wait, as a broker that accepts them does.
func (d *desk) results() (out []commandRecord) {
	for rec := d.nextResult(); rec != nil; rec = d.nextResult() {
		out = append(out, *rec)
		result := *rec.Result
		out[len(out)-1].Result = &result
		if err := d.answered(rec); err != nil {
			d.t.Fatal(err)
		}
	}
	return out
}

func respond(topic, correlation string) *paho.PublishProperties {
	return &paho.PublishProperties{ResponseTopic: topic, CorrelationData: []byte(correlation)}
}

// TestSameIDOtherContent: who repeats an id with another tag or value is told that it
// was not executed, and is not told "ok".
func TestSameIDOtherContent(t *testing.T) {
	const mine, yours = "/edge/cmd-result/acme/line/mine", "/edge/cmd-result/acme/line/yours"
	cases := []struct {
		name          string
		first, second string
		p1, p2        *paho.PublishProperties
		want          string // result of the second; "" for the first one's
		executed      int
	}{
		{"a repeat", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":1,"tag":"plant.a","value":1}`, nil, nil, "ok", 1},
		{"written in another way", `{"seq":1,"tag":"plant.a","value":1}`, ` {"value":1,"tag":"plant.a","seq":1}`, nil, nil, "ok", 1},
		{"same seq, other value", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":1,"tag":"plant.a","value":2}`, nil, nil, "error", 1},
		{"same seq, other tag", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":1,"tag":"plant.b","value":1}`, nil, nil, "error", 1},
		{"same seq, other type", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":1,"tag":"plant.a","value":"1"}`, nil, nil, "error", 1},
		{"same correlation", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":2,"tag":"plant.a","value":1}`, respond(mine, "7"), respond(mine, "7"), "ok", 1},
		{"same correlation, other value", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":2,"tag":"plant.a","value":2}`, respond(mine, "7"), respond(mine, "7"), "error", 1},
		{"another client's correlation", `{"seq":1,"tag":"plant.a","value":1}`, `{"seq":1,"tag":"plant.b","value":2}`, respond(mine, "7"), respond(yours, "7"), "ok", 2},
	}
	for _, restart := range []bool{false, true} {
		for _, x := range cases {
			t.Run(fmt.Sprintf("%s, restart %t", x.name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDesk(t, nil, nil)
					d.send(x.first, x.p1)
					if got := d.results(); len(got) != 1 || got[0].Result.Result != "ok" {
						t.Fatalf("the first: %+v", got)
					}
					before := d.device.executed()
					if restart {
						d.stop()
						d = newDesk(t, d.shelf, nil)
						before = 1 - d.device.executed()
					}
					d.send(x.second, x.p2)
					got := d.results()
					if len(got) != 1 || got[0].Result.Result != x.want {
						t.Errorf("the second: %+v, want %s", got, x.want)
					} else if x.p2 != nil && (got[0].Reply != x.p2.ResponseTopic || string(got[0].Correlation) != "7") {
						t.Errorf("answered on %s to %q", got[0].Reply, got[0].Correlation)
					}
					if n := d.device.executed(); restart && before+n != x.executed || !restart && n != x.executed {
						t.Errorf("%d were executed, want %d", n, x.executed)
					}
					d.stop()
				})
			})
		}
	}
}

// TestMalformedCommandsAreEachAnswered: two senders of nonsense get an answer each.
func TestMalformedCommandsAreEachAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		defer d.stop()
		for i := range 5 {
			d.send("{nonsense", respond("/edge/cmd-result/acme/line/c", fmt.Sprint(i)))
		}
		d.send("{nonsense", nil)
		d.send("{nonsense", nil)
		if got := d.results(); len(got) != 7 || string(got[4].Correlation) != "4" {
			t.Errorf("%d answers: %+v", len(got), got)
		}
	})
}

// TestResponseTopics: who may send commands can't have the gateway publish where it
// likes.
func TestResponseTopics(t *testing.T) {
	const usual = "/edge/cmd-result/acme/line"
	for topic, below := range map[string][]string{
		usual: nil, usual + "/me": nil, "": nil, "apps/7/in": {"apps/"}, "apps": {"apps"},
	} {
		if got := replyFor(t, topic, below); got != topic && topic != "" || topic == "" && got != usual {
			t.Errorf("%q below %v: answered on %q", topic, below, got)
		}
	}
	for topic, below := range map[string][]string{
		"$SYS/x": nil, "$SYS": {"$SYS"}, "$share/a/b": {"$share"}, "/edge/cmd/acme/other/write": {"/edge/"}, "/edge/cmd/acme/line/x": {"/edge/cmd"},
		usual + "x": nil, "elsewhere": nil, "a\x00b": {"a\x00b"}, "apps/\x1b[2J": {"apps"}, "apps/#": {"apps"}, "apps/+/x": {"apps"}, "apps/\xff": {"apps"},
		"/edge/status/acme/line": nil, "/edge/acme/line/data": nil, "apps/" + strings.Repeat("x", 2000): {"apps"}, "appsx": {"apps"},
	} {
		if got := replyFor(t, topic, below); got == topic {
			t.Errorf("%q below %v was taken", topic, below)
		}
	}
}

func replyFor(t *testing.T, topic string, below []string) (reply string) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, func(c *Commands) { c.ReplyBelow = below })
		defer d.stop()
		d.send(`{"seq":1,"tag":"plant.a","value":1}`, &paho.PublishProperties{ResponseTopic: topic})
		if got := d.results(); len(got) == 1 && got[0].Result.Result == "ok" {
			reply = got[0].Reply
		} else {
			t.Errorf("%+v", got)
		}
	})
	return reply
}

// TestResultThatEndsConnections: a result whose topic makes the broker hang up is
// given up, and so are those that would do the same.
func TestResultThatEndsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		defer d.stop()
		for i := range 50 {
			d.send(fmt.Sprintf(`{"seq":%d,"tag":"plant.a","value":1}`, i), respond("/edge/cmd-result/acme/line/bad", fmt.Sprint(i)))
		}
		d.send(`{"seq":99,"tag":"plant.a","value":1}`, nil)
		ended := 0
		for rec := d.nextResult(); rec != nil; rec = d.nextResult() { // each one ends a connection
			if rec.Reply == "/edge/cmd-result/acme/line" {
				break
			}
			ended++
		}
		if ended != maxTries {
			t.Errorf("%d connections ended, want %d", ended, maxTries)
		}
	})
}

// TestRefusedCommandsHaveABudget: 20,000 commands that are turned down make a
// bounded log, a bounded number of answers, and no records.
func TestRefusedCommandsHaveABudget(t *testing.T) {
	for name, payload := range map[string]string{
		"malformed": "{" + strings.Repeat("x", 10_000), "other tag": `{"seq":%d,"tag":"other.` + strings.Repeat("x", 100) + `","value":1}`,
		"unknown key": `{"` + strings.Repeat("\x1b", 10_000) + `":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil, nil)
				defer d.stop()
				for i := range 20_000 {
					p := payload
					if strings.Contains(p, "%d") {
						p = fmt.Sprintf(p, i)
					}
					if err := d.take(t.Context(), &paho.Publish{Topic: "/edge/cmd/acme/line/" + strings.Repeat("x", 1000), QoS: 1, Payload: []byte(p)}); err != nil {
						t.Fatal(err)
					}
				}
				if n := len(d.results()); n == 0 || n > answerBurst {
					t.Errorf("%d answers", n)
				}
				if d.log.Len() > 64<<10 {
					t.Errorf("%d bytes of log", d.log.Len())
				}
				if records, _ := d.shelf.all(); len(records) > 0 {
					t.Errorf("%d records", len(records))
				}
			})
		})
	}
}

// TestFinishedCommandsAreSmallAndCounted: what a sender makes as large as he can is
// not kept, and not more than so many are.
func TestFinishedCommandsAreSmallAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		defer d.stop()
		big := strings.Repeat("\x01", maxCommand/8)
		text, err := json.Marshal(big)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 250 {
			d.send(fmt.Sprintf(`{"seq":%d,"tag":"plant.a","value":%s}`, i, text), respond("/edge/cmd-result/acme/line/"+strings.Repeat("r", 900), strings.Repeat("c", 1000)+fmt.Sprint(i)))
			d.results()
		}
		records, size := d.shelf.all()
		if n := d.device.executed(); n != 250 || len(records) != 250 || size > 250*600 {
			t.Errorf("%d executed, %d records of %d bytes", n, len(records), size)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		defer d.stop()
		runtime.GC()
		for i := range maxFinished + 500 {
			rec := &commandRecord{ID: digest(fmt.Sprint(i)), State: commandDone, Received: time.Now(), Result: &commandReply{}}
			d.mu.Lock()
			d.known[rec.ID] = rec
			d.queueLocked(rec)
			d.settleLocked(rec)
			d.mu.Unlock()
		}
		d.send(`{"seq":1,"tag":"plant.a","value":1}`, nil)
		if len(d.known) > maxFinished+1 {
			t.Errorf("%d are known", len(d.known))
		}
	})
}

// TestTooLargeACorrelation is turned down: nobody needs it.
func TestTooLargeACorrelation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, nil)
		defer d.stop()
		d.send(`{"seq":1,"tag":"plant.a","value":1}`, respond("", strings.Repeat("c", maxCorrelation+1)))
		if got := d.results(); len(got) != 1 || got[0].Result.Result != "error" || got[0].Correlation != nil || d.device.executed() != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// TestWindowOfRepeats: a finished command is forgotten when its window is over.
func TestWindowOfRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil, func(c *Commands) { c.Dedup = config.Duration(time.Hour) })
		defer d.stop()
		d.send(`{"seq":1,"tag":"plant.a","value":1}`, nil)
		d.results()
		time.Sleep(2 * time.Hour)
		d.send(`{"seq":2,"tag":"plant.a","value":1}`, nil)
		d.results()
		if records, _ := d.shelf.all(); len(records) != 1 || len(d.known) != 1 {
			t.Errorf("%d records, %d known", len(records), len(d.known))
		}
	})
}

// TestBrokerThatAnnouncesTooMuch: a header alone takes no memory, also in the place
// of a CONNACK.
func TestBrokerThatAnnouncesTooMuch(t *testing.T) {
	ok := "\x20\x03\x00\x00\x00"
	for name, text := range map[string]string{
		"first": "\x20\xff\xff\xff\x7f", "auth": "\xf0\xff\xff\xff\x7f", "publish": ok + "\x30\xff\xff\xff\x7f", "ack": ok + "\x40\x81\x80\x80\x01",
		"just above": ok + "\x30\x81\x80\x10", "no end of the length": ok + "\x30\x80\x80\x80\x80\x80\x80\x80",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				_, _ = theirs.Write([]byte(text))
				for { // as much as it likes
					if _, err := theirs.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}()
			c := newConn(ours, &bounded{Conn: ours})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var err error
			for err == nil {
				_, err = packets.ReadPacket(c)
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
			if why := c.why(); why == nil || !strings.Contains(why.Error(), "nobody asked for") {
				t.Errorf("ended with %v", why)
			}
		})
	}
}

// TestGreetingWithoutEnd: neither a proxy nor a WebSocket server is read for ever
// before the connection is ours.
func TestGreetingWithoutEnd(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		line := []byte("X-Header: " + strings.Repeat("x", 1000) + "\r\n")
		_, _ = theirs.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n"))
		for {
			if _, err := theirs.Write(line); err != nil {
				return
			}
		}
	}()
	g := mqttwire.NewGreeting(ours)
	if n, err := io.Copy(io.Discard, g); n != mqttwire.MaxGreeting || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
