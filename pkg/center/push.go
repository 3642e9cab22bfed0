package center

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// PushOptions say who pushes and why.
type PushOptions struct {
	Author  Author
	Message string
	// Force pushes whatever the head is, over a store whose document can't be
	// read too.
	Force bool

	Sign  *Key       // signs the document; nil: it is not signed
	Order uint64     // of the signature, at least; 0: as it comes
	Carry *Signature // without Sign: one that the document has already

	// Rollout brings it to the gateways of a fleet in waves; nil: to all at once.
	Rollout *RolloutPlan
	// Replace aborts the rollout that is under way first; else that is [ErrRollout].
	Replace bool

	unsigned bool // see [Commit.Unsigned]
}

// pendingTTL is how long a dead writer's claim keeps others waiting.
const pendingTTL = 10 * time.Second

// errBusy: another push is in progress.
var errBusy = errors.New("another push is in progress")

// Push makes doc the configuration in place of base, as [Store.Load] returned it:
// all of it or nothing. It returns the new commit, or base's where nothing
// changes, or a [ConflictError] if base isn't the head any more. A push in progress
// is waited for.
//
// If ctx ends, or etcd is lost, just when the push was to be completed, the error
// says so; the log tells what became of it.
func (s *Store) Push(ctx context.Context, base Version, doc *config.Document, opts PushOptions) (Commit, error) {
	if len(opts.Message) > maxMessage {
		return Commit{}, fmt.Errorf("the message has %d bytes; at most %d are kept", len(opts.Message), maxMessage)
	}
	if !opts.Force {
		return s.push(ctx, base, doc, opts)
	}
	for tries := 0; ; tries++ {
		head, err := s.Load(ctx)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return Commit{}, err
		}
		last, err := s.lastRelease(ctx)
		if err != nil {
			return Commit{}, err
		}
		head.Commit.Release = max(head.Commit.Release, last)
		c, err := s.push(ctx, head, doc, opts)
		var conflict *ConflictError
		if tries < 10 && errors.As(err, &conflict) {
			continue
		}
		return c, err
	}
}

// lastRelease returns the number of the newest release, for a store whose commit
// record can't be read.
func (s *Store) lastRelease(ctx context.Context) (uint64, error) {
	resp, err := s.get(ctx, "find the last release", s.keys.releases(), append(clientv3.WithLastKey(), clientv3.WithKeysOnly())...)
	if err != nil || len(resp.Kvs) == 0 {
		return 0, err
	}
	key := string(resp.Kvs[0].Key)
	n, err := s.keys.parseRelease(key)
	if err != nil || key != s.keys.release(n) || n > maxRelease {
		return 0, fmt.Errorf("%w: %q is not the key of a release: remove it with etcdctl", ErrDamaged, key)
	}
	return n, nil
}

func (s *Store) push(ctx context.Context, base Version, doc *config.Document, opts PushOptions) (Commit, error) {
	p, err := s.plan(base, doc, opts)
	if err != nil {
		return Commit{}, err
	}
	if err := s.checkBase(ctx, base.Commit); err != nil {
		return Commit{}, err
	}
	if p.fleet != nil && !base.Commit.Fleet() {
		if err := s.checkReaders(ctx); err != nil {
			return Commit{}, err
		}
	}
	if opts.Replace && !p.unchanged {
		if err := s.endRollout(ctx, base.Commit, p.commit.Author); err != nil {
			return Commit{}, err
		}
	}
	if err := s.prepareRollout(ctx, p, opts.Rollout, false); err != nil {
		return Commit{}, err
	}
	for {
		var c Commit
		if p.atOnce {
			c, err = s.pushAtOnce(ctx, p)
		} else {
			c, err = s.pushInSteps(ctx, p)
		}
		if !errors.Is(err, errBusy) {
			if err == nil && c.Rev != base.Commit.Rev {
				s.prune(ctx, c)
			}
			return c, err
		}
		if err := s.waitIdle(ctx); err != nil {
			return Commit{}, err
		}
	}
}

// checkBase refuses a base whose revision is another commit's by now: the store was put
// back to an earlier state since it was read, and has used its revisions again. What
// follows compares revisions.
func (s *Store) checkBase(ctx context.Context, base Commit) error {
	head, _, err := s.head(ctx)
	if base.ID == "" && errors.Is(err, ErrDamaged) {
		return nil // a person forces it
	}
	if err == nil && head.Rev == base.Rev && head.ID != base.ID {
		err = &ConflictError{Base: base, Head: head}
	}
	return err
}

