package center

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// machine is an etcd server whose disk can be put back to an earlier state.
type machine struct {
	t        *testing.T
	dir      string
	backup   string
	endpoint string
	stop     func()
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &machine{t: t, dir: dir, backup: t.TempDir()}
	m.endpoint, m.stop = startEtcdIn(t, dir)
	return m
}

func (m *machine) data() string { return filepath.Join(m.dir, "etcd") }

// image keeps the disk as it is.
func (m *machine) image() {
	m.t.Helper()
	m.stop()
	if err := os.CopyFS(m.backup, os.DirFS(m.data())); err != nil {
		m.t.Fatal(err)
	}
	_, m.stop = startEtcdIn(m.t, m.dir)
}

// putBack makes the disk the image, and calls before ahead of anybody else.
func (m *machine) putBack(before func(*Store)) {
	m.t.Helper()
	m.stop()
	if err := os.RemoveAll(m.data()); err != nil {
		m.t.Fatal(err)
	}
	if err := os.CopyFS(m.data(), os.DirFS(m.backup)); err != nil {
		m.t.Fatal(err)
	}
	if before != nil { // where no gateway finds it
		aside, err := os.MkdirTemp("", "e")
		if err != nil {
			m.t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(aside) }()
		if err := os.Rename(m.data(), filepath.Join(aside, "etcd")); err != nil {
			m.t.Fatal(err)
		}
		endpoint, stop := startEtcdIn(m.t, aside)
		before(openStore(m.t, endpoint))
		stop()
		if err := os.Rename(filepath.Join(aside, "etcd"), m.data()); err != nil {
			m.t.Fatal(err)
		}
	}
	_, m.stop = startEtcdIn(m.t, m.dir)
}

