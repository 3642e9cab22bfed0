package center

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Head returns the commit that is in force; [Commit.None] is true for a store that
// nothing was pushed to.
func (s *Store) Head(ctx context.Context) (Commit, error) {
	c, _, err := s.head(ctx)
	return c, err
}

// head also returns the store's revision at that moment. Of a record that can't be
// read it returns the revision alone.
func (s *Store) head(ctx context.Context) (Commit, position, error) {
	resp, err := s.get(ctx, "read the commit", s.keys.commit())
	if err != nil {
		return Commit{}, position{}, err
	}
	at := positionOf(resp.Header)
	if len(resp.Kvs) == 0 {
		return Commit{}, at, s.checkEmpty(ctx)
	}
	c, err := parseCommit(resp.Kvs[0].Value, resp.Kvs[0].ModRevision)
	if err != nil {
		return Commit{Rev: resp.Kvs[0].ModRevision}, at, err
	}
	return c, at, nil
}

// checkEmpty holds a store without a commit record to what an empty store is: one that
// has releases has lost its commit. To begin anew would overwrite the history.
func (s *Store) checkEmpty(ctx context.Context) error {
	last, err := s.lastRelease(ctx)
	if err == nil && last > 0 {
		err = lostCommit(last)
	}
	return err
}

func lostCommit(last uint64) error {
	return fmt.Errorf("%w: the commit record is gone, but there are releases up to %d; edge-cfg doctor --repair makes it anew from them", ErrDamaged, last)
}

// position is a moment in the life of one cluster. Within a cluster revisions only
// grow; a restored one begins at an older revision, with the elections of its own.
type position struct {
	cluster uint64
	rev     int64
	term    uint64
}

func positionOf(h *etcdserverpb.ResponseHeader) position {
	return position{cluster: h.ClusterId, rev: h.Revision, term: h.RaftTerm}
}

// before reports whether p can't follow q in the life of a cluster.
func (p position) before(q position) bool {
	return p.cluster != q.cluster || p.rev < q.rev || p.term < q.term
}

// Load returns the commit in force with its document.
func (s *Store) Load(ctx context.Context) (Version, error) {
	v, _, err := s.load(ctx)
	return v, err
}

func (s *Store) load(ctx context.Context) (Version, position, error) {
	for {
		c, at, err := s.head(ctx)
		if err != nil {
			return Version{Commit: c}, at, err
		}
		if c.None() {
			return Version{Doc: config.EmptyDocument()}, at, nil
		}
		doc, err := s.fetchHead(ctx, c)
		if err == nil {
			return Version{Commit: c, Doc: doc}, at, nil
		}
		// A document is given up when many releases have followed it.
		if now, _, headErr := s.head(ctx); headErr != nil || now.ID == c.ID {
			return Version{Commit: c}, at, err
		}
	}
}

// fetchHead returns the document of the commit in force. If the stored document is
// damaged, the item keys say the same unless a push was cut off.
func (s *Store) fetchHead(ctx context.Context, c Commit) (*config.Document, error) {
	doc, err := s.fetchOf(ctx, c)
	if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotKept) {
		return doc, err
	}
	items, itemsErr := s.readItems(ctx)
	if errors.Is(itemsErr, ErrRefused) { // a gateway's role need not have them
		return nil, fmt.Errorf("%w: the document of rev %d can't be read: %w", ErrDamaged, c.Rev, err)
	}
	if itemsErr != nil {
		return nil, itemsErr
	}
	if doc, itemsErr = items.document(); itemsErr == nil && doc.SHA256() == c.SHA256 {
		s.cfg.Log.Warn("the stored document can't be read; it was put together from the item keys, which have its hash", "sha256", c.SHA256, "error", err)
		return doc, nil
	}
	return nil, fmt.Errorf("%w: the document of rev %d can't be read (%w), and the item keys don't match it; edge-cfg push --force DIR writes it anew",
		ErrDamaged, c.Rev, err)
}

// LoadRev returns the release whose commit record was written at etcd revision rev.
func (s *Store) LoadRev(ctx context.Context, rev int64) (Version, error) {
	resp, err := s.get(ctx, "find the release", s.keys.releases(), clientv3.WithPrefix(),
		clientv3.WithMinModRev(rev), clientv3.WithMaxModRev(rev))
	if err != nil {
		return Version{}, err
	}
	if len(resp.Kvs) == 0 {
		return Version{}, fmt.Errorf("%w: rev %d is not a commit; edge-cfg log lists them", ErrNoRelease, rev)
	}
	return s.loadRelease(ctx, resp.Kvs[0])
}

