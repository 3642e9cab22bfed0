package e2e

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// narrow is a way to a PLC that takes one connection at a time, as many PLCs do,
// and hangs up on any other.
type narrow struct {
	net.Listener
	refused atomic.Int64
}

func newNarrow(t *testing.T, plc string) *narrow {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &narrow{Listener: l}
	t.Cleanup(func() { _ = l.Close() }) // ends serve
	go n.serve(plc)
	return n
}

func (n *narrow) serve(plc string) {
	busy := make(chan struct{}, 1)
	for {
		c, err := n.Accept()
		if err != nil {
			return
		}
		select {
		case busy <- struct{}{}:
			go func() {
				defer func() { <-busy }()
				relay(c, plc)
			}()
		default:
			n.refused.Add(1)
			_ = c.Close()
		}
	}
}

// relay passes bytes until either side ends.
func relay(c net.Conn, plc string) {
	defer c.Close()
	d, err := net.Dial("tcp", plc)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		go func() {
			_, _ = io.Copy(way[1], way[0]) // its end is the end, whatever the reason
			done <- struct{}{}
		}()
	}
	<-done
}

// TestProbeThroughTheGateway: a PLC that takes one connection, which the gateway
// has, can be probed and scanned all the same, and no poll is lost; what was asked
// is audited. Once its driver is paused, the PLC is free for others.
func TestProbeThroughTheGateway(t *testing.T) {
	plc := peer.StartPLC(t, "")
	way := newNarrow(t, plc.Addr)
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "probe", topic)
	addr := way.Addr().String()
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(addr, 3, "50ms"))
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "the first frames", func() bool { return sub.Count() >= 10 })
	socket := []string{"--socket", gw.Socket()}
	type reading struct {
		Endpoint string
		Data     string
		Stages   []struct{ Name string }
	}

	out, err := exec.Command(peer.Build(t, "edge-ctl"), append(socket, "probe", "tcp://"+addr, "--direct", "--timeout", "500ms")...).CombinedOutput()
	if err == nil || way.refused.Load() == 0 {
		t.Fatalf("a second connection was taken: %v, %s", err, out)
	}
	got := decode[reading](t, "edge-ctl", append(socket, "probe", "tcp://"+addr, "--read", "41001:2")...)
	if got.Endpoint != "plc" || got.Data != "1b581b5f" {
		t.Errorf("probe: %+v, expected registers 7000 and 7007", got)
	}
	found := decode[[]struct{ Unit int }](t, "edge-ctl", append(socket, "scan", "plc", "--units", "1-5")...)
	if len(found) != 5 { // this PLC does not look at the unit
		t.Errorf("scan: %+v", found)
	}
	drivers := decode[[]struct {
		State  string
		Errors int
	}](t, "edge-ctl", append(socket, "drivers")...)
	if len(drivers) != 1 || drivers[0].State != "running" || drivers[0].Errors != 0 {
		t.Errorf("the driver suffered: %+v", drivers)
	}
	peer.WaitFor(t, 10*time.Second, "the audit upstream", func() bool {
		seen := ""
		for _, m := range sub.Messages() {
			for _, f := range m.Frames {
				if f.Tag == "sys.audit" {
					seen += fmt.Sprint(f.Value)
				}
			}
		}
		return strings.Contains(seen, "EndpointService/AskEndpoint") && strings.Contains(seen, "probe") && strings.Contains(seen, "scan")
	})

	run(t, "edge-ctl", append(socket, "drivers", "pause", "line")...)
	if got := decode[reading](t, "edge-ctl", append(socket, "probe", "tcp://"+addr, "--read", "41001:2")...); got.Endpoint != "" || got.Data != "1b581b5f" {
		t.Errorf("probe of a paused device: %+v", got)
	}
	run(t, "edge-ctl", append(socket, "drivers", "resume", "line")...)
	n := sub.Count()
	peer.WaitFor(t, 10*time.Second, "frames after the pause", func() bool { return sub.Count() > n+10 })
}

// TestProbeWhileAway: a device that is away is dialled at once when a person asks,
// however long the gateway waits by itself, and the stages tell how far it went.
func TestProbeWhileAway(t *testing.T) {
	t.Parallel()
	addr := peer.FreeAddr(t)
	broker := peer.StartMosquitto(t)
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tables(addr, 3, "50ms"))
	gw.Start(t)
	peer.WaitFor(t, 20*time.Second, "the endpoint to be down", func() bool { return strings.Contains(gw.Output(), "device does not answer") })
	time.Sleep(3 * time.Second) // in which the back-off grows beyond a second
	probe := func() (string, error) {
		out, err := exec.Command(peer.Build(t, "edge-ctl"), "--socket", gw.Socket(), "probe", "plc", "--read", "41001:1").CombinedOutput()
		return string(out), err
	}
	began := time.Now()
	out, err := probe()
	if err == nil || !strings.Contains(out, "route ") || !strings.Contains(out, "the gateway dialled just now") || !strings.Contains(out, "connection refused") {
		t.Errorf("probe of a device that is away: %v\n%s", err, out)
	}
	peer.StartPLC(t, addr)
	if out, err = probe(); err != nil || !strings.Contains(out, "7000") {
		t.Errorf("probe of a device that is back: %v\n%s", err, out)
	}
	t.Logf("both took %s", time.Since(began))
}
