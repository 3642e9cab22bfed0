package opcua_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/opcua"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// plant is a driver that runs against a fake server, in mode subscribe.
type plant struct {
	t      *testing.T
	f      *fake
	driver driver.Driver
	table  *point.Table

	mu     sync.Mutex
	frames map[string][]frame.Frame

	full sync.RWMutex // locked: the log takes nothing
}

// Publish implements driver.Publisher.
func (p *plant) Publish(_ context.Context, b *frame.Batch) error {
	p.full.RLock()
	defer p.full.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range b.Frames {
		p.frames[b.Tag(i).Name] = append(p.frames[b.Tag(i).Name], f)
	}
	return nil
}

func (p *plant) of(tag string) []frame.Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]frame.Frame(nil), p.frames[tag]...)
}

func (p *plant) wait(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(time.Millisecond) { // a driver has no way to tell
		if time.Now().After(end) {
			p.t.Fatalf("still not: %s (%+v)", what, p.driver.Status())
		}
	}
}

// keepalive is that of the driver under test.
const keepalive = 300 * time.Millisecond

func newPlant(t *testing.T, vars ...config.Variable) *plant {
	t.Helper()
	p := &plant{t: t, f: newFake(t), frames: map[string][]frame.Frame{}}
	for i := range vars {
		p.f.set(vars[i].Tag, 1)
	}
	var err error
	if p.table, err = point.Compile("d", vars, nil); err != nil {
		t.Fatal(err)
	}
	p.driver, err = newFactory(t).New(driver.Config{
		ID: "d", Endpoint: endpointOf(t, p.f), Points: p.table, Item: config.Driver{Kind: config.KindStatic, Proto: opcua.Proto, EndpointID: "e", Cfg: map[string]any{
			"publishing": "50ms", "polling": "20ms", "keepalive": keepalive.String(), "timeout": "300ms", "backoff_max": "200ms", "enable_write": true,
		}},
	}, driver.Deps{Endpoint: dialer{p.f}, Out: p, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.driver.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	p.wait("the first value", func() bool { return len(p.of(vars[0].Tag)) > 0 && p.driver.Status().State == driver.Running })
	return p
}

// cut breaks the connections for a while; values change meanwhile.
func (p *plant) cut(away time.Duration) {
	p.f.stop()
	p.f.set("a", 2)
	p.f.set("a", 3)
	time.Sleep(away) // the cut's length is what is tested
	p.f.start()
}

func (p *plant) count(request string) int {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	return p.f.seen[request]
}

func (p *plant) values(tag string) (out []string) {
	for _, f := range p.of(tag) {
		out = append(out, f.Value.String())
	}
	return out
}

// After a short cut the same session goes on, what was sent meanwhile comes, nothing is
// bad, and nobody is told of a gap.
func TestShortCut(t *testing.T) {
	p := newPlant(t, variable("a"))
	p.cut(50 * time.Millisecond)
	p.wait("the values of the cut", func() bool { return len(p.of("a")) >= 3 })
	if got := strings.Join(p.values("a"), " "); got != "1 2 3" {
		t.Errorf("values %s, want 1 2 3", got)
	}
	if n := p.count("session"); n != 1 {
		t.Errorf("%d sessions were made", n)
	}
	if g := p.of("sys.gap"); len(g) != 0 {
		t.Errorf("gaps were told: %v", g)
	}
}

// After a longer one the tags are bad once, and good again although nothing changed.
func TestLongCut(t *testing.T) {
	p := newPlant(t, variable("a"), variable("still"))
	p.cut(3 * keepalive)
	p.wait("good again", func() bool {
		got := p.of("still")
		return len(got) == 3 && got[1].Quality == frame.Bad && got[2].Quality == frame.Good
	})
	p.wait("what was queued", func() bool { return strings.Contains(strings.Join(p.values("a"), " "), "2 3") })
}

// A server that has lost the session gets a new one, and the gap is told.
func TestSessionLost(t *testing.T) {
	p := newPlant(t, variable("a"))
	p.f.mu.Lock()
	clear(p.f.subs)
	fresh := false
	p.f.hook = func(req ua.Request) ua.Response {
		switch req.(type) {
		case *ua.CreateSessionRequest:
			fresh = true
		case *ua.ActivateSessionRequest:
			if !fresh {
				return fault(ua.StatusBadSessionIDInvalid)
			}
		}
		return nil
	}
	p.f.mu.Unlock()
	p.cut(0)
	p.wait("a gap", func() bool { return len(p.of("sys.gap")) == 1 })
	p.wait("values", func() bool { return strings.HasSuffix(strings.Join(p.values("a"), " "), "3") })
	if text := p.of("sys.gap")[0].Value.Text(); !strings.Contains(text, `"driver":"d"`) || !strings.Contains(text, `"nodes":1`) {
		t.Errorf("the gap is %s", text)
	}
}

func fault(code ua.StatusCode) ua.Response {
	return &ua.ServiceFault{ResponseHeader: &ua.ResponseHeader{ServiceResult: code, ServiceDiagnostics: &ua.DiagnosticInfo{}, AdditionalHeader: ua.NewExtensionObject(nil)}}
}

// A message that does not arrive is asked for; if the server has it no more, that is told.
func TestMessageMissing(t *testing.T) {
	for name, kept := range map[string]bool{"kept": true, "gone": false} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, variable("a"))
			p.f.mu.Lock()
			for _, s := range p.f.subs {
				s.seq++ // one that was sent, and lost on the way
				m := &ua.NotificationMessage{SequenceNumber: s.seq, PublishTime: time.Now(), NotificationData: []*ua.ExtensionObject{ua.NewExtensionObject(
					&ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: s.items[0].handle, Value: p.f.read("a")}}})}}
				if kept {
					s.kept[s.seq] = m
				}
			}
			p.f.mu.Unlock()
			p.f.set("a", 2)
			p.wait("the next value", func() bool { return strings.HasSuffix(strings.Join(p.values("a"), " "), "2") })
			if n := p.count("republish"); n == 0 {
				t.Error("nobody asked for it")
			}
			if got := strings.Join(p.values("a"), " "); kept && got != "1 1 2" {
				t.Errorf("values %s", got)
			}
			if gaps := len(p.of("sys.gap")); (gaps == 0) != kept {
				t.Errorf("%d gaps were told", gaps)
			}
		})
	}
}

