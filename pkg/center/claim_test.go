package center

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// foreign writes what another gateway's credential can: a claim and a status of gw with
// another instance.
func foreign(t *testing.T, s *Store, gw string) {
	t.Helper()
	keys := map[string]string{
		s.keys.alive(gw):  `{"instance":"of another","boot":"b","host":"evil"}`,
		s.keys.status(gw): `{"format":1,"gateway":"` + gw + `","instance":"of another","host":"evil","state":"applied"}`,
	}
	for key, value := range keys {
		if _, err := s.etcd.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
}

// TestContestedClaimNeverEndsTheGateway: whoever can write to the store can take a
// gateway's claim. That ends following; what runs goes on, and so does the next start.
func TestContestedClaimNeverEndsTheGateway(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	doc := docOf(t, 3, 1)
	mustPush(t, s, doc)
	cache := filepath.Join(t.TempDir(), "config.cache")
	with := func(c *FollowerConfig) { c.CacheFile, c.LeaseTTL = cache, 2*time.Second }
	g := startGateway(t, endpoint, "gw", with)
	eventually(t, "it runs", g.runs(doc))
	eventually(t, "it is kept", func() bool { _, err := os.Stat(cache); return err == nil })

	foreign(t, s, "gw")
	var claimed *ClaimedError
	doc = docOf(t, 3, "before it notices")
	mustPush(t, s, doc)
	eventually(t, "it is told", func() bool { return errors.As(g.View().Err, &claimed) })
	mustPush(t, s, docOf(t, 3, 2))
	time.Sleep(300 * time.Millisecond) // it would have followed by now
	if !g.runs(doc)() {
		t.Errorf("%+v", g.View())
	}
	g.stop()
	if g.err != nil {
		t.Errorf("the gateway ended with %v", g.err)
	}

	g = startGateway(t, endpoint, "gw", with)
	eventually(t, "it runs again", func() bool { s := g.last(); return s != nil && s.SHA256 == doc.SHA256() })
	eventually(t, "it is told", func() bool { return errors.As(g.View().Err, &claimed) })
	g.stop()
	if g.err != nil {
		t.Errorf("the next start ended with %v", g.err)
	}
}

// TestOwnStoreHasNoOtherClaimant: an embedded store belongs to its data_dir. One whose
// instance file was lost goes on.
func TestOwnStoreHasNoOtherClaimant(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	doc := docOf(t, 3, 1)
	mustPush(t, s, doc)
	foreign(t, s, "gw")
	g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Store.Own, c.Instance = true, "made anew" })
	eventually(t, "it runs", g.runs(doc))
	g.stop()
	if g.err != nil {
		t.Error(g.err)
	}
}

// TestHeldDocument: a follower that begins with a held document's note runs what was
// proven, does not touch the held one, and says why.
func TestHeldDocument(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	good, deadly := docOf(t, 3, 1), docOf(t, 3, 2)
	dir := t.TempDir()
	cache, proven := filepath.Join(dir, "config.cache"), filepath.Join(dir, "config.proven")
	with := func(c *FollowerConfig) { c.CacheFile, c.Rollback = cache, RollbackLocal }
	mustPush(t, s, good)
	g := startGateway(t, endpoint, "gw", with)
	eventually(t, "it runs", g.runs(good))
	eventually(t, "it is proven", func() bool { return KeepCache(cache, proven, good.SHA256()) == nil })
	bad := mustPush(t, s, deadly)
	eventually(t, "it runs the deadly one", g.runs(deadly))
	g.stop()
	if err := KeepCache(cache, proven, good.SHA256()); err == nil {
		t.Error("a cache with another document was kept")
	}

	if err := Hold(cache, proven, deadly.SHA256(), bad.Rev, "it kills", "1.0"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and at the start after that
		g = startGateway(t, endpoint, "gw", with)
		eventually(t, "it is pinned", func() bool { v := g.View(); return v.State == Pinned && v.Error == "it kills" })
		if g.count() != 1 || g.last().SHA256 != good.SHA256() {
			t.Errorf("%d were applied", g.count())
		}
		g.stop()
	}
	// Another push of the same document is held too; a person's retry is not.
	g = startGateway(t, endpoint, "gw", with)
	eventually(t, "it is pinned", func() bool { return g.View().State == Pinned })
	g.Retry()
	eventually(t, "it is tried again", g.runs(deadly))
	g.stop()
}
