package center

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// session is one connection of a follower with the store: read, then watch from
// there. Whatever breaks the chain ends the session (compacted history, a lost
// leader, a lost lease, a cluster restored from a backup), and the next one reads
// anew.
type session struct {
	f     *Follower
	store *Store
	at    position // the newest revision seen

	waiting []Commit // not handed to the applier yet, oldest first
	newest  Commit   // that was noted
	asked   string   // id of the commit that a person wants tried
	lease   clientv3.LeaseID
	beats   <-chan *clientv3.LeaseKeepAliveResponse
	beat    time.Time // of the last one
	refused time.Time // since when the registration has to wait
	written Status    // the last status that was written

	seen  *assignment // what was read of this gateway last; nil: nothing
	given string      // sha256 of what was handed to the applier last
}

// maxWaiting bounds the commits whose deltas are kept while an apply runs; with
// more, the document is read.
const maxWaiting = 100

// applyingAfter is how long an apply runs before it is reported: most are over by
// then, and a fleet writes half as much.
const applyingAfter = 100 * time.Millisecond

// errRestored: the store's history isn't the one that was followed.
var errRestored = fmt.Errorf("%w: it was restored or replaced", ErrUnavailable)

func (f *Follower) session(ctx context.Context) error {
	store, err := Open(ctx, f.cfg.Store)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // what matters was answered
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{f: f, store: store}
	if err := s.register(ctx); err != nil && !errors.Is(err, errWait) {
		return err
	}
	defer s.leave()
	if err := s.read(ctx); err != nil {
		return err
	}
	return s.follow(ctx)
}

// read finds the commit in force; it fills an empty store first.
func (s *session) read(ctx context.Context) error {
	head, at, err := s.store.head(ctx)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) { // only another commit can help, and will be seen
		s.at, s.newest = at, Commit{Rev: head.Rev}
		s.unreadable(head.Rev, err)
		s.f.begin(true)
		return nil
	}
	if err != nil {
		return err
	}
	if head.None() {
		if err := s.seed(ctx); err != nil {
			return err
		}
		if head, at, err = s.store.head(ctx); err != nil {
			return err
		}
	} else {
		s.compareSeed(head)
	}
	s.at = at
	if !head.None() {
		s.note(head)
	} else {
		s.f.cfg.Log.Warn("the config center is empty; push a configuration: edge-cfg push DIR", "prefix", s.store.keys.prefix)
	}
	retry, err := s.store.takeRetry(ctx, s.f.cfg.Gateway)
	if retry {
		s.f.Retry()
	}
	return err
}

// seed fills an empty store: with the configuration that this gateway ran last, or
// with the one given. Somebody else may be doing the same.
func (s *session) seed(ctx context.Context) error {
	s.f.mu.Lock()
	last := s.f.good
	s.f.mu.Unlock()
	var doc *config.Document
	var signed *Signature
	message := "seeded from the directory"
	switch {
	case s.f.ofFleet(): // what one gateway ran is not what all are to run
		s.f.cfg.Log.Warn("the config center is empty, and this gateway is one of a fleet, which it doesn't fill: push the tables of the fleet, or restore a backup")
		return nil
	case last != nil:
		doc, signed, message = last.doc, last.Commit.Signature, fmt.Sprintf("seeded from the last good configuration of gateway %s", s.f.cfg.Gateway)
	case s.f.cfg.Seed != nil && len(s.f.cfg.Signers) > 0:
		s.f.cfg.Log.Warn("the config center is empty, and the tables in the directory are not signed; push them: edge-cfg push --sign KEYFILE DIR")
		return nil
	case s.f.cfg.Seed != nil:
		snap, err := s.f.cfg.Seed()
		if err != nil {
			return fmt.Errorf("seed: %w", err)
		}
		if snap == nil {
			return nil
		}
		doc = snap.Document()
	default:
		return nil
	}
	_, err := s.store.Push(ctx, Version{Doc: config.EmptyDocument()}, doc, PushOptions{Author: s.author(), Message: message, Carry: signed})
	if conflict := (*ConflictError)(nil); errors.As(err, &conflict) {
		return nil
	}
	if errors.Is(err, ErrRefused) {
		s.f.cfg.Log.Warn("the config center is empty, and this gateway may not fill it", "error", err)
		return nil
	}
	return err
}

