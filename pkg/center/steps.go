package center

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// parallelTxns is how many transactions of a large push are under way at once.
const parallelTxns = 4

// errClaimLost: the claim ran out, so others may be writing.
var errClaimLost = fmt.Errorf("%w: the push lost its claim because etcd did not answer in time; what it wrote is invisible, and the next push repairs it", ErrUnavailable)

// claim is the exclusive right to write items: the pending key under a lease.
type claim struct {
	lease   clientv3.LeaseID
	created int64 // create revision of the pending key: compared in every transaction
	stop    func()
}

// pushInSteps writes what doesn't fit in one transaction: claim, document, items,
// commit. It also repairs items that a push before it left half-way.
func (s *Store) pushInSteps(ctx context.Context, p *plan) (Commit, error) {
	repair := p.base.Doc == nil || p.rewrite
	list, steps := p.changes, true
	if !repair && p.fleet == nil && p.last == nil {
		// Items that fit in the completing transaction never are half-written.
		steps = len(list)+room > s.cfg.MaxTxnOps || s.changesSize(list)+len(p.record)+len(p.release) > s.cfg.MaxTxnBytes
	}
	cl, dirty, c, err := s.claim(ctx, p, steps)
	if err != nil || !c.None() {
		return c, err
	}
	defer s.release(cl)

	if dirty || repair || p.fleet != nil {
		if err := s.putRecords(ctx, p, cl); err != nil {
			return Commit{}, err
		}
	}
	if dirty || repair {
		items, err := s.readItems(ctx)
		if err != nil {
			return Commit{}, err
		}
		list, steps = items.changesTo(p.doc), true
	}
	if err := s.putDocument(ctx, p, cl); err != nil {
		return Commit{}, err
	}
	if steps {
		if err := s.putItems(ctx, cl, list); err != nil {
			return Commit{}, err
		}
		list = nil
	}
	return s.complete(ctx, p, cl, list)
}

// claim takes the pending key. steps says that items will be written before the
// commit, which the dirty key tells others. It reports whether the items were left
// dirty before, or returns the commit if an attempt before this one has done all.
func (s *Store) claim(ctx context.Context, p *plan, steps bool) (*claim, bool, Commit, error) {
	cl := &claim{}
	err := s.retry(ctx, "begin the push", func(ctx context.Context) error {
		l, err := s.etcd.Grant(ctx, int64(pendingTTL/time.Second))
		if err == nil {
			cl.lease = l.ID
		}
		return err
	})
	if err != nil {
		return nil, false, Commit{}, err
	}
	t := txn{
		compare: []clientv3.Cmp{modifiedAt(s.keys.commit(), p.base.Commit.Rev), absent(s.keys.pending())},
		then: []clientv3.Op{
			clientv3.OpGet(s.keys.dirty()),
			clientv3.OpPut(s.keys.pending(), string(p.release), clientv3.WithLease(cl.lease)),
		},
		orElse: []clientv3.Op{clientv3.OpGet(s.keys.commit()), clientv3.OpGet(s.keys.pending()), clientv3.OpGet(s.keys.dirty())},
	}
	if steps || p.base.Doc == nil || p.rewrite {
		t.then = append(t.then, clientv3.OpPut(s.keys.dirty(), string(p.release)))
	}
	resp, err := s.commit(ctx, "begin the push", t)
	if err != nil {
		s.release(cl)
		return nil, false, Commit{}, err
	}
	dirty := false
	switch {
	case resp.Succeeded:
		cl.created = resp.Header.Revision
		dirty = len(resp.Responses[0].GetResponseRange().Kvs) > 0
	default:
		kvs := resp.Responses[1].GetResponseRange().Kvs
		if len(kvs) > 0 && clientv3.LeaseID(kvs[0].Lease) == cl.lease {
			// An attempt whose answer was lost. Who made the store dirty,
			// that attempt or another push before it, can't be told.
			cl.created = kvs[0].CreateRevision
			dirty = len(resp.Responses[2].GetResponseRange().Kvs) > 0
			break
		}
		s.release(cl)
		if c, err := s.headOf(ctx, resp, p); err != nil || !c.None() {
			return nil, false, c, err
		}
		return nil, false, Commit{}, errBusy
	}
	s.keepAlive(ctx, cl)
	return cl, dirty, Commit{}, nil
}

