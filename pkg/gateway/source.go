package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"crypto/rand"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/center/embedded"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// source is where the tables come from. It applies each snapshot through
// [Gateway.apply].
type source interface {
	// Run applies the first snapshot and then every change, until ctx ends. It
	// returns an error if there is nothing to begin with and never will be.
	Run(ctx context.Context) error
	// Reload looks now, and returns when what was found is applied or refused.
	Reload(ctx context.Context) error
	// Rollback puts an earlier configuration back on this gateway; 0 is the one
	// before. It stays until what the source has is changed, or Reload is called.
	Rollback(ctx context.Context, rev uint64) error
	// State says if what runs is not what the source has.
	State() sourceState
}

// sourceState is empty while what runs is what the source has.
type sourceState struct {
	State string // pinned, rejected, …
	Error string // why
	Since time.Time
}

// openSource builds the source that config.source names.
func (g *Gateway) openSource(instance string) error {
	switch g.cfg.Config.Source {
	case "dir":
		g.source = g.newDirSource()
		return nil
	case "etcd":
		s, err := g.newEtcdSource(instance)
		if err != nil {
			return err
		}
		g.source = s
		return nil
	}
	return fmt.Errorf("config.source %q: expected etcd or dir", g.cfg.Config.Source)
}

// etcdSource follows the configuration center, and runs the embedded one where
// there is no other.
type etcdSource struct {
	g        *Gateway
	server   *embedded.Server // nil: a cluster
	follower *center.Follower
}

// serverRetry is how long the embedded server is left alone after it failed. The
// gateway runs on without it.
const serverRetry = 10 * time.Second

func (g *Gateway) newEtcdSource(instance string) (*etcdSource, error) {
	c := g.cfg.Config
	s := &etcdSource{g: g}
	store := center.Config{Endpoints: c.Etcd.Endpoints, Prefix: c.Etcd.Prefix, User: c.Etcd.Username, Log: g.log}
	if t := c.Etcd.TLS; t.CA != "" || t.ClientCert != "" || t.ClientKey != "" {
		store.TLS = &center.TLS{CA: t.CA, Cert: t.ClientCert, Key: t.ClientKey}
	}
	var err error
	if store.Password, err = g.secrets().Resolve(c.Etcd.Password); err != nil {
		return nil, fmt.Errorf("config.etcd.password: %w", err)
	}
	if len(store.Endpoints) == 0 {
		if s.server, err = g.newEmbedded(); err != nil {
			return nil, err
		}
		store.Endpoints = []string{s.server.Endpoint()}
	}
	if err := store.Check(); err != nil {
		return nil, fmt.Errorf("config.etcd: %w", err)
	}
	s.follower, err = center.NewFollower(center.FollowerConfig{
		Store: store, Gateway: g.cfg.GatewayID, Instance: instance, Version: version.String(),
		CacheFile: filepath.Join(g.cfg.DataDir, cacheFile), Rollback: center.Policy(c.Rollback), Seed: s.seed,
		Apply: s.apply,
		OnSame: func(rev int64) {
			g.rev.Store(uint64(rev))
			g.runner.Renumber(uint64(rev))
		},
		OnInvalid: func(rev int64, err error) {
			g.refuse(err)
			g.log.Error("a commit of the configuration center is no configuration; what runs goes on", "rev", rev, "error", err)
		},
		OnRollback: s.rolledBack, Claim: g.claim, Witness: g.witness, Report: reportEvery,
		Log: g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return s, nil
}

// reportEvery is how often the status in the store is written, with how far the log has
// come.
const reportEvery = time.Minute

func (g *Gateway) newEmbedded() (*embedded.Server, error) {
	return embedded.New(embedded.Config{
		Dir: etcdDir(g.cfg), Socket: center.EmbeddedSocket(g.cfg.DataDir), Listen: g.cfg.Config.Etcd.Listen, Log: g.log,
	})
}

// Files of data_dir.
const (
	instanceFile = "instance"              // who holds the gateway_id
	cacheFile    = "config.cache"          // what the follower ran last
	lastGoodFile = "config.last-good.json" // with source dir: the snapshot that was applied last, in canonical form
	previousFile = "config.previous.json"  // the one before it
	holdFile     = "config.hold.json"      // which one not to run
)

// instanceID returns what tells this data directory from another one with the same
// gateway_id. It is made once.
func instanceID(dataDir string) (string, error) {
	path := filepath.Join(dataDir, instanceFile)
	text, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(text))) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("instance id: %w", err)
	}
	id := rand.Text()
	return id, durable.WriteFile(path, []byte(id+"\n"), 0o600)
}

// seed is what an empty store begins with: the tables in config.dir, if there are
// any.
func (s *etcdSource) seed() (*config.Snapshot, error) {
	dir := s.g.cfg.Config.Dir
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return config.LoadDir(dir)
}

// apply is the follower's way to [Gateway.apply].
func (s *etcdSource) apply(ctx context.Context, snap *config.Snapshot) center.Outcome {
	r := s.g.apply(ctx, snap, !s.g.hasBooted())
	return center.Outcome{State: center.State(r.Outcome), Err: r.Err}
}

// rolledBack counts a rollback in the store of what never touched this gateway; a
// rollback in the process was counted and told when it happened.
func (s *etcdSource) rolledBack(r center.Rollback) {
	if r.State == center.Rejected {
		s.g.metrics.CountRollback()
		s.g.tellRollback(uint64(r.RevOld), uint64(r.RevBad), r.Reason)
	}
}

