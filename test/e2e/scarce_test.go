package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// goesOn waits until frames arrive after what a fault held up, and notes how long that took
// from back on.
func goesOn(t *testing.T, row *faults.Row, gw *peer.Gateway, sub *peer.Subscriber, back time.Time) {
	t.Helper()
	n, ok := gw.Metric(`framebus_publish_total{kind="data"}`)
	peer.WaitFor(t, time.Minute, "frames that were published after the fault", func() bool {
		if !ok { // it could not even tell
			n, ok = gw.Metric(`framebus_publish_total{kind="data"}`)
		}
		return ok && float64(sub.LastSeq()) > n+50
	})
	row.Recovered(time.Since(back))
}

// ends stops the gateway and takes the account of what the subscriber has got.
func ends(t *testing.T, row *faults.Row, gw *peer.Gateway, sub *peer.Subscriber) {
	t.Helper()
	row.Memory(gw.Peak())
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	row.Count(sub.Account(1, 0))
	for _, w := range sub.Check() {
		t.Error(w)
	}
}

// TestStopped stops the process for a minute (two seconds in the sample), as a laptop that
// sleeps or a hypervisor that pauses does: broker and PLC have given it up when it goes on.
func TestStopped(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "stopped")
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "stopped", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), "    keepalive: 1s\n"), tables(plc.Addr, 20, "20ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Count() > 500 })
	gw.Signal(t, syscall.SIGSTOP)
	time.Sleep(time.Duration(often(2, 60)) * time.Second) // the fault
	gw.Signal(t, syscall.SIGCONT)
	row.Fault(1)
	goesOn(t, row, gw, sub, time.Now())
	ends(t, row, gw, sub)
}

// TestNoDescriptors takes every free file descriptor from a gateway whose broker restarts: it
// can't dial. If the log can't begin a file, it ends with the reason, and is started again, as
// its service manager does. With descriptors it goes on.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "descriptors")
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "descriptors", topic)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(plc.Addr, 100, "10ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Count() > 500 })
	pid := int(gw.Proc())
	var was unix.Rlimit
	must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was))
	for range often(1, 10) {
		must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}, nil)) // what is open stays
		broker.Stop(t)
		broker.Start(t)
		time.Sleep(time.Duration(often(1, 5)) * time.Second) // the fault
		row.Fault(1)
		back := time.Now()
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		n := sub.LastSeq()
		peer.WaitFor(t, time.Minute, "the gateway to go on, or to end", func() bool { return gw.Ended() || sub.LastSeq() > n })
		if gw.Ended() {
			if code := gw.Wait(t, time.Second); code != 1 || !strings.Contains(gw.Output(), "the log failed; the gateway must restart") {
				t.Errorf("it ended with exit code %d", code)
			}
			gw.Start(t)
			gw.WaitReady(t)
			pid = int(gw.Proc())
		}
		goesOn(t, row, gw, sub, back)
	}
	if !strings.Contains(gw.Output(), "too many open files") {
		t.Error("it had descriptors all the time: the test shows nothing")
	}
	ends(t, row, gw, sub)
}

