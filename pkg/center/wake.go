package center

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// wakes are the watches that wake a gateway of a fleet, next to that of the commit: a repair
// writes its record anew, and an operator acts on a rollout, without a commit. Events of
// different watches come in no order, so they only wake: what is to be done is decided from
// one read.
type wakes struct {
	begun            bool
	record, rollouts clientv3.WatchChan // nil: it may not be watched
}

// wakeUp begins the watches once a fleet's commit is in force.
func (s *session) wakeUp(ctx context.Context, w *wakes) error {
	if w.begun || !s.newest.Fleet() {
		return nil
	}
	w.begun = true
	from := clientv3.WithRev(s.at.rev + 1)
	var err error
	if w.record, err = s.store.watchKey(ctx, s.store.keys.record(s.f.cfg.Gateway), from); err != nil {
		return err
	}
	w.rollouts, err = s.store.watchKey(ctx, s.store.keys.rollouts(), from, clientv3.WithPrefix())
	return err
}

// woken reports whether something has changed. A watch that the gateway's role doesn't allow
// is given up: the polls of a rollout find out, later.
func (s *session) woken(watch *clientv3.WatchChan, resp clientv3.WatchResponse, ok bool) (bool, error) {
	err := watchError(resp, ok)
	if err != nil && errors.Is(s.store.classify("watch", err), ErrRefused) {
		s.f.cfg.Log.Debug("this gateway may not watch what concerns it; enroll it once more", "error", err)
		*watch = nil
		return false, nil
	}
	return err == nil && len(resp.Events) > 0, err
}

// afterRecord is when the gateway's record is to be looked at that has changed. A push writes
// the records of all gateways just before its commit, which most of them see first.
func (s *session) afterRecord() time.Duration { return rand.N(s.f.cfg.Recheck/3 + 1) }

// afterAct is when a rollout is to be looked at that has changed: all gateways in it look, and
// spread over the time that the store has for that.
func (s *session) afterAct() time.Duration {
	members := 0
	if s.seen != nil && s.seen.rollout != nil {
		for _, w := range s.seen.rollout.record.Waves {
			members += w.Members
		}
	}
	return rand.N(time.Duration(members)*time.Second/perSecond + 1)
}
