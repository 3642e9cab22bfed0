package center

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// backToOld moves the documents of s to where the last version keeps them.
func backToOld(t *testing.T, s *Store) {
	t.Helper()
	resp, err := s.etcd.Get(t.Context(), s.keys.documents(), clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) == 0 {
		t.Fatalf("documents: %d keys, %v", len(resp.Kvs), err)
	}
	for _, kv := range resp.Kvs {
		rest := strings.TrimPrefix(string(kv.Key), s.keys.documents())
		sha, _, _ := strings.Cut(rest, "/")
		for key, value := range map[string]string{oldBackupRoot + rest: string(kv.Value), s.keys.oldReference(sha): "1"} {
			if _, err := s.etcd.Put(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.etcd.Delete(t.Context(), s.keys.documents(), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentsOfTheLastVersion: a store that the last version wrote is read, followed,
// repaired, pushed to and tidied up, and enrolling copies what it has.
func TestDocumentsOfTheLastVersion(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint, func(c *Config) { c.KeepReleases = 2 })
	first, second := docOf(t, 30, "first"), docOf(t, 31, "second")
	mustPush(t, s, first)
	mustPush(t, s, second)
	backToOld(t, s)

	if v, err := s.LoadRelease(t.Context(), 1); err != nil || v.Doc.SHA256() != first.SHA256() {
		t.Errorf("release 1: %v", err)
	}
	holds(t, s, second)
	g := startGateway(t, endpoint, "gw")
	eventually(t, "it runs", g.runs(second))
	if done, err := s.Repair(t.Context()); err != nil || len(done) > 0 {
		t.Errorf("a sound store was repaired: %v, %v", done, err)
	}
	found, err := s.Doctor(t.Context())
	for _, d := range found {
		if err != nil || d.Health == Sick {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if err := s.copyDocuments(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{first.SHA256(), second.SHA256()} {
		if got, err := s.fetchAt(t.Context(), s.keys.document(doc), doc); err != nil || got.SHA256() != doc {
			t.Errorf("copied: %v", err)
		}
	}
	for i := range 4 {
		mustPush(t, s, docOf(t, 30, i))
	}
	eventually(t, "it follows", func() bool { return g.last().SHA256 == mustLoad(t, s).Commit.SHA256 })
	resp, err := s.etcd.Get(t.Context(), oldBackupRoot, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count > 0 {
		t.Errorf("%d keys of documents that nobody refers to are left, %v", resp.Count, err)
	}
}

// An old gateway's keys, as it writes them.
func putOld(t *testing.T, s *Store, st Status, online bool) {
	t.Helper()
	b, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.etcd.Put(t.Context(), s.keys.oldStatus(st.Gateway), string(b)); err != nil {
		t.Fatal(err)
	}
	if online {
		_, err = s.etcd.Put(t.Context(), s.keys.oldAlive(st.Gateway), `{"instance":"`+st.Instance+`","boot":"b"}`)
	} else {
		_, err = s.etcd.Delete(t.Context(), s.keys.oldAlive(st.Gateway))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestGatewaysOfTheLastVersion: during an upgrade, gateways of both versions are listed,
// waited for, asked to retry and forgotten, and one id is one gateway's in both.
func TestGatewaysOfTheLastVersion(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	c := mustPush(t, s, docOf(t, 3, 1))
	g := startGateway(t, endpoint, "new")
	eventually(t, "it runs", g.runs(docOf(t, 3, 1)))
	old := Status{Format: statusFormat, Gateway: "old", Instance: "i", State: Applied, Rev: c.Rev, SHA256: c.SHA256, Tried: c.ID, Seen: time.Now()}
	putOld(t, s, old, true)
	list := func() string {
		all, err := s.Gateways(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, g := range all {
			state, _ := g.Shown()
			out = append(out, g.Gateway+" "+string(state))
		}
		return strings.Join(out, ", ")
	}
	eventually(t, "both are listed", func() bool { return list() == "new applied, old applied" })

	// A wait sees what the old one writes.
	next := mustPush(t, s, docOf(t, 3, 2))
	waited := make(chan error, 1)
	go func() { waited <- s.WaitApplied(t.Context(), next, Whom{All: true}, nil) }()
	old.SHA256, old.Tried, old.Rev, old.Seen = next.SHA256, next.ID, next.Rev, time.Now()
	putOld(t, s, old, true)
	select {
	case err := <-waited:
		if err != nil {
			t.Errorf("wait: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the wait does not end")
	}

	// A retry reaches it where it looks.
	if err := s.Retry(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	if resp, err := s.etcd.Get(t.Context(), s.keys.oldRetry("old")); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("the retry is not there: %v", err)
	}

	// Its id is not another instance's, whatever version that one has.
	var claimed *ClaimedError
	thief := startGateway(t, endpoint, "old", func(c *FollowerConfig) { c.Instance = "of another" })
	eventually(t, "the thief is told", func() bool { return errors.As(thief.View().Err, &claimed) })
	thief.stop()

	// It is updated: what it ran is remembered, and it is listed once. Put back to the
	// last version, it is that one's status that counts.
	putOld(t, s, Status{Format: statusFormat, Gateway: "old", Instance: "i", Ran: "r1 r2", Seen: time.Now(), State: Applied}, false)
	updated := startGateway(t, endpoint, "old", func(c *FollowerConfig) { c.Instance = "i"; c.CacheFile = filepath.Join(t.TempDir(), "c") })
	eventually(t, "it runs", updated.runs(docOf(t, 3, 2)))
	eventually(t, "it is listed", func() bool { return list() == "new applied, old applied" })
	if ran := updated.View().Ran; !strings.HasSuffix(ran, "r1 r2") {
		t.Errorf("it has forgotten what ran: %q", ran)
	}
	if err := s.Forget(t.Context(), "old"); err == nil {
		t.Error("one that is running was forgotten")
	}
	updated.stop()
	eventually(t, "it is offline", func() bool { return list() == "new applied, old offline" })
	putOld(t, s, Status{Format: statusFormat, Gateway: "old", Instance: "i", State: Pinned, Seen: time.Now()}, true)
	eventually(t, "the old one is back", func() bool { return list() == "new applied, old pinned" })
	putOld(t, s, Status{Format: statusFormat, Gateway: "old", Instance: "i", State: Pinned, Seen: time.Now()}, false)
	if err := s.Forget(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	if got := list(); got != "new applied" {
		t.Errorf("listed: %s", got)
	}
	if err := s.Forget(t.Context(), "old"); err == nil {
		t.Error("one that is not known was forgotten")
	}
}
