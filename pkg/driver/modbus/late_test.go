package modbus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
)

// TestAlwaysLate: a device whose answers come after the timeout is no slow device
// and no lossy line. What is said names the timeout that it needs.
func TestAlwaysLate(t *testing.T) {
	for _, framing := range []string{"tcp", "rtu", "ascii"} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			dev := modbustest.NewDevice(t, "tcp", framing, 1)
			dev.Quirks.Slow = 250 * time.Millisecond
			r := modbustest.Start(t, modbustest.Dial(t, "tcp", dev.Addr), registers(2, 10),
				cfg("framing", framing), cfg("timeout", "100ms"), cfg("retry", 1), cfg("polling", "200ms"))
			r.Log.Wait(t, "the advice", func() bool {
				device, _ := r.Driver.(driver.Reasoner).Reasons()
				st := r.Status()
				const want = "raise timeout to "
				return strings.Contains(device.Hint, want) && strings.Contains(st.Advice, want) && strings.Contains(st.LastError, want)
			})
		})
	}
}
