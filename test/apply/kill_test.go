package apply

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// The PLCs of [duel]: register r of one holds 1000 + r, of the other 2000 + r.
const (
	baseA = 1000
	baseB = 2000
)

// duel is a plant with two configurations that differ in everything: the endpoints
// of two drivers are swapped, a third driver is another one with the same tag, tags
// move between drivers, one is scaled otherwise, a setting changes. Whatever a value
// says, it says of which configuration it is.
type duel struct {
	*plant
	a, b     *plc
	old, new tables
	dead     tables // as new, but an endpoint where nobody answers
}

func newDuel(t *testing.T, confMore, endpoint string) *duel {
	t.Helper()
	d := &duel{a: startPLC(t, baseA), b: startPLC(t, baseB)}
	d.old = newTables().endpoint("left", d.a.addr).endpoint("right", d.b.addr).endpoint("third", d.a.addr).
		driver("l", "left", 50*time.Millisecond).driver("r", "right", 50*time.Millisecond).driver("only-old", "third", 50*time.Millisecond).
		variable("l.0", "l", 0, "").variable("r.0", "r", 0, "").variable("scaled", "l", 1, "value / 1").
		variable("moves", "l", 2, "").variable("swaps.1", "l", 3, "").variable("swaps.2", "r", 3, "").variable("renamed", "only-old", 0, "")
	d.old.settings["bus"] = map[string]any{"wal_flush_ms": 20.0}
	d.new = newTables().endpoint("left", d.b.addr).endpoint("right", d.a.addr).endpoint("fourth", d.b.addr).
		driver("l", "left", 50*time.Millisecond).driver("r", "right", 100*time.Millisecond).driver("only-new", "fourth", 50*time.Millisecond).
		variable("l.0", "l", 0, "").variable("r.0", "r", 0, "").variable("scaled", "l", 1, "value + 10000").
		variable("moves", "r", 4, "").variable("swaps.1", "r", 3, "value + 20000").variable("swaps.2", "l", 3, "value + 20000").variable("renamed", "only-new", 0, "")
	d.new.settings["bus"] = map[string]any{"wal_flush_ms": 30.0}
	d.dead = d.new.clone().endpoint("right", peer.FreeAddr(t))
	d.plant = newPlant(t, d.old, confMore, endpoint)
	return d
}

// expected are the values of each tag in the old and the new configuration.
var expected = map[string][2]float64{
	"l.0":     {baseA, baseB},
	"r.0":     {baseB, baseA},
	"scaled":  {baseA + 1, baseB + 10001},
	"moves":   {baseA + 2, baseA + 4},
	"swaps.1": {baseA + 3, baseA + 20003},
	"swaps.2": {baseB + 3, baseB + 20003},
	"renamed": {baseA, baseB},
}

// runs waits until the values that arrive are those of one configuration, and holds
// everything that arrived until then to be of the one or the other.
func (d *duel) runs(which int) {
	d.tb.Helper()
	name := []string{"old", "new"}[which]
	d.forgetValues()
	fresh := func() bool {
		for tag, want := range expected {
			values := d.seen(tag)
			if n := len(values); n < 3 || values[n-1] != want[which] || values[n-2] != want[which] {
				return false
			}
		}
		return true
	}
	deadline := time.Now().Add(20 * time.Second)
	for !fresh() {
		if time.Now().After(deadline) {
			for tag := range expected {
				values := d.seen(tag)
				d.tb.Logf("%s: %v", tag, values[max(0, len(values)-5):])
			}
			d.tb.Fatalf("the values are not those of the %s configuration", name)
		}
		time.Sleep(20 * time.Millisecond) // frames come by way of the broker
	}
	for tag, want := range expected {
		for _, v := range d.seen(tag) {
			if v != want[0] && v != want[1] {
				d.tb.Errorf("%s was %v: neither old nor new", tag, v)
			}
		}
	}
	d.structure([]tables{d.old, d.new}[which])
}

// structure holds what the gateway says it runs to t, and the PLCs' connections to
// one per endpoint.
func (d *duel) structure(t tables) {
	d.tb.Helper()
	c := d.dial()
	defer func() { _ = c.Close() }() // only asked
	ctx := d.tb.Context()
	drivers, err := c.Drivers.ListDrivers(ctx, &pb.ListDriversRequest{})
	if err != nil {
		d.tb.Fatal(err)
	}
	var got, want []string
	for _, x := range drivers.GetDrivers() {
		got = append(got, x.Id+"@"+x.Endpoint)
	}
	for id, x := range t.drivers {
		want = append(want, id+"@"+x.EndpointID)
	}
	endpoints, err := c.Endpoints.ListEndpoints(ctx, &pb.ListEndpointsRequest{})
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, e := range endpoints.GetEndpoints() {
		got = append(got, fmt.Sprintf("%s %s", e.Id, portOf(e.Url)))
	}
	for id, e := range t.endpoints {
		want = append(want, fmt.Sprintf("%s %d", id, e.Port))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		d.tb.Errorf("the gateway runs %v, want %v", got, want)
	}
	for _, p := range []*plc{d.a, d.b} { // endpoints of one device share the connection
		peer.WaitFor(d.tb, 5*time.Second, "one connection per device", func() bool {
			now, _, _ := p.connections()
			return now == 1
		})
	}
}

