package gateway

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

type adminConfig struct {
	pb.UnimplementedConfigServiceServer
	g *Gateway
}

// GetConfigStatus says what runs.
func (a adminConfig) GetConfigStatus(context.Context, *pb.GetConfigStatusRequest) (*pb.GetConfigStatusResponse, error) {
	return &pb.GetConfigStatusResponse{Status: a.status()}, nil
}

func (a adminConfig) status() *pb.ConfigStatus {
	return configMessage(a.g.feed.Status(), a.g.cfg.Config.Source, a.g.runner.Current())
}

// configMessage is st with what runs.
func configMessage(st feed.Status, source string, runs *config.Snapshot) *pb.ConfigStatus {
	m := admin.Fill(new(pb.ConfigStatus), st)
	m.Source, m.Rev, m.Sha256 = source, st.Running.Rev, st.Running.SHA256
	m.Endpoints, m.Drivers, m.Variables = uint32(len(runs.Endpoints)), uint32(len(runs.Drivers)), uint32(len(runs.Variables))
	return m
}

// applyMessage is r, its error in words.
func applyMessage(r apply.Result) *pb.ConfigApply {
	m := admin.Fill(new(pb.ConfigApply), r)
	m.State = string(r.Outcome)
	if r.Err != nil {
		m.Error, m.FailedIn = r.Err.Error(), r.FailedIn.String()
	}
	return m
}

// ListConfigHistory lists what was applied or refused, newest first.
func (a adminConfig) ListConfigHistory(_ context.Context, req *pb.ListConfigHistoryRequest) (*pb.ListConfigHistoryResponse, error) {
	return &pb.ListConfigHistoryResponse{Applies: a.g.history.list(int(req.GetLimit()))}, nil
}

// WatchConfig sends each phase and outcome of an apply. The header goes out at once: a
// client that has it misses nothing.
func (a adminConfig) WatchConfig(_ *pb.WatchConfigRequest, out grpc.ServerStreamingServer[pb.WatchConfigResponse]) error {
	events, stop := a.g.history.watch()
	defer stop()
	if err := out.SendHeader(nil); err != nil {
		return err
	}
	for {
		select {
		case <-out.Context().Done():
			return nil
		case e := <-events:
			if err := out.Send(configEvent(e)); err != nil {
				return err
			}
		}
	}
}

func configEvent(event any) *pb.WatchConfigResponse {
	switch e := event.(type) {
	case apply.Progress:
		return &pb.WatchConfigResponse{Time: admin.Timestamp(e.Time), Rev: e.Rev, State: e.State.String()}
	case apply.Result:
		ev := &pb.WatchConfigResponse{Time: admin.Timestamp(e.Began.Add(e.Duration)), Rev: e.Rev, Sha256: e.SHA256, State: string(e.Outcome), Text: e.Impact}
		if e.Err != nil {
			ev.Text = fmt.Sprintf("failed in %s: %v", e.FailedIn, e.Err)
		}
		return ev
	}
	return &pb.WatchConfigResponse{Text: fmt.Sprint(event)}
}

// ReloadConfig reads the source again and waits for the outcome.
func (a adminConfig) ReloadConfig(ctx context.Context, req *pb.ReloadConfigRequest) (*pb.ReloadConfigResponse, error) {
	reload := a.g.feed.Reload
	if req.AllowDelete {
		dir, ok := a.g.feed.(*feed.Dir)
		if !ok {
			return nil, fmt.Errorf("%w: the tables of this gateway come from the config center, where 'edge-cfg push --allow-delete' says what may go", errkind.Invalid)
		}
		reload = dir.ReloadAllowingDelete
	}
	// An apply that has begun is finished, whether the caller waits or not.
	if err := reload(context.WithoutCancel(ctx)); err != nil {
		return nil, notApplied(err)
	}
	return &pb.ReloadConfigResponse{Status: a.status()}, nil
}

// notApplied is the error of a reload. What is wrong with the configuration is the
// caller's fault; that its source is away is not.
func notApplied(err error) error {
	if errkind.Of(err) != errkind.None {
		return fmt.Errorf("the configuration was not applied:\n%w", err)
	}
	return fmt.Errorf("%w: the configuration was not applied:\n%w", errkind.Invalid, err)
}

// RollbackConfig puts an earlier configuration back here; 0 is the one before.
func (a adminConfig) RollbackConfig(ctx context.Context, r *pb.RollbackConfigRequest) (*pb.RollbackConfigResponse, error) {
	if err := a.g.feed.Rollback(context.WithoutCancel(ctx), r.GetToRev()); err != nil {
		return nil, err
	}
	return &pb.RollbackConfigResponse{Status: a.status()}, nil
}