// keepAlive renews the claim until it is released.
func (s *Store) keepAlive(ctx context.Context, cl *claim) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	cl.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		answers, err := s.etcd.KeepAlive(ctx, cl.lease)
		if err != nil {
			return // the next transaction finds out
		}
		for range answers {
		}
	}()
}

// release gives the claim up. If etcd doesn't hear it, the lease ends it.
func (s *Store) release(cl *claim) {
	if cl.stop != nil {
		cl.stop()
	}
	if s.fault != nil && s.fault("give the claim back", false) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := s.etcd.Revoke(ctx, cl.lease); err != nil {
		s.cfg.Log.Debug("the claim of a push was not given back; it ends by itself", "error", err)
	}
}

// putDocument writes the document unless it is there. While the claim is held, nobody
// takes it away.
func (s *Store) putDocument(ctx context.Context, p *plan, cl *claim) error {
	return s.putStored(ctx, p, cl, s.keys.home(p.commit), p.head, p.chunks)
}

// putStored writes a document to where it belongs, as putDocument does.
func (s *Store) putStored(ctx context.Context, p *plan, cl *claim, at stored, head []byte, chunks [][]byte) error {
	if p.base.Doc != nil && !p.rewrite {
		resp, err := s.get(ctx, "look for the document", at.header(), clientv3.WithCountOnly())
		if err != nil || resp.Count > 0 {
			return err
		}
	}
	var batches [][]clientv3.Op
	size := 0
	for i, c := range chunks {
		if len(batches) == 0 || size+len(c) > s.cfg.MaxTxnBytes {
			batches, size = append(batches, nil), 0
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], clientv3.OpPut(at.chunk(i), string(c)))
		size += len(c)
	}
	if err := s.heldAll(ctx, cl, "write the document", batches); err != nil {
		return err
	}
	// The header last: where it is, all of the document is.
	_, err := s.held(ctx, cl, "write the document", []clientv3.Op{clientv3.OpPut(at.header(), string(head))})
	return err
}

// putItems writes the items in as many transactions as it takes.
func (s *Store) putItems(ctx context.Context, cl *claim, list []config.ItemChange) error {
	return s.heldAll(ctx, cl, "write the items", batched(s.cfg, list, s.changeSize, s.itemOps))
}

// batched cuts a list into as few transactions as cfg allows, each of the ops of so many
// elements. size is what an element adds to a transaction, in bytes.
func batched[T any](cfg Config, list []T, size func(T) int, ops func([]T) []clientv3.Op) (batches [][]clientv3.Op) {
	for len(list) > 0 {
		n, sum := 0, 0
		for n < len(list) && n < cfg.MaxTxnOps-room {
			if sum += size(list[n]); n > 0 && sum > cfg.MaxTxnBytes {
				break
			}
			n++
		}
		batches = append(batches, ops(list[:n]))
		list = list[n:]
	}
	return batches
}

// held is a transaction that takes place only while the claim is held.
func (s *Store) held(ctx context.Context, cl *claim, op string, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	resp, err := s.commit(ctx, op, txn{compare: []clientv3.Cmp{createdAt(s.keys.pending(), cl.created)}, then: ops})
	if err == nil && !resp.Succeeded {
		err = fmt.Errorf("%s: %w", op, errClaimLost)
	}
	return resp, err
}

func (s *Store) heldAll(ctx context.Context, cl *claim, op string, batches [][]clientv3.Op) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelTxns)
	for _, ops := range batches {
		g.Go(func() error {
			_, err := s.held(ctx, cl, op, ops)
			return err
		})
	}
	return g.Wait()
}

// complete makes the document the configuration. An unchanged document is not
// committed anew: its items were repaired, that is all.
func (s *Store) complete(ctx context.Context, p *plan, cl *claim, list []config.ItemChange) (Commit, error) {
	unchanged := p.unchanged
	t := txn{
		compare: []clientv3.Cmp{
			modifiedAt(s.keys.commit(), p.base.Commit.Rev), createdAt(s.keys.pending(), cl.created),
			present(s.keys.home(p.commit).header()),
		},
		then:   append(s.itemOps(list), clientv3.OpDelete(s.keys.pending()), clientv3.OpDelete(s.keys.dirty())),
		orElse: []clientv3.Op{clientv3.OpGet(s.keys.commit())},
	}
	if !unchanged {
		t.compare = append(t.compare, absent(s.keys.release(p.commit.Release)))
		t.then = append(t.then, s.commitOps(p)...)
		if err := s.rolloutOps(ctx, p, &t); err != nil {
			return Commit{}, err
		}
	}
	resp, err := s.commit(ctx, "complete the push", t)
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
	c, err := s.headOf(ctx, resp, p)
	if err == nil && c.None() {
		if unchanged {
			return p.base.Commit, nil // done by an attempt whose answer was lost, or about to be done by another push
		}
		err = s.rolloutMoved(ctx, p)
	}
	return c, err
}

