package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// Settings are the keys of cfg that belong to the gateway, with the defaults filled in. The
// schema schemas/drivers/plugin.schema.json has the types, defaults, bounds and meanings.
type Settings struct {
	Polling     time.Duration `json:"polling"`
	Timeout     time.Duration `json:"timeout"`
	Retry       int           `json:"retry"`
	BackoffMax  time.Duration `json:"backoff_max"`
	EnableWrite bool          `json:"enable_write"`
}

// own are the keys of [Settings].
var own = []string{"polling", "timeout", "retry", "backoff_max", "enable_write"}

// Split reads the gateway's keys of cfg. rest are the others, which are the driver's. The
// errors are [config.FieldError]s.
func Split(cfg map[string]any) (s *Settings, rest map[string]any, err error) {
	ours := map[string]any{}
	rest = maps.Clone(cfg)
	if rest == nil {
		rest = map[string]any{}
	}
	for _, key := range own {
		if v, given := cfg[key]; given {
			ours[key] = v
			delete(rest, key)
		}
	}
	s, err = config.Decode[Settings]("drivers/plugin", ours, "cfg")
	return s, rest, err
}

// Address returns what the driver gets as the address of a variable: JSON.
func Address(a *config.Address) (string, error) {
	if a.Plugin != "" {
		return a.Plugin, nil
	}
	text, err := json.Marshal(a)
	return string(text), err
}

// endpointOf is an item of the endpoints table as the contract has it.
func endpointOf(e config.Endpoint) *driverpb.Endpoint {
	return &driverpb.Endpoint{Scheme: e.Scheme, Host: e.Host, Port: uint32(e.Port), Opts: e.Opts}
}

// settingsText is the driver's part of cfg as the contract has it.
func settingsText(rest map[string]any) (string, error) {
	text, err := json.Marshal(rest)
	if err != nil {
		return "", fmt.Errorf("cfg: %w", err)
	}
	return string(text), nil
}
