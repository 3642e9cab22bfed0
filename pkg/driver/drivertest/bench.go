package drivertest

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// peerEnv makes a test binary the peer of another one's benchmarks.
const peerEnv = "EDGE_TEST_PEER"

// Main runs the tests of a driver and returns the exit code. The device of its benchmarks
// is the test binary in a process of its own, so that the device's CPU time is not counted
// as the driver's; serve is what the device does with a connection. option is what
// [StartPeer] was given.
func Main(m *testing.M, serve func(c net.Conn, option string)) int {
	var err error
	if option, ok := os.LookupEnv(peerEnv); ok {
		err = bePeer(func(c net.Conn) { serve(c, option) })
	} else {
		if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
			err = p.Value.Set("8") // most tests wait for a device, so as many run at once as a larger machine runs
		}
		if err == nil {
			return m.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// bePeer accepts connections until stdin ends, which it does with the parent.
func bePeer(serve func(net.Conn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // StartPeer's test fails
			}
			go serve(c)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin) // however it ends
	return nil
}

// StartPeer runs the device of [Main] until the test ends and returns its address.
func StartPeer(t testing.TB, option string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerEnv+"="+option)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("device: %v", err)
		}
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// OneConn is an endpoint with one connection that is never lost.
type OneConn struct{ net.Conn }

// Acquire implements [endpoint.Acquirer].
func (c OneConn) Acquire(context.Context) (endpoint.Lease, error) { return c, nil }

// Release implements [endpoint.Lease].
func (c OneConn) Release(error) {}

// Dial returns an endpoint with one connection to addr, until the test ends.
func Dial(t testing.TB, addr string) OneConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the driver may have closed it
	return OneConn{conn}
}

// Discard is a [driver.Publisher] that keeps nothing.
type Discard struct{}

// Publish implements [driver.Publisher].
func (Discard) Publish(context.Context, *frame.Batch) error { return nil }

// Published returns where a driver's work puts its batches, until the test ends.
func Published(t testing.TB) chan<- *frame.Batch {
	made, ended, published := make(chan chan<- *frame.Batch), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(published)
		_ = driver.Publishing(context.Background(), Discard{}, func(_ context.Context, out chan<- *frame.Batch) { // it never fails
			made <- out
			<-ended
		})
	}()
	t.Cleanup(func() { close(ended); <-published })
	return <-made
}

// CPU returns the CPU time of this process so far, user and system.
func CPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Metric returns the value of a counter, a gauge or a histogram's count, the sum of those
// series whose labels include labels, which are names and values.
func Metric(t testing.TB, reg prometheus.Gatherer, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := 0
			for _, l := range m.GetLabel() {
				for i := 0; i < len(labels); i += 2 {
					if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
						match++
					}
				}
			}
			if match == len(labels)/2 {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
