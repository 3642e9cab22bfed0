package s7

import (
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// The ends of a connection follow from rack and slot, from the family, or from what is said
// of them; what contradicts is told.
func TestTSAPs(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg           map[string]any
		local, remote string
		wrong         string
	}{
		"slot 1":         {map[string]any{}, "01.00", "02.01", ""},
		"S7-300":         {map[string]any{"slot": 2, "connection": "pg"}, "01.00", "01.02", ""},
		"rack 3":         {map[string]any{"rack": 3, "slot": 4, "connection": "basic"}, "01.00", "03.64", ""},
		"LOGO!":          {map[string]any{"plc": "logo"}, "01.00", "02.00", ""},
		"S7-200":         {map[string]any{"plc": "s7-200"}, "10.00", "10.01", ""},
		"S7-200 Smart":   {map[string]any{"plc": "s7-200-smart"}, "01.00", "03.01", ""},
		"LOGO!, its own": {map[string]any{"plc": "logo", "local_tsap": "20.00", "remote_tsap": "21.00"}, "20.00", "21.00", ""},
		"LOGO! in slot":  {map[string]any{"plc": "logo", "slot": 1}, "", "", "cfg.slot: contradicts plc: logo"},
		"TSAP and rack":  {map[string]any{"remote_tsap": "02.00", "rack": 1}, "", "", "cfg.rack: contradicts remote_tsap"},
		"no family":      {map[string]any{"plc": "s5"}, "", "", "cfg.plc"},
	} {
		tc.cfg["polling"] = "1s"
		s, err := ParseSettings(tc.cfg, config.Endpoint{})
		switch {
		case tc.wrong != "":
			if err == nil || !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || s.LocalTSAP.String() != tc.local || s.RemoteTSAP.String() != tc.remote:
			t.Errorf("%s: %s to %s, %v; want %s to %s", name, s.LocalTSAP, s.RemoteTSAP, err, tc.local, tc.remote)
		}
	}
}
