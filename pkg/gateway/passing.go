package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// What is set with edge-ctl bus set is a layer of the configuration like the others,
// above all of them: a change of the settings goes on below it. It ends with the process,
// or when it is taken away.

// withSettings returns the configuration with these settings of the config center. The
// caller holds g.setting.
func (g *Gateway) withSettings(groups map[string]map[string]any) (*bootstrap.Gateway, error) {
	cfg, err := g.cfg.WithSettings(groups)
	if err != nil || len(g.passing) == 0 {
		return cfg, err
	}
	return cfg.WithPassing(g.passing)
}

// adminBus is the bus with the settings of the gateway.
type adminBus struct {
	*busadmin.Bus
	g *Gateway
}

// Set implements [admin.BusBackend].
func (a adminBus) Set(_ context.Context, key, value string) (*adminpb.SetBusSettingResponse, error) {
	g := a.g
	g.setting.Lock()
	defer g.setting.Unlock()
	before, err := g.withSettings(g.groups)
	if err != nil { // what runs can't be wrong
		return nil, err
	}
	if before.Bus[key] == nil || key == "wal_dir" {
		known := maps.Clone(before.Bus)
		delete(known, "wal_dir") // a log does not move while it is used
		return nil, fmt.Errorf("%w: %s: no such setting: expected one of %s", errkind.Invalid, key, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	was := g.passing
	if g.passing = maps.Clone(was); g.passing == nil {
		g.passing = map[string]string{}
	}
	if value == "null" {
		delete(g.passing, "bus."+key)
	} else {
		g.passing["bus."+key] = value
	}
	now, err := g.withSettings(g.groups)
	if err == nil {
		err = g.updateBus(now)
	}
	if err != nil {
		g.passing = was
		return nil, fmt.Errorf("%w: %w", errkind.Invalid, err)
	}
	return &adminpb.SetBusSettingResponse{OldValue: fmt.Sprint(before.Bus[key]), NewValue: fmt.Sprint(now.Bus[key])}, nil
}

// passingText names what holds until the end of the process, "" for nothing: it is
// easily forgotten.
func (g *Gateway) passingText() string {
	g.setting.Lock()
	defer g.setting.Unlock()
	var list []string
	for _, key := range slices.Sorted(maps.Keys(g.passing)) {
		list = append(list, key+": "+g.passing[key])
	}
	return strings.Join(list, ", ")
}
