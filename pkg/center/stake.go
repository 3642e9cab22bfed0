package center

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// Vitals are how a gateway is, for a comparison of before a change and after.
type Vitals struct {
	// Faults are the drivers that are in fault, and why.
	Faults map[string]string `json:"faults,omitempty"`
	// Idle are those that have read nothing yet, or are paused: nothing is known of them.
	Idle []string `json:"idle,omitempty"`
	// Bad of so many points have a bad value. Trouble says why, for one cause of it.
	Points  int    `json:"points,omitempty"`
	Bad     int    `json:"bad,omitempty"`
	Trouble string `json:"trouble,omitempty"`
}

// badShare returns how many points in a hundred are bad.
func (v Vitals) badShare() float64 { return 100 * float64(v.Bad) / float64(max(v.Points, 1)) }

// maxWorse is by how many points in a hundred a change may make the share of bad ones grow.
const maxWorse = 1

// The verdicts of a gateway on a change.
const (
	verdictOK  = "ok"
	verdictBad = "bad"
)

// maxStarts is how often a change may be begun within its bake time: the last one is bad.
const maxStarts = 3

// stake is what a gateway remembers of the rollout that it is in, through restarts. It is in
// a file of its own: it changes far more often than the cache.
type stake struct {
	ID      string        `json:"id"`             // of the rollout
	Acts    []string      `json:"acts,omitempty"` // of operators, that it knows
	Latched bool          `json:"latched,omitempty"`
	Crossed bool          `json:"crossed,omitempty"`
	From    string        `json:"from,omitempty"` // sha256 of what ran before it crossed
	To      string        `json:"to,omitempty"`   // and of what it crossed to
	Starts  int           `json:"starts,omitempty"`
	Since   time.Time     `json:"since,omitzero"` // of the first start
	Bake    time.Duration `json:"bake_ns,omitempty"`
	Before  Vitals        `json:"before,omitzero"`
	Touched []string      `json:"touched,omitempty"` // drivers that the change concerns
	Verdict string        `json:"verdict,omitempty"`
	Code    string        `json:"code,omitempty"`   // why it is bad, for the vote
	Reason  string        `json:"reason,omitempty"` // and for people
	Seen    int           `json:"seen,omitempty"`   // the largest count of ok that it read
}

// vote is what the key of a vote holds: all gateways can read it.
type vote struct {
	Rollout string `json:"rollout"`
	Code    string `json:"code,omitempty"`
}

// RolloutFile is the file, next to the cache, that holds what the gateway knows of the
// rollout that it is in.
func RolloutFile(cache string) string { return cache + ".rollout" }

func (f *Follower) readStake() error {
	text, err := regular.ReadFile(RolloutFile(f.cfg.CacheFile), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &f.stake)
	}
	if err != nil {
		f.stake = stake{}
		return fmt.Errorf("what this gateway knew of its rollout: %w", err)
	}
	return nil
}

// changeStake changes what is remembered, and keeps it before it returns.
func (f *Follower) changeStake(change func(*stake)) stake {
	f.staking.Lock()
	defer f.staking.Unlock()
	f.mu.Lock()
	was, _ := json.Marshal(f.stake) // of plain values
	seen := f.stake.Seen
	change(&f.stake)
	now := f.stake
	f.mu.Unlock()
	kept := now
	kept.Seen = seen // alone, it is not worth a write
	if same, _ := json.Marshal(kept); string(same) == string(was) {
		return now
	}
	text, err := json.Marshal(now)
	if err == nil {
		err = durable.WriteFile(RolloutFile(f.cfg.CacheFile), text, 0o600)
	}
	if err != nil {
		f.cfg.Log.Error("what this gateway knows of its rollout is not kept; after a restart it decides anew", "error", err)
	}
	return now
}

func (f *Follower) staked() stake {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stake
}

// look takes note of what was read of the gateway's rollout, and says what it knows of
// itself.
func (f *Follower) look(a *assignment) rollout.Self {
	if a.rollout == nil {
		return rollout.Self{}
	}
	st := f.changeStake(func(st *stake) { st.sees(a) })
	return rollout.Self{Wave: a.now.Wave, OwnBad: st.Verdict == verdictBad, Latched: st.Latched, Crossed: st.Crossed}
}