// A server that is connected and silent is at fault within three keep-alives.
func TestSilent(t *testing.T) {
	p := newPlant(t, variable("a"))
	p.f.hang(true)
	began := time.Now()
	p.wait("fault", func() bool { return p.driver.Status().State == driver.Fault })
	if took := time.Since(began); took > 3*keepalive+3*time.Second { // and a busy machine
		t.Errorf("it took %v", took)
	}
	p.wait("bad", func() bool { got := p.of("a"); return got[len(got)-1].Quality == frame.Bad })
	p.f.hang(false)
	p.wait("good", func() bool { got := p.of("a"); return got[len(got)-1].Quality == frame.Good })
}

// A subscription that goes silent while the server answers everything else is made anew.
func TestDeafSubscription(t *testing.T) {
	p := newPlant(t, variable("a"))
	p.f.mu.Lock()
	clear(p.f.subs)
	p.f.mu.Unlock()
	p.wait("another subscription", func() bool { return p.count("monitor") == 2 })
	p.f.set("a", 9)
	p.wait("values", func() bool { return strings.HasSuffix(strings.Join(p.values("a"), " "), "9") })
	if len(p.of("sys.gap")) != 1 {
		t.Errorf("%d gaps were told", len(p.of("sys.gap")))
	}
	if n := p.count("session"); n != 1 {
		t.Errorf("%d sessions were made", n)
	}
}

// A server that was stopped answers other requests before it publishes again: the
// subscription is there, and so are its values.
func TestSubscriptionIsLate(t *testing.T) {
	p := newPlant(t, variable("a"))
	asked := p.count("read")
	p.f.mu.Lock()
	p.f.mute = true
	p.f.mu.Unlock()
	p.f.set("a", 2)
	p.wait("the question whether the server is there", func() bool { return p.count("read") > asked })
	p.f.mu.Lock()
	p.f.mute = false
	p.f.mu.Unlock()
	p.kept("1 2")
}

// A driver whose values nobody takes for a while comes late to what the server published:
// the subscription was not silent, and nothing is lost.
func TestDriverIsLate(t *testing.T) {
	p := newPlant(t, variable("a"))
	want := "1"
	for round := range 3 { // by chance, it sees what came first
		p.full.Lock()
		for i := range 20 { // more than its buffers take
			p.f.set("a", uint16(100*round+i+2))
			want += fmt.Sprint(" ", 100*round+i+2)
			time.Sleep(20 * time.Millisecond) // a message for each
		}
		time.Sleep(3 * keepalive) // the log's pause is what is tested
		p.full.Unlock()
		p.kept(want)
	}
}

// kept waits for the values of a, and checks that they came by the first subscription.
func (p *plant) kept(want string) {
	p.t.Helper()
	p.wait("values "+want, func() bool { return strings.Join(p.values("a"), " ") == want })
	if gaps, made := len(p.of("sys.gap")), p.count("monitor"); gaps > 0 || made != 1 {
		p.t.Errorf("%d gaps were told, and the subscription was made %d times", gaps, made)
	}
}

// A push touches the nodes that it changes and no others.
func TestHotApply(t *testing.T) {
	p := newPlant(t, variable("a"), variable("b"), variable("c"))
	p.wait("all", func() bool { return len(p.of("b")) == 1 && len(p.of("c")) == 1 })
	p.f.set("d", 4)
	vars := []config.Variable{variable("a"), variable("d"), variable("b")}
	vars[2].Scale = "value * 10"
	table, err := point.Compile("d", vars, p.table)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.driver.Update(table); err != nil {
		t.Fatal(err)
	}
	p.wait("the new one", func() bool { return len(p.of("d")) == 1 })
	p.wait("the scaled one", func() bool { return strings.Join(p.values("b"), " ") == "1 10" })
	p.f.mu.Lock()
	for _, s := range p.f.subs {
		if len(s.items) != 3 {
			t.Errorf("the server watches %d nodes, want 3", len(s.items))
		}
	}
	p.f.mu.Unlock()
	if n := p.count("unmonitor"); n != 1 {
		t.Errorf("%d requests to watch no more", n)
	}
	p.f.set("c", 5)
	p.f.set("a", 6)
	p.wait("the one that stayed", func() bool { return strings.Join(p.values("a"), " ") == "1 6" })
	if got := p.values("c"); len(got) != 1 {
		t.Errorf("a variable that is gone has %v", got)
	}
}

// A write whose answer is lost has an unknown outcome.
func TestWriteLost(t *testing.T) {
	p := newPlant(t, variable("a"))
	p.f.mu.Lock()
	p.f.hook = func(req ua.Request) ua.Response {
		if _, ok := req.(*ua.WriteRequest); ok {
			for c := range p.f.conns {
				_ = c.Close() // the answer finds no connection
			}
		}
		return nil
	}
	p.f.mu.Unlock()
	_, err := p.driver.Write(t.Context(), driver.Write{Tag: "a", Value: frame.IntValue(2)})
	if err == nil || !strings.Contains(err.Error(), driver.ErrOutcomeUnknown.Error()) {
		t.Errorf("%v, want %v", err, driver.ErrOutcomeUnknown)
	}
}
