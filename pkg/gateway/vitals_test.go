package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// TestVitals: a driver that can't read is in fault, whatever its state says of its process,
// and the points of all drivers count.
func TestVitals(t *testing.T) {
	is := func(id string, state driver.State, tags, bad int, device, failed string) driver.DriverStatus {
		return driver.DriverStatus{ID: id, Tags: tags, Bad: bad, Device: driver.Reason{Text: device},
			Status: driver.Status{State: state, LastError: "an older one", Error: failed}}
	}
	got := vitalsOf([]driver.DriverStatus{
		is("fine", driver.Running, 10, 1, "", ""),
		is("dead", driver.Fault, 5, 5, "the device does not answer", "no answer"),
		is("crashed", driver.Fault, 3, 3, "", "exit status 2"),
		is("odd", driver.Fault, 0, 0, "", ""),
		is("busy", driver.Running, 2, 2, "the device is busy", ""),
		is("no tags", driver.Running, 0, 0, "the device does not answer", ""),
		is("new", driver.Starting, 1, 0, "", ""),
		is("paused", driver.Paused, 1, 0, "", ""),
		is("nothing to read", driver.Starting, 0, 0, "", ""),
	})
	want := center.Vitals{Points: 22, Bad: 11, Idle: []string{"new", "paused"}, Faults: map[string]string{
		"dead": "the device does not answer", "crashed": "exit status 2", "odd": "no reason given", "busy": "the device is busy",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
