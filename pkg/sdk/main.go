package sdk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// Main runs a driver, and does not return. A person who starts the driver is told what it is.
func Main(d Driver) {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if Started() {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the gateway, however that ends
			os.Exit(0)
		}()
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: driverpb.Version, MagicCookieKey: driverpb.CookieKey, MagicCookieValue: driverpb.CookieValue},
		Plugins:         plugin.PluginSet{driverpb.PluginName: &served{server: newServer(d, log)}},
		Logger:          hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(driverpb.MaxMessage), grpc.UnaryInterceptor(outputs()))...)
		},
	})
}

// outputs gives the process its outputs back when the first call comes. go-plugin sends what is
// written to them over the connection, where the last words of a driver that ends are lost. The
// gateway reads both.
func outputs() grpc.UnaryServerInterceptor {
	stdout, stderr := os.Stdout, os.Stderr
	restore := sync.OnceFunc(func() { os.Stdout, os.Stderr = stdout, stderr })
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		restore()
		return handle(ctx, req)
	}
}

// Started reports whether a gateway started this process as a driver.
func Started() bool { return os.Getenv(driverpb.CookieKey) == driverpb.CookieValue }

// served is the driver among go-plugin's plugins.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

// GRPCServer implements plugin.GRPCPlugin.
func (p *served) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	driverpb.RegisterDriverServiceServer(s, p.server)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin. Only the gateway is a client.
func (p *served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a driver is no client")
}
