package center

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Policy says what a gateway does with a commit that fails on it.
type Policy string

// The policies.
const (
	RollbackAuto   Policy = "auto"   // center if it is the only gateway that ever registered, else local
	RollbackCenter Policy = "center" // put the commit before back in the store, for everybody
	RollbackLocal  Policy = "local"  // stay on the commit before, and report
)

// Outcome is what became of applying a snapshot.
type Outcome = feed.Outcome

// Rollback tells that a follower put the store back to an older document.
type Rollback struct {
	RevOld int64 // the commit whose document is in force again
	RevBad int64 // the commit that failed
	Rev    int64 // the commit that put it back
	State  State // what the applier said of the bad one: Rejected (or an earlier process did) or RolledBack
	Reason string
}

// Defaults of [FollowerConfig].
const (
	DefaultLeaseTTL = 10 * time.Second
	DefaultBootWait = 2 * time.Second
	DefaultRecheck  = 30 * time.Second
	DefaultReport   = 10 * time.Minute
)

// FollowerConfig says who follows which store, and what happens to snapshots.
type FollowerConfig struct {
	Store Config

	Gateway  string // gateway_id
	Instance string // who holds it: made once for a data_dir
	Version  string // of edge-gw
	Host     string // "": the host's name

	CacheFile string // keeps the last good configuration; its directory must exist
	Rollback  Policy // "": RollbackAuto

	// Seed returns what an empty store is filled with. It is also compared with the
	// store once, for a warning. It may be nil, or return nil: then there is nothing
	// to begin with.
	Seed func() (*config.Snapshot, error)

	// Signers are those whose signed documents alone are run; see sign.go. Empty: all are.
	Signers []Signer

	// Apply makes a snapshot the running configuration. It is never called twice
	// at the same time. When its context ends it should return soon.
	Apply func(ctx context.Context, snap *config.Snapshot) Outcome
	// Fits says why a document is not even decoded. May be nil.
	Fits func(*config.Document) error
	// OnSame is told of a commit whose document runs already, as after a rollback
	// of the store: Apply does not see it. May be nil.
	OnSame func(rev int64)
	// OnNewer is told of a commit that comes while another is applied. May be nil.
	OnNewer func(rev int64)
	// OnInvalid is told of a commit that isn't even a snapshot, so that Apply
	// never sees it. May be nil.
	OnInvalid func(rev int64, err error)
	// OnRollback is told when the store was put back. May be nil.
	OnRollback func(Rollback)
	// OnFailed is told that neither a commit nor the one before it runs, once the
	// cache says so. May be nil.
	OnFailed func(error)

	// Health returns how the gateway is, which a rollout compares. May be nil: all is well.
	Health func() Vitals

	// Claim returns how far the gateway's log has come, which the status keeps with
	// each write. May be nil.
	Claim func() Seen
	// Witness is told what the status has kept, before each registration replaces
	// it: a log that is behind that was put back to an earlier state. May be nil.
	Witness func(Seen)

	LeaseTTL time.Duration // after a crash, the gateway is shown as offline after this
	BootWait time.Duration // so long the store is waited for before the cache is used
	Recheck  time.Duration // how often the commit is read in case a watch is deaf
	Report   time.Duration // how often the status is written when nothing changes

	Log *slog.Logger
}

// Follower keeps a gateway on the store's configuration: see the package
// documentation.
type Follower struct {
	cfg   FollowerConfig
	keys  keyspace
	codec *codec
	cache cacheFile
	me    presence

	queue *feed.Queue   // work for the owner
	wants chan want     // the owner is free
	told  chan struct{} // status or rollback has changed
	begun chan bool     // the owner need not wait for the store any more: it has answered, or not

	causes []string // why the store has not been followed since it was last, each told once; Run's

	unsaved chan struct{} // the cache file is older than what runs
	writing sync.Mutex    // held while the cache file is written

	// The owner's: the goroutine of own.
	last    Version // what was handed to the applier last
	running Version // what Apply accepted last
	snap    *config.Snapshot
	bad     *verdict
	floor   floor
	// inherited: bad is an earlier process's, which had a state for it that this
	// one does not know the end of.
	inherited bool

	mu       sync.Mutex
	status   Status
	link     feed.Link
	lastErr  error
	wanted   feed.Revision
	rollback *rollbackRequest
	retry    bool
	good     *cached // what the cache file holds
	stake    stake
	baking   string    // what bakes: rollout and document
	bakes    time.Time // since when

	staking sync.Mutex // held while the file of the stake is written
}