// compareSeed warns, once, if the directory that a store was seeded from says
// something else by now: it isn't read any more.
func (s *session) compareSeed(head Commit) {
	seed := s.f.cfg.Seed
	if seed == nil || head.Fleet() {
		return
	}
	s.f.cfg.Seed = nil
	if snap, err := seed(); err == nil && snap != nil && snap.SHA256 != head.SHA256 {
		s.f.cfg.Log.Warn("the configuration directory differs from the config center, which counts; edge-cfg push DIR or edge-cfg pull DIR makes them equal",
			"rev", head.Rev, "sha256", head.SHA256, "sha256_dir", snap.SHA256)
	}
}

func (s *session) author() Author {
	return Author{OSUser: GatewayAuthor + s.f.cfg.Gateway, Host: s.f.cfg.Host}
}

// follow reacts to everything until something breaks.
func (s *session) follow(ctx context.Context) error {
	commits, err := s.store.watchKey(ctx, s.store.keys.commit(), clientv3.WithRev(s.at.rev+1))
	if err != nil {
		return err
	}
	retries, err := s.store.watchKey(ctx, s.store.keys.retry(s.f.cfg.Gateway), clientv3.WithRev(s.at.rev+1))
	if err != nil {
		return err
	}
	alive, err := s.store.watchKey(ctx, s.store.keys.alive(s.f.cfg.Gateway), clientv3.WithRev(s.at.rev+1), clientv3.WithFilterPut())
	if err != nil {
		return err
	}
	s.f.followed()
	s.f.tell()
	recheck := time.NewTicker(s.f.cfg.Recheck)
	defer recheck.Stop()
	report := time.NewTicker(s.f.cfg.Report)
	defer report.Stop()
	register := time.NewTicker(time.Second)
	defer register.Stop()
	poll := time.NewTimer(s.pollAfter())
	defer poll.Stop()
	var slow <-chan time.Time // fires when an apply takes long enough to be worth telling
	var own wakes
	for {
		if err := s.wakeUp(ctx, &own); err != nil {
			return err
		}
		var free <-chan want
		if len(s.waiting) > 0 {
			s.f.begin(true)
			free = s.f.wants
		}
		err = nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-commits:
			err = s.onCommits(resp, ok)
		case resp, ok := <-retries:
			err = s.onRetry(ctx, resp, ok)
		case resp, ok := <-alive:
			if err = watchError(resp, ok); err == nil && len(resp.Events) > 0 && s.lease != 0 {
				err = errTaken // somebody has deleted it: register again
			}
		case w := <-free:
			err = s.hand(ctx, w)
			poll.Reset(s.pollAfter())
		case <-poll.C:
			err = s.poll(ctx)
			poll.Reset(s.pollAfter())
		case resp, ok := <-own.record:
			var woken bool
			if woken, err = s.woken(&own.record, resp, ok); woken {
				poll.Reset(min(s.afterRecord(), s.pollAfter()))
			}
		case resp, ok := <-own.rollouts:
			var woken bool
			if woken, err = s.woken(&own.rollouts, resp, ok); woken {
				poll.Reset(min(s.afterAct(), s.pollAfter()))
			}
		case <-s.f.told:
			if s.f.View().State == Applying {
				slow = time.After(applyingAfter)
			} else {
				slow, err = nil, s.report(ctx, false)
			}
			if err == nil {
				err = s.requests(ctx)
			}
		case <-slow:
			slow, err = nil, s.report(ctx, false)
		case beat, ok := <-s.beats:
			err = s.onBeat(ctx, beat, ok)
		case <-register.C:
			if err = s.register(ctx); err == nil && time.Since(s.beat) > s.f.beatPatience() {
				err = s.look(ctx)
			}
		case <-recheck.C:
			err = s.recheck(ctx)
		case <-report.C:
			err = s.report(ctx, true)
		}
		if err != nil && !errors.Is(err, errWait) {
			return err
		}
	}
}