// plan is a push that is ready to be written.
type plan struct {
	base    Version
	doc     *config.Document
	commit  Commit
	record  []byte // the commit record
	release []byte // the same without delta
	head    []byte // of the document
	chunks  [][]byte
	changes []config.ItemChange // of items; what the keys need may differ
	atOnce  bool                // everything fits in one transaction
	rewrite bool                // whatever is there is written anew

	unchanged bool // there is nothing to commit

	last  *lastRollout   // the rollout before, which is over; nil: there is none
	begin *rolloutRecord // the one that begins; nil: all get it at once

	fleet *fleetPlan // what the gateways of a document with layers run; nil: all run the document
}

func (s *Store) plan(base Version, doc *config.Document, opts PushOptions) (*plan, error) {
	if base.Commit.Release >= maxRelease {
		return nil, fmt.Errorf("%w: release %d is the last that is possible", ErrDamaged, base.Commit.Release)
	}
	p := &plan{base: base, doc: doc, changes: base.Document().Changes(doc)}
	id := make([]byte, 12)
	_, _ = rand.Read(id) // never fails
	p.commit = Commit{
		Format: plainFormat, Release: base.Commit.Release + 1, ID: hex.EncodeToString(id),
		SHA256: doc.SHA256(), Tables: map[config.Table]string{},
		BaseRev: base.Commit.Rev, BaseSHA256: base.Commit.SHA256,
		Author: opts.Author, Message: opts.Message, Time: s.cfg.Now().UTC(), Changes: config.Count(p.changes), Unsigned: opts.unsigned,
	}
	if p.commit.Author.EtcdUser == "" {
		p.commit.Author.EtcdUser = s.Identity()
	}
	p.commit.Signature = s.signature(base.Commit, p.commit.SHA256, opts)
	if doc.Layered() {
		p.commit.Format = fleetFormat
	}
	p.unchanged = base.Doc != nil && p.commit.SHA256 == base.Commit.SHA256 && opts.Sign == nil
	for _, t := range config.AllTables() {
		if !t.IsLayer() || doc.Layered() {
			p.commit.Tables[t] = doc.TableSHA256(t)
		}
	}
	// A delta only leads somewhere from a document; without one (damaged store)
	// the keys are repaired and readers load the whole.
	// A fleet's gateways don't read it.
	if base.Doc != nil && !base.Commit.None() && p.commit.Format == plainFormat && base.Commit.Format == plainFormat {
		p.commit.Delta = config.NewDelta(p.changes, maxDelta)
	}
	var err error
	if p.record, p.release, err = p.commit.encode(); err != nil {
		return nil, err
	}
	if p.head, p.chunks, err = s.codec.encode(doc); err != nil {
		return nil, err
	}
	if doc.Layered() {
		if p.fleet, err = s.renderFleet(doc, opts.Sign, p.commit.Signature); err != nil {
			return nil, err
		}
	}
	p.atOnce = base.Doc != nil && p.fleet == nil && s.fits(p)
	return p, nil
}

// room is how many operations a transaction needs beside items and chunks:
// commit, release, document header, and two claims to delete.
const room = 5

func (s *Store) fits(p *plan) bool {
	size := len(p.record) + len(p.release) + len(p.head)
	for _, c := range p.chunks {
		size += len(c)
	}
	return len(p.changes)+len(p.chunks)+room <= s.cfg.MaxTxnOps && size+s.changesSize(p.changes) <= s.cfg.MaxTxnBytes
}

func (s *Store) changesSize(list []config.ItemChange) int {
	size := 0
	for _, c := range list {
		size += s.changeSize(c)
	}
	return size
}

func (s *Store) changeSize(c config.ItemChange) int {
	return len(s.keys.prefix) + len(c.Table) + len(c.ID) + len(c.New) + 32
}

func (s *Store) itemOps(list []config.ItemChange) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(list)+room)
	for _, c := range list {
		if c.New == nil {
			ops = append(ops, clientv3.OpDelete(s.keys.item(c.Table, c.ID)))
		} else {
			ops = append(ops, clientv3.OpPut(s.keys.item(c.Table, c.ID), string(c.New)))
		}
	}
	return ops
}

// documentOps write the document. Its keys are functions of its hash, so it does
// no harm to write over them.
func (s *Store) documentOps(p *plan) []clientv3.Op {
	at := s.keys.home(p.commit)
	ops := []clientv3.Op{clientv3.OpPut(at.header(), string(p.head))}
	for i, c := range p.chunks {
		ops = append(ops, clientv3.OpPut(at.chunk(i), string(c)))
	}
	return ops
}

