package center

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

func newTestKey(t *testing.T) *Key {
	t.Helper()
	k, err := NewKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// forge puts a commit record in force as somebody does who may write to the store and has
// no key: change makes it of the one in force.
func forge(t *testing.T, s *Store, id string, change func(*Commit)) {
	t.Helper()
	c := mustLoad(t, s).Commit
	c.Release, c.ID, c.BaseSHA256, c.Delta = c.Release+1, id, c.SHA256, nil
	change(&c)
	record, release, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.etcd.Txn(t.Context()).Then(clientv3.OpPut(s.keys.commit(), string(record)), clientv3.OpPut(s.keys.release(c.Release), string(release))).Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestSigners: with policy.signers, whoever can write to the store and has no key makes a
// gateway run nothing that a signer has not meant for it since: not unsigned, not with a
// signature of another key, site or document, and not an old one put back.
func TestSigners(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	other := openStore(t, endpoint, func(c *Config) { c.Prefix = "/other" })
	key, stranger := newTestKey(t), newTestKey(t)
	sign := func(doc int, k *Key) Commit {
		t.Helper()
		c, err := s.Push(t.Context(), mustLoad(t, s), docOf(t, 3, doc), PushOptions{Sign: k})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := sign(1, key)
	second := sign(2, key)
	cache := filepath.Join(t.TempDir(), "config.cache")
	with := func(c *FollowerConfig) {
		c.CacheFile, c.Rollback, c.Signers = cache, RollbackLocal, []Signer{key.Signer()}
	}
	g := startGateway(t, endpoint, "gw", with)
	eventually(t, "it runs what is signed", g.runs(docOf(t, 3, 2)))

	elsewhere, err := other.Push(t.Context(), mustLoad(t, other), docOf(t, 3, 1), PushOptions{Sign: key})
	if err != nil {
		t.Fatal(err)
	}
	mustPush(t, s, docOf(t, 3, 66)) // its document is stored
	unsigned := docOf(t, 3, 66).SHA256()
	refuse := func(g *gateway, id, why string) {
		t.Helper()
		eventually(t, id+" is refused", func() bool { v := g.View(); return v.Tried == id && v.State != Applying })
		v := g.View()
		if v.State != Rejected && v.State != Pinned || !strings.Contains(v.Error, why) || g.last() == nil || g.last().SHA256 != second.SHA256 {
			t.Errorf("%s: %s %q, expected %q", id, v.State, v.Error, why)
		}
	}
	attacks := []struct {
		id, why string
		change  func(*Commit)
	}{
		{"unsigned", "not signed", func(c *Commit) { c.SHA256, c.Signature = unsigned, nil }},
		{"another key", "not one of policy.signers", func(c *Commit) { c.SHA256, c.Signature = unsigned, stranger.sign(s.keys.prefix, unsigned, 1<<62) }},
		{"another key in its name", "was changed", func(c *Commit) {
			c.SHA256, c.Signature = unsigned, stranger.sign(s.keys.prefix, unsigned, 1<<62)
			c.Signature.Signer = key.Signer()
		}},
		{"another site's", "signed for other gateways", func(c *Commit) { c.SHA256, c.Signature = first.SHA256, elsewhere.Signature }},
		{"another document's", "was changed", func(c *Commit) { c.SHA256, c.Signature = unsigned, second.Signature }},
		{"with another order", "was changed", func(c *Commit) {
			forged := *first.Signature
			forged.Order = second.Signature.Order + 1
			c.SHA256, c.Signature = first.SHA256, &forged
		}},
		{"an old one", "older than what was tried", func(c *Commit) { c.SHA256, c.Signature = first.SHA256, first.Signature }},
		{"noise", "not a public key", func(c *Commit) { c.SHA256, c.Signature = unsigned, &Signature{Signer: "x\x00", Text: "\xff"} }},
	}
	for _, a := range attacks {
		if a.id == "noise" {
			a.why = "not one of policy.signers"
		}
		forge(t, s, a.id, a.change)
		refuse(g, a.id, a.why)
	}

	// What runs, without its signature: nothing changes, and the next start has it still.
	forge(t, s, "taken away", func(c *Commit) { c.SHA256, c.Signature = second.SHA256, nil })
	eventually(t, "it is what runs", func() bool { v := g.View(); return v.Tried == "taken away" && v.State == Applied })
	g.stop()
	forge(t, s, "an old one again", func(c *Commit) { c.SHA256, c.Signature = first.SHA256, first.Signature })
	g = startGateway(t, endpoint, "gw", with)
	refuse(g, "an old one again", "older than what was tried")

	// By hand, a person at the gateway goes back to what was signed, and to nothing else.
	if _, err := g.Rollback(t.Context(), revision(first)); err != nil {
		t.Errorf("back to a signed release: %v", err)
	}
	if _, err := g.Rollback(t.Context(), revisionOf(unsigned)); err == nil || !strings.Contains(err.Error(), "signed") {
		t.Errorf("back to an unsigned release: %v", err)
	}

	// A signer's next push is followed, a repeated one of the same document too.
	sign(3, key)
	eventually(t, "it follows the signer", g.runs(docOf(t, 3, 3)))
	sign(1, key)
	eventually(t, "it follows a rollback that is signed anew", g.runs(docOf(t, 3, 1)))
	g.stop()

	// A cache that somebody has changed is not started from.
	text, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	was := mustLoad(t, s).Commit.Signature.Text
	if err := os.WriteFile(cache, []byte(strings.Replace(string(text), was, strings.Repeat("A", len(was)), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	forge(t, s, "unsigned at the start", func(c *Commit) { c.SHA256, c.Signature = unsigned, nil })
	g = startGateway(t, endpoint, "gw", with)
	eventually(t, "it is refused", func() bool { return g.View().State == Rejected })
	if g.count() != 0 {
		t.Error("it started with a cache that was changed")
	}
	sign(4, key)
	eventually(t, "it runs what is signed", g.runs(docOf(t, 3, 4)))
}

// Who can write to the store, without a key, can't make a good document known not to run by
// pushing it without a signature, nor have a rollback to "previous" sign a document of his.
func TestUnsignedPushSpoilsNoDocument(t *testing.T) {
	for _, policy := range []Policy{RollbackLocal, RollbackAuto} {
		t.Run(string(policy), func(t *testing.T) {
			endpoint := startEtcd(t)
			s := openStore(t, endpoint)
			key := newTestKey(t)
			push := func(n any, o PushOptions) Commit {
				t.Helper()
				c, err := s.Push(t.Context(), mustLoad(t, s), docOf(t, 3, n), o)
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) {
				c.Rollback, c.Signers = policy, []Signer{key.Signer()}
			})
			first := push(1, PushOptions{Sign: key})
			eventually(t, "it runs", g.runs(docOf(t, 3, 1)))
			push(2, PushOptions{Sign: key})
			eventually(t, "it runs", g.runs(docOf(t, 3, 2)))
			for _, n := range []any{1, "the attacker's"} {
				c := push(n, PushOptions{})
				eventually(t, "it is refused", func() bool { return hasID(g.View().Unsigned, c.ID) })
				if policy == RollbackAuto {
					eventually(t, "the store is put back", func() bool { return mustLoad(t, s).Commit.BaseRev == c.Rev })
				}
			}
			eventually(t, "the store has its status", func() bool {
				all, err := s.Gateways(t.Context())
				return err == nil && len(all) == 1 && len(strings.Fields(all[0].Unsigned)) == 2
			})
			if rev, why, err := s.Refusal(t.Context(), first, first.SHA256); err != nil || why != "" {
				t.Errorf("a rollback to the signed release: rev %d, %q, %v", rev, why, err)
			}
			doc, back, err := s.Restore(t.Context(), mustLoad(t, s), "", 0)
			if err != nil || doc.SHA256() == docOf(t, 3, "the attacker's").SHA256() {
				t.Errorf("previous: rev %d, %v", back.Rev, err)
			}
		})
	}
}

// TestSignedPutBack: a lone gateway puts back what it ran before, under the signature that
// this had, and starts with it. A store that was emptied is filled with it.
func TestSignedPutBack(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	key := newTestKey(t)
	cache := filepath.Join(t.TempDir(), "config.cache")
	with := func(c *FollowerConfig) { c.CacheFile, c.Signers = cache, []Signer{key.Signer()} }
	push := func(n any) Commit {
		t.Helper()
		c, err := s.Push(t.Context(), mustLoad(t, s), docOf(t, 3, n), PushOptions{Sign: key})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good := push(1)
	g := startGateway(t, endpoint, "gw", with)
	eventually(t, "it runs", g.runs(docOf(t, 3, 1)))
	g.decide(refuses(RolledBack))
	push("bad")
	eventually(t, "it is put back", func() bool { return g.View().State == RolledBack })
	if now := mustLoad(t, s).Commit; now.SHA256 != good.SHA256 || now.Signature == nil || *now.Signature != *good.Signature {
		t.Errorf("put back: %+v", now)
	}
	g.stop()
	g = startGateway(t, endpoint, "gw", with)
	eventually(t, "it starts with it", g.runs(docOf(t, 3, 1)))

	if _, err := s.etcd.Delete(t.Context(), s.keys.prefix+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	g.stop()
	g = startGateway(t, endpoint, "gw", with)
	eventually(t, "the empty store is filled", func() bool { v, err := s.Load(t.Context()); return err == nil && v.Commit.SHA256 == good.SHA256 })
	eventually(t, "it runs", g.runs(docOf(t, 3, 1)))

	// The same content signed anew is a commit, and one that was cut off is sent again.
	again := push(1)
	if again.ID == good.ID || again.Signature.Order <= good.Signature.Order {
		t.Errorf("signed anew: %+v", again)
	}
	eventually(t, "it runs", func() bool { return g.View().Tried == again.ID && g.View().State == Applied })
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := NewKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ReadKey(path); err != nil || back.Signer() != k.Signer() {
		t.Errorf("read back: %v", err)
	}
	if _, err := NewKey(path); err == nil {
		t.Error("a key was written over")
	}
	if s, err := ParseSigner(string(k.Signer())); err != nil || s != k.Signer() {
		t.Errorf("%s: %v", k.Signer(), err)
	}
	for _, bad := range []string{"", "ed25519:", "ed25519:AAAA", strings.TrimPrefix(string(k.Signer()), "ed25519:"), "rsa:x"} {
		if _, err := ParseSigner(bad); err == nil {
			t.Errorf("%q is taken for a public key", bad)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(path); err == nil {
		t.Error("a key that all can read was taken")
	}
}

func revision(c Commit) feed.Revision { return feed.Revision{Rev: uint64(c.Rev)} }

func revisionOf(sha string) feed.Revision { return feed.Revision{Rev: 1, SHA256: sha} }