// TestRevisionsUsedAgain: the store is put back to an earlier state, and its new history
// has commits at the revisions that the gateway knows, or beyond. The gateway ends up on
// what is in force, and a wait for a commit never takes the lost one for it.
func TestRevisionsUsedAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost int // pushes after the image
		anew int // pushes after the disk was put back
	}{{"the same revision", 2, 2}, {"below", 3, 1}, {"beyond", 1, 4}, {"nothing new", 2, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // it waits for leases and connections
			m := newMachine(t)
			s := openStore(t, m.endpoint)
			doc := docOf(t, 4, "old")
			mustPush(t, s, doc)
			m.image()
			g := startGateway(t, m.endpoint, "gw", func(c *FollowerConfig) { c.LeaseTTL = 2 * time.Second })
			eventually(t, "applied", g.runs(doc))
			for i := range tt.lost {
				lost := docOf(t, 4, i)
				mustPush(t, s, lost)
				eventually(t, "applied", g.runs(lost))
			}
			var head Commit
			m.putBack(func(s *Store) {
				for i := range tt.anew {
					doc = docOf(t, 4, 100+i)
					mustPush(t, s, doc)
				}
				head = mustLoad(t, s).Commit
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for {
				err := s.WaitApplied(ctx, head, Whom{}, nil)
				if errors.Is(err, ErrUnavailable) {
					continue // as an operator would
				}
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if all, err := s.Gateways(t.Context()); err != nil || len(all) > 0 && all[0].SHA256 != doc.SHA256() {
				t.Errorf("the wait ended, and the gateway runs %+v (%v)", all, err)
			}
			eventually(t, "what is in force runs", g.runs(doc))
		})
	}
}

// TestStaleBaseAtTheSameRevision: a push that was begun before the store was put back
// does not replace a commit that it never saw.
func TestStaleBaseAtTheSameRevision(t *testing.T) {
	m := newMachine(t)
	s := openStore(t, m.endpoint)
	mustPush(t, s, docOf(t, 4, "old"))
	m.image()
	mustPush(t, s, docOf(t, 4, "lost"))
	base := mustLoad(t, s)
	theirs := docOf(t, 4, "theirs")
	m.putBack(func(s *Store) { mustPush(t, s, theirs) })
	if now := mustLoad(t, s); now.Commit.Rev != base.Commit.Rev {
		t.Fatalf("rev %d, expected %d again", now.Commit.Rev, base.Commit.Rev)
	}
	var conflict *ConflictError
	if _, err := s.Push(t.Context(), base, docOf(t, 4, "mine"), PushOptions{}); !errors.As(err, &conflict) {
		t.Errorf("pushed over a commit that was never seen: %v", err)
	}
	holds(t, s, theirs)
}

// TestCommitLost: without its commit record a store is not empty. Nobody begins anew in
// it, and the doctor's repair makes it what it was.
func TestCommitLost(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	docs := []*config.Document{docOf(t, 4, "a"), docOf(t, 4, "b")}
	for _, d := range docs {
		mustPush(t, s, d)
	}
	before, err := s.Log(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	base := mustLoad(t, s)
	drop := func(key string, opts ...clientv3.OpOption) {
		t.Helper()
		if _, err := s.etcd.Delete(t.Context(), key, opts...); err != nil {
			t.Fatal(err)
		}
	}
	drop(s.keys.commit())
	g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) {
		c.Seed = func() (*config.Snapshot, error) { return docs[0].Snapshot(nil) }
	})
	empty := Version{Doc: config.EmptyDocument()}
	for name, b := range map[string]Version{"an empty base": empty, "the last base": base} {
		var conflict *ConflictError
		if _, err := s.Push(t.Context(), b, docs[0], PushOptions{}); !errors.Is(err, ErrDamaged) && !errors.As(err, &conflict) {
			t.Errorf("%s: pushed into a store that lost its commit: %v", name, err)
		}
	}
	found, err := s.Doctor(t.Context())
	if err != nil || !has(found, "commit", Sick) {
		t.Errorf("the doctor found %v, %v", found, err)
	}
	done, err := s.Repair(t.Context())
	if err != nil || len(done) != 1 {
		t.Fatalf("the repair did %v, %v", done, err)
	}
	holds(t, s, docs[1])
	eventually(t, "the gateway runs what was in force", g.runs(docs[1]))
	after, err := s.Log(t.Context(), 0)
	if err != nil || len(after) != len(before) || after[0].ID != before[0].ID || after[1].ID != before[1].ID {
		t.Errorf("the log was %v and is %v, %v", before, after, err)
	}
	if v, err := s.LoadRev(t.Context(), mustLoad(t, s).Commit.Rev); err != nil || v.Commit.ID != before[0].ID {
		t.Errorf("the release of the repaired commit can't be found by its rev: %v", err)
	}
	mustPush(t, s, docs[0])
	if last := mustLoad(t, s).Commit; last.Release != 3 {
		t.Errorf("the push after it is release %d", last.Release)
	}

	// The newest document is gone as well: the one before it, above all releases.
	mustPush(t, s, docOf(t, 4, "c"))
	drop(string(s.keys.document(mustLoad(t, s).Commit.SHA256)), clientv3.WithPrefix())
	drop(s.keys.commit())
	if _, err := s.etcd.Delete(t.Context(), s.keys.table(config.Variables), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if done, err = s.Repair(t.Context()); err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatalf("the repair did %v, %v", done, err)
	}
	if _, err := s.Push(t.Context(), Version{}, docs[1], PushOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	holds(t, s, docs[1])
	if last := mustLoad(t, s).Commit; last.Release < 5 {
		t.Errorf("the forced push is release %d, and there were four", last.Release)
	}
}

// TestRewrite: foreign hands in the item keys and the document are put right, and no
// release is made.
func TestRewrite(t *testing.T) {
	s := openStore(t, startEtcd(t))
	doc := docOf(t, 4, "a")
	c := mustPush(t, s, doc)
	for _, harm := range []func() error{
		func() error {
			_, err := s.etcd.Put(t.Context(), s.keys.item(config.Variables, variable(1, "").ID), "{}")
			return err
		},
		func() error {
			_, err := s.etcd.Put(t.Context(), s.keys.item(config.Drivers, "ghost"), "{}")
			return err
		},
		func() error { _, err := s.etcd.Delete(t.Context(), s.keys.item(config.Drivers, "drv")); return err },
		func() error { _, err := s.etcd.Delete(t.Context(), s.keys.document(c.SHA256).header()); return err },
		func() error {
			_, err := s.etcd.Put(t.Context(), s.keys.document(c.SHA256).chunk(0), "rubbish")
			return err
		},
		func() error { _, err := s.etcd.Delete(t.Context(), s.keys.release(c.Release)); return err },
		func() error { _, err := s.etcd.Put(t.Context(), s.keys.commit(), "rubbish"); return err },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if done, err := s.Repair(t.Context()); err != nil || len(done) == 0 {
			t.Errorf("repair: %v, %v", done, err)
		}
		holds(t, s, doc)
		if now := mustLoad(t, s).Commit; now.ID != c.ID || now.Release != 1 {
			t.Errorf("another commit: %+v", now)
		}
		found, err := s.Doctor(t.Context())
		for _, d := range found {
			if err != nil || d.Health != Healthy {
				t.Errorf("after the repair: %+v, %v", d, err)
			}
		}
		if done, err := s.Repair(t.Context()); err != nil || len(done) != 0 {
			t.Errorf("a second repair did %v, %v", done, err)
		}
	}
}

// TestAliveComesBack: an alive key that somebody has deleted is there again before its
// lease would have ended.
func TestAliveComesBack(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	mustPush(t, s, docOf(t, 2, "a"))
	startGateway(t, endpoint, "gw")
	online := func() bool {
		all, err := s.Gateways(t.Context())
		return err == nil && len(all) == 1 && all[0].Online
	}
	eventually(t, "registered", online)
	if _, err := s.etcd.Delete(t.Context(), s.keys.alive("gw")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, "registered again", online)
	if took := time.Since(begin); took > DefaultLeaseTTL {
		t.Errorf("it took %s", took)
	}
}