// sees takes note of a rollout as it was read.
func (st *stake) sees(a *assignment) {
	r := a.rollout.record
	if st.ID != r.ID {
		*st = stake{ID: r.ID}
	} else if r.ActedSince(st.Acts) {
		st.acted(a)
	}
	for _, act := range r.Acts {
		if !slices.Contains(st.Acts, act.ID) {
			st.Acts = append(st.Acts, act.ID)
		}
	}
	st.Latched = st.Latched || r.decide(a.rollout.tally).Halted
	if r.Over {
		return // the votes are of another one
	}
	st.Seen = max(st.Seen, a.rollout.tally.OK)
	switch {
	case st.Verdict == "" && a.bad: // this is new hardware, or the cache was lost
		st.Verdict, st.Code, st.Reason = verdictBad, "voted", "this gateway has voted against it"
	case st.Verdict == "" && a.ok:
		st.Verdict = verdictOK
	}
}

// acted takes note of what operators did: a halt that was seen counts no more, and what
// was decided before is decided anew, unless the vote stands.
func (st *stake) acted(a *assignment) {
	st.Latched, st.Starts = false, 0
	forgiven := slices.ContainsFunc(a.rollout.record.Acts, func(act rollout.Act) bool {
		return act.What == ActForgive && !slices.Contains(st.Acts, act.ID)
	})
	if !a.ok && !a.bad && (forgiven || a.now.Counted) {
		st.undecide()
	}
}

// undecide forgets a verdict.
func (st *stake) undecide() {
	if st.Verdict == verdictBad {
		st.Crossed = false
	}
	st.Verdict, st.Code, st.Reason = "", "", ""
}

// condemn makes a change bad for this gateway.
func (f *Follower) condemn(p *part, code, reason string) {
	f.changeStake(func(st *stake) {
		if st.ID == p.id && st.Verdict == "" {
			st.Verdict, st.Code, st.Reason = verdictBad, code, clip(reason, maxMessage)
		}
	})
}

// crosses counts a start of the new side before it is made. The last one that is borne
// within a bake time is bad: false.
func (f *Follower) crosses(v Version) bool {
	if !v.to {
		return true
	}
	var health Vitals
	if f.cfg.Health != nil {
		health = f.cfg.Health()
	}
	from, touched := "", []string(nil)
	if f.running.Doc != nil {
		from, touched = f.running.Commit.SHA256, touches(f.running.Doc, v.Doc)
	}
	now := f.cfg.Store.Now()
	st := f.changeStake(func(st *stake) {
		if st.ID != v.part.id {
			return
		}
		if st.To != v.Commit.SHA256 {
			st.From, st.To, st.Bake, st.Before, st.Touched, st.Starts = from, v.Commit.SHA256, v.part.bake, health, touched, 0
		}
		st.started(now, v.part.bake)
	})
	return st.Verdict != verdictBad
}

// touches lists the drivers that a change concerns, with those of the endpoints that it
// changes: they share a line.
func touches(from, to *config.Document) []string {
	found := make(map[string]bool)
	endpoints := make(map[string]bool)
	field := func(text []byte, name string) string {
		var item map[string]any
		if json.Unmarshal(text, &item) != nil {
			return ""
		}
		value, _ := item[name].(string)
		return value
	}
	for _, c := range from.Changes(to) {
		switch c.Table {
		case config.Endpoints:
			endpoints[c.ID] = true
		case config.Drivers:
			found[c.ID] = true
			endpoints[field(c.New, "endpoint_id")] = true
		case config.Variables:
			found[field(c.New, "driver_id")], found[field(c.Old, "driver_id")] = true, true
		}
	}
	for _, it := range to.Items(config.Drivers) {
		if endpoints[field(it.JSON, "endpoint_id")] {
			found[it.ID] = true
		}
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found))
}