// rollbackRequest asks the session to put the store back.
type rollbackRequest struct {
	bad, old Version
	state    State // for [Rollback]
	verdict  State // if the store is not put back
	reason   string
	unsigned bool // it was refused for its signature
}

// NewFollower checks cfg. Nothing is opened before [Follower.Run].
func NewFollower(cfg FollowerConfig) (*Follower, error) {
	if cfg.Apply == nil || cfg.CacheFile == "" || cfg.Instance == "" || !config.ValidKey(cfg.Gateway) {
		return nil, errors.New("follower: Gateway, Instance, CacheFile and Apply must be set")
	}
	setDefault(&cfg.Rollback, RollbackAuto)
	if cfg.Rollback != RollbackAuto && cfg.Rollback != RollbackCenter && cfg.Rollback != RollbackLocal {
		return nil, fmt.Errorf("config.rollback %q: expected auto, center or local", cfg.Rollback)
	}
	setDefault(&cfg.LeaseTTL, DefaultLeaseTTL)
	setDefault(&cfg.BootWait, DefaultBootWait)
	setDefault(&cfg.Recheck, DefaultRecheck)
	setDefault(&cfg.Report, DefaultReport)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.Store.DialTimeout, cfg.BootWait)
	if cfg.Store.Log == nil {
		cfg.Store.Log = cfg.Log
	}
	cfg.Store.setDefaults()
	if cfg.Host == "" {
		cfg.Host, _ = os.Hostname() // only shown
	}
	keys, err := newKeyspace(cfg.Store.Prefix)
	if err != nil {
		return nil, err
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	f := &Follower{
		cfg: cfg, keys: keys, codec: codec,
		cache: cacheFile{path: cfg.CacheFile, codec: codec},
		me:    presence{Instance: cfg.Instance, Boot: bootID(), Host: cfg.Host},
		queue: feed.NewQueue(), wants: make(chan want), told: make(chan struct{}, 1), begun: make(chan bool, 1), unsaved: make(chan struct{}, 1),
	}
	f.status = Status{
		Format: statusFormat, Gateway: cfg.Gateway, Instance: cfg.Instance, Host: cfg.Host, Version: cfg.Version, CommitFormat: NewestCommitFormat,
		State: Waiting, Error: "no configuration runs yet", Since: cfg.Store.Now().UTC(),
	}
	return f, nil
}

// bootID names this run of the machine's kernel; "" where that isn't known.
func bootID() string {
	b, err := regular.ReadFile(filepath.FromSlash("/proc/sys/kernel/random/boot_id"), 4<<10)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Run follows the store until ctx ends; then it returns nil, after Apply has
// returned. It returns a [ClaimedError] if the gateway_id belongs to another
// instance. Nothing else ends it: without the store, the gateway runs on.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer f.codec.close()
	last, err := f.cache.load(f.keys.prefix)
	if err != nil {
		f.cfg.Log.Warn("the configuration cache is not used", "error", err)
	}
	if err := f.readFloor(); err != nil {
		f.cfg.Log.Error("an old signed document would not be noticed", "error", err)
	}
	if err := f.readStake(); err != nil {
		f.cfg.Log.Warn("the gateway decides anew in its rollout", "error", err)
	}
	if last != nil {
		f.resumes(last)
		if err := f.admit(last.Commit, false); err != nil {
			f.cfg.Log.Error("the configuration cache is not used", "error", err)
			last = nil
		}
	}
	if last != nil {
		f.mu.Lock()
		f.bad, f.good = last.Bad, last
		if f.bad != nil {
			f.inherited = true
			if f.bad.State == Failed { // that was the process before; this one runs
				f.bad.State = Pinned
			}
		}
		f.mu.Unlock()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ended := make(chan struct{})
	wg.Go(func() { defer close(ended); f.own(ctx, last) })
	wg.Go(func() { f.saver(ended) })
	if last != nil && last.Bad != nil {
		f.begin(false) // the commit in force may be the bad one: first to what is known to run
	}
	defer time.AfterFunc(f.cfg.BootWait, func() { f.begin(false) }).Stop()

	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		begun := time.Now()
		err := f.session(ctx)
		var claimed *ClaimedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &claimed) && f.cached() == nil:
			f.setLink(false, err)
			return err // nothing has run here: this is the second one
		case errors.As(err, &claimed):
			wait = claimedWait
		}
		f.begin(false)
		f.lost(err)
		if time.Since(begun) > time.Minute {
			wait = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait)): // as in Store.retry
		}
	}
}

