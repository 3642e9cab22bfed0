package center

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// ErrRollout means that a rollout is in the way of what was asked for, or isn't there.
var ErrRollout = errkind.New(errkind.Outdated, "a rollout is under way")

// Defaults and bounds of a [RolloutPlan].
const (
	DefaultBake = 10 * time.Minute
	minPoll     = 2 * time.Second
	perSecond   = 500 // polls of all gateways
)

// RolloutPlan says how a push goes out in waves.
type RolloutPlan struct {
	Waves  []rollout.Spec
	Bake   time.Duration // how long a gateway runs the change before it votes
	Manual bool          // votes open no wave
	// MaxBad says how many bad votes are borne among so many members; nil: none.
	MaxBad func(members int) int
	Poll   time.Duration // 0: by the number of gateways
	// Deadline halts it unless it is done by then; 0: nothing does.
	Deadline time.Duration
}

// rolloutRecord is what stands in the store of a rollout, for ever. Operators write it.
type rolloutRecord struct {
	rollout.Record
	Release uint64        `json:"release"`
	From    uint64        `json:"from"` // the release that everybody goes back to
	Specs   []string      `json:"specs"`
	Bake    time.Duration `json:"bake_ns"`
	Poll    time.Duration `json:"poll_ns"`
	// Deadline is how long the key of that name lives; 0: there is none.
	Deadline time.Duration `json:"deadline_ns,omitempty"`
	// Over: a push came after it. Its control is its outcome, whatever votes there are.
	Over bool `json:"over,omitempty"`
}

// isRollout reports whether a text can be the id of a rollout: that of its commit.
func isRollout(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 12
}

func parseRollout(id string, b []byte) (*rolloutRecord, error) {
	r := &rolloutRecord{}
	err := json.Unmarshal(b, r)
	if err == nil && (r.ID != id || len(r.Waves) == 0 || len(r.Specs) != len(r.Waves) || r.Poll <= 0 || r.Bake < 0 || r.Deadline < 0) {
		err = errors.New("it says nothing possible")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the record of the rollout %.24s: %w", ErrDamaged, id, err)
	}
	return r, nil
}

// encode never fails: the record is of plain values.
func (r *rolloutRecord) encode() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("center: " + err.Error())
	}
	return string(b)
}

// decide says where the rollout stands. What is over goes by its outcome.
func (r *rolloutRecord) decide(t rollout.Tally) rollout.Decision {
	if r.Over {
		t = rollout.Tally{}
	}
	return r.Decide(t)
}

// news says what the record's last change was.
func (r *rolloutRecord) news() string {
	text := fmt.Sprintf("rollout of release %d: ", r.Release)
	switch n := len(r.Acts); {
	case r.Over:
		return text + string(r.Control) + ", and followed by another push"
	case n == 0:
		return text + fmt.Sprintf("begun, in %d waves", len(r.Waves))
	default:
		a := r.Acts[n-1]
		text += a.What + " by " + a.Author
		if a.Reason != "" {
			text += ": " + a.Reason
		}
		return text
	}
}

// lastRollout is the rollout before a push.
type lastRollout struct {
	rolloutRecord
	raw string // as it was read
}

// tallied is a rollout with its votes, of one moment.
type tallied struct {
	record *rolloutRecord
	raw    string
	tally  rollout.Tally
	rev    int64 // of the store
}

// tallyOps read a rollout and count its votes, in this order; tallyOf reads the answers.
func (k keyspace) tallyOps(id string) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(k.rollout(id)),
		clientv3.OpGet(k.votesOK(), clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpGet(k.votesBad(), clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpGet(k.deadline(id), clientv3.WithCountOnly()),
	}
}

func tallyOf(id string, resp *clientv3.TxnResponse, first int) (*tallied, error) {
	kvs := resp.Responses[first].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return nil, fmt.Errorf("%w: the record of the rollout %.24s is gone", ErrDamaged, id)
	}
	r, err := parseRollout(id, kvs[0].Value)
	if err != nil {
		return nil, err
	}
	return &tallied{record: r, raw: string(kvs[0].Value), rev: resp.Header.Revision, tally: rollout.Tally{
		OK: int(resp.Responses[first+1].GetResponseRange().Count), Bad: int(resp.Responses[first+2].GetResponseRange().Count),
		Expired: r.Deadline > 0 && resp.Responses[first+3].GetResponseRange().Count == 0,
	}}, nil
}

// readRollout reads a rollout with its votes.
func (s *Store) readRollout(ctx context.Context, id string) (*tallied, error) {
	resp, err := s.commit(ctx, "read the rollout", txn{then: s.keys.tallyOps(id)})
	if err != nil {
		return nil, err
	}
	return tallyOf(id, resp, 0)
}