// started counts one more start of what it crosses to.
func (st *stake) started(now time.Time, bake time.Duration) {
	if st.Verdict != "" {
		return
	}
	if st.Starts == 0 || now.Sub(st.Since) > bake {
		st.Starts, st.Since = 0, now
	}
	if st.Starts++; st.Starts >= maxStarts {
		st.Verdict, st.Code = verdictBad, "starts"
		st.Reason = fmt.Sprintf("the gateway began it %s and did not get through its bake time", words.Count(st.Starts, "time"))
	}
}

// crossed notes that the new side runs.
func (f *Follower) crossed(v Version) {
	if !v.to {
		return
	}
	f.changeStake(func(st *stake) {
		if st.ID == v.part.id {
			st.Crossed, st.To = true, v.Commit.SHA256
		}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.baking != v.part.id+v.Commit.SHA256 {
		f.baking, f.bakes = v.part.id+v.Commit.SHA256, time.Now()
	}
}

// resumes counts the start of a process whose cache holds a change that wasn't judged yet.
func (f *Follower) resumes(last *cached) {
	st := f.staked()
	if st.ID == "" || !st.Crossed || st.Verdict != "" || st.To != last.Commit.SHA256 {
		return
	}
	f.changeStake(func(st *stake) { st.started(f.cfg.Store.Now(), st.Bake) })
}

// standing is the state of a gateway that runs v.
func (f *Follower) standing(v Version) (State, string) {
	if st := f.staked(); v.part != nil && !v.to && st.ID == v.part.id && st.Verdict == verdictBad {
		return Pinned, st.Reason
	}
	return Applied, ""
}

// returns reports whether v is what ran here before the rollout: it was admitted then.
func (f *Follower) returns(v Version) bool {
	st := f.staked()
	return v.part != nil && !v.to && st.ID == v.part.id && st.From == v.Commit.SHA256
}

// sees takes note of what was read of the gateway's rollout.
func (s *session) sees(a *assignment) rollout.Self {
	s.seen = a
	if !a.at.before(s.at) {
		s.at = a.at
	}
	self := s.f.look(a)
	s.f.showPart(a)
	return self
}

// pollAfter is when the rollout is to be looked at again.
func (s *session) pollAfter() time.Duration {
	const never = 24 * time.Hour
	if s.seen == nil || s.seen.rollout == nil {
		return never
	}
	r := s.seen.rollout.record
	if r.Over {
		return never
	}
	every := r.Poll
	if d := r.decide(s.seen.rollout.tally); d.Done && s.f.staked().Verdict != "" && (s.seen.ok || s.seen.bad || !s.seen.now.Counted) {
		every = max(every, doneRechecks*s.f.cfg.Recheck) // a store that is put back may have lost the vote
	}
	return every/2 + rand.N(every)
}

// doneRechecks is how many times more seldom than the commit a rollout is looked at that is
// done.
const doneRechecks = 10

// poll looks at the rollout: which side is to run, and whether it is time to vote.
func (s *session) poll(ctx context.Context) error {
	a, err := s.store.assignment(ctx, s.f.cfg.Gateway)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) || errors.Is(err, errStays) {
		s.f.cfg.Log.Error("what this gateway is to run can't be read; it stays on what it runs", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	if a.at.before(s.at) {
		return errRestored
	}
	self := s.sees(a)
	if a.commit.ID != s.newest.ID || !a.commit.Fleet() { // the watch or the next look at the commit brings it
		return nil
	}
	if a.side(self) == a.now.Run { // what returns is judged no more
		s.f.judge(a)
		self.OwnBad = s.f.staked().Verdict == verdictBad
	}
	sha := ""
	if run := a.side(self); run != nil {
		sha = run.SHA256
	}
	if sha != s.given && len(s.waiting) == 0 {
		s.waiting = []Commit{s.newest}
	}
	return s.vote(ctx, a, self)
}

// showPart puts the gateway's place in the rollout, and what it found of it, into its
// status. It returns what it put there.
func (f *Follower) showPart(a *assignment) stake {
	var st stake
	wave := 0
	if a.rollout != nil {
		st, wave = f.staked(), a.now.Wave
	}
	was := f.View().Status
	is := was
	is.Rollout, is.Wave, is.Verdict, is.Reason = st.ID, wave, st.Verdict, st.Reason
	if is != was {
		f.update(func(now *Status) {
			now.Rollout, now.Wave, now.Verdict, now.Reason = is.Rollout, is.Wave, is.Verdict, is.Reason
		})
	}
	return st
}

// judge decides on the change once it has run for its bake time.
func (f *Follower) judge(a *assignment) {
	if a.rollout == nil || a.rollout.record.Over || a.now.Run == nil {
		return
	}
	r := a.rollout.record
	f.mu.Lock()
	st, status := f.stake, f.status
	baked := f.baking == r.ID+a.now.Run.SHA256 && time.Since(f.bakes) >= r.Bake
	f.mu.Unlock()
	if st.ID != r.ID || st.Verdict != "" || !st.Crossed || !baked || status.State != Applied || status.SHA256 != a.now.Run.SHA256 {
		return
	}
	var now Vitals
	if f.cfg.Health != nil {
		now = f.cfg.Health()
	}
	for _, id := range slices.Sorted(maps.Keys(now.Faults)) {
		if _, before := st.Before.Faults[id]; before {
			continue
		}
		if !slices.Contains(st.Touched, id) {
			return // something else ails it: it waits
		}
		f.condemn(a.part(), "driver", fmt.Sprintf("driver %s in fault, and it was running before: %s", id, now.Faults[id]))
		return
	}
	for _, id := range now.Idle {
		if slices.Contains(st.Touched, id) && !slices.Contains(st.Before.Idle, id) {
			return // whether it can read is not known yet
		}
	}
	if was, is := st.Before.badShare(), now.badShare(); is > was+maxWorse {
		why := fmt.Sprintf("%.1f%% of the points are bad, and %.1f%% were before", is, was)
		if now.Trouble != "" {
			why += ": " + now.Trouble
		}
		f.condemn(a.part(), "quality", why)
		return
	}
	f.changeStake(func(st *stake) {
		if st.ID == r.ID && st.Verdict == "" {
			st.Verdict = verdictOK
		}
	})
}

// vote casts the gateway's verdict, unless an operator acted since it was read. The status
// says why first: whoever sees the vote finds its reason. A gateway that isn't registered
// has to wait: another one may hold its name.
func (s *session) vote(ctx context.Context, a *assignment, self rollout.Self) error {
	st := s.f.showPart(a)
	if s.lease == 0 || a.rollout == nil || a.rollout.record.Over || !a.now.Counted || a.ok || a.bad || st.Verdict == "" || st.ID != a.now.Rollout {
		return nil
	}
	self.Wave = a.now.Wave
	if !a.rollout.record.decide(a.rollout.tally).MayCast(self, st.Verdict == verdictOK, st.Seen) {
		return nil
	}
	gw, keys := s.f.cfg.Gateway, s.store.keys
	key, record := keys.ok(gw), keys.rollout(a.now.Rollout)
	if st.Verdict == verdictBad {
		key = keys.bad(gw)
	}
	text, err := json.Marshal(vote{a.now.Rollout, st.Code})
	if err != nil {
		return fmt.Errorf("vote: %w", err)
	}
	if err := s.report(ctx, false); err != nil {
		return err
	}
	cast := txn{
		compare: []clientv3.Cmp{
			clientv3.Compare(clientv3.Value(record), "=", a.rollout.raw), absent(keys.ok(gw)), absent(keys.bad(gw)),
		},
		then: []clientv3.Op{clientv3.OpPut(key, string(text))},
	}
	if st.Verdict == verdictOK && a.rollout.record.Deadline > 0 {
		cast.compare = append(cast.compare, present(keys.deadline(a.now.Rollout)))
	}
	resp, err := s.store.commit(ctx, "vote", cast)
	if err != nil {
		return err
	}
	if resp.Succeeded {
		s.f.cfg.Log.Info("voted on the change", "vote", st.Verdict, "reason", st.Reason, "rollout", a.now.Rollout, "wave", a.now.Wave)
	}
	return nil // else the next look tells why
}
