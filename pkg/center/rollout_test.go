package center

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// ring is a fleet of gateways whose names say their wave: "a" is the pilot.
func ring(names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		out[name] = fmt.Sprintf(`{"labels":{"ring":%q}}`, name[:1])
	}
	return out
}

// inWaves is a plan of one wave for each spec, that polls often.
func inWaves(t testing.TB, specs ...string) *RolloutPlan {
	t.Helper()
	p := &RolloutPlan{Poll: 20 * time.Millisecond}
	for _, text := range specs {
		s, err := rollout.ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Waves = append(p.Waves, s)
	}
	return p
}

func mustRoll(t testing.TB, s *Store, doc *config.Document, plan *RolloutPlan) Commit {
	t.Helper()
	c, err := s.Push(t.Context(), mustLoad(t, s), doc, PushOptions{Rollout: plan})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stands(t testing.TB, s *Store, want string) func() bool {
	return func() bool {
		r, err := s.Rollout(t.Context())
		return err == nil && r.State == want
	}
}

func act(t testing.TB, s *Store, what string) *Rollout {
	t.Helper()
	r, err := s.ActOnRollout(t.Context(), what, "ann", "because")
	if err != nil {
		t.Fatal(what, err)
	}
	return r
}

// fleetOn is a fleet with its gateways, which run the first document.
type fleetOn struct {
	t        *testing.T
	s        *Store
	endpoint string
	names    []string
	old, new *config.Document
	gws      map[string]*gateway
}

func startFleet(t *testing.T, names ...string) *fleetOn {
	t.Helper()
	return startFleetOn(t, startEtcd(t), names...)
}

func startFleetOn(t *testing.T, endpoint string, names ...string) *fleetOn {
	t.Helper()
	f := &fleetOn{t: t, endpoint: endpoint, names: names, gws: map[string]*gateway{}}
	f.s = openStore(t, f.endpoint)
	f.old, f.new = fleetOf(t, "old", withPress(ring(names...))), fleetOf(t, "new", withPress(ring(names...)))
	mustPush(t, f.s, f.old)
	for _, name := range names {
		f.gws[name] = startGateway(t, f.endpoint, name, func(c *FollowerConfig) { c.Recheck = time.Second })
	}
	for _, name := range names {
		eventually(t, name+" runs", f.runs(name, f.old))
	}
	eventually(t, "all are online", func() bool {
		all, err := f.s.Gateways(t.Context())
		return err == nil && len(all) == len(names) && !slices.ContainsFunc(all, func(g Gateway) bool { return !g.Online })
	})
	return f
}

// withPress adds a gateway that the group of fleetOf selects, and that nobody runs.
func withPress(gateways map[string]string) map[string]string {
	gateways["zz"] = `{"labels":{"line":"press","ring":"z"},"suspended":true}`
	return gateways
}

func (f *fleetOn) runs(name string, doc *config.Document) func() bool {
	want := rendered(f.t, doc, name).SHA256()
	return func() bool {
		return f.gws[name].last() != nil && f.gws[name].last().SHA256 == want && f.gws[name].View().SHA256 == want
	}
}

// refuses makes a gateway refuse the new document.
func (f *fleetOn) refuses(name string) {
	bad := rendered(f.t, f.new, name).SHA256()
	f.gws[name].decide(func(s *config.Snapshot) Outcome {
		if s.SHA256 == bad {
			return Outcome{State: RolledBack, Err: errors.New("too bad")}
		}
		return Outcome{State: Applied}
	})
}

func (f *fleetOn) accepts(name string) {
	f.gws[name].decide(func(*config.Snapshot) Outcome { return Outcome{State: Applied} })
}

func (f *fleetOn) all(what string, doc *config.Document, names ...string) {
	f.t.Helper()
	for _, name := range names {
		eventually(f.t, what+": "+name, f.runs(name, doc))
	}
}

// A good change goes through all waves by itself, and each gateway applies it once. The
// next push ends the rollout for good.
func TestRolloutGoesThrough(t *testing.T) {
	f := startFleet(t, "a1", "b1", "b2", "c1")
	c := mustRoll(t, f.s, f.new, inWaves(t, "ring=a", "ring=b", "100%"))
	if c.Rollout != c.ID {
		t.Errorf("commit: %+v", c)
	}
	f.all("it goes through", f.new, f.names...)
	eventually(t, "it is done", stands(t, f.s, "done"))
	eventually(t, "all have voted", func() bool {
		r, err := f.s.Rollout(t.Context())
		return err == nil && r.OK == 4 && r.Bad == 0
	})
	for _, name := range f.names {
		if n := f.gws[name].count(); n != 2 {
			t.Errorf("%s applied %d", name, n)
		}
	}
	if _, err := f.s.ActOnRollout(t.Context(), ActAbort, "ann", ""); !errors.Is(err, rollout.ErrOver) {
		t.Errorf("abort of what is done: %v", err)
	}
	third := fleetOf(t, "third", withPress(ring(f.names...)))
	mustPush(t, f.s, third)
	f.all("a push to all at once", third, f.names...)
	if _, err := f.s.Rollout(t.Context()); err == nil {
		t.Error("there still is a rollout")
	}
	told, err := f.s.readRollout(t.Context(), c.ID)
	if err != nil || !told.record.Over || told.record.Control != rollout.Done || told.tally != (rollout.Tally{}) {
		t.Errorf("the outcome: %+v, %v", told, err)
	}
}

// A gateway of the first wave that can't run it halts it: those beyond never see it, and
// those that crossed return. A person forgives, and it goes on; or aborts.
func TestRolloutHalts(t *testing.T) {
	f := startFleet(t, "a1", "a2", "b1")
	f.refuses("a2")
	mustRoll(t, f.s, f.new, inWaves(t, "ring=a", "100%"))
	eventually(t, "it halts", stands(t, f.s, "halted"))
	f.all("it returns", f.old, f.names...)
	if n := f.gws["b1"].count(); n != 1 {
		t.Errorf("the second wave applied %d", n)
	}
	eventually(t, "who refused says so", func() bool {
		v := f.gws["a2"].View()
		r, err := f.s.Rollout(t.Context())
		return v.State == Pinned && v.Error == "too bad" && err == nil && len(r.BadBy) == 1 && r.BadBy[0] == (BadVote{"a2", "too bad"})
	})
	if _, err := f.s.ActOnRollout(t.Context(), ActResume, "ann", ""); !errors.Is(err, rollout.ErrOver) {
		t.Errorf("resume without forgive: %v", err)
	}
	f.accepts("a2")
	act(t, f.s, ActForgive)
	f.all("it goes on", f.new, f.names...)
	eventually(t, "it is done", stands(t, f.s, "done"))

	// The next one is halted, and a push from there reckons with what runs.
	f.old, f.new = f.new, fleetOf(t, "third", withPress(ring(f.names...)))
	f.refuses("a1")
	c := mustRoll(t, f.s, f.new, inWaves(t, "ring=a", "100%"))
	eventually(t, "it halts", stands(t, f.s, "halted"))
	f.all("it returns", f.old, f.names...)
	last := fleetOf(t, "last", withPress(ring(f.names...)))
	c2 := mustRoll(t, f.s, last, inWaves(t, "ring=b", "100%"))
	f.all("the repaired one goes through", last, f.names...)
	r, err := f.s.readRollout(t.Context(), c2.Rollout)
	if err != nil || r.record.From >= c.Release {
		t.Errorf("everybody would go back to release %d: %v", r.record.From, err)
	}
}

// While a rollout runs, nobody pushes. Operators pause it, open waves, and abort it.
func TestRolloutByOperators(t *testing.T) {
	f := startFleet(t, "a1", "b1", "c1")
	plan := inWaves(t, "ring=a", "ring=b", "100%")
	plan.Manual = true
	mustRoll(t, f.s, f.new, plan)
	f.all("the first wave", f.new, "a1")
	eventually(t, "it voted", func() bool { r, err := f.s.Rollout(t.Context()); return err == nil && r.OK == 1 })
	if _, err := f.s.Push(t.Context(), mustLoad(t, f.s), f.old, PushOptions{}); !errors.Is(err, ErrRollout) {
		t.Errorf("another push: %v", err)
	}
	// What is there already is no push, and the doctor's repair opens no gate.
	if c, err := f.s.Push(t.Context(), mustLoad(t, f.s), f.new, PushOptions{}); err != nil || c.Rollout == "" {
		t.Errorf("the same again: %+v, %v", c, err)
	}
	if _, err := f.s.etcd.Delete(t.Context(), f.s.keys.record("c1")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.Rewrite(t.Context(), mustLoad(t, f.s)); err != nil {
		t.Fatal(err)
	}
	if r := act(t, f.s, ActPause); r.State != "paused" || r.Reached != 1 || len(r.Acts) != 1 || r.Acts[0].Author != "ann" || r.Acts[0].Reason != "because" {
		t.Errorf("paused: %+v", r)
	}
	act(t, f.s, ActPromote)
	time.Sleep(100 * time.Millisecond) // some polls: nobody crosses while it is paused
	if f.gws["b1"].count() != 1 {
		t.Error("it crossed in a pause")
	}
	act(t, f.s, ActResume)
	f.all("the second wave", f.new, "b1")
	if f.gws["c1"].count() != 1 {
		t.Error("the third wave crossed")
	}
	act(t, f.s, ActAbort)
	f.all("they return", f.old, f.names...)
	back, err := f.s.AbortTo(t.Context(), &Rollout{From: 1})
	if err != nil || back.SHA256() != f.old.SHA256() {
		t.Fatalf("back to %v, %v", back, err)
	}
	mustPush(t, f.s, back)
	told(t, f.s, back)
	f.all("they stay", f.old, f.names...)
	eventually(t, "they are in no rollout", func() bool { return f.gws["b1"].View().Rollout == "" })
	if n := f.gws["c1"].count(); n != 1 {
		t.Errorf("c1 applied %d", n)
	}
	mustRoll(t, f.s, f.new, plan)
	f.all("the first wave", f.new, "a1")
	act(t, f.s, ActAll)
	f.all("all waves", f.new, f.names...)
}

// A gateway that is offline doesn't vote. It holds nothing up, and follows when it is back;
// one that dies while it counts does, until a person goes on.
func TestRolloutOffline(t *testing.T) {
	f := startFleet(t, "a1", "b1", "b2")
	cache := func(name string) func(*FollowerConfig) {
		path := f.gws[name].cfg.CacheFile
		return func(c *FollowerConfig) { c.CacheFile = path }
	}
	f.gws["b2"].stop()
	eventually(t, "it is offline", func() bool {
		all, err := f.s.Gateways(t.Context())
		return err == nil && slices.ContainsFunc(all, func(g Gateway) bool { return g.Gateway == "b2" && !g.Online })
	})
	plan := inWaves(t, "ring=b:1", "100%")
	mustRoll(t, f.s, f.new, plan)
	f.all("those online", f.new, "a1", "b1")
	eventually(t, "it is done", stands(t, f.s, "done"))
	f.gws["b2"] = startGateway(t, f.endpoint, "b2", cache("b2"))
	f.all("it follows", f.new, "b2")

	// One of the first wave dies before it votes.
	f.old, f.new = f.new, fleetOf(t, "third", withPress(ring(f.names...)))
	plan = inWaves(t, "ring=a", "100%")
	plan.Bake = time.Hour
	mustRoll(t, f.s, f.new, plan)
	f.all("the first wave", f.new, "a1")
	f.gws["a1"].stop()
	time.Sleep(100 * time.Millisecond) // some polls
	if f.gws["b1"].count() != 2 {
		t.Error("a gate opened on nobody")
	}
	act(t, f.s, ActPromote)
	act(t, f.s, ActPromote)
	f.all("promoted to the end", f.new, "b1", "b2")
	if r, err := f.s.Rollout(t.Context()); err != nil || r.State != "done" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A gateway that is killed between its verdict and its vote casts it once it is back, and
// not twice. One that was in the middle of an apply tries again, and not for ever.
func TestRolloutRestarts(t *testing.T) {
	f := startFleet(t, "a1", "b1")
	path := f.gws["a1"].cfg.CacheFile
	again := func(change ...func(*FollowerConfig)) {
		f.gws["a1"].stop()
		f.gws["a1"] = startGateway(t, f.endpoint, "a1", append(change, func(c *FollowerConfig) { c.CacheFile = path })...)
	}
	plan := inWaves(t, "ring=a", "100%")
	plan.Bake = time.Hour
	c := mustRoll(t, f.s, f.new, plan)
	f.all("it bakes", f.new, "a1")
	again()
	f.all("it bakes again", f.new, "a1")
	if r, err := f.s.Rollout(t.Context()); err != nil || r.OK != 0 || r.State != "running" {
		t.Errorf("before the bake time is over: %+v, %v", r, err)
	}
	again()
	eventually(t, "the third start is bad", stands(t, f.s, "halted"))
	f.all("it returns", f.old, "a1", "b1")
	again()
	f.all("it stays", f.old, "a1")
	votes, err := f.s.etcd.Get(t.Context(), f.s.keys.fleet(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range votes.Kvs {
		if strings.Contains(string(kv.Key), "/ok/") || strings.HasSuffix(string(kv.Key), "/bad/b1") {
			t.Errorf("a vote %s", kv.Key)
		}
	}

	// A verdict without a vote: as if it had been killed in between.
	act(t, f.s, ActForgive)
	f.all("it crosses again", f.new, "a1")
	f.gws["a1"].stop()
	var st stake
	f.gws["a1"].changeStake(func(s *stake) { s.Verdict = verdictOK; st = *s })
	if st.ID != c.Rollout {
		t.Fatalf("stake %+v", st)
	}
	f.gws["a1"] = startGateway(t, f.endpoint, "a1", func(c *FollowerConfig) { c.CacheFile = path })
	eventually(t, "it votes", func() bool { r, err := f.s.Rollout(t.Context()); return err == nil && r.OK == 1 && r.Reached == 2 })
}

// A driver that stops running with the change is bad, and so are more bad points; one that the change doesn't concern
// holds it, and so does one that has read nothing.
func TestRolloutVitals(t *testing.T) {
	for driver, want := range map[string]string{"drv": "halted", "other": "running", "": "halted", "idle": "running"} {
		f := startFleet(t, "a1", "b1")
		path := f.gws["a1"].cfg.CacheFile
		f.gws["a1"].stop()
		var g *gateway
		g = startGateway(t, f.endpoint, "a1", func(c *FollowerConfig) {
			c.CacheFile = path
			c.Health = func() Vitals {
				if s := g.last(); s != nil && s.SHA256 == rendered(t, f.new, "a1").SHA256() {
					switch driver {
					case "":
						return Vitals{Points: 100, Bad: 5}
					case "idle":
						return Vitals{Idle: []string{"drv"}}
					}
					return Vitals{Faults: map[string]string{driver: "timeout"}}
				}
				return Vitals{Points: 100, Bad: 3}
			}
		})
		f.gws["a1"] = g
		f.all("it is back", f.old, "a1")
		eventually(t, "it is online", func() bool {
			all, err := f.s.Gateways(t.Context())
			return err == nil && !slices.ContainsFunc(all, func(g Gateway) bool { return !g.Online })
		})
		mustRoll(t, f.s, f.new, inWaves(t, "ring=a", "100%"))
		if want == "halted" {
			eventually(t, "it halts", stands(t, f.s, want))
			f.all("it returns", f.old, "a1", "b1")
			continue
		}
		f.all("it crosses", f.new, "a1")
		time.Sleep(200 * time.Millisecond) // some polls
		if r, err := f.s.Rollout(t.Context()); err != nil || r.State != want || r.OK != 0 || f.gws["b1"].count() != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// A store that is put back to before a halt, or before an act, lets nobody go that saw it.
func TestRolloutPutBack(t *testing.T) {
	f := startFleet(t, "a1", "a2", "b1")
	plan := inWaves(t, "ring=a", "100%")
	plan.Bake = time.Hour // nobody votes
	c := mustRoll(t, f.s, f.new, plan)
	key := f.s.keys.rollout(c.Rollout)
	before, err := f.s.etcd.Get(t.Context(), key)
	if err != nil || len(before.Kvs) != 1 {
		t.Fatal(err)
	}
	f.all("it crosses", f.new, "a1", "a2")
	act(t, f.s, ActAbort)
	f.all("they return", f.old, f.names...)
	eventually(t, "all have seen it", func() bool {
		for _, name := range f.names {
			if !f.gws[name].staked().Latched {
				return false
			}
		}
		return true
	})
	counts := map[string]int{}
	for _, name := range f.names {
		counts[name] = f.gws[name].count()
	}
	_, err = f.s.etcd.Txn(t.Context()).Then(clientv3.OpPut(key, string(before.Kvs[0].Value)),
		clientv3.OpDelete(f.s.keys.votesOK(), clientv3.WithPrefix()), clientv3.OpDelete(f.s.keys.votesBad(), clientv3.WithPrefix())).Commit()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // some polls
	for _, name := range f.names {
		if n := f.gws[name].count(); n != counts[name] || !f.runs(name, f.old)() {
			t.Errorf("%s went: %d", name, n)
		}
	}
	act(t, f.s, ActAll)
	f.all("a person says so", f.new, f.names...)
}

// A vote is cast on what was read, and once.
func TestVoteIsExact(t *testing.T) {
	s := openStore(t, startEtcd(t))
	mustPush(t, s, docOf(t, 3, 1))
	id := strings.Repeat("ab", 12)
	r := rolloutRecord{Record: rollout.Record{ID: id, Control: rollout.Running, Waves: []rollout.Wave{{Members: 2, Counted: 2, Need: 2}}}, Specs: []string{"100%"}, Poll: time.Second}
	put := func() {
		if _, err := s.etcd.Put(t.Context(), s.keys.rollout(id), r.encode()); err != nil {
			t.Fatal(err)
		}
	}
	put()
	read, err := s.readRollout(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	fo, err := NewFollower(FollowerConfig{Store: s.cfg, Gateway: "g", Instance: "i", CacheFile: t.TempDir() + "/c",
		Apply: func(context.Context, *config.Snapshot) Outcome { return Outcome{State: Applied} }})
	if err != nil {
		t.Fatal(err)
	}
	fo.stake = stake{ID: id, Verdict: verdictOK}
	ses := &session{f: fo, store: s}
	a := &assignment{rollout: read, now: assigned{Rollout: id, Wave: 1, Counted: true}}
	count := func() rollout.Tally {
		t.Helper()
		now, err := s.readRollout(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return now.tally
	}
	if err := ses.vote(t.Context(), a, rollout.Self{}); err != nil || count() != (rollout.Tally{}) {
		t.Errorf("a vote of who isn't registered: %v, %+v", err, count())
	}
	if err := ses.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Acts = []rollout.Act{{ID: "x", What: ActPause}}
	put()
	if err := ses.vote(t.Context(), a, rollout.Self{}); err != nil || count() != (rollout.Tally{}) {
		t.Errorf("a vote decided before an act: %v, %+v", err, count())
	}
	if a.rollout, err = s.readRollout(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, verdict := range []string{verdictOK, verdictBad, verdictOK} {
		fo.stake.Verdict = verdict
		if err := ses.vote(t.Context(), a, rollout.Self{}); err != nil || count() != (rollout.Tally{OK: 1}) {
			t.Errorf("%s: %v, %+v", verdict, err, count())
		}
	}
}

// What can't be a rollout is refused.
func TestParseRollout(t *testing.T) {
	id := strings.Repeat("ab", 12)
	good := rolloutRecord{Record: rollout.Record{ID: id, Waves: []rollout.Wave{{}}}, Specs: []string{"1"}, Poll: 1}
	if _, err := parseRollout(id, []byte(good.encode())); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "{}", "noise", `{"id":"x"}`, strings.Replace(good.encode(), `"poll_ns":1`, `"poll_ns":0`, 1)} {
		if _, err := parseRollout(id, []byte(bad)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	v := assigned{Release: 1, Rollout: "../commit", Wave: 1}
	text, err := json.Marshal(record{rolloutFormat, []assigned{v}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseRecord("g", text); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if !bytes.Contains(text, []byte(`"format":2`)) {
		t.Error("a version that knows no rollouts would run it")
	}
}

// A repair goes back to no release that halted, and what it goes back to is in no rollout. Its
// gateways need no push to hear of it.
func TestRolloutRepair(t *testing.T) {
	f := startFleet(t, "a1", "b1")
	f.refuses("a1")
	bad := mustRoll(t, f.s, f.new, inWaves(t, "ring=a", "100%"))
	eventually(t, "it halts", stands(t, f.s, "halted"))
	third := fleetOf(t, "third", withPress(ring(f.names...)))
	lost := mustPush(t, f.s, third)
	f.all("all run the third", third, f.names...)

	// The commit is lost, and the document of its release.
	_, err := f.s.etcd.Txn(t.Context()).Then(clientv3.OpDelete(f.s.keys.commit()),
		clientv3.OpPut(f.s.keys.release(lost.Release), "noise")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	if done, err := f.s.Repair(t.Context()); err != nil || len(done) != 2 {
		t.Fatalf("%q, %v", done, err)
	}
	if head := mustLoad(t, f.s); head.Doc.SHA256() != f.old.SHA256() || head.Commit.Rollout != "" || head.Commit.Release != lost.Release+1 {
		t.Errorf("release %d of %.12s, rollout %s; the one that halted is %d", head.Commit.Release, head.Commit.SHA256, head.Commit.Rollout, bad.Release)
	}
	told(t, f.s, f.old)
	f.all("all run the first again", f.old, f.names...)
}

// A gateway hears that its record was lost, and that it was repaired, without a push.
func TestRecordWakes(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	doc := fleetOf(t, "a", three())
	mustPush(t, s, doc)
	g := startGateway(t, endpoint, "own", func(c *FollowerConfig) { c.Recheck = 100 * time.Millisecond })
	eventually(t, "it runs", func() bool { return g.runs(rendered(t, doc, "own"))() && g.View().State == Applied })
	if _, err := s.etcd.Delete(t.Context(), s.keys.record("own")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says that it has nothing to run", func() bool { return g.View().State == Rejected })
	if _, err := s.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return g.View().State == Applied })
	if g.count() != 1 {
		t.Errorf("it applied %d", g.count())
	}
}

// An operator's act is heard at once, however seldom the rollout is looked at.
func TestActWakes(t *testing.T) {
	f := startFleet(t, "a1", "b1")
	plan := inWaves(t, "ring=a", "100%")
	plan.Poll, plan.Bake, plan.Manual = time.Hour, time.Hour, true // nobody votes, so it isn't done
	mustRoll(t, f.s, f.new, plan)
	f.all("the first wave", f.new, "a1")
	act(t, f.s, ActPromote)
	f.all("the second", f.new, "b1")
	act(t, f.s, ActAbort)
	f.all("they return", f.old, "a1", "b1")
}

// A push that takes the place of a rollout aborts it: who crossed returns, and then the next
// one is like any other.
func TestRolloutReplaced(t *testing.T) {
	f := startFleet(t, "a1", "b1")
	plan := inWaves(t, "ring=a", "100%")
	plan.Bake = time.Hour
	first := mustRoll(t, f.s, f.new, plan)
	f.all("the first wave", f.new, "a1")
	third := fleetOf(t, "third", withPress(ring(f.names...)))
	opts := PushOptions{Rollout: inWaves(t, "ring=b", "100%"), Replace: true}
	preview, err := f.s.PreviewRollout(t.Context(), mustLoad(t, f.s), third, opts.Rollout, true)
	if err != nil || preview.From != 1 || preview.Waves[0].Members != 1 {
		t.Fatalf("%+v, %v", preview, err)
	}
	if r, err := f.s.Rollout(t.Context()); err != nil || r.State != "running" {
		t.Errorf("a preview acts: %+v, %v", r, err)
	}
	second, err := f.s.Push(t.Context(), mustLoad(t, f.s), third, opts)
	if err != nil {
		t.Fatal(err)
	}
	f.all("it goes through", third, f.names...)
	was, err := f.s.readRollout(t.Context(), first.Rollout)
	if err != nil || was.record.Control != rollout.Halted || !was.record.Over || len(was.record.Acts) != 1 {
		t.Errorf("%+v, %v", was, err)
	}
	is, err := f.s.readRollout(t.Context(), second.Rollout)
	if err != nil || is.record.From != 1 {
		t.Errorf("%+v, %v", is, err)
	}
	// One that is done needs no end.
	eventually(t, "it is done", stands(t, f.s, "done"))
	if _, err := f.s.Push(t.Context(), mustLoad(t, f.s), f.old, PushOptions{Replace: true}); err != nil {
		t.Error(err)
	}
	f.all("at once", f.old, f.names...)
}

// A deadline halts what isn't done, nobody votes ok after it, and forgiving gives it anew.
func TestRolloutDeadline(t *testing.T) {
	f := startFleet(t, "a1", "b1")
	plan := inWaves(t, "ring=a", "100%")
	plan.Bake, plan.Deadline = time.Hour, time.Hour
	c := mustRoll(t, f.s, f.new, plan)
	expire := func() {
		t.Helper()
		got, err := f.s.etcd.Get(t.Context(), f.s.keys.deadline(c.Rollout))
		if err != nil || len(got.Kvs) != 1 || got.Kvs[0].Lease == 0 {
			t.Fatalf("the deadline: %v, %v", got, err)
		}
		if _, err := f.s.etcd.Revoke(t.Context(), clientv3.LeaseID(got.Kvs[0].Lease)); err != nil {
			t.Fatal(err)
		}
	}
	f.all("the first wave", f.new, "a1")
	expire()
	eventually(t, "it halts", stands(t, f.s, "halted"))
	f.all("it returns", f.old, f.names...)
	if r, err := f.s.Rollout(t.Context()); err != nil || !r.Expired || r.OK+r.Bad != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r := act(t, f.s, ActForgive); r.State != "running" || r.Expired {
		t.Errorf("forgiven: %+v", r)
	}
	f.all("it goes on", f.new, "a1")
	expire()
	eventually(t, "it halts again", stands(t, f.s, "halted"))
	mustPush(t, f.s, f.old)
	if n, err := f.s.etcd.Get(t.Context(), f.s.keys.rollout(c.Rollout), clientv3.WithPrefix(), clientv3.WithKeysOnly()); err != nil || n.Count != 1 {
		t.Errorf("keys of a rollout that is over: %v, %v", n, err)
	}
}

// Whom a signed push reaches in waves has what is signed on both sides: a gateway that trusts
// its signer alone crosses, and returns.
func TestRolloutSigned(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	key, err := NewKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]*config.Document{}
	push := func(unit string, opts PushOptions) {
		t.Helper()
		docs[unit] = fleetOf(t, unit, withPress(ring("a1", "b1")))
		if _, err := s.Push(t.Context(), mustLoad(t, s), docs[unit], opts); err != nil {
			t.Fatal(err)
		}
	}
	push("first", PushOptions{Sign: key})
	gws := map[string]*gateway{}
	all := func(unit string, names ...string) {
		t.Helper()
		for _, name := range names {
			want := rendered(t, docs[unit], name).SHA256()
			eventually(t, name+" runs the "+unit, func() bool { return gws[name].View().SHA256 == want })
		}
	}
	for _, name := range []string{"a1", "b1"} {
		gws[name] = startGateway(t, endpoint, name, func(c *FollowerConfig) { c.Signers = []Signer{key.Signer()} })
	}
	all("first", "a1", "b1")
	eventually(t, "both are online", func() bool {
		list, err := s.Gateways(t.Context())
		return err == nil && len(list) == 2 && list[0].Online && list[1].Online
	})
	plan := inWaves(t, "ring=a", "100%")
	push("second", PushOptions{Sign: key, Rollout: plan})
	all("second", "a1", "b1")
	eventually(t, "it is done", stands(t, s, "done"))

	plan.Bake = time.Hour
	push("third", PushOptions{Sign: key, Rollout: plan})
	all("third", "a1")
	act(t, s, ActAbort)
	all("second", "a1", "b1")

	push("unsigned", PushOptions{Rollout: inWaves(t, "ring=a", "100%")})
	eventually(t, "what isn't signed is bad", stands(t, s, "halted"))
	eventually(t, "the vote says why", func() bool {
		r, err := s.Rollout(t.Context())
		return err == nil && len(r.BadBy) == 1 && strings.Contains(r.BadBy[0].Reason, "not signed")
	})
	all("second", "a1", "b1")
}
