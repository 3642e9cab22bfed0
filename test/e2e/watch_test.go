package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
)

// watched is what a stretch of time with watchers came to.
type watched struct {
	polls, overruns uint64  // of all drivers, meanwhile
	anon            float64 // MiB, the most that was seen
	cpu             time.Duration
	updates         int64 // tags that the clients got
	silent          int   // clients that got none, but stalled ones
}

// stretch lets clients, half of which stall after their first message, watch every
// tag for d.
func (l *load) stretch(tb testing.TB, clients int, d time.Duration) watched {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	var wg sync.WaitGroup
	var updates atomic.Int64
	got := make([]atomic.Int64, clients)
	for i := range clients {
		c, err := admin.Dial(ctx, l.gw.Socket())
		if err != nil {
			tb.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchTagsResponse], error) {
				return c.Tags.WatchTags(ctx, &pb.WatchTagsRequest{})
			}
			err := admin.Receive(ctx, open, func(ch *pb.WatchTagsResponse) error {
				got[i].Add(int64(len(ch.Tags)))
				updates.Add(int64(len(ch.Tags)))
				if i%2 == 1 {
					<-ctx.Done() // and the gateway cannot send any more
				}
				return nil
			})
			if err != nil {
				tb.Errorf("client %d: %v", i, err)
			}
		})
	}
	w := watched{cpu: -l.gw.Proc().CPU(tb)}
	before := l.drivers(tb)
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(200 * time.Millisecond) // between two looks at the memory
		_, anon := l.gw.Proc().Memory(tb)
		w.anon = max(w.anon, anon)
	}
	after := l.drivers(tb)
	w.cpu += l.gw.Proc().CPU(tb)
	cancel()
	wg.Wait()
	for i := range got {
		if i%2 == 0 && got[i].Load() == 0 {
			w.silent++
		}
	}
	w.polls, w.overruns, w.updates = after.polls-before.polls, after.overruns-before.overruns, updates.Load()
	return w
}

// drivers sums up what the drivers did so far.
func (l *load) drivers(tb testing.TB) (w watched) {
	tb.Helper()
	c, err := admin.Dial(tb.Context(), l.gw.Socket())
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	r, err := c.Drivers.ListDrivers(tb.Context(), &pb.ListDriversRequest{})
	if err != nil {
		tb.Fatal(err)
	}
	for _, d := range r.GetDrivers() {
		w.polls += d.Polls
		w.overruns += d.Overruns
	}
	return w
}

// String shows the figures.
func (w watched) String() string {
	return fmt.Sprintf("%d polls, %d overruns, %.1f MiB anonymous, %v CPU, %d tags shown", w.polls, w.overruns, w.anon, w.cpu, w.updates)
}

// TestHundredWatchers: while 50 PLCs give 100,000 values a second, 100 clients
// watch all of the tags, half of them without reading. Polls go on as they did
// without clients, and memory stays bounded. Something else may take the machine's
// time meanwhile: what the polls suffer counts if it comes three times.
func TestHundredWatchers(t *testing.T) {
	l := newLoad(t, 50, 200, 100*time.Millisecond, "")
	for attempt := range 3 {
		alone := l.stretch(t, 0, 2*time.Second)
		with := l.stretch(t, 100, 4*time.Second)
		t.Logf("alone: %s", alone)
		t.Logf("with 100 clients: %s", with)
		if with.silent > 0 {
			t.Errorf("%d clients that read were shown nothing", with.silent)
		}
		const most = 96 // MiB for 100 clients with 10,000 tags each
		if with.anon > alone.anon+most {
			t.Errorf("memory grew from %.1f to %.1f MiB", alone.anon, with.anon)
		}
		suffered := disturbed(alone, with)
		if suffered == "" {
			return
		}
		t.Logf("attempt %d: %s", attempt, suffered)
	}
	t.Error("polls suffer from the clients")
}

// disturbed says how the polls of 4 s with clients were worse than those of 2 s without,
// or nothing. What a busy machine does to both stretches is not the clients' doing.
func disturbed(alone, with watched) string {
	if rate, was := float64(with.polls)/4, float64(alone.polls)/2; rate < 0.98*was {
		return fmt.Sprintf("%.0f requests a second, without clients %.0f", rate, was)
	}
	if late, was := float64(with.overruns)/float64(with.polls), float64(alone.overruns)/float64(alone.polls); late > was+0.01 {
		return fmt.Sprintf("%.2f %% of the polls late, without clients %.2f %%", 100*late, 100*was)
	}
	return ""
}

// BenchmarkHundredWatchers is TestHundredWatchers for half a minute.
func BenchmarkHundredWatchers(b *testing.B) {
	l := newLoad(b, 50, 200, 100*time.Millisecond, "")
	alone := l.stretch(b, 0, 10*time.Second)
	with := l.stretch(b, 100, 30*time.Second)
	b.ReportMetric(alone.anon, "alone-MiB")
	b.ReportMetric(with.anon, "with-MiB")
	b.ReportMetric(alone.cpu.Seconds()/10, "alone-cores")
	b.ReportMetric(with.cpu.Seconds()/30, "with-cores")
	b.ReportMetric(float64(alone.overruns)/float64(alone.polls)*100, "alone-late-%")
	b.ReportMetric(float64(with.overruns)/float64(with.polls)*100, "with-late-%")
	b.ReportMetric(float64(with.updates)/30, "tags/s")
}
