package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	kinds "github.com/edge-gateway/edge-gateway/pkg/connectors"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// outlets are the connectors of a gateway that is stopped, as its gateway.yml
// describes them. A connection is made for the first frames of a replay.
type outlets struct {
	cfg  *bootstrap.Gateway
	log  *slog.Logger
	open map[string]connector.Replay
}

// readOutlets reads gateway.yml.
func readOutlets(file string, log *slog.Logger) (*outlets, error) {
	cfg, err := bootstrap.Load(file, nil, os.Environ())
	if err != nil {
		return nil, err
	}
	return &outlets{cfg: cfg, log: log, open: map[string]connector.Replay{}}, nil
}

// place is where that gateway is to be found.
func (o *outlets) place() place {
	return place{socket: o.cfg.Admin.Socket, dir: o.cfg.WALDir(), outlets: o}
}

// names are those of the connectors.
func (o *outlets) names() []string {
	if o == nil {
		return nil
	}
	return o.cfg.ConnectorNames
}

// resendFrom returns what sends frames of a's log; nil without a configuration.
func (o *outlets) resendFrom(a *bus.Archive) busadmin.Resend {
	if o == nil {
		return nil
	}
	epoch := a.Stats().Epoch
	return func(ctx context.Context, name, id string, batches []*frame.Batch) (string, error) {
		r, err := o.connect(ctx, name, epoch)
		if err != nil {
			return "", fmt.Errorf("connector %s: %w", name, err)
		}
		return r.Replay(ctx, id, batches)
	}
}

func (o *outlets) connect(ctx context.Context, name, epoch string) (connector.Replay, error) {
	if r, ok := o.open[name]; ok {
		return r, nil
	}
	cfg, ok := o.cfg.Connectors[name]
	if !ok {
		return nil, fmt.Errorf("not in the configuration, there is %s", strings.Join(o.names(), ", "))
	}
	factories, err := kinds.Builtin().Factories(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	kind, _ := cfg["kind"].(string)
	replayer, can := factories[kind].(connector.Replayer)
	if !can {
		return nil, fmt.Errorf("a connector of kind %q replays through a running gateway only", cfg["kind"])
	}
	deps := connector.Deps{
		Identity: connector.Identity{Gateway: o.cfg.GatewayID, Tenant: o.cfg.Tenant, Device: o.cfg.Device, Version: version.String()},
		Secret:   config.Secrets{Dir: o.cfg.SecretsDir}.Resolve, ConfigRev: func() uint64 { return 0 }, Log: o.log,
	}
	r, err := replayer.OpenReplay(ctx, name, cfg, epoch, deps)
	if err != nil {
		return nil, err
	}
	o.open[name] = r
	return r, nil
}

func (o *outlets) close() {
	if o == nil {
		return
	}
	for _, r := range o.open {
		r.Close()
	}
}
