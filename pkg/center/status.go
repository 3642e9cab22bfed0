package center

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

// State is how a gateway stands to the configuration.
type State = feed.State

// The states, as a gateway reports them to the store.
const (
	Waiting          = feed.Waiting    // nothing ever ran here
	Applied          = feed.Applied    // it runs the commit in force
	Applying         = feed.Applying   // it is changing to it
	Rejected         = feed.Rejected   // the commit failed before anything was touched; the one before runs on
	RolledBack       = feed.RolledBack // the commit failed, and the store was put back to the one before
	Pinned           = feed.Pinned     // the commit failed here; this gateway alone stays on the one before
	Failed           = feed.Failed     // the commit failed and there is nothing to go back to
	Offline    State = "offline"       // it isn't there: shown for a gateway that has no lease
)

const statusFormat = 1

// Status is the record that a gateway keeps of itself in the store, for ever.
type Status struct {
	Format   int    `json:"format"`
	Gateway  string `json:"gateway"`
	Instance string `json:"instance"` // holds the gateway_id
	Host     string `json:"host,omitempty"`
	Version  string `json:"version,omitempty"` // of edge-gw
	// CommitFormat is the newest format of commits that the gateway reads; 0: of a version that
	// does not tell, and reads plain ones.
	CommitFormat int `json:"commit_format,omitempty"`

	State  State     `json:"state"`
	Since  time.Time `json:"since"`            // of the state
	Rev    int64     `json:"rev"`              // of the commit that runs
	SHA256 string    `json:"sha256,omitempty"` // of the document that runs
	Target int64     `json:"target,omitempty"` // rev of the commit that was tried last
	Tried  string    `json:"tried,omitempty"`  // its id: a store that went back in time uses revs again
	Error  string    `json:"error,omitempty"`  // why the target doesn't run
	// The gateway's place in a rollout, and what it found: "ok", "bad" with the reason, "" for
	// nothing yet.
	Rollout string `json:"rollout,omitempty"`
	Wave    int    `json:"wave,omitempty"`
	Verdict string `json:"verdict,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Ids of the last commits that ran, and that did not: newest first, blanks between.
	Ran     string `json:"ran,omitempty"`
	Refused string `json:"refused,omitempty"`
	// And those that were refused for their signature, which says nothing of their documents.
	Unsigned string `json:"unsigned,omitempty"`

	Seen time.Time `json:"seen"` // when the record was last written

	Log Seen `json:"log,omitzero"` // how far the gateway's log had come
}

// Seen is how far a gateway's log had come, kept for the case that its disk is put back
// to an earlier state.
type Seen struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Run   string `json:"run"` // which opening of the log said so
}

// Gateway is a gateway as the store knows it.
type Gateway struct {
	Status
	Online bool
}

// Shown returns the state to show and since when it holds: that of a gateway that
// isn't online is [Offline], since it was last heard of or a little later.
func (g Gateway) Shown() (State, time.Time) {
	if !g.Online {
		return Offline, g.Seen
	}
	return g.State, g.Since
}

// Settled reports whether the gateway has finished with commit c, which is in force, and
// whether it runs c's document.
func (g Gateway) Settled(c Commit) (done, ok bool) {
	tried := g.Tried == c.ID
	if g.Tried == "" { // a version of edge-gw that does not tell
		tried = g.Target == c.Rev
	}
	done = tried && g.State != Applying
	if c.Fleet() { // each gateway runs its own document
		return done, done && g.State == Applied
	}
	return done, done && g.SHA256 == c.SHA256 && (g.State == Applied || g.State == RolledBack)
}

// maxRan bounds how many commits of a kind a status remembers.
const maxRan = 10

// withID returns a list of ids with one more at its beginning.
func withID(list, id string) string {
	out := []string{id}
	for _, was := range strings.Fields(list) {
		if was != id && len(out) < maxRan {
			out = append(out, was)
		}
	}
	return strings.Join(out, " ")
}

func hasID(list, id string) bool { return slices.Contains(strings.Fields(list), id) }

// runs notes that commit id runs.
func (st *Status) runs(id string) {
	st.Ran = withID(st.Ran, id)
	st.Refused, st.Unsigned = withoutID(st.Refused, id), withoutID(st.Unsigned, id)
}

func withoutID(list, id string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(list), func(is string) bool { return is == id }), " ")
}

// parseStatus refuses what cannot be a status record.
func parseStatus(gateway string, b []byte) (Status, error) {
	var st Status
	if err := json.Unmarshal(b, &st); err != nil {
		return Status{Gateway: gateway}, fmt.Errorf("%w: status of %s: %w", ErrDamaged, gateway, err)
	}
	st.Gateway = gateway
	if st.Format != statusFormat {
		return st, fmt.Errorf("%w: the status of %s has format %d, and this version reads format %d", ErrFormat, gateway, st.Format, statusFormat)
	}
	return st, nil
}

// Gateways lists every gateway that ever registered under the prefix, by name. A
// record that can't be read is listed with what is wrong as its error.
func (s *Store) Gateways(ctx context.Context) ([]Gateway, error) {
	list, _, err := s.gateways(ctx)
	return list, err
}

func (s *Store) gateways(ctx context.Context) ([]Gateway, position, error) {
	seen, at, err := s.roll(ctx)
	if err != nil {
		return nil, position{}, err
	}
	return seen.list(), at, nil
}

// roll reads the keys of all gateways.
func (s *Store) roll(ctx context.Context) (*roll, position, error) {
	resp, err := s.get(ctx, "read the gateways", s.keys.fleet(), clientv3.WithPrefix())
	if err != nil {
		return nil, position{}, err
	}
	seen := &roll{keys: s.keys, entries: map[string]*entry{}}
	for _, kv := range resp.Kvs {
		seen.set(kv, true)
	}
	old, err := s.get(ctx, "read the gateways", s.keys.oldStatuses(), clientv3.WithPrefix())
	if errors.Is(err, ErrRefused) {
		seen.noOld = true
		return seen, positionOf(resp.Header), nil
	}
	if err != nil {
		return nil, position{}, err
	}
	for _, kv := range old.Kvs {
		seen.set(kv, true)
	}
	return seen, positionOf(resp.Header), nil
}

// roll puts gateways together from their keys. One that was updated has keys of the last
// version too, and one that was put back to the last version those of this one: what is
// online counts, else what was heard of last.
type roll struct {
	keys    keyspace
	entries map[string]*entry
	noOld   bool // the last version's keys are out of reach
}

// entry is what one gateway's keys say: this version's, and the last one's.
type entry struct {
	now, old side
}

// side is a gateway by the keys of one version.
type side struct {
	Gateway
	known bool  // there is a status
	err   error // why it can't be read
}

// set notes what a key says, or that it is gone, and returns which gateway's it is and
// what kind.
func (r *roll) set(kv *mvccpb.KeyValue, is bool) (name, kind string) {
	name, kind, old := r.keys.parseStatusKey(string(kv.Key))
	e := r.entries[name]
	if e == nil {
		e = &entry{}
		r.entries[name] = e
	}
	g := &e.now
	if old {
		g = &e.old
	}
	switch {
	case kind == kindStatus && is:
		g.Status, g.err = parseStatus(name, kv.Value)
		g.known = true
		if g.err != nil {
			g.Error = g.err.Error()
		}
	case kind == kindStatus:
		g.Status, g.err, g.known = Status{Gateway: name}, nil, false
	case kind == kindAlive:
		g.Gateway.Gateway, g.Online = name, is
	}
	if !e.now.known && !e.now.Online && !e.old.known && !e.old.Online {
		delete(r.entries, name)
	}
	return name, kind
}

// get returns the gateway as it is now, and whether there is such a one.
func (r *roll) get(name string) (side, bool) {
	e := r.entries[name]
	if e == nil {
		return side{Gateway: Gateway{Status: Status{Gateway: name}}}, false
	}
	now, old := e.now, e.old
	newer := old.known && (!now.known || old.Seen.After(now.Seen))
	if now.Online != old.Online {
		newer = old.Online
	}
	if newer {
		now = old
	}
	now.Gateway.Gateway = name
	return now, true
}

// list returns all gateways by name.
func (r *roll) list() []Gateway {
	out := make([]Gateway, 0, len(r.entries))
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		g, _ := r.get(name)
		out = append(out, g.Gateway)
	}
	return out
}

// Retry asks a gateway to try the commit in force again, whatever came of it
// before. One that is offline does so when it is back.
func (s *Store) Retry(ctx context.Context, gateway string) error {
	asked := false
	for _, at := range []struct{ status, retry string }{
		{s.keys.status(gateway), s.keys.retry(gateway)}, {s.keys.oldStatus(gateway), s.keys.oldRetry(gateway)},
	} {
		resp, err := s.commit(ctx, "retry", txn{
			compare: []clientv3.Cmp{present(at.status)},
			then:    []clientv3.Op{clientv3.OpPut(at.retry, s.cfg.Now().UTC().Format(time.RFC3339))},
		})
		if asked && errors.Is(err, ErrRefused) { // the last version's keys are out of reach
			break
		}
		if err != nil {
			return err
		}
		asked = asked || resp.Succeeded
	}
	if !asked {
		return unknownGateway(gateway)
	}
	return nil
}

// Forget removes a gateway that is gone for good, and frees its gateway_id.
func (s *Store) Forget(ctx context.Context, gateway string) error {
	now := s.keys.own(gateway)
	old := []string{s.keys.oldStatus(gateway), s.keys.oldAlive(gateway), s.keys.oldRetry(gateway)}
	known, err := s.forget(ctx, gateway, s.keys.alive(gateway), now)
	if err != nil {
		return err
	}
	wasOld, err := s.forget(ctx, gateway, s.keys.oldAlive(gateway), old)
	if err != nil && !errors.Is(err, ErrRefused) {
		return err
	}
	if !known && !wasOld {
		return unknownGateway(gateway)
	}
	return nil
}

// forget removes a gateway's keys of one version, and reports whether there were any.
func (s *Store) forget(ctx context.Context, gateway, alive string, keys []string) (bool, error) {
	t := txn{compare: []clientv3.Cmp{absent(alive)}}
	for _, key := range keys {
		t.then = append(t.then, clientv3.OpDelete(key))
	}
	resp, err := s.commit(ctx, "forget", t)
	if err != nil {
		return false, err
	}
	if !resp.Succeeded {
		return false, fmt.Errorf("gateway %q is running; stop it first (it would register again)", gateway)
	}
	return resp.Responses[0].GetResponseDeleteRange().Deleted > 0, nil
}

func unknownGateway(gateway string) error {
	return fmt.Errorf("no gateway %q ever registered; edge-cfg status lists them", gateway)
}

// presence is what a gateway's alive key says: who holds it.
type presence struct {
	Instance string `json:"instance"`
	Boot     string `json:"boot"` // of the machine: a process of the same boot is the same machine's
	Host     string `json:"host,omitempty"`
}

// errTaken: the alive key is another's, or gone.
var errTaken = errors.New("this gateway's registration is not its own any more")

// errWait: the same instance, on another boot, still has a lease.
var errWait = errors.New("the registration of the run before has not ended yet")

// register claims the gateway_id for an instance: durably with the status record,
// and for as long as the lease lives with the alive key. errWait means to try again
// until the lease of an earlier run is over.
func (s *Store) register(ctx context.Context, me presence, st Status, ttl time.Duration) (clientv3.LeaseID, error) {
	statusKey, aliveKey := s.keys.status(st.Gateway), s.keys.alive(st.Gateway)
	seen, err := s.commit(ctx, "register", txn{then: []clientv3.Op{clientv3.OpGet(statusKey), clientv3.OpGet(aliveKey)}})
	if err != nil {
		return 0, err
	}
	statusRev, aliveRev, err := s.checkClaim(seen, me, st.Gateway)
	if err == nil {
		err = s.checkOldClaim(ctx, me, st.Gateway)
	}
	if err != nil {
		return 0, err
	}
	l, err := s.etcd.Grant(ctx, int64(max(1, ttl/time.Second)))
	if err != nil {
		return 0, s.classify("register", err)
	}
	aliveValue, err := json.Marshal(me)
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	statusValue, err := json.Marshal(st)
	if err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	resp, err := s.etcd.Txn(ctx).
		If(modifiedAt(statusKey, statusRev), modifiedAt(aliveKey, aliveRev)).
		Then(clientv3.OpPut(statusKey, string(statusValue)), clientv3.OpPut(aliveKey, string(aliveValue), clientv3.WithLease(l.ID))).
		Commit()
	if err != nil {
		return 0, s.classify("register", err)
	}
	if !resp.Succeeded {
		return 0, errWait // somebody else is registering; look again
	}
	return l.ID, nil
}

// checkClaim holds the registration that is there against me. It returns the
// revisions of both keys.
func (s *Store) checkClaim(seen *clientv3.TxnResponse, me presence, gateway string) (statusRev, aliveRev int64, err error) {
	var held presence
	own := s.cfg.Own
	alive := seen.Responses[1].GetResponseRange().Kvs
	if len(alive) > 0 {
		aliveRev = alive[0].ModRevision
		_ = json.Unmarshal(alive[0].Value, &held) // noise is nobody's registration
	}
	if kvs := seen.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		statusRev = kvs[0].ModRevision
		st, err := parseStatus(gateway, kvs[0].Value)
		if errors.Is(err, ErrFormat) {
			return 0, 0, err
		}
		if st.Instance != "" && st.Instance != me.Instance && !own {
			return 0, 0, &ClaimedError{Gateway: gateway, Instance: st.Instance, Host: st.Host, Alive: len(alive) > 0}
		}
	}
	switch {
	case len(alive) == 0 || held == (presence{}) || own:
		return statusRev, aliveRev, nil
	case held.Instance != me.Instance:
		return 0, 0, &ClaimedError{Gateway: gateway, Instance: held.Instance, Host: held.Host, Alive: true}
	case held.Boot != me.Boot:
		return 0, 0, fmt.Errorf("%w: %w", errWait, &ClaimedError{Gateway: gateway, Instance: held.Instance, Host: held.Host, Alive: true})
	}
	return statusRev, aliveRev, nil
}

// checkOldClaim holds the registration of the last version against me. It stays in the
// store, so that a copy of the gateway that still runs that version is refused, and is out
// of reach for a role that ends at this version's keys.
func (s *Store) checkOldClaim(ctx context.Context, me presence, gateway string) error {
	seen, err := s.commit(ctx, "register", txn{then: []clientv3.Op{
		clientv3.OpGet(s.keys.oldStatus(gateway)), clientv3.OpGet(s.keys.oldAlive(gateway)),
	}})
	if errors.Is(err, ErrRefused) {
		return nil
	}
	if err == nil {
		_, _, err = s.checkClaim(seen, me, gateway)
	}
	return err
}

// putStatus writes the record while the registration under lease holds.
func (s *Store) putStatus(ctx context.Context, lease clientv3.LeaseID, st Status) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	resp, err := s.commit(ctx, "write the status", txn{
		compare: []clientv3.Cmp{clientv3.Compare(clientv3.LeaseValue(s.keys.alive(st.Gateway)), "=", lease)},
		then:    []clientv3.Op{clientv3.OpPut(s.keys.status(st.Gateway), string(b))},
	})
	if err == nil && !resp.Succeeded {
		err = errTaken
	}
	return err
}

// takeRetry reports whether a retry was asked for, and takes the request away.
func (s *Store) takeRetry(ctx context.Context, gateway string) (bool, error) {
	key := s.keys.retry(gateway)
	resp, err := s.commit(ctx, "take the retry", txn{
		compare: []clientv3.Cmp{present(key)},
		then:    []clientv3.Op{clientv3.OpDelete(key)},
	})
	return err == nil && resp.Succeeded, err
}