func (s *Store) commitOps(p *plan) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpPut(s.keys.commit(), string(p.record)),
		clientv3.OpPut(s.keys.release(p.commit.Release), string(p.release)),
	}
}

// pushAtOnce does everything in one transaction. A store that a large push is
// writing to, or has left half-way, is for pushInSteps.
func (s *Store) pushAtOnce(ctx context.Context, p *plan) (Commit, error) {
	unchanged := p.unchanged
	t := txn{
		compare: []clientv3.Cmp{
			modifiedAt(s.keys.commit(), p.base.Commit.Rev), absent(s.keys.pending()), absent(s.keys.dirty()),
		},
		orElse: []clientv3.Op{
			clientv3.OpGet(s.keys.commit()), clientv3.OpGet(s.keys.pending()), clientv3.OpGet(s.keys.release(p.commit.Release), clientv3.WithKeysOnly()),
		},
	}
	if !unchanged {
		t.compare = append(t.compare, absent(s.keys.release(p.commit.Release)))
		t.then = append(append(s.documentOps(p), s.itemOps(p.changes)...), s.commitOps(p)...)
	}
	resp, err := s.commit(ctx, "push", t)
	if err != nil {
		return s.unsure(p, err)
	}
	if resp.Succeeded {
		if unchanged {
			return p.base.Commit, nil
		}
		p.commit.Rev = resp.Header.Revision
		return p.commit, nil
	}
	if c, err := s.headOf(ctx, resp, p); err != nil || !c.None() {
		return c, err
	}
	if len(resp.Responses[1].GetResponseRange().Kvs) > 0 {
		return Commit{}, errBusy
	}
	if !unchanged && len(resp.Responses[2].GetResponseRange().Kvs) > 0 {
		return Commit{}, takenRelease(p)
	}
	return s.pushInSteps(ctx, p)
}

// takenRelease is the error of a push that would write over a release: its base is not
// the last commit there was.
func takenRelease(p *plan) error {
	return fmt.Errorf("%w: the commit in force is older than release %d, which the push would overwrite; edge-cfg doctor --repair puts the commit right",
		ErrDamaged, p.commit.Release)
}

// headOf looks at the commit record in the first answer of a transaction that did
// not take place: this very push, done by an attempt whose answer was lost; or a
// conflict; or still the base, for which it returns no commit and no error.
func (s *Store) headOf(ctx context.Context, resp *clientv3.TxnResponse, p *plan) (Commit, error) {
	var head Commit
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		var err error
		if kvs[0].ModRevision == p.base.Commit.Rev {
			return Commit{}, nil // even one that can't be read
		}
		if head, err = parseCommit(kvs[0].Value, kvs[0].ModRevision); err != nil {
			return Commit{}, err
		}
	}
	switch {
	case head.Rev == p.base.Commit.Rev:
		return Commit{}, nil
	case head.ID == p.commit.ID:
		return head, nil
	case head.Release > p.commit.Release: // others may have pushed on top of it
		if resp, err := s.get(ctx, "read the release", s.keys.release(p.commit.Release)); err == nil && len(resp.Kvs) > 0 {
			if c, err := parseCommit(resp.Kvs[0].Value, resp.Kvs[0].ModRevision); err == nil && c.ID == p.commit.ID {
				return c, nil
			}
		}
	}
	return Commit{}, &ConflictError{Base: p.base.Commit, Head: head}
}

// unsure marks the error of a completing transaction that got no answer.
func (s *Store) unsure(p *plan, err error) (Commit, error) {
	if errors.Is(err, ErrRefused) {
		return Commit{}, err
	}
	return Commit{}, fmt.Errorf("%w; the push may or may not have taken place: edge-cfg log shows %s if it has", err, p.commit.SHA256[:12])
}

// waitIdle waits until no push is in progress.
func (s *Store) waitIdle(ctx context.Context) error {
	for {
		resp, err := s.get(ctx, "wait for the push in progress", s.keys.pending())
		if err != nil || len(resp.Kvs) == 0 {
			return err
		}
		s.cfg.Log.Info("another push is in progress; waiting", "by", string(resp.Kvs[0].Value))
		if err := s.waitDeleted(ctx, resp.Header.Revision); err != nil {
			return err
		}
	}
}

func (s *Store) waitDeleted(ctx context.Context, after int64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*pendingTTL)
	defer cancel()
	deleted, err := s.watchKey(ctx, s.keys.pending(), clientv3.WithRev(after+1), clientv3.WithFilterPut())
	if err != nil {
		return err
	}
	for resp := range deleted {
		if len(resp.Events) > 0 || resp.Err() != nil {
			return nil // the caller looks again
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}
