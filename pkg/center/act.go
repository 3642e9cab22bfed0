package center

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// What an operator can do to a rollout.
const (
	ActPause   = "pause"
	ActResume  = "resume"
	ActForgive = "forgive" // resume, with the bad votes cleared
	ActPromote = "promote"
	ActAll     = "promote all"
	ActAbort   = "abort"
)

// ActOnRollout does what an operator wants to the rollout of the commit in force.
func (s *Store) ActOnRollout(ctx context.Context, what, author, reason string) (*Rollout, error) {
	id := make([]byte, 12)
	_, _ = rand.Read(id) // never fails
	act := rollout.Act{ID: hex.EncodeToString(id), What: what, Author: author, Time: s.cfg.Now().UTC(), Reason: clip(reason, maxMessage)}
	for {
		head, t, err := s.current(ctx)
		if err != nil {
			return nil, err
		}
		if n := len(t.record.Acts); n > 0 && slices.ContainsFunc(t.record.Acts, func(a rollout.Act) bool { return a.ID == act.ID }) {
			return s.Rollout(ctx) // an attempt whose answer was lost
		}
		next := *t.record
		if next.Record, err = changed(t, what); err != nil {
			return nil, err
		}
		next.Acts = append(slices.Clone(next.Acts), act)
		done, err := s.putAct(ctx, head, t, &next, what)
		if err != nil {
			return nil, err
		}
		if done {
			return s.Rollout(ctx)
		}
	}
}

// changed is the rollout's record after an act.
func changed(t *tallied, what string) (rollout.Record, error) {
	r := t.record.Record
	switch what {
	case ActPause:
		return r.Pause(t.tally)
	case ActResume:
		return r.Resume(t.tally, false)
	case ActForgive:
		return r.Resume(t.tally, true)
	case ActPromote:
		return r.Promote(t.tally, false)
	case ActAll:
		return r.Promote(t.tally, true)
	case ActAbort:
		return r.Abort(t.tally)
	}
	return r, fmt.Errorf("%q is nothing that can be done to a rollout", what)
}

// putAct writes what an act makes of a rollout, unless a push, an act or a vote came
// meanwhile: it was decided on these counts.
func (s *Store) putAct(ctx context.Context, head Commit, t *tallied, next *rolloutRecord, what string) (bool, error) {
	key := s.keys.rollout(next.ID)
	change := txn{
		compare: []clientv3.Cmp{
			modifiedAt(s.keys.commit(), head.Rev), clientv3.Compare(clientv3.Value(key), "=", t.raw),
		},
		then: []clientv3.Op{clientv3.OpPut(key, next.encode())},
	}
	for _, votes := range s.keys.votes() {
		change.compare = append(change.compare, clientv3.Compare(clientv3.ModRevision(votes).WithPrefix(), "<", t.rev+1))
	}
	if what == ActForgive {
		change.then = append(change.then, clientv3.OpDelete(s.keys.votesBad(), clientv3.WithPrefix()))
		if err := s.startDeadline(ctx, next, &change); err != nil {
			return false, err
		}
	}
	resp, err := s.commit(ctx, what, change)
	return err == nil && resp.Succeeded, err
}

// AbortTo returns the document that everybody goes back to after an abort, to be committed
// anew; nil if it isn't one of a fleet.
func (s *Store) AbortTo(ctx context.Context, r *Rollout) (*config.Document, error) {
	v, err := s.LoadRelease(ctx, r.From)
	if err != nil || !v.Commit.Fleet() {
		return nil, err
	}
	return v.Doc, nil
}
