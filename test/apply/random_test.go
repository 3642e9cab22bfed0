package apply

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// randomTables makes any small configuration on the given devices: endpoints that
// share a device, come, go and change places, drivers likewise, tags that move
// between them. With dead, one endpoint leads nowhere.
func randomTables(random *rand.Rand, dead string, devices ...*plc) tables {
	t := newTables()
	var drivers []string
	for i := range 4 {
		addr := devices[random.IntN(len(devices))].addr
		if i == 0 && dead != "" {
			addr = dead
		}
		t.endpoint(fmt.Sprint("e", i), addr, fmt.Sprintf("timeout=%ds", 1+random.IntN(2)))
	}
	for i := range 5 {
		if i == 0 || random.IntN(4) > 0 {
			id := fmt.Sprint("d", i)
			drivers = append(drivers, id)
			t.driver(id, fmt.Sprint("e", random.IntN(4)), time.Duration(1+random.IntN(2))*50*time.Millisecond)
		}
	}
	for i := range 10 {
		if i == 0 || random.IntN(4) > 0 {
			t.variable(fmt.Sprint("t", i), drivers[random.IntN(len(drivers))], random.IntN(10), fmt.Sprint("value + ", 10000*random.IntN(4)))
		}
	}
	return t
}

// value is what a tag of t must show.
func (t tables) value(tag string, devices []*plc) (float64, bool) {
	v := t.variables[tag]
	ep := t.endpoints[t.drivers[v.DriverID].EndpointID]
	for _, d := range devices {
		if strings.HasSuffix(d.addr, fmt.Sprint(":", ep.Port)) {
			var offset float64
			_, err := fmt.Sscanf(v.Scale, "value + %g", &offset)
			return float64(d.base) + float64(v.Address.Addr-40001) + offset, err == nil
		}
	}
	return 0, false // it leads nowhere
}

// connections returns how many t may have to a device: endpoints that are the same
// but for their names share one, and a driver without tags may keep what it had.
func (t tables) connections(d *plc) int {
	urls := map[string]bool{}
	for _, driver := range t.drivers {
		if ep := t.endpoints[driver.EndpointID]; strings.HasSuffix(d.addr, fmt.Sprint(":", ep.Port)) {
			urls[ep.Opts["timeout"]] = true
		}
	}
	return len(urls)
}

// shows waits until every tag of t that has a device shows its value, twice.
func (p *plant) shows(t tables, devices []*plc) {
	p.tb.Helper()
	wrong := ""
	right := func() bool {
		for tag := range t.variables {
			want, ok := t.value(tag, devices)
			values := p.seen(tag)
			n := len(values)
			if ok && (n < 2 || values[n-1] != want || values[n-2] != want) {
				wrong = fmt.Sprintf("%s shows %v, want %v", tag, values[max(0, n-3):], want)
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(20 * time.Second); !right(); {
		if time.Now().After(deadline) {
			p.tb.Fatal(wrong)
		}
		time.Sleep(10 * time.Millisecond) // frames come by way of the broker
	}
}

// TestRandomPushes pushes EDGE_APPLY_PUSHES random configurations (12 by default).
// After each, exactly what the config center says is in force is what the tags
// show, no device has a connection too many, and in the end no goroutine is left over
// and no frame is missing or came twice.
func TestRandomPushes(t *testing.T) {
	t.Parallel()
	pushes := 12
	if text := os.Getenv("EDGE_APPLY_PUSHES"); text != "" {
		var err error
		if pushes, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	row := faults.Open(t, "documents-random")
	random := row.Random(t)
	devices := []*plc{startPLC(t, baseA), startPLC(t, baseB)}
	nowhere := peer.FreeAddr(t)
	first := randomTables(random, "", devices...)
	runs := first
	p := newPlant(t, first, ", verify_timeout: 1500ms", "")
	p.shows(first, devices)
	goroutines, _ := p.Metric("go_goroutines")
	undone := 0
	for range pushes {
		dead := ""
		if random.IntN(8) == 0 {
			dead = nowhere
		}
		next := randomTables(random, dead, devices...)
		row.Fault(1)
		p.forgetValues()
		err := p.settled(p.push(next))
		if not := (*center.NotAppliedError)(nil); errors.As(err, &not) {
			undone++
		} else if err != nil {
			t.Fatal(err)
		} else {
			runs = next
		}
		p.forgetValues() // what was on its way is old
		p.shows(runs, devices)
		for _, d := range devices {
			peer.WaitFor(t, 5*time.Second, "no connection too many", func() bool {
				now, _, _ := d.connections()
				return now <= runs.connections(d)
			})
		}
	}
	t.Logf("%d of %d pushes were undone", undone, pushes)
	p.applied(first)
	p.shows(first, devices)
	peer.WaitFor(t, 10*time.Second, "goroutines to end", func() bool {
		n, ok := p.Metric("go_goroutines")
		return ok && n <= goroutines+5
	})
	p.account(row)
}