// onBeat looks at an answer to the lease's renewal. It comes every few seconds and tells
// where the store is: a watch says nothing of a history that began anew below it.
func (s *session) onBeat(ctx context.Context, beat *clientv3.LeaseKeepAliveResponse, ok bool) error {
	if !ok {
		return cmp.Or(s.look(ctx), errTaken) // the store's own answer says more, if it has one
	}
	s.beat = time.Now()
	if positionOf(beat.ResponseHeader).before(s.at) {
		return s.recheck(ctx) // a member that lags answers so too
	}
	return nil
}

// beatPatience is how long an answer to the lease's renewal may be late before the store
// is asked why. They come every third of the lease's time.
func (f *Follower) beatPatience() time.Duration { return f.cfg.LeaseTTL/2 + time.Second }

// look asks the store for the commit, for no longer than a person waits.
func (s *session) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	err := s.recheck(ctx)
	s.beat = time.Now()
	return err
}

const lookPatience = 3 * time.Second

// onCommits takes note of new commits.
func (s *session) onCommits(resp clientv3.WatchResponse, ok bool) error {
	if err := watchError(resp, ok); err != nil {
		return err
	}
	s.at.rev = max(s.at.rev, resp.Header.Revision)
	for _, ev := range resp.Events {
		if ev.Type == clientv3.EventTypeDelete {
			s.f.cfg.Log.Error("the commit record was deleted; the gateway stays as it is", "prefix", s.store.keys.prefix)
			continue
		}
		c, err := parseCommit(ev.Kv.Value, ev.Kv.ModRevision)
		if err != nil {
			s.unreadable(ev.Kv.ModRevision, err)
			continue
		}
		s.note(c)
	}
	return nil
}

// unreadable notes that the commit record of revision rev can't be used. Reading again
// would find the same; the next commit may be good.
func (s *session) unreadable(rev int64, err error) {
	f := s.f
	if st := f.View().Status; st.State == Rejected && st.Error == err.Error() {
		return
	}
	f.want(Commit{Rev: rev})
	f.update(func(st *Status) { st.State, st.Error, st.Target, st.Tried = Rejected, err.Error(), rev, "" })
	f.cfg.Log.Error("a commit record can't be used", "error", err)
	if f.cfg.OnInvalid != nil {
		f.cfg.OnInvalid(rev, err)
	}
}

