package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/eclipse/paho.golang/paho"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// OpenReplay implements [connector.Replayer]. It connects as CLIENT_ID-replay-…,
// with a session that ends with the connection: the broker keeps the one that the
// stopped gateway goes on with. It has no last will and sets no status.
func (f *factory) OpenReplay(ctx context.Context, name string, cfg map[string]any, epoch string, deps connector.Deps) (connector.Replay, error) {
	c, err := decodeConfig(cfg)
	if err != nil {
		return nil, err
	}
	c.Commands.Enable = false
	deps.Source = stoppedLog{epoch: epoch}
	k, err := newConnector(name, c, deps, f.metrics)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, srv := range k.servers {
		r, err := k.openReplay(ctx, srv)
		if err == nil {
			return r, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", srv, err))
	}
	return nil, errors.Join(errs...)
}

// stoppedLog stands for the log of a gateway that is stopped: only its epoch is
// asked for.
type stoppedLog struct {
	connector.Source
	epoch string
}

// Epoch implements [connector.Source].
func (s stoppedLog) Epoch() string { return s.epoch }

// replayLink is a connector with a connection for replays.
type replayLink struct {
	c *Connector
	l *link
}

func (c *Connector) openReplay(ctx context.Context, srv server) (*replayLink, error) {
	t := c.termsOf(srv)
	v := &visit{dialer: c.dialer(srv, t), run: plainStep, name: connectStep}
	l := &link{old: v.dialer.old}
	err := v.pay(ctx, func(nc *conn, client *paho.Client) (string, error) {
		l.conn, l.client = nc, client
		return "", c.joinReplay(ctx, l)
	})
	if v.arrived && err != nil {
		if t.refused(err); isVersion(err) && t.next().old != l.old && c.pauseBetween(ctx) == nil {
			return c.openReplay(ctx, srv)
		}
	}
	if err != nil {
		return nil, err
	}
	c.setLink(l)
	return &replayLink{c, l}, nil
}

// joinReplay sends CONNECT and reads what the broker allows.
func (c *Connector) joinReplay(ctx context.Context, l *link) error {
	p := &paho.Connect{ClientID: c.clientID + "-replay-" + rand.Text()[:6], KeepAlive: 30, CleanStart: true,
		Properties: &paho.ConnectProperties{RequestProblemInfo: true}}
	if err := c.credentials(p); err != nil {
		return err
	}
	ack, err := call(ctx, l.client, l.conn, p)
	if err != nil {
		return err
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.session.limits = readLimits(connackProperties(ack))
	return nil
}

// Replay implements [connector.Replay].
func (r *replayLink) Replay(ctx context.Context, id string, batches []*frame.Batch) (string, error) {
	return r.c.Replay(ctx, id, batches)
}

// Close implements [connector.Replay].
func (r *replayLink) Close() {
	_ = r.l.client.Disconnect(&paho.Disconnect{}) // everything has been acknowledged
	_ = r.l.conn.Close()                          // closed by Disconnect, or given up
	<-r.l.client.Done()
}
