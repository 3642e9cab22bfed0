package mqtt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/mqtt"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// The environment of a child process: a directory, a broker, and how many frames
// it publishes per second (0: none; it ends when all is delivered).
const (
	childDir    = "EDGE_MQTT_TEST_DIR"
	childBroker = "EDGE_MQTT_TEST_BROKER"
	childRate   = "EDGE_MQTT_TEST_RATE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Getenv(childBroker), os.Getenv(childRate)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

// child is a log and a connector in a process of their own, which can be killed.
func child(dir, broker, perSecond string) error {
	rate, err := strconv.Atoi(perSecond)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg := bus.DefaultConfig(dir)
	cfg.WALFlush, cfg.MinFree, cfg.Retain = 5*time.Millisecond, 0, 0
	b, err := bus.Open(cfg, bus.Deps{Log: log})
	if err != nil {
		return err
	}
	consumer, err := b.OpenReader("mqtt", bus.StartOldest)
	if err != nil {
		return err
	}
	factory, err := mqtt.NewFactory(prometheus.NewRegistry())
	if err != nil {
		return err
	}
	c, err := factory.New("mqtt", map[string]any{
		"kind": "mqtt5", "endpoint": broker, "max_interval": "5ms", "backoff": map[string]any{"base": "20ms", "max": "100ms"},
	}, connector.Deps{
		Identity: connector.Identity{Gateway: "gw-test", Tenant: "acme", Device: "line-1"}, Source: consumer,
		Secret: func(s string) (string, error) { return s, nil }, ConfigRev: func() uint64 { return 1 }, Log: log,
	})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	fmt.Println("ready")
	if err := childWork(ctx, dir, b, consumer, rate); err != nil {
		return err
	}
	stop()
	fmt.Println("head", consumer.Head())
	return errors.Join(<-done, b.Close())
}

func childWork(ctx context.Context, dir string, b *bus.Bus, consumer *bus.Reader, rate int) error {
	set := &frame.TagSet{Driver: "line", Tags: []frame.Tag{{Name: "line.t", Unit: "bar"}}}
	taken, err := os.OpenFile(dir+".taken", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = taken.Close() }() // each write was checked
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if rate == 0 && consumer.Acked() == consumer.Head() {
			return nil
		}
		batch := &frame.Batch{Set: set}
		for i := range rate / 200 {
			batch.Frames = append(batch.Frames, frame.Frame{Value: frame.IntValue(int64(i)), TS: time.Now().UnixNano()})
		}
		if len(batch.Frames) > 0 {
			if err := b.Publish(ctx, batch); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			if _, err := taken.Write(make([]byte, len(batch.Frames))); err != nil { // survives the process
				return err
			}
		}
	}
}

// startChild starts a child and waits until its connector runs.
func startChild(t *testing.T, dir, broker string, rate int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childBroker+"="+broker, childRate+"="+strconv.Itoa(rate))
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the child said %q, want ready", lines.Text())
	}
	return cmd, lines
}

// number returns a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestKill kills the process with log and connector again and again (EDGE_KILLS)
// while it delivers EDGE_KILL_RATE frames a second through a proxy that cuts
// connections too, and the broker restarts now and then. A plain subscriber gets
// every frame that Publish took, once, in order.
func TestKill(t *testing.T) {
	t.Parallel()
	kills, rate := number(t, "EDGE_KILLS", 15), number(t, "EDGE_KILL_RATE", 20_000)
	if testing.Short() {
		kills = min(kills, 3)
	}
	row := faults.Open(t, "kill-delivery")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "sub", dataTopic)
	p := newProxy(t, broker.Addr)
	moments := row.Random(t)                  // of the kills
	rnd := rand.New(rand.NewPCG(row.Seed, 2)) // of the cuts, which another goroutine draws
	p.plan(func(kind byte) (bool, bool) {
		return packetNames[kind] != "" && rnd.IntN(200) == 0, rnd.IntN(2) == 0
	})
	dir := t.TempDir()
	restarts := 0
	for i := range kills {
		cmd, _ := startChild(t, dir, p.url(), rate)
		time.Sleep(time.Duration(moments.IntN(400)) * time.Millisecond) // a kill at any moment, from the start on
		row.Memory(faults.PeakOf(cmd.Process.Pid))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed: that is an error
		if i%8 == 7 {
			restarts++
			quiet(sub)
			broker.Stop(t)
			broker.Start(t)
		}
	}
	cuts := p.heal()
	cmd, lines := startChild(t, dir, p.url(), 0)
	head := uint64(0)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), "head "); ok {
			var err error
			if head, err = strconv.ParseUint(n, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the last child: %v", err)
	}
	row.Fault(kills + cuts + restarts)
	defer func() { row.Count(sub.Account(1, head)) }() // also of frames that are waited for in vain
	checkAll(t, sub, int(head))
	t.Logf("%d kills, %d cuts, %d restarts of the broker, %d frames in %d messages", kills, cuts, restarts, head, len(sub.Messages()))
	if taken, err := os.Stat(dir + ".taken"); err != nil || uint64(taken.Size()) > head {
		t.Errorf("%d frames were published, %d are in the log (%v)", taken.Size(), head, err)
	}
	if head < 1000 {
		t.Errorf("only %d frames were delivered", head)
	}
}
