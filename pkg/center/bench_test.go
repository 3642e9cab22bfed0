package center

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// BenchmarkLoad reads and decodes the configuration of an embedded etcd: what a
// gateway does when it starts.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			endpoint := startEtcd(b)
			mustPush(b, openStore(b, endpoint), docOf(b, n, "x"))
			for b.Loop() {
				s, err := Open(b.Context(), Config{Endpoints: []string{endpoint}})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := mustLoad(b, s).Snapshot(nil); err != nil {
					b.Fatal(err)
				}
				_ = s.Close()
			}
		})
	}
}

// BenchmarkPushAll pushes a configuration into an empty store.
func BenchmarkPushAll(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			doc := docOf(b, n, "x")
			for b.Loop() {
				b.StopTimer()
				s := openStore(b, startEtcd(b)) // many would exceed the quota of one
				b.StartTimer()
				mustPush(b, s, doc)
			}
		})
	}
}

// BenchmarkChange pushes one variable and waits until a watching gateway's applier
// has the snapshot. It reports the time of the push, and from its beginning and its
// answer to the snapshot.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			endpoint := startEtcd(b)
			s := openStore(b, endpoint)
			doc := docOf(b, n, "x")
			mustPush(b, s, doc)
			seen := make(chan time.Time, 1)
			startGateway(b, endpoint, "gw", func(c *FollowerConfig) {
				c.Apply = func(context.Context, *config.Snapshot) Outcome { seen <- time.Now(); return Outcome{State: Applied} }
			})
			select {
			case <-seen:
			case <-time.After(20 * time.Second):
				b.Fatal("the gateway applied nothing")
			}
			var pushes, afters, totals []time.Duration
			base := mustLoad(b, s)
			for b.Loop() {
				next := with(b, base.Doc, config.Variables, variable(len(pushes)%n, len(pushes)))
				begin := time.Now()
				c, err := s.Push(b.Context(), base, next, PushOptions{})
				if err != nil {
					b.Fatal(err)
				}
				pushed := time.Now()
				at := <-seen
				base = Version{Commit: c, Doc: next}
				pushes = append(pushes, pushed.Sub(begin))
				afters = append(afters, at.Sub(pushed))
				totals = append(totals, at.Sub(begin))
				time.Sleep(100 * time.Millisecond) // the gateway writes its cache; pushes don't come faster than people
			}
			for name, list := range map[string][]time.Duration{"push": pushes, "seen-after-push": afters, "total": totals} {
				slices.Sort(list)
				b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, "ms-p50-"+name)
				b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, "ms-p99-"+name)
			}
		})
	}
}
