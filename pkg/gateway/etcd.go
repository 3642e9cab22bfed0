package gateway

import (
	"context"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
)

// serverRetry is how long the embedded server is left alone after it failed. The
// gateway runs on without it.
const serverRetry = 10 * time.Second

func (g *Gateway) newEmbedded() (*embedded.Server, error) {
	return embedded.New(embedded.Config{
		Dir: etcdDir(g.cfg), Socket: center.EmbeddedSocket(g.cfg.DataDir), Listen: g.cfg.Config.Etcd.Listen, Log: g.log,
	})
}

// serveEtcd runs the embedded server, again and again if it fails: without it the
// gateway can't be changed, but it runs.
func (g *Gateway) serveEtcd(ctx context.Context) error {
	for server := g.etcd; ; {
		g.serving.Store(server)
		err := server.Run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		g.log.Error("the embedded configuration center has failed; the gateway runs on and tries again", "error", err, "retry_in", serverRetry)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(serverRetry):
		}
		if server, err = g.newEmbedded(); err != nil {
			return err
		}
	}
}