// doneOf returns which rollouts that versions of records name are done. One whose record is
// gone is not known to be.
func (s *Store) doneOf(ctx context.Context, list []assigned) (map[string]bool, error) {
	out := make(map[string]bool)
	for _, v := range list {
		if _, known := out[v.Rollout]; v.Rollout == "" || known {
			continue
		}
		t, err := s.readRollout(ctx, v.Rollout)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		out[v.Rollout] = err == nil && t.record.decide(t.tally).Done
	}
	return out, nil
}

// endRollout aborts the rollout of base that a push takes the place of: then no vote changes
// what became of it while the push is written.
func (s *Store) endRollout(ctx context.Context, base Commit, author Author) error {
	if base.Rollout == "" {
		return nil
	}
	t, err := s.readRollout(ctx, base.Rollout)
	if err != nil {
		return err
	}
	if d := t.record.decide(t.tally); d.Done || d.Halted {
		return nil
	}
	_, err = s.ActOnRollout(ctx, ActAbort, author.String(), "another push takes its place")
	if errors.Is(err, rollout.ErrOver) {
		return nil // done just now
	}
	return err
}

// prepareRollout looks at the rollout before a push, which has to be over or is replaced, and
// plans the one that begins, if any.
func (s *Store) prepareRollout(ctx context.Context, p *plan, opts *RolloutPlan, replace bool) error {
	if id := p.base.Commit.Rollout; id != "" {
		t, err := s.readRollout(ctx, id)
		if err != nil {
			return err
		}
		p.last, p.atOnce = &lastRollout{*t.record, t.raw}, false
		d := t.record.decide(t.tally)
		if !d.Done && !d.Halted && !p.unchanged && !replace {
			return fmt.Errorf("%w: that of release %d, at wave %d of %d: wait for it, end it with edge-cfg rollout promote --all, or abort, "+
				"or let this push take its place with --replace", ErrRollout, t.record.Release, d.Reached, len(t.record.Waves))
		}
		p.last.Over, p.last.Control = true, rollout.Halted
		if d.Done {
			p.last.Control = rollout.Done
		}
	}
	if p.fleet == nil || p.unchanged {
		if opts != nil && p.fleet == nil {
			return errors.New("waves are for the gateways of a fleet: there is no groups.yml or gateways.yml")
		}
		return nil
	}
	have, err := s.readRecords(ctx)
	if err != nil {
		return err
	}
	records := make(map[string]*record, len(have))
	var versions []assigned
	for id, text := range have {
		if r, err := parseRecord(id, text); err == nil { // else it is written anew
			records[id] = r
			versions = append(versions, r.upTo(p.base.Commit.Release)...)
		}
	}
	if p.fleet.done, err = s.doneOf(ctx, versions); err != nil || opts == nil {
		return err
	}
	return s.planWaves(ctx, p, opts, records)
}

// planWaves assigns those gateways to waves whose tables p changes.
func (s *Store) planWaves(ctx context.Context, p *plan, opts *RolloutPlan, records map[string]*record) error {
	all, err := s.Gateways(ctx)
	if err != nil {
		return err
	}
	online := make(map[string]bool, len(all))
	for _, g := range all {
		online[g.Gateway] = g.Online
	}
	var members []rollout.Member
	for _, id := range slices.Sorted(maps.Keys(p.fleet.targets)) {
		now := p.effective(records[id])
		if now != nil && now.SHA256 == p.fleet.targets[id].SHA256 {
			continue
		}
		// One that joins has nothing to compare with, so it doesn't count.
		members = append(members, rollout.Member{ID: id, Labels: p.fleet.labels[id], Online: online[id] && now != nil})
	}
	if len(members) == 0 {
		return nil
	}
	waves, err := rollout.Assign(p.commit.ID, opts.Waves, members)
	if err != nil {
		return err
	}
	n, on := make([]int, len(opts.Waves)), make([]int, len(opts.Waves))
	p.fleet.members = make(map[string]assigned, len(members))
	for i, m := range members {
		n[waves[i]-1]++
		if m.Online {
			on[waves[i]-1]++
		}
		p.fleet.members[m.ID] = assigned{Wave: waves[i], Counted: m.Online}
	}
	limit := opts.MaxBad
	if limit == nil {
		limit = func(int) int { return 0 }
	}
	r := &rolloutRecord{Release: p.commit.Release, From: p.base.Commit.Release, Bake: opts.Bake, Poll: opts.Poll, Deadline: opts.Deadline}
	if p.last != nil && p.last.Control == rollout.Halted {
		r.From = p.last.From
	}
	setDefault(&r.Poll, max(minPoll, time.Duration(len(members))*time.Second/perSecond))
	for _, spec := range opts.Waves {
		r.Specs = append(r.Specs, spec.String())
	}
	r.Record = rollout.Record{ID: p.commit.ID, Manual: opts.Manual, Control: rollout.Running}
	if r.Waves, err = rollout.NewWaves(n, on, limit); err != nil {
		return err
	}
	p.begin, p.commit.Rollout = r, r.ID
	p.record, p.release, err = p.commit.encode()
	return err
}

