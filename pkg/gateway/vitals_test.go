package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// TestVitals: a driver that can't read is in fault, whatever its state says of its process,
// and the points of all drivers count.
func TestVitals(t *testing.T) {
	is := func(id string, state driver.State, tags int, device, failed string) driver.DriverStatus {
		return driver.DriverStatus{ID: id, Tags: tags, Device: driver.Reason{Text: device},
			Status: driver.Status{State: state, LastError: "an older one", Error: failed}}
	}
	tag := func(of string, known bool, q frame.Quality, why string) driver.TagStatus {
		return driver.TagStatus{Tag: of + ".tag", Driver: of, Address: "holding 12 (1 register)", Last: point.Last{Known: known, Quality: q}, Reason: driver.Reason{Text: why}}
	}
	got := vitalsOf([]driver.DriverStatus{
		is("busy", driver.Running, 2, "the device is busy", ""),
		is("crashed", driver.Fault, 3, "", "exit status 2"),
		is("dead", driver.Fault, 5, "the device does not answer", "no answer"),
		is("fine", driver.Running, 10, "", ""),
		is("new", driver.Starting, 1, "", ""),
		is("no tags", driver.Running, 0, "the device does not answer", ""),
		is("nothing to read", driver.Starting, 0, "", ""),
		is("odd", driver.Fault, 0, "", ""),
		is("paused", driver.Paused, 1, "", ""),
	}, []driver.TagStatus{
		tag("dead", true, frame.Bad, "the device does not answer"),
		tag("fine", true, frame.Good, ""), tag("fine", true, frame.Good, "it was refused once"),
		tag("fine", true, frame.Bad, "refused: 0x02 illegal data address"), tag("fine", false, frame.Good, "refused: 0x02 illegal data address"),
		tag("new", false, frame.Good, ""),
	})
	want := center.Vitals{Points: 6, Bad: 3, Idle: []string{"new", "paused"}, Faults: map[string]string{
		"dead": "the device does not answer", "crashed": "exit status 2", "odd": "no reason given", "busy": "the device is busy",
	}, Trouble: "driver fine: 2 of 10 tags refused: fine.tag (holding 12), fine.tag (holding 12): 0x02 illegal data address"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
