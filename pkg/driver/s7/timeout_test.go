package s7

import (
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// TestEndpointTimeout: the driver waits as long as its connections do, however that is
// written.
func TestEndpointTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": defaultTimeout, ".5s": 500 * time.Millisecond, "0.5s": 500 * time.Millisecond, "1m30s": 90 * time.Second} {
		ep := config.Endpoint{Scheme: "s7", Opts: map[string]string{}}
		if text != "" {
			ep.Opts["timeout"] = text
		}
		s, err := ParseSettings(map[string]any{"polling": "1s"}, ep)
		if err != nil || s.Timeout != want {
			t.Errorf("timeout %q: %v, %v; expected %v", text, s.Timeout, err, want)
		}
	}
}