// LoadRelease returns release n: 1 is the first.
func (s *Store) LoadRelease(ctx context.Context, n uint64) (Version, error) {
	resp, err := s.get(ctx, "read the release", s.keys.release(n))
	if err != nil {
		return Version{}, err
	}
	if len(resp.Kvs) == 0 {
		return Version{}, fmt.Errorf("%w: %d", ErrNoRelease, n)
	}
	return s.loadRelease(ctx, resp.Kvs[0])
}

func (s *Store) loadRelease(ctx context.Context, kv *mvccpb.KeyValue) (Version, error) {
	c, err := parseCommit(kv.Value, kv.ModRevision)
	if err != nil {
		return Version{}, err
	}
	doc, err := s.fetchOf(ctx, c)
	if errors.Is(err, ErrNotKept) {
		return Version{Commit: c}, fmt.Errorf("rev %d: %w (kept: %s)", c.Rev, ErrNotKept, lastReleases(s.cfg.KeepReleases))
	}
	return Version{Commit: c, Doc: doc}, err
}

// WithTable returns a document whose table t has this hash: that of the newest release
// which is kept, nil if none is.
func (s *Store) WithTable(ctx context.Context, t config.Table, sha string) (*config.Document, error) {
	log, err := s.Log(ctx, s.cfg.KeepReleases)
	if err != nil {
		return nil, err
	}
	for _, c := range log {
		if c.Tables[t] != sha {
			continue
		}
		doc, err := s.fetchOf(ctx, c)
		if errors.Is(err, ErrNotKept) {
			continue
		}
		return doc, err
	}
	return nil, nil
}

// Log returns up to limit commits, the newest first; 0 is all of them.
func (s *Store) Log(ctx context.Context, limit int) ([]Commit, error) {
	head, _, err := s.head(ctx)
	if err != nil || head.None() {
		return nil, err
	}
	const page = 200
	var out []Commit
	// From the newest to the oldest in ranges of keys: etcd would sort all of
	// them to answer in descending order.
	for end := head.Release + 1; end > 1 && (limit == 0 || len(out) < limit); {
		start := max(end, page+1) - page
		resp, err := s.get(ctx, "read the log", s.keys.release(start), clientv3.WithRange(s.keys.release(end)))
		if err != nil {
			return nil, err
		}
		for i := len(resp.Kvs) - 1; i >= 0; i-- {
			c, err := parseCommit(resp.Kvs[i].Value, resp.Kvs[i].ModRevision)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		end = start
	}
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, nil
}

// fetchOf reads the document of a commit.
func (s *Store) fetchOf(ctx context.Context, c Commit) (*config.Document, error) {
	if c.Fleet() {
		return s.fetchAt(ctx, s.keys.home(c), c.SHA256)
	}
	return s.fetch(ctx, c.SHA256)
}

// fetch reads a document that gateways run by its hash, at the head revision, and checks it. One that the
// last version wrote is where that one kept it; a role that ends at the prefix can't look.
func (s *Store) fetch(ctx context.Context, sha string) (*config.Document, error) {
	doc, err := s.fetchAt(ctx, s.keys.document(sha), sha)
	if !errors.Is(err, ErrNotKept) {
		return doc, err
	}
	old, oldErr := s.fetchAt(ctx, s.keys.oldDocument(sha), sha)
	if errors.Is(oldErr, ErrRefused) {
		return nil, err
	}
	return old, oldErr
}

// kept reports whether fetchOf would find a document.
func (s *Store) kept(ctx context.Context, c Commit) (bool, error) {
	for _, at := range []stored{s.keys.home(c), s.keys.oldDocument(c.SHA256)} {
		resp, err := s.get(ctx, "look for a document", at.header(), clientv3.WithCountOnly())
		if err == nil && resp.Count > 0 {
			return true, nil
		}
		if err != nil && !errors.Is(err, ErrRefused) {
			return false, err
		}
	}
	return false, nil
}

func (s *Store) fetchAt(ctx context.Context, at stored, sha string) (*config.Document, error) {
	resp, err := s.get(ctx, "read the document", at.header())
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, fmt.Errorf("document %.12s: %w", sha, ErrNotKept)
	}
	h, err := parseHeader(resp.Kvs[0].Value)
	if err != nil {
		return nil, fmt.Errorf("%w: document %.12s: %w", ErrDamaged, sha, err)
	}
	var text []byte
	scratch := make([]byte, 0, sliceSize)
	const page = 8 // chunks, of less than 1 MiB each
	for n := 0; n < h.Chunks; n += page {
		end := min(n+page, h.Chunks)
		resp, err := s.get(ctx, "read the document", at.chunk(n), clientv3.WithRange(at.chunk(end)))
		if err != nil {
			return nil, err
		}
		if len(resp.Kvs) != end-n {
			return nil, fmt.Errorf("%w: document %.12s: chunks %d to %d are not all there", ErrDamaged, sha, n, end-1)
		}
		if n == 0 {
			text = make([]byte, 0, h.Size) // a header alone takes no memory
		}
		for i, kv := range resp.Kvs {
			if scratch, err = s.codec.decodeChunk(h, n+i, kv.Value, scratch); err != nil {
				return nil, fmt.Errorf("%w: document %.12s: %w", ErrDamaged, sha, err)
			}
			text = append(text, scratch...)
		}
	}
	doc, err := parseText(text)
	if err != nil {
		return nil, fmt.Errorf("%w: document %.12s: %w", ErrDamaged, sha, err)
	}
	if doc.SHA256() != sha {
		return nil, fmt.Errorf("%w: document %.12s has the hash %.12s", ErrDamaged, sha, doc.SHA256())
	}
	return doc, nil
}