// PreviewRollout says who would be in which wave of a push, as things are now; nil if it
// changes no gateway.
func (s *Store) PreviewRollout(ctx context.Context, base Version, doc *config.Document, opts *RolloutPlan, replace bool) (*Rollout, error) {
	p, err := s.plan(base, doc, PushOptions{})
	if err == nil {
		err = s.prepareRollout(ctx, p, opts, replace)
	}
	if err != nil || p.begin == nil {
		return nil, err
	}
	return (&tallied{record: p.begin}).shown(p.commit), nil
}

// effective is what the gateway of a record runs before p, once what it was told is done.
func (p *plan) effective(was *record) *target {
	if base := p.base; base.Doc != nil && !base.Commit.None() && !base.Commit.Fleet() {
		return &target{SHA256: base.Commit.SHA256, Document: base.Commit.SHA256, Signature: base.Commit.Signature} // as all of the prefix do
	}
	return was.at(p.base.Commit.Release).effective(p.fleet.done)
}

// assign is a new version of a gateway's record.
func (p *plan) assign(id string, release uint64, run, now *target) assigned {
	a := assigned{Release: release, Run: run}
	if m, in := p.fleet.members[id]; in && p.begin != nil {
		a.Rollout, a.Wave, a.Counted, a.From = p.begin.ID, m.Wave, m.Counted, now
	}
	if (p.rewrite || p.unchanged) && p.last != nil { // the record was lost: it passes no gate, and goes nowhere back
		a.Rollout, a.Wave = p.last.ID, len(p.last.Waves)
	}
	return a
}

// rolloutOps adds to a push's completing transaction what ends the rollout before, with its
// votes, and begins the next one. An operator's act meanwhile makes it fail.
func (s *Store) rolloutOps(ctx context.Context, p *plan, t *txn) error {
	if p.last != nil {
		key := s.keys.rollout(p.last.ID)
		t.compare = append(t.compare, clientv3.Compare(clientv3.Value(key), "=", p.last.raw))
		t.then = append(t.then, clientv3.OpPut(key, p.last.encode()), clientv3.OpDelete(s.keys.deadline(p.last.ID)))
	}
	if p.last != nil || p.begin != nil {
		for _, votes := range s.keys.votes() {
			t.then = append(t.then, clientv3.OpDelete(votes, clientv3.WithPrefix()))
		}
	}
	if p.begin == nil {
		return nil
	}
	t.then = append(t.then, clientv3.OpPut(s.keys.rollout(p.begin.ID), p.begin.encode()))
	return s.startDeadline(ctx, p.begin, t)
}

// startDeadline adds to a transaction what begins the time that a rollout has. A lease that
// comes to nothing ends by itself.
func (s *Store) startDeadline(ctx context.Context, r *rolloutRecord, t *txn) error {
	if r.Deadline == 0 {
		return nil
	}
	return s.retry(ctx, "begin the deadline", func(ctx context.Context) error {
		l, err := s.etcd.Grant(ctx, int64(max(r.Deadline, time.Second)/time.Second))
		if err == nil {
			t.then = append(t.then, clientv3.OpPut(s.keys.deadline(r.ID), "", clientv3.WithLease(l.ID)))
		}
		return err
	})
}

// rolloutMoved says why a push was not completed though its base is in force.
func (s *Store) rolloutMoved(ctx context.Context, p *plan) error {
	if p.last != nil {
		t, err := s.readRollout(ctx, p.last.ID)
		if err != nil {
			return err
		}
		if t.raw != p.last.raw {
			return fmt.Errorf("%w, and somebody acted on it just now; look at it, and push again", ErrRollout)
		}
	}
	return errClaimLost
}

