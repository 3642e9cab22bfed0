package gateway

import (
	"context"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
)

type adminConfig struct{ g *Gateway }

// Status implements [admin.ConfigBackend].
func (a adminConfig) Status(context.Context) (admin.ConfigStatus, error) {
	snap, st := a.g.runner.Current(), a.g.feed.Status()
	return admin.ConfigStatus{
		Source: a.g.cfg.Config.Source, Rev: snap.Rev, SHA256: snap.SHA256, State: string(st.State), Error: st.Error, Since: st.Since,
		Endpoints: len(snap.Endpoints), Drivers: len(snap.Drivers), Variables: len(snap.Variables),
	}, nil
}

// History implements [admin.ConfigBackend].
func (a adminConfig) History(_ context.Context, limit int) ([]admin.ConfigApply, error) {
	var list []admin.ConfigApply
	for _, r := range a.g.history.list(limit) {
		e := admin.ConfigApply{
			Rev: r.Rev, SHA256: r.SHA256, State: string(r.Outcome), Impact: r.Impact, Began: r.Began,
			DurationMs: float64(r.Duration.Microseconds()) / 1000,
		}
		if r.Err != nil {
			e.Error, e.FailedIn = r.Err.Error(), r.FailedIn.String()
		}
		list = append(list, e)
	}
	return list, nil
}

// Watch implements [admin.ConfigBackend].
func (a adminConfig) Watch(ctx context.Context, emit func(admin.ConfigEvent)) error {
	events, stop := a.g.history.watch()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			emit(configEvent(e))
		}
	}
}

func configEvent(event any) admin.ConfigEvent {
	switch e := event.(type) {
	case apply.Progress:
		return admin.ConfigEvent{Time: e.Time, Rev: e.Rev, State: e.State.String()}
	case apply.Result:
		ev := admin.ConfigEvent{Time: e.Began.Add(e.Duration), Rev: e.Rev, SHA256: e.SHA256, State: string(e.Outcome), Text: e.Impact}
		if e.Err != nil {
			ev.Text = fmt.Sprintf("failed in %s: %v", e.FailedIn, e.Err)
		}
		return ev
	}
	return admin.ConfigEvent{Text: fmt.Sprint(event)}
}

// Reload implements [admin.ConfigBackend].
func (a adminConfig) Reload(ctx context.Context) (admin.ConfigStatus, error) {
	// An apply that has begun is finished, whether the caller waits or not.
	if err := feedError(a.g.feed.Reload(context.WithoutCancel(ctx))); err != nil {
		return admin.ConfigStatus{}, fmt.Errorf("%w: the configuration was not applied:\n%w", admin.ErrInvalid, err)
	}
	return a.Status(ctx)
}

// Rollback implements [admin.ConfigBackend].
func (a adminConfig) Rollback(ctx context.Context, rev uint64) (admin.ConfigStatus, error) {
	if err := a.g.feed.Rollback(context.WithoutCancel(ctx), rev); err != nil {
		return admin.ConfigStatus{}, feedError(err)
	}
	return a.Status(ctx)
}
