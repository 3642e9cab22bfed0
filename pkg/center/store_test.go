package center

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func TestPushAndLoad(t *testing.T) {
	endpoint := startEtcd(t)
	for name, limits := range map[string]func(*Config){
		"at once":  func(*Config) {},
		"in steps": small(10),
	} {
		t.Run(name, func(t *testing.T) {
			prefix := "/test/" + strings.ReplaceAll(name, " ", "-")
			s := openStore(t, endpoint, limits, func(c *Config) { c.Prefix = prefix })
			if head, err := s.Head(t.Context()); err != nil || !head.None() {
				t.Fatalf("an empty store has the head %+v, %v", head, err)
			}
			one := docOf(t, 60, "a")
			c1 := mustPush(t, s, one)
			holds(t, s, one)
			if c1.Release != 1 || c1.Changes[config.Variables].Added != 60 || c1.Author.OSUser != "ann" || c1.BaseRev != 0 {
				t.Errorf("first commit: %+v", c1)
			}

			two := with(t, docOf(t, 50, "a"), config.Variables, variable(7, "b"))
			c2 := mustPush(t, s, two)
			holds(t, s, two)
			if got := c2.Changes[config.Variables]; got != (config.Counts{Removed: 10, Changed: 1}) || c2.BaseRev != c1.Rev || c2.Rev <= c1.Rev {
				t.Errorf("second commit: %+v", c2)
			}

			same := mustPush(t, s, two)
			if same.Rev != c2.Rev {
				t.Errorf("pushing what is there made rev %d of rev %d", same.Rev, c2.Rev)
			}

			for _, c := range []Commit{c1, c2} {
				byRev, err := s.LoadRev(t.Context(), c.Rev)
				if err != nil || byRev.Doc.SHA256() != c.SHA256 || byRev.Commit.Rev != c.Rev || byRev.Commit.ID != c.ID {
					t.Errorf("LoadRev(%d): %v, %+v", c.Rev, err, byRev.Commit)
				}
				byNumber, err := s.LoadRelease(t.Context(), c.Release)
				if err != nil || byNumber.Commit.Rev != c.Rev {
					t.Errorf("LoadRelease(%d): %v, %+v", c.Release, err, byNumber.Commit)
				}
			}
			if _, err := s.LoadRev(t.Context(), c2.Rev+1); !errors.Is(err, ErrNoRelease) {
				t.Errorf("LoadRev of no commit: %v", err)
			}
			log, err := s.Log(t.Context(), 0)
			if err != nil || len(log) != 2 || log[0].Rev != c2.Rev || log[1].Rev != c1.Rev {
				t.Errorf("log: %v, %v", log, err)
			}
		})
	}
}

// Of two operators with the same base, one wins whole and the other is told.
func TestConflict(t *testing.T) {
	endpoint := startEtcd(t)
	for _, ops := range []int{128, 12} {
		t.Run(fmt.Sprint(ops), func(t *testing.T) {
			inPrefix := func(c *Config) { c.Prefix = fmt.Sprintf("/test/%d", ops) }
			a, b := openStore(t, endpoint, small(ops), inPrefix), openStore(t, endpoint, small(ops), inPrefix)
			mustPush(t, a, docOf(t, 40, "base"))
			base := mustLoad(t, a)
			docs := []*config.Document{docOf(t, 45, "a"), docOf(t, 35, "b")}
			for range 10 {
				var wg sync.WaitGroup
				commits, errs := make([]Commit, 2), make([]error, 2)
				for i, s := range []*Store{a, b} {
					wg.Go(func() { commits[i], errs[i] = s.Push(t.Context(), base, docs[i], PushOptions{Message: fmt.Sprint(i)}) })
				}
				wg.Wait()
				winner := 0
				if errs[0] != nil {
					winner = 1
				}
				var conflict *ConflictError
				if errs[winner] != nil || !errors.As(errs[1-winner], &conflict) {
					t.Fatalf("two pushes at once: %v and %v", errs[0], errs[1])
				}
				if conflict.Head.Rev != commits[winner].Rev || conflict.Base.Rev != base.Commit.Rev {
					t.Errorf("conflict: %v", conflict)
				}
				holds(t, a, docs[winner])
				mustPush(t, b, docOf(t, 40, "base"))
				base = mustLoad(t, b)
			}
		})
	}
}