// claimedWait is how long a gateway that runs waits until it asks for its gateway_id
// again, when another one holds it. Whoever may write to the store can make it look so:
// that ends following, and never what runs.
const claimedWait = 30 * time.Second

// begin ends the owner's wait for the store.
func (f *Follower) begin(answered bool) {
	select {
	case f.begun <- answered:
	default: // it has begun
	}
}

// cached returns what the cache file holds, nil if nothing.
func (f *Follower) cached() *cached {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.good
}

// ofFleet reports whether what ran here last was a fleet's.
func (f *Follower) ofFleet() bool {
	last := f.cached()
	return last != nil && last.Commit.Fleet()
}

// View is what a follower says of itself.
type View struct {
	Status
	Connected bool  // to the store
	Err       error // why not
}

// View returns the follower's state now.
func (f *Follower) View() View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return View{Status: f.status, Connected: f.link.Connected, Err: f.lastErr}
}

// Feed returns the follower's state now, as every feed has it.
func (f *Follower) Feed() feed.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := feed.Status{
		Link: f.link, Wanted: f.wanted, Running: feed.Revision{Rev: uint64(f.status.Rev), SHA256: f.status.SHA256},
		State: f.status.State, Error: f.status.Error, Since: f.status.Since,
	}
	if st.State == Waiting && st.Link.Error != "" {
		st.Error += ": " + st.Link.Error
	}
	return st
}

// want notes which commit is in force.
func (f *Follower) want(c Commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = feed.Revision{Rev: uint64(c.Rev), SHA256: c.SHA256}
}

// Retry tries the commit in force again, as [Store.Retry] does from afar.
func (f *Follower) Retry() {
	f.mu.Lock()
	f.retry = true
	f.mu.Unlock()
	f.tell()
}

func (f *Follower) tell() {
	select {
	case f.told <- struct{}{}:
	default:
	}
}

// setLink notes the state of the connection, and returns since when it was as before.
func (f *Follower) setLink(up bool, err error) (since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since = f.link.Since
	f.link, f.lastErr = f.link.Set(up, err, f.cfg.Store.Now().UTC()), err
	return since
}

// maxCauses bounds how many causes of one outage are told.
const maxCauses = 20

// lost notes that the store is not followed, and tells each new cause.
func (f *Follower) lost(err error) {
	f.setLink(false, err)
	cause := strings.Map(func(r rune) rune { // a port that differs each time is no other cause
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, err.Error())
	if len(f.causes) == maxCauses || slices.Contains(f.causes, cause) {
		return
	}
	f.causes = append(f.causes, cause)
	f.cfg.Log.Warn("the config center is not followed; what runs goes on, and it is tried again", "error", err)
}

// followed notes that the store is followed, and tells so after an outage.
func (f *Follower) followed() {
	since := f.setLink(true, nil)
	if len(f.causes) > 0 {
		f.cfg.Log.Info("the config center is followed again", "away_s", int64(f.cfg.Store.Now().Sub(since).Seconds()))
	}
	f.causes = nil
}

// update changes the status; a new state begins now.
func (f *Follower) update(change func(*Status)) {
	f.mu.Lock()
	was := f.status.State
	change(&f.status)
	if f.status.State != was {
		f.status.Since = f.cfg.Store.Now().UTC()
	}
	f.mu.Unlock()
	f.tell()
}
