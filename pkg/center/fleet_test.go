package center

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
	"github.com/edge-gateway/edge-gateway/pkg/overlay"
)

// fleetOf makes a document with layers: the base of docOf, a group of presses, and the
// gateways, each with its JSON.
func fleetOf(t testing.TB, unit any, gateways map[string]string) *config.Document {
	t.Helper()
	d := config.Delta{Put: map[config.Table]map[string]json.RawMessage{
		config.Groups:   {"press": json.RawMessage(`{"drivers":{"drv":{"cfg":{"polling":"200ms"}}},"select":"line=press"}`)},
		config.Gateways: {},
	}}
	for id, text := range gateways {
		d.Put[config.Gateways][id] = json.RawMessage(text)
	}
	doc, err := d.Apply(docOf(t, 20, unit))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// three are a gateway with a layer of its own, one of a group alone, and a suspended one.
func three() map[string]string {
	return map[string]string{
		"own":   `{"endpoints":{"plc":{"host":"10.1.1.11"}},"labels":{"line":"press"}}`,
		"group": `{"labels":{"line":"press"}}`,
		"off":   `{"suspended":true}`,
	}
}

// rendered is what a gateway of the fleet in doc runs.
func rendered(t testing.TB, doc *config.Document, gateway string) *config.Document {
	t.Helper()
	f, problems := overlay.New(doc)
	r, err := f.Render(gateway)
	if err != nil || len(problems)+len(r.Problems) > 0 {
		t.Fatal(err, problems)
	}
	return r.Runs()
}

// told checks what the store tells each gateway of doc, and that nobody else is told anything.
func told(t testing.TB, s *Store, doc *config.Document) {
	t.Helper()
	holds(t, s, doc)
	if wrong, err := s.checkRecords(t.Context(), mustLoad(t, s)); err != nil || len(wrong) > 0 {
		t.Fatalf("records that are not as the commit has them: %v, %v", wrong, err)
	}
	for _, id := range doc.IDs(config.Gateways) {
		v, err := s.loadFor(t.Context(), id, nil, nil)
		if want := rendered(t, doc, id); err != nil || v.Doc.SHA256() != want.SHA256() || v.Commit.SHA256 != want.SHA256() {
			t.Fatalf("%s is told %+v (%v), expected %.12s", id, v.Commit, err, want.SHA256())
		}
	}
	if _, err := s.loadFor(t.Context(), "nobody", nil, nil); !errors.Is(err, errStays) {
		t.Fatalf("a gateway that is not named: %v", err)
	}
}

// Each gateway of a fleet gets what is rendered for it, and applies nothing else; one that
// isn't named applies nothing.
func TestFleetFollows(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	names := []string{"own", "group", "off"}
	gws := map[string]*gateway{"outside": startGateway(t, endpoint, "outside")}
	for _, name := range names {
		gws[name] = startGateway(t, endpoint, name)
	}
	online := func() bool {
		all, err := s.Gateways(t.Context())
		return err == nil && len(all) == len(gws)
	}
	eventually(t, "all are registered", online)

	doc := fleetOf(t, "a", three())
	c := mustPush(t, s, doc)
	if c.Format != fleetFormat || c.Delta != nil || c.Tables[config.Gateways] == "" {
		t.Errorf("commit: %+v", c)
	}
	if err := s.WaitApplied(t.Context(), c, Whom{}, nil); err != nil {
		t.Fatal(err)
	}
	told(t, s, doc)
	for _, name := range names {
		if want := rendered(t, doc, name); !gws[name].runs(want)() {
			t.Errorf("%s runs %+v, expected %.12s", name, gws[name].View(), want.SHA256())
		}
	}
	if d := gws["own"].last(); d.Endpoints["plc"].Host != "10.1.1.11" || len(gws["off"].last().Variables) != 0 {
		t.Errorf("own runs %+v, off has %d variables", d.Endpoints["plc"], len(gws["off"].last().Variables))
	}
	eventually(t, "the outsider says why it stays", func() bool {
		v := gws["outside"].View()
		return v.State == Rejected && strings.Contains(v.Error, "doesn't name outside") && gws["outside"].count() == 0
	})
	err := s.WaitApplied(t.Context(), c, Whom{Names: []string{"outside"}}, nil)
	if failed := (*NotAppliedError)(nil); !errors.As(err, &failed) || len(failed.Failed) != 1 {
		t.Errorf("a wait for the outsider: %v", err)
	}

	// A change of one gateway is applied there, and nowhere else.
	gateways := three()
	gateways["own"] = `{"endpoints":{"plc":{"host":"10.1.1.12"}},"labels":{"line":"press"}}`
	doc2 := fleetOf(t, "a", gateways)
	c2 := mustPush(t, s, doc2)
	if err := s.WaitApplied(t.Context(), c2, Whom{}, nil); err != nil {
		t.Fatal(err)
	}
	if n, m := gws["own"].count(), gws["group"].count(); n != 2 || m != 1 || gws["group"].View().Rev != c2.Rev {
		t.Errorf("own applied %d, group %d at rev %d; expected 2, and 1 at rev %d", n, m, gws["group"].View().Rev, c2.Rev)
	}

	// By hand, a gateway alone goes back to what it was to run before.
	back, err := gws["own"].Rollback(t.Context(), feed.Revision{})
	if err != nil || back.RevOld != c.Rev || gws["own"].last().SHA256 != rendered(t, doc, "own").SHA256() || gws["own"].View().State != Pinned {
		t.Errorf("rollback by hand: %+v, %v, %+v", back, err, gws["own"].View())
	}
	if _, err := gws["group"].Rollback(t.Context(), feed.Revision{}); !errors.Is(err, ErrNoRelease) {
		t.Errorf("a rollback to what never was: %v", err)
	}

	// The fleet goes back.
	old, from, err := s.Restore(t.Context(), mustLoad(t, s), "", c.Rev)
	if err != nil || old.SHA256() != doc.SHA256() || from.Rev != c.Rev {
		t.Fatalf("restore: %v", err)
	}
	c3 := mustPush(t, s, old)
	if err := s.WaitApplied(t.Context(), c3, Whom{}, nil); err != nil {
		t.Fatal(err)
	}
	told(t, s, doc)

	// One that is taken out stays; one that is named joins.
	delete(gateways, "group")
	gateways["outside"] = `{}`
	doc4 := fleetOf(t, "b", gateways)
	c4 := mustPush(t, s, doc4)
	eventually(t, "the newcomer runs its document", gws["outside"].runs(rendered(t, doc4, "outside")))
	eventually(t, "the one that was taken out says so", func() bool { return gws["group"].View().State == Rejected })
	if err := s.WaitApplied(t.Context(), c4, Whom{All: true}, nil); err != nil {
		t.Error(err)
	}
	if gws["group"].count() != 1 {
		t.Errorf("group applied %d", gws["group"].count())
	}
	told(t, s, doc4)
}

// A gateway of a fleet doesn't take what all gateways of the prefix would run, until a person
// says so; nor does it give what it ran to an empty store, or put the store back.
func TestFleetStaysAFleet(t *testing.T) {
	dir := t.TempDir()
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	cache := func(c *FollowerConfig) { c.CacheFile, c.Rollback = dir+"/cache", RollbackCenter }
	g := startGateway(t, endpoint, "own", cache)
	doc := fleetOf(t, "a", three())
	mustPush(t, s, doc)
	eventually(t, "it runs its document", g.runs(rendered(t, doc, "own")))

	g.decide(func(*config.Snapshot) Outcome { return Outcome{State: RolledBack, Err: errors.New("too bad")} })
	bad := mustPush(t, s, fleetOf(t, "bad", three()))
	eventually(t, "it refuses the next", func() bool { return g.View().State == Pinned })
	if head, err := s.Head(t.Context()); err != nil || head.ID != bad.ID {
		t.Errorf("the store was put back: %+v, %v", head, err)
	}
	g.decide(func(*config.Snapshot) Outcome { return Outcome{State: Applied} })

	plain := docOf(t, 3, "plain")
	c := mustPush(t, s, plain)
	if c.Format != plainFormat || len(c.Tables) != len(config.Tables()) {
		t.Errorf("a plain commit: %+v", c)
	}
	stays := func(g *gateway) func() bool {
		return func() bool { return g.View().State == Rejected && strings.Contains(g.View().Error, "stays as it is") }
	}
	eventually(t, "it stays", stays(g))
	g.stop()
	g = startGateway(t, endpoint, "own", cache)
	eventually(t, "it stays after a restart", stays(g))
	if g.last() == nil || g.last().SHA256 != rendered(t, doc, "own").SHA256() {
		t.Error("it doesn't run what it ran")
	}
	if err := s.Retry(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a person says so", g.runs(plain))

	mustPush(t, s, doc)
	eventually(t, "it is one of a fleet again", g.runs(rendered(t, doc, "own")))
	g.stop()
	g = startGateway(t, endpoint, "own", cache, func(c *FollowerConfig) { c.Store.Prefix = "" })
	eventually(t, "it is back", g.runs(rendered(t, doc, "own")))
	if _, err := s.etcd.Delete(t.Context(), s.keys.prefix+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	g.stop()
	g = startGateway(t, endpoint, "own", cache)
	eventually(t, "it runs from its cache", func() bool { return g.View().Connected && g.count() == 1 })
	if head, err := s.Head(t.Context()); err != nil || !head.None() {
		t.Errorf("an empty store was filled by a gateway of a fleet: %+v, %v", head, err)
	}
}

// A push of a fleet that is cut off between any two transactions changes nothing that a
// gateway sees, and the next push, of a fleet or of a plain document, leaves no trace of it.
func TestFleetCutOffAnywhere(t *testing.T) {
	endpoint := startEtcd(t)
	for n := 1; ; n++ {
		name := fmt.Sprintf("before transaction %d", n) // which is after the one before it
		prefix := func(c *Config) { c.Prefix = fmt.Sprintf("/fleet/%d", n) }
		s := openStore(t, endpoint, small(8), prefix)
		base := fleetOf(t, "base", three())
		mustPush(t, s, base)

		next := three()
		next["own"], next["new"] = `{"endpoints":{"plc":{"host":"10.9.9.9"}}}`, `{"labels":{"line":"press"}}`
		delete(next, "group")
		victim := openStore(t, endpoint, small(8), prefix)
		ctx, cancel := context.WithCancel(t.Context())
		b := &breaker{at: n, crash: cancel}
		victim.fault = b.fault
		_, err := victim.Push(ctx, mustLoad(t, s), fleetOf(t, name, next), PushOptions{})
		cancel()
		if !b.broken {
			if err != nil {
				t.Fatal(name, err)
			}
			return
		}
		expire(t, s)
		if v := mustLoad(t, s); v.Commit.SHA256 == base.SHA256() {
			for id := range three() {
				v, err := s.loadFor(t.Context(), id, nil, nil)
				if err != nil || v.Doc.SHA256() != rendered(t, base, id).SHA256() {
					t.Fatalf("%s: %s sees %+v, %v", name, id, v.Commit, err)
				}
			}
			if _, err := s.loadFor(t.Context(), "new", nil, nil); !errors.Is(err, errStays) {
				t.Fatalf("%s: the new gateway: %v", name, err)
			}
		}
		if n%2 == 0 {
			mustPush(t, s, docOf(t, 5, "plain"))
		}
		last := three()
		last["new"] = `{}`
		doc := fleetOf(t, "last", last)
		mustPush(t, s, doc)
		told(t, s, doc)
		have, err := s.readRecords(t.Context())
		if err != nil || len(have) != len(last) {
			t.Fatalf("%s: records of %v, %v", name, slices.Collect(maps.Keys(have)), err)
		}
	}
}

// What records name is kept, however old; what no record names goes.
func TestFleetPrunes(t *testing.T) {
	s := openStore(t, startEtcd(t), func(c *Config) { c.KeepReleases = 2 })
	gateways := map[string]string{"old": `{"suspended":true}`, "a": `{"labels":{"line":"press"}}`}
	first := fleetOf(t, 0, gateways)
	mustPush(t, s, first)
	var doc *config.Document
	for n := range 12 {
		doc = fleetOf(t, n+1, gateways)
		mustPush(t, s, doc)
	}
	told(t, s, doc)
	if _, err := s.LoadRelease(t.Context(), 1); !errors.Is(err, ErrNotKept) {
		t.Errorf("release 1: %v", err)
	}
	if _, err := s.LoadRelease(t.Context(), 12); err != nil {
		t.Error(err)
	}
	resp, err := s.etcd.Get(t.Context(), s.keys.documents(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	heads := 0
	for _, kv := range resp.Kvs {
		if strings.HasSuffix(string(kv.Key), "/head") {
			heads++
		}
	}
	if heads > 4 { // the empty one, and those of the last releases
		t.Errorf("%d documents are kept", heads)
	}
}

// The doctor sees a record that is not as the commit has it, and puts it right.
func TestFleetRepair(t *testing.T) {
	s := openStore(t, startEtcd(t))
	doc := fleetOf(t, "a", three())
	mustPush(t, s, doc)
	if _, err := s.etcd.Delete(t.Context(), s.keys.record("own")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.etcd.Put(t.Context(), s.keys.record("group"), "noise"); err != nil {
		t.Fatal(err)
	}
	sick := func() string {
		found, err := s.Doctor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			if d.Health == Sick {
				return d.Message
			}
		}
		return ""
	}
	if text := sick(); !strings.Contains(text, "2 gateways (group, own") {
		t.Errorf("the doctor: %q", text)
	}
	if done, err := s.Repair(t.Context()); err != nil || len(done) != 1 {
		t.Errorf("repair: %q, %v", done, err)
	}
	if text := sick(); text != "" {
		t.Errorf("after the repair: %q", text)
	}
	told(t, s, doc)
}

// A fleet is not made of gateways of which one can't read that.
func TestFleetNeedsReaders(t *testing.T) {
	s := openStore(t, startEtcd(t))
	old, err := json.Marshal(Status{Format: statusFormat, Gateway: "old", Instance: "i"})
	if err == nil {
		_, err = s.etcd.Put(t.Context(), s.keys.status("old"), string(old))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Push(t.Context(), mustLoad(t, s), fleetOf(t, "a", three()), PushOptions{})
	if err == nil || !strings.Contains(err.Error(), "old: of a version") {
		t.Errorf("pushed: %v", err)
	}
	mustPush(t, s, docOf(t, 1, "plain"))
	if err := s.Forget(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	mustPush(t, s, fleetOf(t, "a", three()))
}

// Layers that contradict each other are rendered for nobody.
func TestFleetWithProblems(t *testing.T) {
	s := openStore(t, startEtcd(t))
	for text, gateways := range map[string]map[string]string{
		"groups/press/select":           {"saw": `{"labels":{"line":"saw"}}`},
		"gateways/a/variables.no.such":  {"a": `{"labels":{"line":"press"},"variables":{"no.such":null}}`},
		"gateways/a/endpoints.plc.port": {"a": `{"labels":{"line":"press"},"endpoints":{"plc":{"port":"x"}}}`},
		"groups/press/select: ":         {},
	} {
		_, err := s.Push(t.Context(), mustLoad(t, s), fleetOf(t, "a", gateways), PushOptions{Force: true})
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A signed push signs what each gateway runs. One that isn't signed leaves those alone whose
// tables don't change, and is refused by the others.
func TestFleetSigned(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	key, err := NewKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	signers := func(c *FollowerConfig) { c.Signers = []Signer{key.Signer()} }
	own, group := startGateway(t, endpoint, "own", signers), startGateway(t, endpoint, "group", signers)
	doc := fleetOf(t, "a", three())
	if _, err := s.Push(t.Context(), mustLoad(t, s), doc, PushOptions{Sign: key}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is signed runs", func() bool {
		return own.runs(rendered(t, doc, "own"))() && group.runs(rendered(t, doc, "group"))()
	})
	gateways := three()
	gateways["own"] = `{"endpoints":{"plc":{"host":"10.9.9.9"}},"labels":{"line":"press"}}`
	c := mustPush(t, s, fleetOf(t, "a", gateways))
	eventually(t, "one refuses what isn't signed, and the other goes on", func() bool {
		return own.View().State == Rejected && strings.Contains(own.View().Error, "not signed") &&
			group.View().State == Applied && group.View().Rev == c.Rev
	})
	if own.count() != 1 || group.count() != 1 {
		t.Errorf("own applied %d, group %d", own.count(), group.count())
	}
}