// Rollout is where a rollout stands.
type Rollout struct {
	ID      string        `json:"id"`
	Rev     int64         `json:"rev"`
	Release uint64        `json:"release"`
	From    uint64        `json:"from"`
	State   string        `json:"state"` // running, paused, halted, done
	Waves   []RolloutWave `json:"waves"`
	Reached int           `json:"reached"` // the highest wave that is open
	OK      int           `json:"ok"`
	Bad     int           `json:"bad"`
	Manual  bool          `json:"manual"`
	BakeS   float64       `json:"bake_s"`
	// DeadlineS is how long it has from its begin; Expired: that is over.
	DeadlineS float64       `json:"deadline_s,omitempty"`
	Expired   bool          `json:"expired,omitempty"`
	Acts      []rollout.Act `json:"acts"`
	BadBy     []BadVote     `json:"bad_by"` // the first ones
}

// RolloutWave is a wave, with who was to be in it.
type RolloutWave struct {
	Spec string `json:"spec"`
	rollout.Wave
}

// BadVote is a gateway's vote against the change, and what it says of itself.
type BadVote struct {
	Gateway string `json:"gateway"`
	Reason  string `json:"reason"`
}

// maxBadShown bounds how many bad votes are listed: the counts tell the rest.
const maxBadShown = 20

// Rollout returns the rollout of the commit in force; [ErrRollout] if it has none.
func (s *Store) Rollout(ctx context.Context) (*Rollout, error) {
	head, t, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	out := t.shown(head)
	out.BadBy, err = s.badVotes(ctx)
	return out, err
}

// current returns the commit in force with its rollout; [ErrRollout] if it has none.
func (s *Store) current(ctx context.Context) (Commit, *tallied, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return Commit{}, nil, err
	}
	if head.Rollout == "" {
		return Commit{}, nil, errNoRollout(head)
	}
	t, err := s.readRollout(ctx, head.Rollout)
	return head, t, err
}

func errNoRollout(head Commit) error {
	return fmt.Errorf("rev %d is no rollout in waves: it is for all gateways at once", head.Rev)
}

func (t *tallied) shown(c Commit) *Rollout {
	r := t.record
	d := r.decide(t.tally)
	out := &Rollout{ID: r.ID, Rev: c.Rev, Release: r.Release, From: r.From, State: string(r.Control), Reached: d.Reached,
		OK: t.tally.OK, Bad: t.tally.Bad, Manual: r.Manual, BakeS: r.Bake.Seconds(), Acts: r.Acts, BadBy: []BadVote{},
		DeadlineS: r.Deadline.Seconds(), Expired: t.tally.Expired && !r.Over && !d.Done}
	if out.Acts == nil {
		out.Acts = []rollout.Act{}
	}
	for i, w := range r.Waves {
		out.Waves = append(out.Waves, RolloutWave{r.Specs[i], w})
	}
	switch {
	case d.Done:
		out.State = string(rollout.Done)
	case d.Halted:
		out.State = string(rollout.Halted)
	}
	return out
}

// Text says in a line where the rollout stands.
func (r *Rollout) Text() string {
	text := fmt.Sprintf("rollout of release %d, from %d: %s; wave %d of %d is open, ok %d of %d, bad %d",
		r.Release, r.From, r.State, r.Reached, len(r.Waves), r.OK, r.Waves[len(r.Waves)-1].Need, r.Bad)
	if r.Expired {
		text += ", its deadline is over"
	}
	return text
}

// RolloutState says what became of the rollout that a commit began; "" if it began none.
func (s *Store) RolloutState(ctx context.Context, c Commit) (string, error) {
	if c.Rollout == "" {
		return "", nil
	}
	t, err := s.readRollout(ctx, c.Rollout)
	if errors.Is(err, ErrDamaged) {
		return "unknown", nil // the log is worth reading all the same
	}
	if err != nil {
		return "", err
	}
	return t.shown(c).State, nil
}

// badVotes lists those that voted bad, with what their status says.
func (s *Store) badVotes(ctx context.Context) ([]BadVote, error) {
	out := []BadVote{}
	root := s.keys.votesBad()
	resp, err := s.get(ctx, "read the bad votes", root, clientv3.WithPrefix(), clientv3.WithLimit(maxBadShown))
	if err != nil {
		return nil, err
	}
	for _, kv := range resp.Kvs {
		v := BadVote{Gateway: strings.TrimPrefix(string(kv.Key), root)}
		var cast vote
		if json.Unmarshal(kv.Value, &cast) == nil { // noise is a vote all the same
			v.Reason = cast.Code
		}
		st, err := s.get(ctx, "read a status", s.keys.status(v.Gateway))
		if err != nil {
			return nil, err
		}
		for _, kv := range st.Kvs {
			if is, err := parseStatus(v.Gateway, kv.Value); err == nil && is.Verdict == verdictBad && is.Rollout == cast.Rollout {
				v.Reason = is.Reason
			}
		}
		out = append(out, v)
	}
	return out, nil
}
