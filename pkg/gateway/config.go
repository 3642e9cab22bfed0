package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// phaseTimeout bounds each phase of an apply but verify, which has a setting.
const phaseTimeout = 30 * time.Second

// openTables opens the way to the tables.
func (g *Gateway) openTables() (err error) {
	g.history.open(g.cfg.DataDir, g.log)
	instance := ""
	if g.cfg.Config.Source == "etcd" {
		if instance, err = instanceID(g.cfg.DataDir); err != nil {
			return err
		}
	}
	var left attempt
	if g.trial, left, err = openTrial(g.cfg.DataDir, g.log); err != nil {
		return err
	}
	g.trial.keep = g.prove
	g.rescue(left)
	return g.openConfig(instance)
}

// openConfig builds what applies the tables. instance is the follower's.
func (g *Gateway) openConfig(instance string) (err error) {
	if g.metrics, err = apply.NewMetrics(g.reg); err != nil {
		return err
	}
	g.runner = apply.NewRunner(apply.RunnerConfig{
		Plant: apply.NewPlant(apply.PlantConfig{
			Drivers: g.drivers, Endpoints: g.endpoints, Settings: (*settings)(g),
			Verify: apply.VerifyMode(g.cfg.Config.Verify), Commit: g.commit,
		}),
		Timeouts: apply.Timeouts{Phase: phaseTimeout, Verify: g.cfg.Config.VerifyTimeout.Std()},
		Log:      g.log, Metrics: g.metrics, Progress: g.history.progress,
	})
	return g.openFeed(instance)
}

// commit makes snap what the next start falls back to.
func (g *Gateway) commit(_ context.Context, snap *config.Snapshot) error {
	if err := g.feed.Keep(snap); err != nil {
		return fmt.Errorf("keep the configuration: %w", err)
	}
	return nil
}

// updateBus gives the bus its settings of cfg while it runs.
func (g *Gateway) updateBus(cfg *bootstrap.Gateway) error {
	c, err := bus.ParseConfig(cfg.Bus)
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	return g.bus.Update(c)
}

// settings applies the settings table to the bus and the connectors.
type settings Gateway

// Check implements [apply.Settings].
func (s *settings) Check(groups map[string]map[string]any) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	cfg, err := (*Gateway)(s).withSettings(groups)
	if err != nil {
		return err
	}
	_, err = bus.ParseConfig(cfg.Bus)
	return errors.Join(err, s.connectors.Check(cfg.Connectors))
}

// Set implements [apply.Settings]. What the environment or a flag says wins, as at
// the start.
func (s *settings) Set(ctx context.Context, groups map[string]map[string]any) error {
	s.setting.Lock()
	cfg, err := (*Gateway)(s).withSettings(groups)
	if err == nil {
		err = (*Gateway)(s).updateBus(cfg)
	}
	if err == nil {
		s.groups = groups
	}
	s.setting.Unlock()
	if err != nil {
		return err
	}
	return (*Gateway)(s).updateConnectors(ctx, cfg)
}
