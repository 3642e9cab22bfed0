package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/version"
)

// openFeed builds the feed that config.source names, and the embedded configuration
// center where there is no other. instance is the follower's.
func (g *Gateway) openFeed(instance string) error {
	switch g.cfg.Config.Source {
	case "dir":
		if len(g.cfg.Policy.Signers) > 0 {
			return errors.New("policy.signers: the tables of a directory can't be signed: set config.source to etcd and push them, or take the signers away")
		}
		g.feed = feed.NewDir(feed.DirConfig{
			Dir: g.cfg.Config.Dir, DataDir: g.cfg.DataDir, Log: g.log,
			Apply: g.applyFed, OnRefused: g.refuse, OnFailed: g.breakDown, OnRollback: g.putBackByHand,
		})
		return nil
	case "etcd":
		f, err := g.newEtcdFeed(instance)
		if err != nil {
			return err
		}
		g.feed = f
		return nil
	}
	return fmt.Errorf("config.source %q: expected etcd or dir", g.cfg.Config.Source)
}

// etcdFeed follows the configuration center.
type etcdFeed struct {
	g        *Gateway
	follower *center.Follower
}

func (g *Gateway) newEtcdFeed(instance string) (*etcdFeed, error) {
	c := g.cfg.Config
	s := &etcdFeed{g: g}
	store := center.Config{Endpoints: c.Etcd.Endpoints, Prefix: c.Etcd.Prefix, User: c.Etcd.Username, Log: g.log}
	if t := c.Etcd.TLS; t.CA != "" || t.ClientCert != "" || t.ClientKey != "" {
		store.TLS = &center.TLS{CA: t.CA, Cert: t.ClientCert, Key: t.ClientKey}
	}
	store.ReadPassword = func() (string, error) {
		password, err := g.secrets().Resolve(c.Etcd.Password)
		if err != nil {
			err = fmt.Errorf("config.etcd.password: %w", err)
		}
		return password, err
	}
	_, err := store.ReadPassword() // one that is missing at the start was never there
	if err != nil {
		return nil, err
	}
	if len(store.Endpoints) == 0 {
		if g.etcd, err = g.newEmbedded(); err != nil {
			return nil, err
		}
		store.Endpoints, store.Own = []string{g.etcd.Endpoint()}, true
	}
	if err := store.Check(); err != nil {
		return nil, fmt.Errorf("config.etcd: %w", err)
	}
	signers, err := parseSigners(g.cfg.Policy.Signers)
	if err != nil {
		return nil, err
	}
	s.follower, err = center.NewFollower(center.FollowerConfig{
		Store: store, Signers: signers, Gateway: g.cfg.GatewayID, Instance: instance, Version: version.String(),
		CacheFile: filepath.Join(g.cfg.DataDir, cacheFile), Rollback: center.Policy(c.Rollback), Seed: s.seed,
		Apply: func(ctx context.Context, snap *config.Snapshot) center.Outcome {
			return g.applyFed(ctx, snap, !g.hasBooted())
		},
		Fits: g.fits, OnFailed: g.breakDown, OnSame: g.renumber,
		OnNewer: func(rev int64) { g.runner.Newer(uint64(rev)) },
		OnInvalid: func(rev int64, err error) {
			g.refuse(err)
			g.log.Error("a commit of the configuration center is not a configuration; the gateway keeps what runs", "rev", rev, "error", err)
		},
		OnRollback: s.rolledBack, Health: g.vitals, Claim: g.claim, Witness: g.witness, Report: reportEvery,
		Log: g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return s, nil
}

func parseSigners(texts []string) ([]center.Signer, error) {
	out := make([]center.Signer, 0, len(texts))
	for _, text := range texts {
		s, err := center.ParseSigner(text)
		if err != nil {
			return nil, fmt.Errorf("policy.signers: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}

// renumber notes that what runs is in force under another revision.
func (g *Gateway) renumber(rev int64) {
	g.rev.Store(uint64(rev))
	g.runner.Renumber(uint64(rev))
	g.history.add(apply.Result{Rev: uint64(rev), SHA256: g.runner.Current().SHA256, Outcome: apply.Applied, Impact: "nothing: it runs already", Began: time.Now()})
}

// reportEvery is how often the status in the store is written, with how far the log has
// come.
const reportEvery = time.Minute

// Files of data_dir.
const (
	instanceFile = "instance"     // who holds the gateway_id
	cacheFile    = "config.cache" // what the follower ran last
)

// instanceID returns what tells this data directory from another one with the same
// gateway_id. It is made once.
func instanceID(dataDir string) (string, error) {
	path := filepath.Join(dataDir, instanceFile)
	text, err := regular.ReadFile(path, 4<<10)
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
func (s *etcdFeed) seed() (*config.Snapshot, error) {
	dir := s.g.cfg.Config.Dir
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return config.LoadDir(dir)
}

// rolledBack counts a rollback in the store of what never touched this gateway; a
// rollback in the process was counted and told when it happened.
func (s *etcdFeed) rolledBack(r center.Rollback) {
	if r.State == center.Rejected {
		s.g.metrics.CountRollback()
		s.g.tellRollback(uint64(r.RevOld), uint64(r.RevBad), r.Reason)
	}
}

// Run implements [feed.Feed].
func (s *etcdFeed) Run(ctx context.Context) error { return s.follower.Run(ctx) }

// Keep implements [feed.Feed]: the follower keeps what runs with what it must know of
// the store.
func (s *etcdFeed) Keep(*config.Snapshot) error { return nil }

// Reload implements [feed.Feed].
func (s *etcdFeed) Reload(ctx context.Context) error { return s.follower.Reload(ctx) }

// Rollback implements [feed.Feed].
func (s *etcdFeed) Rollback(ctx context.Context, rev uint64) error {
	to := feed.Revision{Rev: rev}
	if rev == 0 {
		to = s.g.history.ranBefore(s.Status().Running)
	}
	r, err := s.follower.Rollback(ctx, to)
	if err != nil {
		return err
	}
	s.g.putBackByHand(uint64(r.RevOld), uint64(r.RevBad))
	return nil
}

// Status implements [feed.Feed].
func (s *etcdFeed) Status() feed.Status { return s.follower.Feed() }

// Reload has the tables read anew, as edge-ctl config reload does, and logs what comes of
// it. It returns at once.
func (g *Gateway) Reload(ctx context.Context) {
	go func() {
		if err := g.feed.Reload(ctx); err != nil {
			g.log.Error("the configuration was not reloaded; the gateway keeps what runs", "error", err)
			return
		}
		st := g.feed.Status()
		g.log.Info("the configuration was reloaded", "rev", st.Running.Rev, "sha256", st.Running.SHA256)
	}()
}

// hasBooted reports whether a configuration runs, or did.
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
		g.log.Error("a rollback could not be reported upstream", "error", err)
	}
}

// refuse records a configuration that could not even be read. What runs goes on.
func (g *Gateway) refuse(err error) {
	g.metrics.CountInvalid()
	g.history.add(apply.Result{Outcome: apply.Rejected, Err: err, FailedIn: apply.Preparing, Began: time.Now()})
}

// apply takes the gateway to snap. At the boot nothing is verified: a device that
// is away then is no reason not to run.
func (g *Gateway) apply(ctx context.Context, snap *config.Snapshot, boot bool) apply.Result {
	undo := g.trial.begin(snap)
	// Drivers that start while the apply runs decode with the new tables.
	before := g.rev.Swap(snap.Rev)
	r := g.runner.Apply(ctx, snap, boot)
	if r.Outcome != apply.Applied {
		g.rev.Store(before)
	}
	if r.Outcome == apply.Rejected || r.Outcome == apply.RolledBack {
		undo() // what ran before goes on, proven or not
	}
	g.history.add(r)
	switch r.Outcome {
	case apply.Applied:
		g.trial.runs(snap)
		g.bootOnce.Do(func() { close(g.booted) })
	case apply.RolledBack:
		g.tellRollback(before, snap.Rev, r.Err.Error())
	}
	return r
}

// fits refuses a document that needs more memory than the policy allows. At the boot it
// is tried: what runs too is not known to be too large.
func (g *Gateway) fits(doc *config.Document) error {
	if !g.hasBooted() {
		return nil
	}
	return doc.Fits(g.cfg.Policy.DocumentMemory)
}

// applyFed is a feed's way to [Gateway.apply].
func (g *Gateway) applyFed(ctx context.Context, snap *config.Snapshot, boot bool) feed.Outcome {
	if err := g.fits(snap.Document()); err != nil {
		g.refuse(err)
		return feed.Outcome{State: feed.Rejected, Err: err}
	}
	r := g.apply(ctx, snap, boot)
	return feed.Outcome{State: feed.State(r.Outcome), Err: r.Err}
}

// ErrRestart is the error of a [Gateway.Run] that ended since neither a new
// configuration nor the old one can be run in this process. The next process begins
// with the last good one and does not try the other by itself.
var ErrRestart = errors.New("the gateway has to be restarted")

// breakDown ends the process, so that the next one runs what was good: the feed has
// noted what is not to be tried again.
func (g *Gateway) breakDown(err error) {
	g.fail(fmt.Errorf("%w: neither the new configuration nor the old one can be run: %w", ErrRestart, err))
}

// putBackByHand counts and tells a rollback that a person asked for.
func (g *Gateway) putBackByHand(old, left uint64) {
	g.metrics.CountRollback()
	g.tellRollback(old, left, "edge-ctl config rollback")
	g.log.Warn("an earlier configuration was put back by hand", "rev", old, "rev_left", left)
}
