package center_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Many gateways watch one embedded server: all have a push within a second.
func TestFleet(t *testing.T) {
	dir := shortDir(t)
	srv, _ := child(t, "server", "DIR="+dir)
	endpoint := "unix:" + center.EmbeddedSocket(dir)
	s := open(t, []string{endpoint}, 0)
	if _, err := s.Push(t.Context(), center.Version{}, document(200, 0), center.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	n := campaign(100, 1000)
	var mu sync.Mutex
	var times []time.Duration
	var begin time.Time
	applied := make(chan struct{}, 2*n)
	var stops []func()
	for i := range n {
		_, stop := follow(t, []string{endpoint}, fmt.Sprint("gw-", i), func(*config.Snapshot) {
			mu.Lock()
			times = append(times, time.Since(begin))
			mu.Unlock()
			applied <- struct{}{}
		})
		stops = append(stops, stop)
	}
	defer func() {
		var wg sync.WaitGroup
		for _, stop := range stops {
			wg.Go(stop)
		}
		wg.Wait()
	}()
	wait(t, applied, n)
	registered(t, s, n)

	var lasts []time.Duration
	for v := range 5 {
		base, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		times, begin = nil, time.Now()
		mu.Unlock()
		cpu := cpuTime(t, srv.Process.Pid)
		if _, err := s.Push(t.Context(), base, document(201+v, 0), center.PushOptions{}); err != nil { // one more variable
			t.Fatal(err)
		}
		wait(t, applied, n)
		mu.Lock()
		slices.Sort(times)
		last := times[len(times)-1]
		t.Logf("push %d: half of %d gateways after %v, the last after %v", v, n, times[n/2], last)
		mu.Unlock()
		lasts = append(lasts, last)
		time.Sleep(2 * time.Second) // the statuses come in
		t.Logf("etcd: %v of processor time for the push and the statuses, %s", cpuTime(t, srv.Process.Pid)-cpu, memory(t, srv.Process.Pid))
	}
	slices.Sort(lasts)
	if median := lasts[len(lasts)/2]; median > time.Second {
		t.Errorf("the last gateways got the pushes after %v", lasts)
	}
}

func wait(t *testing.T, applied <-chan struct{}, n int) {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for i := range n {
		select {
		case <-applied:
		case <-timeout:
			t.Fatalf("only %d of %d gateways have the configuration", i, n)
		}
	}
}

func registered(t *testing.T, s *center.Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // they are at work
		all, err := s.Gateways(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		online := 0
		for _, g := range all {
			if g.Online && g.State == center.Applied {
				online++
			}
		}
		if online == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d gateways are online", online, n)
		}
	}
}

// cpuTime returns the processor time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ
}

// memory returns what a process has in memory.
func memory(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && (name == "VmRSS" || name == "RssAnon") {
			out = append(out, name+" "+strings.TrimSpace(value))
		}
	}
	return strings.Join(out, ", ")
}
