package center

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/overlay"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// recordFormat is the version of records that this release writes for gateways that are in
// no rollout; rolloutFormat is that of the others, which a version that knows no rollouts
// refuses: it would pass the gates.
const (
	recordFormat  = 1
	rolloutFormat = 2
)

// record says what one gateway of a fleet is to run. A push writes the records before its
// commit, which makes them count: a gateway takes the newest version whose release is not
// above that of the commit in force. What a push that was cut off has left above it is
// invisible, and the next push removes it.
type record struct {
	Format   int        `json:"format"`
	Versions []assigned `json:"versions"` // the oldest first, at most maxVersions
}

// maxVersions is what a push needs: what is in force, and what is to be.
const maxVersions = 2

// assigned is what a gateway is to run from a release on.
type assigned struct {
	Release uint64  `json:"release"`
	Run     *target `json:"run,omitempty"` // nil: nothing new, because gateways.yml doesn't name it any more

	// In a rollout, it runs that once its wave may, and From until then and after a halt.
	Rollout string  `json:"rollout,omitempty"` // id; "": there is none
	Wave    int     `json:"wave,omitempty"`    // from 1
	Counted bool    `json:"counted,omitempty"` // it votes
	From    *target `json:"from,omitempty"`    // nil: nothing new
}

// effective is what a gateway is to run of a version whose rollout is over.
func (a assigned) effective(done map[string]bool) *target {
	if a.Rollout != "" && !done[a.Rollout] {
		return a.From
	}
	return a.Run
}

// settled reports whether a gateway takes what the version has for it when c is in force: the
// rollout is c's, or went through.
func (a assigned) settled(c Commit, done map[string]bool) bool {
	return a.Rollout == "" || a.Rollout == c.Rollout || done[a.Rollout]
}

// targets lists what the version names.
func (a assigned) targets() []*target {
	return slices.DeleteFunc([]*target{a.From, a.Run}, func(t *target) bool { return t == nil })
}

// target is what a gateway of a fleet runs: a stored document, which many gateways
// share, with a small delta over it.
type target struct {
	SHA256    string        `json:"sha256"`          // of what the gateway runs
	Document  string        `json:"document"`        // hash of what is stored
	Delta     *config.Delta `json:"delta,omitempty"` // leads from there to it; nil: it is the same
	Signature *Signature    `json:"signature,omitempty"`
}

func parseRecord(gateway string, b []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: the record of the gateway %s: %w", ErrDamaged, gateway, err)
	}
	if r.Format != recordFormat && r.Format != rolloutFormat {
		return nil, fmt.Errorf("%w: the record of the gateway %s has format %d, and this version reads formats up to %d", ErrFormat, gateway, r.Format, rolloutFormat)
	}
	for _, v := range r.Versions {
		for _, t := range v.targets() {
			if !isHash(t.SHA256) || !isHash(t.Document) {
				return nil, fmt.Errorf("%w: the record of the gateway %s: %.80q is no document", ErrDamaged, gateway, t.SHA256)
			}
		}
		if v.Rollout != "" && (!isRollout(v.Rollout) || v.Wave < 1) {
			return nil, fmt.Errorf("%w: the record of the gateway %s: wave %d of the rollout %.80q is not possible", ErrDamaged, gateway, v.Wave, v.Rollout)
		}
	}
	return r, nil
}

// upTo returns the versions that count at a release.
func (r *record) upTo(release uint64) []assigned {
	if r == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Versions), func(v assigned) bool { return v.Release > release })
}

// at returns the version that counts at a release; the zero one is nothing new.
func (r *record) at(release uint64) assigned {
	if list := r.upTo(release); len(list) > 0 {
		return list[len(list)-1]
	}
	return assigned{}
}

// fleetPlan is what a push writes for the gateways of a fleet.
type fleetPlan struct {
	documents map[string]*config.Document  // by hash
	targets   map[string]*target           // by gateway
	labels    map[string]map[string]string // by gateway
	done      map[string]bool              // rollouts whose members run the new side; the others are over, too
	members   map[string]assigned          // in the rollout that begins: wave, and whether it is counted
}