// Run implements [source].
func (s *etcdSource) Run(ctx context.Context) error { return s.follower.Run(ctx) }

// Serve runs the embedded server, if there is one, again and again if it fails:
// without it the gateway can't be changed, but it runs.
func (s *etcdSource) Serve(ctx context.Context) error {
	if s.server == nil {
		return nil
	}
	for server := s.server; ; {
		err := server.Run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.g.log.Error("the embedded configuration center has failed; the gateway runs on and tries again", "error", err, "retry_in", serverRetry)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(serverRetry):
		}
		if server, err = s.g.newEmbedded(); err != nil {
			return err
		}
	}
}

// Reload implements [source].
func (s *etcdSource) Reload(ctx context.Context) error { return centerError(s.follower.Reload(ctx)) }

// Rollback implements [source].
func (s *etcdSource) Rollback(ctx context.Context, rev uint64) error {
	if rev == 0 {
		rev = s.g.history.ranBefore(s.g.runner.Current())
	}
	r, err := s.follower.Rollback(ctx, int64(rev))
	if err != nil {
		return centerError(err)
	}
	s.g.putBackByHand(uint64(r.RevOld), uint64(r.RevBad))
	return nil
}

// centerError marks err with the kind that the API's callers tell apart.
func centerError(err error) error {
	for _, kind := range []struct{ is, as error }{
		{center.ErrNoRelease, admin.ErrNotFound}, {center.ErrNotKept, admin.ErrNotFound}, {center.ErrUnavailable, admin.ErrUnavailable},
	} {
		if errors.Is(err, kind.is) {
			return fmt.Errorf("%w: %w", kind.as, err)
		}
	}
	return err
}

// State implements [source].
func (s *etcdSource) State() sourceState {
	v := s.follower.View()
	switch {
	case !s.g.hasBooted() && (v.State == "" || v.State == center.Applied || v.State == center.Applying && v.Error == ""):
		waiting := sourceState{State: "waiting", Error: "no configuration runs yet"}
		if v.Err != nil {
			waiting.Error += ": " + v.Err.Error()
		}
		return waiting
	case v.State == center.Applied:
		return sourceState{}
	case v.State == center.Applying && v.Error == "": // the history tells, once there is something to tell
		return sourceState{}
	}
	return sourceState{State: string(v.State), Error: v.Error, Since: v.Since}
}

// booted is closed by the first apply.
func (g *Gateway) hasBooted() bool {
	select {
	case <-g.booted:
		return true
	default:
		return false
	}
}

// tellRollback publishes what the specification calls sys.cfg_rollback.
func (g *Gateway) tellRollback(old, bad uint64, reason string) {
	object := map[string]any{"rev_old": old, "rev_bad": bad, "reason": reason}
	if err := g.bus.PublishSys("sys.cfg_rollback", object); err != nil {
		g.log.Error("a rollback was not told upstream", "error", err)
	}
}

// refuse records a configuration that could not even be read, or is held back. What
// runs goes on.
func (g *Gateway) refuse(err error) {
	g.refused.Store(&err)
	if held := (*heldError)(nil); errors.As(err, &held) {
		return // it was counted when it failed
	}
	g.metrics.CountInvalid()
	g.history.add(apply.Result{Outcome: apply.Rejected, Err: err, FailedIn: apply.Preparing, Began: time.Now()})
}

// apply takes the gateway to snap. At the boot nothing is verified: a device that
// is away then is no reason not to run.
func (g *Gateway) apply(ctx context.Context, snap *config.Snapshot, boot bool) apply.Result {
	// Drivers that start while the apply runs decode with the new tables.
	before := g.rev.Swap(snap.Rev)
	r := g.runner.Apply(ctx, snap, boot)
	if r.Outcome != apply.Applied {
		g.rev.Store(before)
	}
	g.history.add(r)
	switch r.Outcome {
	case apply.Applied:
		g.refused.Store(nil)
		g.bootOnce.Do(func() { close(g.booted) })
	case apply.RolledBack:
		g.tellRollback(before, snap.Rev, r.Err.Error())
	case apply.BrokenDown:
		g.breakDown(snap, r.Err)
	}
	return r
}

// ErrRestart is the error of a [Gateway.Run] that ended since neither a new
// configuration nor the old one can be run in this process. The next process begins
// with the last good one and does not try the other by itself.
var ErrRestart = errors.New("the gateway has to be restarted")

// breakDown ends the process so that the next one runs what was good.
func (g *Gateway) breakDown(snap *config.Snapshot, err error) {
	if g.cfg.Config.Source == "dir" { // with etcd the follower's cache has it
		reason := fmt.Sprintf("neither it nor a rollback worked, and the gateway was restarted: %v", err)
		if err := g.setHold(snap, reason); err != nil {
			g.log.Error("the failed configuration may be tried again after the restart", "error", err)
		}
	}
	g.fail(fmt.Errorf("%w: neither the new configuration nor the old one can be run: %w", ErrRestart, err))
}

// putBackByHand counts and tells a rollback that a person asked for.
func (g *Gateway) putBackByHand(old, left uint64) {
	g.metrics.CountRollback()
	g.tellRollback(old, left, "edge-ctl config rollback")
	g.log.Warn("an earlier configuration was put back by hand", "rev", old, "rev_left", left)
}
