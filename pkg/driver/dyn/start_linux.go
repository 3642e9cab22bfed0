package dyn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/driver/plugin"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

const (
	startLimit = 10 * time.Second       // until the handshake
	endLimit   = 200 * time.Millisecond // for a driver that is asked to end
	maxAnswer  = 16 << 20               // bytes of a message
)

// running is a driver's process and the connection to it.
type running struct {
	driverpb.DriverServiceClient
	process *process
	client  *goplugin.Client
	stop    func()
}

// start runs an executable as the driver id. It returns when the handshake is done.
func start(ctx context.Context, f *file, id string, limits Limits, log *slog.Logger) (plugin.Session, error) {
	var made atomic.Pointer[process]
	out := newSaid(log)
	cfg := &goplugin.ClientConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{ProtocolVersion: driverpb.Version, MagicCookieKey: driverpb.CookieKey, MagicCookieValue: driverpb.CookieValue},
		Plugins:          goplugin.PluginSet{driverpb.PluginName: stub{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     startLimit,
		SkipHostEnv:      true,
		AutoMTLS:         true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{},
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer), grpc.MaxCallSendMsgSize(driverpb.MaxMessage))},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			p := newProcess(f, dir, append(cmd.Env, "EDGE_GW_DRIVER_ID="+id), limits, log, out)
			made.Store(p)
			return p, nil
		},
		SyncStdout: out, SyncStderr: out,
	}
	client := goplugin.NewClient(cfg)
	aborted := make(chan struct{})
	abort := context.AfterFunc(ctx, func() {
		defer close(aborted)
		if p := made.Load(); p != nil {
			p.kill()
		}
	})
	s, err := connect(client)
	if !abort() {
		<-aborted
		err = errors.Join(ctx.Err(), err)
	}
	p := made.Load()
	if err != nil {
		if p != nil {
			p.kill()
			client.Kill()
		}
		return nil, explain(p, f.path, err)
	}
	s.process, s.client = p, client
	s.stop = sync.OnceFunc(s.end)
	return s, nil
}

// stub is the driver's place among go-plugin's plugins. The connection is used as it is.
type stub struct {
	goplugin.NetRPCUnsupportedPlugin
}

// GRPCServer implements goplugin.GRPCPlugin.
func (stub) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the gateway is no driver")
}

// GRPCClient implements goplugin.GRPCPlugin.
func (stub) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &running{DriverServiceClient: driverpb.NewDriverServiceClient(conn)}, nil
}

// connect does the handshake.
func connect(client *goplugin.Client) (*running, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	made, err := protocol.Dispense(driverpb.PluginName)
	if err != nil {
		return nil, err
	}
	s, ok := made.(*running)
	if !ok {
		return nil, fmt.Errorf("go-plugin made a %T", made)
	}
	return s, nil
}

// explain says why a driver did not start.
func explain(p *process, path string, err error) error {
	if p == nil || p.pid.Load() == 0 {
		return fmt.Errorf("%s can't be started: %w", path, err)
	}
	if newer := p.newer(); newer != nil {
		return newer
	}
	reason, _, _ := strings.Cut(err.Error(), "\n") // go-plugin explains more than this reader needs
	if said := p.said.tail(); said != "" {
		reason += "; it said: " + said
	}
	return fmt.Errorf("%s did not start as a driver: %s", path, reason)
}

// Done implements plugin.Session.
func (s *running) Done() <-chan struct{} { return s.process.done }

// Why implements plugin.Session.
func (s *running) Why() error { return s.process.why() }

// Stop implements plugin.Session.
func (s *running) Stop() { s.stop() }

// end asks the process to end, and ends it.
func (s *running) end() {
	_ = s.process.stdin.Close() // which asks it
	select {
	case <-s.process.done:
	case <-time.After(endLimit):
		s.process.kill()
		<-s.process.done
	}
	s.client.Kill() // removes the directory, and waits for go-plugin's goroutines
}
