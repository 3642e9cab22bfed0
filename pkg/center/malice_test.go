package center

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Whatever somebody writes into the store, a gateway that follows it runs on, and
// follows the next good commit.
func TestMaliciousValues(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	good := docOf(t, 20, "good")
	mustPush(t, s, good)
	g := startGateway(t, endpoint, "gw")
	eventually(t, "applied", g.runs(good))

	commit := func(change func(*Commit)) string {
		t.Helper()
		c := mustLoad(t, s).Commit
		c.Release, c.ID, c.BaseSHA256 = c.Release+1, "evil", c.SHA256
		c.SHA256 = strings.Repeat("ab", 32)
		change(&c)
		record, _, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(record)
	}
	put := func(table config.Table, id, item string) *config.Delta {
		return &config.Delta{Put: map[config.Table]map[string]json.RawMessage{table: {id: json.RawMessage(item)}}}
	}
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	sha := func(d *config.Delta) string {
		next, err := d.Apply(good)
		if err != nil {
			t.Fatal(err)
		}
		return next.SHA256()
	}
	for _, tc := range []struct {
		name, key string
		value     func() string
		rejected  bool // it is a commit, of a document that is no configuration
	}{
		{"noise", s.keys.commit(), func() string { return "\xff\x00{" }, false},
		{"null", s.keys.commit(), func() string { return "null" }, false},
		{"a list", s.keys.commit(), func() string { return "[[[[" }, false},
		{"another format", s.keys.commit(), func() string { return `{"format":99}` }, false},
		{"the last possible release", s.keys.commit(), func() string { return commit(func(c *Commit) { c.Release = 1<<64 - 1 }) }, false},
		{"a document that isn't there", s.keys.commit(), func() string { return commit(func(*Commit) {}) }, false},
		{"a delta that leads elsewhere", s.keys.commit(), func() string {
			return commit(func(c *Commit) { c.Delta = put(config.Variables, "x", `{}`) })
		}, false},
		{"a delta of an unknown table", s.keys.commit(), func() string {
			return commit(func(c *Commit) { c.Delta = put("secrets", "x", `{}`) })
		}, false},
		{"a delta with an id that is a path", s.keys.commit(), func() string {
			return commit(func(c *Commit) { c.Delta = put(config.Variables, "../../x", `{}`) })
		}, false},
		{"a delta that removes what isn't there", s.keys.commit(), func() string {
			return commit(func(c *Commit) {
				c.Delta = &config.Delta{Remove: map[config.Table][]string{config.Drivers: {"x", "x"}}}
			})
		}, false},
		{"an item that is too deep", s.keys.commit(), func() string {
			return commit(func(c *Commit) { c.Delta = put(config.Drivers, "x", deep); c.SHA256 = sha(c.Delta) })
		}, true},
		{"an item of another kind", s.keys.commit(), func() string {
			return commit(func(c *Commit) { c.Delta = put(config.Endpoints, "x", `[1,2]`); c.SHA256 = sha(c.Delta) })
		}, true},
		{"a status of its own that is noise", s.keys.status("gw"), func() string { return "\x00" }, false},
		{"a status of another gateway that is noise", s.keys.status("../gw"), func() string { return "{" }, false},
		{"a retry that is noise", s.keys.retry("gw"), func() string { return "\x1b[2J" }, false},
		{"a claim on the right to push", s.keys.pending() + "x", func() string { return "{" }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := g.count()
			if _, err := s.etcd.Put(t.Context(), tc.key, tc.value()); err != nil {
				t.Fatal(err)
			}
			if tc.rejected {
				eventually(t, "rejected and put back", func() bool { return g.View().State == RolledBack })
			} else {
				time.Sleep(50 * time.Millisecond) // it must not react
			}
			if g.last().SHA256 != good.SHA256() || g.count() != before {
				t.Errorf("it runs %.12s after %d more applies", g.last().SHA256, g.count()-before)
			}
			if _, err := s.Gateways(t.Context()); err != nil {
				t.Errorf("the gateways can't be listed any more: %v", err)
			}
			// The way out is a push; forced where the record can't be read.
			next := docOf(t, 20, tc.name)
			_, err := s.Push(t.Context(), Version{}, next, PushOptions{Force: true})
			if errors.Is(err, ErrFormat) { // of a newer release, for all one knows
				if _, err := s.etcd.Delete(t.Context(), tc.key); err != nil {
					t.Fatal(err)
				}
				_, err = s.Push(t.Context(), Version{}, next, PushOptions{Force: true})
			}
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the next good one is applied", g.runs(next))
			mustPush(t, s, good)
			eventually(t, "and the one after it", g.runs(good))
		})
	}
}

// A key among the releases that no push wrote is told, and no history is written
// over for it.
func TestForeignReleaseKey(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	mustPush(t, s, docOf(t, 2, "a"))
	for i, key := range []string{"zzz", "0000000099/x", fmt.Sprint(uint64(1<<64 - 1))} {
		key = s.keys.releases() + key
		for k, v := range map[string]string{key: "x", s.keys.commit(): "{"} {
			if _, err := s.etcd.Put(t.Context(), k, v); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Push(t.Context(), Version{}, docOf(t, 3, "b"), PushOptions{Force: true}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := s.etcd.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Push(t.Context(), Version{}, docOf(t, 3, i), PushOptions{Force: true}); err != nil || c.Release != uint64(2+i) {
			t.Errorf("without it: release %d, %v", c.Release, err)
		}
	}
}