// renderFleet makes what each gateway of doc runs, signed under the order of what signs the
// whole.
func (s *Store) renderFleet(doc *config.Document, key *Key, whole *Signature) (*fleetPlan, error) {
	f, problems := overlay.New(doc)
	if err := firstProblem(problems); err != nil {
		return nil, err
	}
	p := &fleetPlan{documents: map[string]*config.Document{}, targets: map[string]*target{}, labels: map[string]map[string]string{}}
	for _, id := range f.Gateways() {
		p.labels[id] = f.Labels(id)
		r, err := f.Render(id)
		if err == nil {
			err = firstProblem(r.Problems)
		}
		if err != nil {
			return nil, err
		}
		run, below := r.Runs(), r.Variant.Doc
		t := &target{SHA256: run.SHA256(), Document: run.SHA256()}
		if !r.Suspended && t.SHA256 != below.SHA256() {
			if delta := config.NewDelta(below.Changes(run), maxDelta); delta != nil {
				t.Document, t.Delta, run = below.SHA256(), delta, below
			}
		}
		if key != nil {
			t.Signature = key.sign(s.keys.prefix, t.SHA256, whole.Order)
		}
		p.documents[t.Document], p.targets[id] = run, t
	}
	return p, nil
}

// firstProblem is the first error among problems of layers: what is rendered with it would
// depend on chance.
func firstProblem(problems []overlay.Problem) error {
	for _, p := range problems {
		if p.Severity == config.SeverityError {
			return fmt.Errorf("%s: %s; edge-cfg lint finds all of that", config.Key(p.Place.Table, p.Place.ID, p.Place.Path...), p.Message)
		}
	}
	return nil
}

// checkReaders refuses to make a fleet of gateways of which one can't read that.
func (s *Store) checkReaders(ctx context.Context) error {
	all, err := s.Gateways(ctx)
	if err != nil {
		return err
	}
	var old []string
	for _, g := range all {
		if g.CommitFormat < fleetFormat {
			old = append(old, g.Gateway)
		}
	}
	if len(old) == 0 {
		return nil
	}
	return fmt.Errorf("%s: of a version of edge-gw that knows no groups and gateways, so it would stay on what it runs: update it, or 'edge-cfg forget' it if it is gone for good",
		strings.Join(old, ", "))
}

// putRecords writes what the gateways of p are to run: the documents, then the records. A push
// without layers only removes what one before it left.
func (s *Store) putRecords(ctx context.Context, p *plan, cl *claim) error {
	have, err := s.readRecords(ctx)
	if err != nil {
		return err
	}
	if p.fleet != nil {
		for _, sha := range slices.Sorted(maps.Keys(p.fleet.documents)) {
			head, chunks, err := s.codec.encode(p.fleet.documents[sha])
			if err == nil {
				err = s.putStored(ctx, p, cl, s.keys.document(sha), head, chunks)
			}
			if err != nil {
				return err
			}
		}
	}
	changed := p.changedRecords(have)
	batches := batched(s.cfg, slices.Sorted(maps.Keys(changed)), func(id string) int { return len(s.keys.record(id)) + len(changed[id]) + 32 },
		func(ids []string) (ops []clientv3.Op) {
			for _, id := range ids {
				if text := changed[id]; text == "" {
					ops = append(ops, clientv3.OpDelete(s.keys.record(id)))
				} else {
					ops = append(ops, clientv3.OpPut(s.keys.record(id), text))
				}
			}
			return ops
		})
	return s.heldAll(ctx, cl, "write the gateways' records", batches)
}

// changedRecords returns the records that p changes, as they are to be written: "" for one that goes.
func (p *plan) changedRecords(have map[string][]byte) map[string]string {
	ids := slices.Collect(maps.Keys(have))
	if p.fleet != nil {
		ids = slices.AppendSeq(ids, maps.Keys(p.fleet.targets))
	}
	out := make(map[string]string)
	for _, id := range ids {
		was := have[id]
		r, err := parseRecord(id, was)
		if err != nil {
			r = nil // it is written anew
		}
		text := p.recordOf(id, r)
		if text != string(was) {
			out[id] = text
		}
	}
	return out
}

