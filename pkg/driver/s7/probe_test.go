package s7_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus/modbustest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/s7test"
)

// A probe finds the slot of the CPU, and says what it tried and what it was told.
func TestProbe(t *testing.T) {
	for name, tc := range map[string]struct {
		tsap  uint16
		items int
		hint  string
	}{
		"S7-1500":    {0x0201, 1, "slot: 1"},
		"S7-300":     {0x0202, 2, "slot: 2"},
		"any":        {0, 1, "slot: 1"},
		"none there": {0x0105, 4, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var plc *s7test.PLC
			ep := modbustest.Dial(t, "tcp", func() string { return plc.Addr() })
			plc = s7test.New(t)
			plc.Take(tc.tsap)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			items := 0
			r, err := s7.Protocol().Probe.Run(ctx, driver.Target{Endpoint: ep}, driver.Args{}, func(driver.Event) error { items++; return nil })
			if err != nil || items != tc.items || tc.hint == "" != (r.Failure != "") || !strings.Contains(strings.Join(r.Hints, ""), tc.hint) {
				t.Errorf("%d items, %+v, %v", items, r, err)
			}
			if tc.hint != "" && !strings.Contains(string(r.Document), "the PLC does not tell (0xD402)") {
				t.Errorf("%s", r.Document)
			}
		})
	}
}

// An endpoint of scheme s7 is one of TCP, on port 102 if it has none.
func TestTransport(t *testing.T) {
	if got, own := s7.Transport(config.Endpoint{Scheme: "s7", Host: "plc"}); !own || got.Scheme != "tcp" || got.Port != s7.DefaultPort {
		t.Errorf("%+v, %v", got, own)
	}
	if got, own := s7.Transport(config.Endpoint{Scheme: "tcp", Host: "plc", Port: 1102}); own || got.Port != 1102 {
		t.Errorf("%+v, %v", got, own)
	}
}
