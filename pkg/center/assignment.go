package center

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// assignment is what concerns one gateway, as it is at one moment.
type assignment struct {
	at      position
	commit  Commit
	record  *record
	now     assigned
	rollout *tallied // nil: there is none
	ok, bad bool     // the gateway's own votes
}

// part is a gateway's place in a rollout.
type part struct {
	id      string
	wave    int
	counted bool
	bake    time.Duration
	from    string // sha256 of the old side
}

func (a *assignment) part() *part {
	if a.rollout == nil {
		return nil
	}
	p := &part{id: a.now.Rollout, wave: a.now.Wave, counted: a.now.Counted, bake: a.rollout.record.Bake}
	if a.now.From != nil {
		p.from = a.now.From.SHA256
	}
	return p
}

// side returns what the gateway is to run, nil for nothing new.
func (a *assignment) side(self rollout.Self) *target {
	if a.rollout == nil {
		return a.now.Run
	}
	self.Wave, self.OwnBad = a.now.Wave, self.OwnBad || a.bad && !a.rollout.record.Over
	if a.rollout.record.decide(a.rollout.tally).Side(self) == rollout.To {
		return a.now.Run
	}
	return a.now.From
}

// assignment reads the commit in force, a gateway's record, its rollout and the votes, in
// one transaction.
func (s *Store) assignment(ctx context.Context, gateway string) (*assignment, error) {
	for id := ""; ; {
		t := txn{then: []clientv3.Op{clientv3.OpGet(s.keys.commit()), clientv3.OpGet(s.keys.record(gateway))}}
		if id != "" {
			t.then = append(t.then, s.keys.tallyOps(id)...)
			t.then = append(t.then, clientv3.OpGet(s.keys.ok(gateway), clientv3.WithCountOnly()), clientv3.OpGet(s.keys.bad(gateway), clientv3.WithCountOnly()))
		}
		resp, err := s.commit(ctx, "read what this gateway runs", t)
		if id != "" && errors.Is(err, ErrRefused) { // of a role from before there were rollouts
			err = fmt.Errorf("%w: it may not read its rollout; enroll it once more, then 'edge-cfg retry %s': %w", errStays, gateway, err)
		}
		if err != nil {
			return &assignment{}, err
		}
		a, err := s.readAssignment(ctx, gateway, resp)
		if err != nil || a.now.Rollout == "" || !a.commit.Fleet() {
			return a, err
		}
		if a.now.Rollout == id {
			a.rollout, err = tallyOf(id, resp, 2)
			a.ok, a.bad = resp.Responses[6].GetResponseRange().Count > 0, resp.Responses[7].GetResponseRange().Count > 0
			return a, err
		}
		id = a.now.Rollout
	}
}

func (s *Store) readAssignment(ctx context.Context, gateway string, resp *clientv3.TxnResponse) (*assignment, error) {
	a := &assignment{at: positionOf(resp.Header)}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return a, s.checkEmpty(ctx)
	}
	var err error
	if a.commit, err = parseCommit(kvs[0].Value, kvs[0].ModRevision); err != nil {
		a.commit.Rev = kvs[0].ModRevision
		return a, err
	}
	if own := resp.Responses[1].GetResponseRange().Kvs; len(own) > 0 {
		a.record, err = parseRecord(gateway, bytes.Clone(own[0].Value))
		a.now = a.record.at(a.commit.Release)
	}
	return a, err
}