// TestLittleMemory gives the whole process, pages of files included, 64 MiB, and takes the
// broker away for thirty seconds, twice. It takes root and runs in "make faults".
func TestLittleMemory(t *testing.T) {
	if !faults.Long() {
		return
	}
	row := faults.Open(t, "memory")
	group := filepath.Join("/sys/fs/cgroup/memory", "edge-gateway-test-"+strconv.Itoa(os.Getpid()))
	must(t, os.Mkdir(group, 0o700))
	t.Cleanup(func() { must(t, os.Remove(group)) })
	must(t, os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte("67108864"), 0o600))
	p := newLoadPlant(t, 10, 200)
	sub := peer.Record(t, p.broker.Addr, "memory", topic)
	bin := filepath.Join(t.TempDir(), "edge-gw")
	must(t, os.WriteFile(bin, fmt.Appendf(nil, "#!/bin/sh\necho $$ > %s/cgroup.procs\nexec %s \"$@\"\n", group, peer.Build(t, "edge-gw")), 0o700))
	l := p.pollWith(t, 100*time.Millisecond, "", func(gw *peer.Gateway) { gw.Bin = bin })
	peer.WaitFor(t, 20*time.Second, "frames", func() bool { return sub.Messages() > 10 })
	for range 2 {
		p.broker.Stop(t)
		time.Sleep(30 * time.Second) // 600,000 frames: the fault
		p.broker.Start(t)
		row.Fault(1)
		back := time.Now()
		peer.WaitFor(t, 2*time.Minute, "the backlog to be delivered", func() bool {
			lag, ok := l.gw.Metric(`framebus_backlog_lag{consumer="mqtt"}`)
			return ok && lag < 20_000
		})
		row.Recovered(time.Since(back))
	}
	row.Memory(l.gw.Peak())
	r := l.finish(t, sub, nil)
	row.Count(r.Frames+r.Missing, r.Missing, r.Repeats)
}

// deafHost takes connections for any address 127.x.y.z at one port until its short queue
// is full; then it drops what knocks, as a host behind a firewall does.
func deafHost(t *testing.T) (port int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) }) // the test is over
	port = peer.FreePort(t)
	must(t, errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Port: port}), syscall.Listen(fd, 1)))
	return port
}

// TestDeadEndpoints has 10,000 endpoints that are dead (300 in the sample), half of them
// refusing and half of them silent, beside a PLC that works: that one is polled on time.
func TestDeadEndpoints(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "dead-endpoints")
	const interval = 100 * time.Millisecond
	n, period := often(300, 10_000), time.Duration(often(5, 60))*time.Second
	plc := peer.StartPLC(t, "")
	refusing, silent := peer.FreePort(t), deafHost(t)
	var endpoints, drivers, variables strings.Builder
	add := func(id, host string, port int) {
		fmt.Fprintf(&endpoints, "%s: {scheme: tcp, host: %s, port: %d, opts: {timeout: 1s}}\n", id, host, port)
		fmt.Fprintf(&drivers, "%s: {kind: static, endpoint_id: %s, proto: modbus, cfg: {unit_id: 1, polling: %s}}\n", id, id, interval)
		fmt.Fprintf(&variables, "- {tag: %s.r, driver_id: %s, access: R, address: {type: holding, addr: 40001}, datatype: uint16}\n", id, id)
	}
	host, text, err := net.SplitHostPort(plc.Addr)
	must(t, err)
	port, err := strconv.Atoi(text)
	must(t, err)
	add("good", host, port)
	for i := range n {
		add(fmt.Sprintf("dead%05d", i), fmt.Sprintf("127.%d.%d.%d", 1+i%2, i/250, 1+i%250), []int{refusing, silent}[i%2])
	}
	gw := peer.NewGateway(t, "", map[string]string{"endpoints.yml": endpoints.String(), "drivers.yml": drivers.String(), "variables.yml": variables.String()})
	row.Fault(n)
	began := time.Now()
	gw.Start(t)
	peer.WaitFor(t, 2*time.Minute, "the PLC that works to be read", func() bool { return len(plc.Served(0)) > 5 })
	row.Recovered(time.Since(began))
	gw.WaitReady(t)
	before, cpu, from := len(plc.Served(0)), gw.Proc().CPU(t), time.Now()
	time.Sleep(period) // the measurement
	took := time.Since(from)
	polls, want := len(plc.Served(0))-before, int(took/interval)
	t.Logf("%d polls of %d; CPU %.2f of a core", polls, want, (gw.Proc().CPU(t)-cpu).Seconds()/took.Seconds())
	row.Count(uint64(want), uint64(max(0, want-polls)), 0)
	if polls < want*9/10 {
		t.Errorf("%d polls of the PLC that works; want %d", polls, want)
	}
	row.Memory(gw.Peak())
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
