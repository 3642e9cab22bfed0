package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// TestDriverProblems: what is wrong below a driver's state is told once for each
// cause, with what mends it; what a driver's own state tells is not told again.
func TestDriverProblems(t *testing.T) {
	bad := point.Last{Known: true, Quality: frame.Bad}
	refused := driver.Reason{Text: "refused: 0x02 illegal data address", Hint: "check it", Since: time.Unix(5, 0)}
	running := func(id string, change func(*driver.DriverStatus)) driver.DriverStatus {
		d := driver.DriverStatus{ID: id, Item: config.Driver{EndpointID: "e"}, Tags: 21, Status: driver.Status{State: driver.Running}}
		change(&d)
		return d
	}
	tag := func(d, name, address string, last point.Last, why driver.Reason) driver.TagStatus {
		return driver.TagStatus{Tag: name, Driver: d, Address: address, Last: last, Reason: why}
	}
	var dead []driver.TagStatus
	for i := range 40 {
		dead = append(dead, tag("dead", fmt.Sprint("d", i), "holding 1 (1 register)", bad, driver.Reason{Text: "the device does not answer"}))
	}
	for _, c := range []struct {
		name   string
		driver driver.DriverStatus
		tags   []driver.TagStatus
		want   []string
	}{
		{"nothing", running("x", func(*driver.DriverStatus) {}), []driver.TagStatus{tag("x", "a", "", point.Last{Known: true}, driver.Reason{})}, nil},
		{"one tag", running("oven", func(d *driver.DriverStatus) { d.Bad = 1 }),
			[]driver.TagStatus{tag("oven", "oven.zone1", "holding 999 (1 register)", bad, refused)},
			[]string{"1 tag refused: oven.zone1 (holding 999): 0x02 illegal data address → check it"}},
		{"many, of two causes", running("x", func(d *driver.DriverStatus) { d.Bad = 4 }),
			[]driver.TagStatus{tag("x", "a", "coil 1 (1 bit)", bad, refused), tag("x", "b", "coil 2 (1 bit)", bad, refused),
				tag("x", "c", "coil 3 (1 bit)", bad, refused), tag("x", "n", "", bad, driver.Reason{Text: driver.Unusable, Hint: "see it"})},
			[]string{"3 of 21 tags refused: a (coil 1), b (coil 2) and 1 more: 0x02 illegal data address → check it",
				"1 tag bad: n: " + driver.Unusable + " → see it"}},
		{"a busy device", running("x", func(d *driver.DriverStatus) {
			d.Bad, d.Device = 21, driver.Reason{Text: "the device is busy: 0x06 server device busy", Hint: "wait"}
		}), nil, []string{"21 of 21 tags are bad: the device is busy: 0x06 server device busy → wait"}},
		{"a dead device", running("dead", func(d *driver.DriverStatus) { d.State, d.Bad = driver.Fault, 40 }), dead, nil},
		{"too slow", running("x", func(d *driver.DriverStatus) {
			d.LatencyP50 = 180 * time.Millisecond
			d.LastMinute = driver.Recent{Cycles: 113, Overruns: 64, Polls: 49}
		}), nil, []string{"64 of 113 cycles skipped in the last minute: the device needs 180ms per request → " +
			"raise cfg.polling, or let fewer requests do: cfg.max_regs_per_req, cfg.max_gap, cfg.max_inflight"}},
		{"a device that answers late", running("x", func(d *driver.DriverStatus) {
			d.Advice, d.LastMinute = "answers come after 2.3s: raise timeout to 3s", driver.Recent{Cycles: 113, Overruns: 64, Polls: 49}
		}), nil, []string{"64 of 113 cycles skipped in the last minute → answers come after 2.3s: raise timeout to 3s"}},
		{"a stray overrun", running("x", func(d *driver.DriverStatus) { d.LastMinute = driver.Recent{Cycles: 600, Overruns: 6} }), nil, nil},
		{"a lossy line", running("x", func(d *driver.DriverStatus) {
			d.LastError, d.LastMinute = "no answer", driver.Recent{Cycles: 60, Polls: 60, Errors: 59, Retries: 59}
		}), nil, []string{"59 of 119 requests repeated in the last minute: no answer → " +
			"raise cfg.timeout, set cfg.request_gap, or look at the line: edge-ctl trace e"}},
	} {
		var got []string
		for _, p := range driverProblems([]driver.DriverStatus{c.driver}, c.tags) {
			if p.Part != "driver" || p.Name != c.driver.ID {
				t.Errorf("%s: problem of %s %s", c.name, p.Part, p.Name)
			}
			got = append(got, strings.TrimSpace(p.Text+" → "+p.Hint))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