// recordOf is the record of a gateway as p leaves it, "" for none.
func (p *plan) recordOf(id string, was *record) string {
	list := was.upTo(p.base.Commit.Release)
	if p.fleet != nil {
		release := p.commit.Release
		if p.unchanged {
			release = p.base.Commit.Release
		}
		run, now := p.fleet.targets[id], p.effective(was)
		n := len(list)
		var last *target // that its record names; after a rollout that halted, it runs another one
		if n > 0 {
			last = list[n-1].Run
		}
		if p.rewrite || p.unchanged {
			now = last // the document in force says that, whatever side the gateway is on
		}
		switch {
		case run == nil && last == nil:
			return ""
		case run != nil && now != nil && last != nil && run.SHA256 == now.SHA256 && run.SHA256 == last.SHA256 && run.Signature == nil &&
			list[n-1].settled(p.base.Commit, p.fleet.done):
			if p.rewrite { // whatever it is made of now is there
				made := *run
				made.Signature, list[n-1].Run = now.Signature, &made
			}
		case n > 0 && list[n-1].Release == release:
			list[n-1].Run = run
		default:
			list = append(list, p.assign(id, release, run, now))
		}
	}
	if len(list) == 0 {
		return ""
	}
	list = list[max(0, len(list)-maxVersions):]
	format := recordFormat
	if slices.ContainsFunc(list, func(v assigned) bool { return v.Rollout != "" }) {
		format = rolloutFormat
	}
	text, err := json.Marshal(record{format, list})
	if err != nil {
		panic("center: " + err.Error()) // of plain values
	}
	return string(text)
}

// readRecords reads the records of all gateways.
func (s *Store) readRecords(ctx context.Context) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := s.readBelow(ctx, "read the gateways' records", s.keys.records(), 1000, func(id string, value []byte) { out[id] = value })
	return out, err
}

// errStays: what is in force is nothing for this gateway.
var errStays = errors.New("this gateway stays as it is")

// errOutside says that a fleet's commit has nothing for a gateway.
func errOutside(gateway string, c Commit) error {
	return fmt.Errorf("rev %d: gateways.yml doesn't name %s: %w until it does", c.Rev, gateway, errStays)
}

// errBehind says that a gateway that joins a fleet waits for its wave.
func errBehind(gateway string, c Commit, wave int) error {
	return fmt.Errorf("rev %d: %s joins the fleet with wave %d of the rollout, which isn't open: %w until it is", c.Rev, gateway, wave, errStays)
}

// errPlain says that a gateway of a fleet doesn't take a document that all gateways of the
// prefix would run.
func errPlain(c Commit) error {
	return fmt.Errorf("rev %d: its tables are the same for all gateways, and what ran here was a fleet's: %w. "+
		"If that is meant, 'edge-ctl config reload' takes them", c.Rev, errStays)
}

// loadFor returns what is in force for one gateway: its own document in a fleet, where the
// commit has that document's hash. base, which may be nil, is a document that is at hand.
// look, which may be nil too, is told what was read, and says what the gateway knows of
// itself in the rollout.
func (s *Store) loadFor(ctx context.Context, gateway string, base *config.Document, look func(*assignment) rollout.Self) (Version, error) {
	for {
		a, err := s.assignment(ctx, gateway)
		if err != nil || a.commit.None() {
			return Version{Commit: a.commit}, err
		}
		v, err := s.versionFor(ctx, gateway, a, base, look)
		if err == nil || errors.Is(err, errStays) {
			return v, err
		}
		// A document is given up when no record names it any more.
		if now, _, headErr := s.head(ctx); headErr != nil || now.ID == a.commit.ID {
			return v, err
		}
	}
}

func (s *Store) versionFor(ctx context.Context, gateway string, a *assignment, base *config.Document, look func(*assignment) rollout.Self) (Version, error) {
	c := a.commit
	if !c.Fleet() {
		doc, err := s.fetchHead(ctx, c)
		return Version{Commit: c, Doc: doc}, err
	}
	var self rollout.Self
	if look != nil {
		self = look(a)
	}
	run := a.side(self)
	if run == nil && a.part() != nil {
		return Version{Commit: c}, errBehind(gateway, c, a.now.Wave)
	}
	if run == nil {
		return Version{Commit: c}, errOutside(gateway, c)
	}
	doc, err := s.fetchTarget(ctx, run, base)
	return Version{Commit: c.running(run), Doc: doc, part: a.part(), to: a.rollout != nil && run == a.now.Run}, err
}