func watchError(resp clientv3.WatchResponse, ok bool) error {
	if !ok {
		return errors.New("the watch ended")
	}
	if err := resp.Err(); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// note queues a commit for the applier.
func (s *session) note(c Commit) {
	if c.Rev <= s.newest.Rev {
		return
	}
	s.seen = nil // of the commit before
	if len(s.waiting) >= maxWaiting {
		s.waiting = s.waiting[:0] // the chain is broken; next reads the document
	}
	s.f.want(c)
	if s.f.cfg.OnNewer != nil {
		s.f.cfg.OnNewer(c.Rev)
	}
	s.newest = c
	s.newest.Delta = nil
	s.waiting = append(s.waiting, c)
}

// hand makes the newest commit's document for the owner, which is free.
func (s *session) hand(ctx context.Context, w want) error {
	last := s.waiting[len(s.waiting)-1]
	var v Version
	var err error
	switch {
	case last.Fleet():
		v, err = s.store.loadFor(ctx, s.f.cfg.Gateway, w.base.Doc, s.sees)
		if err == nil && !v.Commit.Fleet() { // it came since, and will be noted
			v = Version{}
		}
	case s.f.ofFleet() && last.ID != s.asked:
		err = errPlain(last)
	default:
		v, err = s.store.follow(ctx, w.base, s.waiting)
	}
	s.given = v.Commit.SHA256
	if v.Doc == nil {
		s.given = ""
	}
	if err != nil {
		w.reply <- Version{}
		if errors.Is(err, errStays) {
			s.waiting = nil
			s.unreadable(last.Rev, err)
			return nil
		}
		if errors.Is(err, ErrDamaged) {
			// Only another push can help; until then, the watch goes on.
			s.f.cfg.Log.Error("the commit in force can't be read", "error", err)
			s.waiting = nil
			return nil
		}
		return err
	}
	s.waiting = nil
	w.reply <- v
	return nil
}

// requests does what the applier, or Retry, has asked for.
func (s *session) requests(ctx context.Context) error {
	f := s.f
	f.mu.Lock()
	rollback, retry := f.rollback, f.retry
	f.retry = false
	f.mu.Unlock()
	if rollback != nil {
		if err := s.putBack(ctx, rollback); err != nil {
			return err
		}
	}
	if retry {
		return s.retry(ctx)
	}
	return nil
}

func (s *session) onRetry(ctx context.Context, resp clientv3.WatchResponse, ok bool) error {
	if err := watchError(resp, ok); err != nil {
		return err
	}
	asked, err := s.store.takeRetry(ctx, s.f.cfg.Gateway)
	if asked {
		s.f.Retry()
	}
	return err
}

// retry forgets the verdict on the commit in force and hands it out again.
func (s *session) retry(ctx context.Context) error {
	head, _, err := s.store.head(ctx)
	if err != nil || head.None() {
		return err
	}
	err = s.f.queue.Do(ctx, func(context.Context) { s.f.bad = nil }) // an apply that runs is waited for
	s.newest, s.waiting, s.asked = head, []Commit{head}, head.ID
	return err
}

// putBack puts the old document back in the store, if the policy says so and the
// bad commit still is the one in force.
func (s *session) putBack(ctx context.Context, r *rollbackRequest) error {
	f := s.f
	center := f.cfg.Rollback == RollbackCenter
	if r.bad.Commit.Fleet() { // others run it, or something else of it
		center = false
	} else if f.cfg.Rollback == RollbackAuto {
		all, err := s.store.Gateways(ctx)
		if err != nil && !errors.Is(err, ErrRefused) { // one that may not look is of a fleet
			return err
		}
		center = len(all) == 1 && all[0].Gateway == f.cfg.Gateway
	}
	var c Commit
	var err error
	if center {
		c, err = s.store.Push(ctx, r.bad, r.old.Doc, PushOptions{
			Author: s.author(), Carry: r.old.Commit.Signature, unsigned: r.unsigned, Message: clip(fmt.Sprintf("rollback of rev %d: %s", r.bad.Commit.Rev, r.reason), maxMessage),
		})
		switch conflict := (*ConflictError)(nil); {
		case errors.Is(err, ErrRefused):
			f.cfg.Log.Error("the config center could not be put back", "rev_bad", r.bad.Commit.Rev, "error", err)
			r.reason = fmt.Sprintf("%s; and the config center could not be put back: %v", r.reason, err)
		case err != nil && !errors.As(err, &conflict):
			return err // the request stands; the next session tries again
		}
	}
	f.mu.Lock()
	if f.rollback == r {
		f.rollback = nil
	}
	f.mu.Unlock()
	if !center || err != nil { // this gateway stays where it is; a newer commit may be on its way
		f.update(func(st *Status) {
			if st.Tried == r.bad.Commit.ID {
				st.State, st.Error = r.verdict, r.reason
			}
		})
		return nil
	}
	f.cfg.Log.Warn("the config center was put back", "rev_old", r.old.Commit.Rev, "rev_bad", r.bad.Commit.Rev, "rev", c.Rev, "reason", r.reason)
	f.update(func(st *Status) { st.State, st.Error = RolledBack, r.reason })
	if f.cfg.OnRollback != nil {
		f.cfg.OnRollback(Rollback{RevOld: r.old.Commit.Rev, RevBad: r.bad.Commit.Rev, Rev: c.Rev, State: r.state, Reason: r.reason})
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return s
}

// recheck reads the commit, in case that a watch was deaf or the cluster is another
// one now.
func (s *session) recheck(ctx context.Context) error {
	head, at, err := s.store.head(ctx)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) {
		if s.f.View().State == Applied { // an apply that was under way has hidden it
			s.unreadable(head.Rev, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if at.before(s.at) {
		return errRestored
	}
	s.at = at
	if !head.None() && head.ID != s.newest.ID {
		if head.Rev <= s.newest.Rev { // what was followed is not in this history
			return errRestored
		}
		s.note(head)
	}
	return nil
}