// follow returns the version of the last of the commits: base with their deltas
// where that leads there, else the document as it is stored.
func (s *Store) follow(ctx context.Context, base Version, commits []Commit) (Version, error) {
	last := commits[len(commits)-1]
	if base.Doc != nil && base.Doc.SHA256() == last.SHA256 {
		return Version{Commit: last, Doc: base.Doc}, nil
	}
	if doc := applyAll(base, commits); doc != nil {
		return Version{Commit: last, Doc: doc}, nil
	}
	doc, err := s.fetchHead(ctx, last)
	return Version{Commit: last, Doc: doc}, err
}

// applyAll applies the deltas of the commits to base, one after the other; nil if
// that doesn't lead to the last one's document.
func applyAll(base Version, commits []Commit) *config.Document {
	if base.Doc == nil {
		return nil
	}
	sha := base.Doc.SHA256()
	deltas := make([]*config.Delta, len(commits))
	for i, c := range commits {
		if c.Delta == nil || c.BaseSHA256 != sha {
			return nil
		}
		deltas[i], sha = c.Delta, c.SHA256
	}
	doc, err := config.ApplyAll(base.Doc, deltas...)
	if err != nil || doc.SHA256() != sha {
		return nil
	}
	return doc
}

// rawItems are the item keys as they are, whatever is in them; each table is sorted
// by id, as etcd has them.
type rawItems map[config.Table][]config.Item

// readItems reads the item keys, which a push in progress may be changing.
func (s *Store) readItems(ctx context.Context) (rawItems, error) {
	out := rawItems{}
	for _, t := range config.AllTables() {
		err := s.readBelow(ctx, "read the item keys", s.keys.table(t), 2000, func(id string, value []byte) {
			out[t] = append(out[t], config.Item{ID: id, JSON: value})
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// readBelow reads the keys that begin with root, so many at a time, and calls each with
// what stands behind root.
func (s *Store) readBelow(ctx context.Context, op, root string, page int64, each func(name string, value []byte)) error {
	for from := root; ; {
		resp, err := s.get(ctx, op, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(root)), clientv3.WithLimit(page))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			each(string(kv.Key[len(root):]), kv.Value)
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// document makes a document of the items; an error if they can't be one.
func (r rawItems) document() (*config.Document, error) { return config.NewDocument(r) }

// changesTo lists what must be written to make the items equal to doc.
func (r rawItems) changesTo(doc *config.Document) []config.ItemChange {
	var out []config.ItemChange
	for _, t := range config.AllTables() {
		out = append(out, config.CompareItems(t, r[t], doc.Items(t))...)
	}
	return out
}

// Name tells this store from others, through restores and moves: its prefix and the id of
// its first release. "" for a store that nothing was pushed to.
func (s *Store) Name(ctx context.Context) (string, error) {
	resp, err := s.get(ctx, "read the first release", s.keys.release(1))
	if err != nil || len(resp.Kvs) == 0 {
		return "", err
	}
	c, err := parseCommit(resp.Kvs[0].Value, resp.Kvs[0].ModRevision)
	if err != nil {
		return "", err
	}
	return s.keys.prefix + " " + c.ID, nil
}
