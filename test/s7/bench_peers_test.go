package s7

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// What is compared: so many words of one data block, read so often.
const (
	comparedPoints   = 1000
	comparedInterval = 100 * time.Millisecond
	comparedFor      = 15 * time.Second
	comparedTopic    = "compared/data"
)

// BenchmarkPeerTelegraf measures the processor time of edge-gw and of Telegraf's input
// s7comm per point, one after the other: the same server of snap7, values, broker and
// quality of service, a message a second. Telegraf keeps nothing on disk, compresses nothing and numbers
// nothing. Budget: a quarter of Telegraf's.
func BenchmarkPeerTelegraf(b *testing.B) {
	memory := strings.Repeat("03e8", comparedPoints)
	broker := peer.StartMosquitto(b)
	var ours, theirs float64
	b.Run("edge-gw", func(b *testing.B) {
		srv := serve(b, settings{PDU: 480, Blocks: map[int]string{1: memory}})
		gw := peer.NewGateway(b, fmt.Sprintf("connectors:\n  mqtt: {kind: mqtt5, endpoint: %q, topic: %s, max_frames: 10000, max_interval: 1s}\n", broker.URL(), comparedTopic), compared(srv.cfg.Port))
		gw.Start(b)
		gw.WaitReady(b)
		ours = perPoint(b, gw.Proc(), func() float64 {
			n, ok := gw.Metric(`framebus_publish_total{kind="data"}`)
			if !ok {
				b.Fatalf("no framebus_publish_total:\n%s", gw.Output())
			}
			return n
		})
		gw.Stop(b)
	})
	b.Run("telegraf", func(b *testing.B) {
		srv := serve(b, settings{PDU: 480, Blocks: map[int]string{1: memory}})
		metrics := countMetrics(b, broker)
		t := peer.StartTelegraf(b, telegraf(srv.cfg.Port, broker))
		theirs = perPoint(b, t.Proc(), func() float64 { return comparedPoints * float64(metrics.Load()) })
		t.Stop(b)
		if out := t.Output(); strings.Contains(out, " E! ") || strings.Contains(out, " W! ") {
			b.Logf("telegraf said:\n%s", out)
		}
	})
	if ours > 0 && theirs > 0 {
		b.Logf("edge-gw takes %.2f of Telegraf's processor time for a point", ours/theirs)
	}
}

// perPoint returns the processor time of a process in ns for each point.
func perPoint(b *testing.B, p peer.Proc, points func() float64) (ns float64) {
	time.Sleep(5 * time.Second) // steady state
	for b.Loop() {
		before, cpu, began := points(), p.CPU(b), time.Now()
		time.Sleep(comparedFor) // the measurement
		n, used := points()-before, p.CPU(b)-cpu
		if n == 0 {
			b.Fatal("no point was read")
		}
		ns = float64(used.Nanoseconds()) / n
		b.ReportMetric(ns, "cpu-ns/point")
		b.ReportMetric(n/time.Since(began).Seconds(), "points/s")
		rss, _ := p.Memory(b)
		b.ReportMetric(rss, "rss-MiB")
	}
	b.ReportMetric(0, "ns/op")
	return ns
}

// compared are the tables of the gateway.
func compared(port int) map[string]string {
	var vars strings.Builder
	for i := range comparedPoints {
		fmt.Fprintf(&vars, "- {tag: line.r%04d, driver_id: line, access: R, address: {s7: DB1.DBW%d}, datatype: uint16}\n", i, 2*i)
	}
	return map[string]string{
		"endpoints.yml": fmt.Sprintf("plc: {scheme: tcp, host: 127.0.0.1, port: %d}\n", port),
		"drivers.yml":   fmt.Sprintf("line: {kind: static, endpoint_id: plc, proto: s7, cfg: {slot: 2, polling: %s, pdu: 480}}\n", comparedInterval),
		"variables.yml": vars.String(),
	}
}

// telegraf is a configuration that does the same.
func telegraf(port int, broker *peer.Mosquitto) string {
	var c strings.Builder
	c.WriteString(peer.TelegrafInto(broker, comparedInterval))
	fmt.Fprintf(&c, `
[[inputs.s7comm]]
  server = "127.0.0.1:%d"
  rack = 0
  slot = 2
  connection_type = "OP"
  timeout = "2s"
  [[inputs.s7comm.metric]]
    name = "plc"
    fields = [
`, port)
	for i := range comparedPoints {
		fmt.Fprintf(&c, `      {name = "r%04d", address = "DB1.W%d"},
`, i, 2*i)
	}
	return c.String() + "    ]\n"
}

// countMetrics counts the metrics that Telegraf has delivered, each with all points.
func countMetrics(b *testing.B, broker *peer.Mosquitto) *atomic.Int64 {
	host, port, _ := strings.Cut(broker.Addr, ":")
	cmd := exec.CommandContext(b.Context(), "mosquitto_sub", "-h", host, "-p", port, "-q", "2", "-t", "telegraf/data")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			n.Add(int64(strings.Count(lines.Text(), `"timestamp"`)))
		}
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // b's context may have ended it
		<-done
		_ = cmd.Wait() // killed
	})
	return &n
}