// pruneEvery is after how many releases old documents are looked for, so that most
// pushes don't pay for it.
const pruneEvery = 8

// prune gives up the documents that have fallen out of the last releases. It may
// fail: then they take up some space.
func (s *Store) prune(ctx context.Context, c Commit) {
	keep := uint64(s.cfg.KeepReleases)
	if c.Release <= keep || c.Release%min(pruneEvery, keep) != 0 {
		return
	}
	oldest := c.Release - keep + 1
	// Twice the interval, for a pruning that failed before.
	from := max(oldest, 2*pruneEvery+1) - 2*pruneEvery
	resp, err := s.get(ctx, "prune", s.keys.release(from), clientv3.WithRange(s.keys.release(c.Release+1)))
	if err != nil {
		s.cfg.Log.Debug("old documents are not pruned", "error", err)
		return
	}
	kept, old := map[stored]bool{}, map[stored]bool{}
	fleet := false
	for _, kv := range resp.Kvs {
		r, err := parseCommit(kv.Value, kv.ModRevision)
		if err != nil {
			continue
		}
		if r.Release >= oldest {
			kept[s.keys.home(r)] = true
		} else {
			old[s.keys.home(r)] = true
		}
		fleet = fleet || r.Fleet()
	}
	if fleet {
		if err := s.unnamed(ctx, kept, old); err != nil {
			s.cfg.Log.Debug("old documents of a fleet are not pruned", "error", err)
			return
		}
	}
	for at := range old {
		if kept[at] {
			continue
		}
		if err := s.dropDocument(ctx, at, c); err != nil {
			s.cfg.Log.Debug("an old document is not pruned", "at", at, "error", err)
		}
	}
}

// unnamed adds to old what gateways of a fleet ran, and to kept what a record names.
func (s *Store) unnamed(ctx context.Context, kept, old map[stored]bool) error {
	named, err := s.named(ctx)
	if err != nil {
		return err
	}
	for sha := range named {
		kept[s.keys.document(sha)] = true
	}
	// Plain releases that are kept, however old those are that were looked at, keep theirs.
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return err
	}
	for _, c := range log {
		kept[s.keys.home(c)] = true
	}
	root := s.keys.documents()
	resp, err := s.get(ctx, "look for old documents", root, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		if sha, part, _ := strings.Cut(string(kv.Key[len(root):]), "/"); part == "head" {
			old[s.keys.document(sha)] = true
		}
	}
	return nil
}

// dropDocument removes a document. It does nothing if another push has been made since
// head, or is under way: that one may use the document.
func (s *Store) dropDocument(ctx context.Context, at stored, head Commit) error {
	unused := []clientv3.Cmp{absent(s.keys.pending()), modifiedAt(s.keys.commit(), head.Rev)}
	_, err := s.commit(ctx, "prune", txn{
		compare: unused, then: []clientv3.Op{clientv3.OpDelete(string(at), clientv3.WithPrefix())},
	})
	sha, plain := strings.CutPrefix(strings.TrimSuffix(string(at), "/"), s.keys.documents())
	if err != nil || !plain {
		return err
	}
	// As the last version left it, if the role reaches so far.
	old := string(s.keys.oldDocument(sha))
	if _, err = s.commit(ctx, "prune", txn{compare: unused, then: []clientv3.Op{clientv3.OpDelete(s.keys.oldReference(sha))}}); err != nil {
		return err
	}
	_, err = s.commit(ctx, "prune", txn{
		compare: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(old+"ref/").WithPrefix(), "=", 0)},
		then:    []clientv3.Op{clientv3.OpDelete(old, clientv3.WithPrefix())},
	})
	return err
}