// portOf returns the digits behind the last colon of an address or a URL.
func portOf(url string) string {
	rest := url[strings.LastIndexByte(url, ':')+1:]
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return rest
	}
	return rest[:end]
}

// at calls do, once, when the gateway enters state or when the whole apply is over.
func (d *duel) at(state string, do func()) (reached *atomic.Bool, stop func()) {
	reached = new(atomic.Bool)
	var done atomic.Bool
	return reached, d.phases(func(e *pb.WatchConfigResponse) {
		if e.State == state && !done.Swap(true) {
			reached.Store(true)
			do()
		}
	})
}

// forward are the phases of an apply that succeeds; the change of a [duel] has them
// all.
var forward = []string{"Preparing", "DrainEP", "RestartDrv", "ReloadMap", "Verifying", "Committing"}

// TestKilledAtEveryPhase kills the gateway as it enters each phase of a good change
// and of one that is rolled back. What is in force runs after the restart: the new
// configuration, or the old one, which the store has again then too.
func TestKilledAtEveryPhase(t *testing.T) {
	t.Parallel()
	row := faults.Open(t, "kill-apply")
	d := newDuel(t, ", verify_timeout: 2s", "")
	d.runs(0)
	for i, state := range forward { // there and back
		row.Recovered(d.killed([]tables{d.new, d.old}[i%2], state))
		row.Fault(1)
		d.runs(1 - i%2)
	}
	for _, state := range []string{"Verifying", "RollingBack", "rolled_back"} {
		row.Recovered(d.killed(d.dead, state))
		row.Fault(1)
		d.backToOld()
	}
	d.account(row)
}

// killed pushes t, kills the gateway as it enters state, and starts it again. It returns
// how long that took until it was ready.
func (d *duel) killed(t tables, state string) time.Duration {
	d.tb.Helper()
	killed := make(chan struct{})
	reached, stop := d.at(state, func() { d.Kill(d.tb); close(killed) })
	d.push(t)
	select {
	case <-killed:
	case <-time.After(20 * time.Second):
		d.tb.Fatalf("the apply never came to %s (%v)", state, reached.Load())
	}
	stop()
	began := time.Now()
	d.Start(d.tb)
	d.WaitReady(d.tb)
	return time.Since(began)
}

// backToOld waits until the old configuration runs, and is in force.
func (d *duel) backToOld() {
	d.tb.Helper()
	sha := d.old.document().SHA256()
	peer.WaitFor(d.tb, 40*time.Second, "the old configuration to be in force again", func() bool {
		head, err := d.store.Head(d.tb.Context())
		return err == nil && head.SHA256 == sha
	})
	d.status("the gateway to run what is in force", func(g center.Gateway) bool {
		return g.Online && g.SHA256 == sha && (g.State == center.RolledBack || g.State == center.Applied)
	})
	d.runs(0)
}

// TestKilledAtAnyTime kills the gateway at random times around pushes of random
// configurations, EDGE_KILLS times (3 by default).
func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	kills := 3
	if text := os.Getenv("EDGE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	d := newDuel(t, ", verify_timeout: 2s", "")
	d.runs(0)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for i := range kills {
		pushes := 1 + random.IntN(3)
		var which int
		for range pushes {
			which = random.IntN(3)
			d.push([]tables{d.old, d.new, d.dead}[which])
			time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond) // any moment
		}
		if which == 2 {
			time.Sleep(time.Duration(random.IntN(2300)) * time.Millisecond) // in verify, or in the rollback
		}
		d.Kill(t)
		d.Start(t)
		good := d.goodInForce()
		t.Logf("kill %d after %d pushes, the last of which was %s: %s runs", i, pushes, []string{"old", "new", "dead"}[which], []string{"old", "new"}[good])
		d.runs(good)
	}
	d.check()
}

// goodInForce waits until a configuration that can run is in force and applied.
func (d *duel) goodInForce() (which int) {
	d.tb.Helper()
	hashes := []string{d.old.document().SHA256(), d.new.document().SHA256()}
	d.status("a good configuration to run", func(g center.Gateway) bool {
		head, err := d.store.Head(d.tb.Context())
		if err != nil {
			return false
		}
		which = slices.Index(hashes, head.SHA256)
		return which >= 0 && g.Online && g.SHA256 == head.SHA256 && g.Rev >= head.Rev && (g.State == center.Applied || g.State == center.RolledBack)
	})
	return which
}