func TestForce(t *testing.T) {
	s := openStore(t, startEtcd(t))
	base := mustLoad(t, s)
	mustPush(t, s, docOf(t, 3, "theirs"))
	mine := docOf(t, 4, "mine")
	if _, err := s.Push(t.Context(), base, mine, PushOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	holds(t, s, mine)
}

// Whatever is damaged in the store, readers are told, and a forced push repairs it.
func TestDamagedStore(t *testing.T) {
	endpoint := startEtcd(t)
	etcd := openStore(t, endpoint).etcd
	good := docOf(t, 30, "good")
	put := func(t *testing.T, key, value string) {
		if _, err := etcd.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	del := func(t *testing.T, key string) {
		if _, err := etcd.Delete(t.Context(), key, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	for i, tc := range []struct {
		name   string
		damage func(*testing.T, *Store)
		want   error // of Load; nil: the reader copes
	}{
		{"commit is no JSON", func(t *testing.T, s *Store) { put(t, s.keys.commit(), "{") }, ErrDamaged},
		{"commit is empty", func(t *testing.T, s *Store) { put(t, s.keys.commit(), "") }, ErrDamaged},
		{"commit of another format", func(t *testing.T, s *Store) { put(t, s.keys.commit(), `{"format":3}`) }, ErrFormat},
		{"chunk is noise", func(t *testing.T, s *Store) { put(t, s.keys.document(good.SHA256()).chunk(0), "noise") }, nil},
		{"header promises too much", func(t *testing.T, s *Store) {
			put(t, s.keys.document(good.SHA256()).header(), `{"format":1,"size":268435456,"chunks":292}`)
		}, nil},
		{"document is another's, and an item too", func(t *testing.T, s *Store) {
			other := docOf(t, 2, "document is another's, and an item too") // whole, under a hash that is not its own
			for _, of := range []func(stored) string{stored.header, func(k stored) string { return k.chunk(0) }} {
				r, err := etcd.Get(t.Context(), of(s.keys.document(other.SHA256())))
				if err != nil || len(r.Kvs) != 1 {
					t.Fatalf("%v, %v", r, err)
				}
				put(t, of(s.keys.document(good.SHA256())), string(r.Kvs[0].Value))
			}
			del(t, s.keys.item(config.Variables, variable(3, "").ID))
		}, ErrDamaged},
		{"document is gone", func(t *testing.T, s *Store) { del(t, string(s.keys.document(good.SHA256()))) }, nil},
		{"document is gone and an item too", func(t *testing.T, s *Store) {
			del(t, string(s.keys.document(good.SHA256())))
			del(t, s.keys.item(config.Variables, variable(3, "").ID))
		}, ErrDamaged},
		{"document is gone and an item is noise", func(t *testing.T, s *Store) {
			del(t, string(s.keys.document(good.SHA256())))
			put(t, s.keys.table(config.Variables)+"a/b c", "\xff")
		}, ErrDamaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openStore(t, endpoint, func(c *Config) { c.Prefix = fmt.Sprintf("/damage/%d", i) })
			mustPush(t, s, docOf(t, 2, tc.name))
			mustPush(t, s, good)
			tc.damage(t, s)
			v, err := s.Load(t.Context())
			if !errors.Is(err, tc.want) || err == nil && v.Doc.SHA256() != good.SHA256() {
				t.Fatalf("Load: %v, expected %v", err, tc.want)
			}
			if errors.Is(tc.want, ErrFormat) {
				if _, err := s.Push(t.Context(), Version{}, good, PushOptions{Force: true}); !errors.Is(err, ErrFormat) {
					t.Fatalf("a store of another format was overwritten: %v", err)
				}
				return
			}
			for n, doc := range []*config.Document{docOf(t, 31, "repaired"), good} {
				c, err := s.Push(t.Context(), Version{}, doc, PushOptions{Force: true})
				if err != nil || c.Release != uint64(3+n) {
					t.Fatalf("forced push: %+v, %v", c, err)
				}
				if n == 0 {
					holds(t, s, doc)
				}
			}
		})
	}
}

func TestPrune(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint, func(c *Config) { c.KeepReleases = 3 })
	other := openStore(t, endpoint, func(c *Config) { c.KeepReleases = 3; c.Prefix = "/other" })
	shared := docOf(t, 1, "shared")
	mustPush(t, other, shared)
	docs := []*config.Document{shared, docOf(t, 1, "mine")}
	for i := range 6 {
		docs = append(docs, docOf(t, 2, i))
	}
	docs = append(docs, docOf(t, 2, 4)) // release 9, at which it is pruned, has the document of release 7
	for _, d := range docs {
		mustPush(t, s, d)
	}
	for n := uint64(1); n <= 9; n++ {
		_, err := s.LoadRelease(t.Context(), n)
		kept := n >= 7
		if kept && err != nil || !kept && !errors.Is(err, ErrNotKept) {
			t.Errorf("release %d: %v", n, err)
		}
	}
	// The other prefix has the same document by itself, and lets go of it by itself.
	if v, err := other.LoadRelease(t.Context(), 1); err != nil || v.Doc.SHA256() != shared.SHA256() {
		t.Errorf("the other prefix's release 1: %v", err)
	}
	for i := range 5 {
		mustPush(t, other, docOf(t, 2, fmt.Sprint("other", i)))
	}
	if _, err := other.LoadRelease(t.Context(), 1); !errors.Is(err, ErrNotKept) {
		t.Errorf("the other prefix's release 1: %v", err)
	}
	if log, err := s.Log(t.Context(), 2); err != nil || len(log) != 2 || log[1].Release != 8 {
		t.Errorf("log: %v, %v", log, err)
	}
}

// A document that falls out of the last releases stays if a push uses it again at
// that moment.
func TestPruneRace(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint, func(c *Config) { c.KeepReleases = 1 })
	second := openStore(t, endpoint, func(c *Config) { c.KeepReleases = 1000 })
	old := docOf(t, 1, "old")
	mustPush(t, s, old)
	var once sync.Once
	s.fault = func(op string, done bool) error {
		if op == "prune" && !done {
			once.Do(func() { mustPush(t, second, old) })
		}
		return nil
	}
	mustPush(t, s, docOf(t, 1, "new"))
	holds(t, s, old)
}

func TestUnreachable(t *testing.T) {
	begin := time.Now()
	_, err := Open(t.Context(), Config{Endpoints: []string{"unix:/nowhere/etcd.sock"}, DialTimeout: 500 * time.Millisecond})
	var store *StoreError
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &store) || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("Open: %v", err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Config{Endpoints: []string{"127.0.0.1:1"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a cancelled context: %v", err)
	}
}

func TestRestore(t *testing.T) {
	s := openStore(t, startEtcd(t))
	drivers := func(doc *config.Document, unit int) *config.Document {
		return with(t, doc, config.Drivers, config.Item{ID: "drv", JSON: fmt.Appendf(nil, `{"cfg":{"unit_id":%d},"endpoint_id":"plc","kind":"static","proto":"modbus"}`, unit)})
	}
	first := drivers(docOf(t, 3, "a"), 1)
	second := drivers(docOf(t, 4, "b"), 2)
	third := drivers(docOf(t, 5, "c"), 2)
	c1 := mustPush(t, s, first)
	c2 := mustPush(t, s, second)
	mustPush(t, s, third)
	head := mustLoad(t, s)
	for name, tc := range map[string]struct {
		table config.Table
		rev   int64
		want  *config.Document
		from  int64
	}{
		"all to a rev":                        {"", c1.Rev, first, c1.Rev},
		"all to the one before":               {"", 0, second, c2.Rev},
		"one table to a rev":                  {config.Variables, c1.Rev, drivers(docOf(t, 3, "a"), 2), c1.Rev},
		"one table to where it was different": {config.Drivers, 0, drivers(docOf(t, 5, "c"), 1), c1.Rev},
	} {
		t.Run(name, func(t *testing.T) {
			doc, from, err := s.Restore(t.Context(), head, tc.table, tc.rev)
			if err != nil || doc.SHA256() != tc.want.SHA256() || from.Rev != tc.from {
				t.Fatalf("from rev %d: %v, %v", from.Rev, doc, err)
			}
		})
	}
	if _, _, err := s.Restore(t.Context(), head, config.Endpoints, 0); !errors.Is(err, ErrNoRelease) {
		t.Errorf("a table that never changed: %v", err)
	}
	if _, _, err := s.Restore(t.Context(), head, "pumps", 0); err == nil {
		t.Error("a table that doesn't exist")
	}
}

func TestPrefixes(t *testing.T) {
	endpoint := startEtcd(t)
	one := openStore(t, endpoint, func(c *Config) { c.Prefix = "/edge/config/v1" })
	ten := openStore(t, endpoint, func(c *Config) { c.Prefix = "/edge/config/v10/" })
	a, b := docOf(t, 2, "a"), docOf(t, 3, "b")
	mustPush(t, one, a)
	mustPush(t, ten, b)
	holds(t, one, a)
	holds(t, ten, b)
	for _, bad := range []string{"edge", "/", "/a//b", "/edge/config/backup", "/edge/config", "/edge/status/v1/x", "/edge/fleet/v1/x", "/edge"} {
		if _, err := newKeyspace(bad); err == nil {
			t.Errorf("prefix %q is accepted", bad)
		}
	}
}

// What a person can do about a socket depends on why it does not answer.
func TestStoreErrorSaysWhatToDo(t *testing.T) {
	for cause, want := range map[string]string{
		"dial unix /d/etcd.sock: connect: permission denied":         "try sudo",
		"dial unix /d/etcd.sock: connect: no such file or directory": "does not run",
	} {
		err := &StoreError{Kind: ErrUnavailable, Endpoints: []string{"unix:/d/etcd.sock"}, Op: "connect", Err: errors.New(cause)}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err.Error(), want)
		}
	}
}
