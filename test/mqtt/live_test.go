package mqtt

import (
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestLiveFirst lets a backlog pile up and then watches that new frames do not
// wait behind it: both streams arrive whole.
func TestLiveFirst(t *testing.T) {
	broker := peer.StartMosquitto(t)
	ledger := follow(t, broker.Addr, dataTopic)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	r := newRig(t, broker.URL(), map[string]any{"live_first": true, "max_bytes": 20_000})
	r.openBus()
	r.publish(400_000)
	time.Sleep(100 * time.Millisecond) // twenty flushes: the backlog is in the log before the connector starts
	r.start()
	r.waitState("up")
	peer.WaitFor(t, 10*time.Second, "the first of the backlog", func() bool { return sub.Count() > 0 })
	r.publish(500)
	r.stopConnector() // in the middle: the streams begin anew from what is stored
	quiet(sub)        // or what comes late would be taken for the backlog that goes on
	before := sub.Count()
	r.start()
	peer.WaitFor(t, 10*time.Second, "more of the backlog", func() bool { return sub.Count() > before })
	r.publish(500)
	r.waitDelivered(30 * time.Second)
	report := checkLedger(t, ledger, 401_000)
	if n := report.Gateways[0].LastSeq; n != 401_000 {
		t.Errorf("last seq is %d", n)
	}
	// The 500 last frames must have arrived before the last of the backlog did.
	peer.WaitFor(t, 10*time.Second, "all frames", func() bool { return sub.Count() == 401_000 })
	streams := map[string]int{}
	lastBacklog, lastLive := 0, 0
	for i, m := range sub.Messages() {
		s := m.Properties["stream"]
		streams[s]++
		if s == "backlog" && m.Frames[0].Seq <= 400_000 {
			lastBacklog = i
		}
		if m.Frames[len(m.Frames)-1].Seq > 400_500 {
			lastLive = i
		}
	}
	if streams["live"] == 0 || streams["backlog"] == 0 || len(streams) != 2 {
		t.Errorf("messages by stream: %v", streams)
	}
	if lastLive > lastBacklog {
		t.Errorf("new frames arrived with message %d, after the backlog was through with %d", lastLive, lastBacklog)
	}
}

// startMochi starts another broker, and returns its addresses for TCP and for
// WebSocket.
func startMochi(t *testing.T) (tcp, ws string) {
	t.Helper()
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ws = peer.FreeAddr(t)
	for _, l := range []listeners.Listener{listeners.NewNet("tcp", listen), listeners.NewWebsocket(listeners.Config{ID: "ws", Address: ws})} {
		if err := server.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // the test is over
	return listen.Addr().String(), ws
}

// TestMochi is a smoke run against another broker, over TCP and WebSocket.
func TestMochi(t *testing.T) {
	t.Parallel()
	tcp, ws := startMochi(t)
	for name, url := range map[string]string{"tcp": "mqtt://" + tcp, "ws": "ws://" + ws} {
		t.Run(name, func(t *testing.T) {
			ledger := follow(t, tcp, "mochi/"+name)
			p := newProxy(t, tcp)
			if name == "tcp" {
				url = p.url()
			}
			r := newRig(t, url, map[string]any{"topic": "mochi/" + name})
			r.start()
			for range 5 {
				r.publish(1000)
				r.waitDelivered(10 * time.Second)
				p.cutAll()
			}
			checkLedger(t, ledger, 5000)
		})
	}
}

// slowFS makes every sync take its time, as a slow disk does.
type slowFS struct {
	vfs.FS
	delay time.Duration
}

type slowFile struct {
	vfs.File
	delay time.Duration
}

func (f slowFile) Sync() error {
	time.Sleep(f.delay) // is what the disk would do
	return f.File.Sync()
}

func (f slowFile) SyncData() error {
	time.Sleep(f.delay) // is what the disk would do
	return f.File.SyncData()
}

func (fs slowFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return slowFile{f, fs.delay}, err
}

func (fs slowFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return slowFile{f, fs.delay}, err
}

// TestSlowDisk measures how much a slow fsync costs: syncs are shared, so that
// throughput does not follow them.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	if testing.Short() {
		t.Log("measured with the long tests only") // the behaviour is that of every other test here
		return
	}
	// The best of three runs each: other programs may be busy on this machine.
	best := map[time.Duration]time.Duration{}
	delays := []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond}
	for i := range 3 * len(delays) {
		delay := delays[i%len(delays)]
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			broker := peer.StartMosquitto(t)
			r := newRig(t, broker.URL(), nil)
			r.busDeps.FS = slowFS{vfs.Default, delay}
			r.flush = 100 * time.Millisecond
			r.openBus()
			for i := len(r.set.Tags); i < 1000; i++ {
				r.set.Tags = append(r.set.Tags, frame.Tag{Name: fmt.Sprintf("line.t%03d", i), Unit: "bar"})
			}
			r.publish(n)
			r.start()
			began := time.Now()
			r.waitDelivered(60 * time.Second)
			took := time.Since(began)
			t.Logf("%d frames in %s: %.0f frames/s, %+v", n, took, n/took.Seconds(), r.conn.Status())
			if b, ok := best[delay]; !ok || took < b {
				best[delay] = took
			}
		})
	}
	for _, delay := range delays {
		if best[delay] > 2*best[0] {
			t.Errorf("with %s per sync delivery took %s, without %s; want less than twice as long", delay, best[delay], best[0])
		}
	}
}