// running is the commit as a gateway takes it that runs t.
func (c Commit) running(t *target) Commit {
	c.SHA256, c.Signature, c.Tables, c.BaseSHA256, c.Delta = t.SHA256, t.Signature, nil, "", nil
	return c
}

// fetchTarget makes what a gateway runs, and checks it.
func (s *Store) fetchTarget(ctx context.Context, t *target, base *config.Document) (*config.Document, error) {
	if base != nil && base.SHA256() == t.SHA256 {
		return base, nil
	}
	doc, err := s.fetchAt(ctx, s.keys.document(t.Document), t.Document)
	if err != nil {
		return nil, err
	}
	if t.Delta != nil {
		if doc, err = t.Delta.Apply(doc); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if doc.SHA256() != t.SHA256 || doc.Layered() {
		return nil, fmt.Errorf("%w: what this gateway runs has the hash %.12s, and its record says %.12s", ErrDamaged, doc.SHA256(), t.SHA256)
	}
	return doc, nil
}

// loadBefore returns what a gateway of a fleet was to run before what is in force.
func (s *Store) loadBefore(ctx context.Context, gateway string) (Version, error) {
	a, err := s.assignment(ctx, gateway)
	if err != nil {
		return Version{}, err
	}
	list := a.record.upTo(a.commit.Release)
	done, err := s.doneOf(ctx, list)
	if err != nil {
		return Version{}, err
	}
	var before *target
	var n uint64
	if last := a.now; last.Rollout != "" {
		before, n = last.From, max(last.Release, 2)-1
	} else if len(list) > 1 {
		was := list[len(list)-2]
		before, n = was.effective(done), was.Release
	}
	if before == nil {
		return Version{}, fmt.Errorf("%w: of a gateway of a fleet, what ran last is kept, and there was nothing different; edge-cfg rollback puts the fleet back", ErrNoRelease)
	}
	resp, err := s.get(ctx, "read the release", s.keys.release(n))
	if err != nil {
		return Version{}, err
	}
	if len(resp.Kvs) == 0 {
		return Version{}, fmt.Errorf("%w: %d", ErrNoRelease, n)
	}
	was, err := parseCommit(resp.Kvs[0].Value, resp.Kvs[0].ModRevision)
	if err != nil {
		return Version{}, err
	}
	doc, err := s.fetchTarget(ctx, before, nil)
	return Version{Commit: was.running(before), Doc: doc}, err
}

// checkRecords says how many records are not as doc, the fleet in force, has them.
func (s *Store) checkRecords(ctx context.Context, v Version) (wrong []string, err error) {
	p, err := s.renderFleet(v.Doc, nil, nil)
	if err != nil {
		return nil, err
	}
	have, err := s.readRecords(ctx)
	if err != nil {
		return nil, err
	}
	now := make(map[string]assigned, len(have))
	for id, text := range have {
		if r, err := parseRecord(id, text); err == nil { // else it says nothing
			now[id] = r.at(v.Commit.Release)
		}
	}
	done, err := s.doneOf(ctx, slices.Collect(maps.Values(now)))
	if err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	for _, id := range slices.Sorted(maps.Keys(p.targets)) {
		run, want := now[id].Run, p.targets[id]
		ok := run != nil && run.SHA256 == want.SHA256 && now[id].settled(v.Commit, done)
		if ok && !found[run.Document] {
			resp, err := s.get(ctx, "look for a document", s.keys.document(run.Document).header(), clientv3.WithCountOnly())
			if err != nil {
				return nil, err
			}
			ok = resp.Count > 0
			found[run.Document] = ok
		}
		if !ok {
			wrong = append(wrong, id)
		}
	}
	return wrong, nil
}

// named returns the documents that records name: they are never given up.
func (s *Store) named(ctx context.Context) (map[string]bool, error) {
	have, err := s.readRecords(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool)
	for id, text := range have {
		r, err := parseRecord(id, text)
		if err != nil {
			return nil, err
		}
		for _, v := range r.Versions {
			for _, t := range v.targets() {
				out[t.Document] = true
			}
		}
	}
	return out, nil
}
