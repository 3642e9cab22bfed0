package center

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// DefaultPrefix is where the tables are kept unless the configuration says
// otherwise.
const DefaultPrefix = "/edge/config/v1"

// The gateways' own keys are outside of every prefix, so that a role can have the one
// without the other. The last version of edge-gw kept documents and statuses at the old
// roots, where whoever may read one prefix's reads all: they are read, not written.
const (
	fleetRoot     = "/edge/fleet/v1/"
	oldBackupRoot = "/edge/config/backup/"
	oldStatusRoot = "/edge/status/v1/"
)

// keyspace names the keys of one prefix. Every range that is listed or watched
// ends in "/", so that …/v1 never sees …/v10.
type keyspace struct {
	prefix string // without the "/" at its end
	hash   string // of the prefix: names it where a "/" would not do
}

func newKeyspace(prefix string) (keyspace, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	p := strings.TrimSuffix(prefix, "/")
	if !strings.HasPrefix(p, "/") || strings.HasSuffix(p, "/") || strings.Contains(p, "//") {
		return keyspace{}, fmt.Errorf("prefix %q: expected a path such as %s", prefix, DefaultPrefix)
	}
	for _, root := range []string{fleetRoot, oldBackupRoot, oldStatusRoot} {
		if strings.HasPrefix(p+"/", root) || strings.HasPrefix(root, p+"/") {
			return keyspace{}, fmt.Errorf("prefix %q: the keys below %s are the gateways' own", prefix, root)
		}
	}
	sum := sha256.Sum256([]byte(p))
	return keyspace{prefix: p, hash: hex.EncodeToString(sum[:8])}, nil
}

func (k keyspace) commit() string  { return k.prefix + "/commit" }
func (k keyspace) pending() string { return k.prefix + "/pending" }
func (k keyspace) dirty() string   { return k.prefix + "/dirty" }

func (k keyspace) table(t config.Table) string           { return k.prefix + "/" + string(t) + "/" }
func (k keyspace) item(t config.Table, id string) string { return k.table(t) + id }

func (k keyspace) releases() string        { return k.prefix + "/releases/" }
func (k keyspace) release(n uint64) string { return fmt.Sprintf("%s%010d", k.releases(), n) }

// fleet is above what the gateways of the prefix write themselves. Each has keys of its
// own, so that its credential reaches no other's.
func (k keyspace) fleet() string           { return fleetRoot + k.hash + "/" }
func (k keyspace) status(gw string) string { return k.fleet() + "status/" + gw }
func (k keyspace) alive(gw string) string  { return k.fleet() + "alive/" + gw }
func (k keyspace) retry(gw string) string  { return k.fleet() + "retry/" + gw }

// The votes on the rollout in force, of which each gateway casts one.
func (k keyspace) votesOK() string        { return k.fleet() + "ok/" }
func (k keyspace) votesBad() string       { return k.fleet() + "bad/" }
func (k keyspace) ok(gw string) string    { return k.votesOK() + gw }
func (k keyspace) bad(gw string) string   { return k.votesBad() + gw }
func (k keyspace) votes() []string        { return []string{k.votesOK(), k.votesBad()} }
func (k keyspace) own(gw string) []string { return []string{k.status(gw), k.alive(gw), k.retry(gw)} }

// writes lists the keys that gateway gw writes: its own ones, which go with it, and its
// votes. These are counted, so they stay until the next rollout.
func (k keyspace) writes(gw string) []string { return append(k.own(gw), k.ok(gw), k.bad(gw)) }

// rollouts is above what operators say of each rollout.
func (k keyspace) rollouts() string         { return k.prefix + "/rollout/" }
func (k keyspace) rollout(id string) string { return k.rollouts() + id }

// deadline is there until the deadline of a rollout is over, under a lease: no gateway's
// clock decides.
func (k keyspace) deadline(id string) string { return k.rollout(id) + "/deadline" }

// Where the last version keeps the same.
func (k keyspace) oldStatuses() string        { return oldStatusRoot + k.hash + "/" }
func (k keyspace) oldStatus(gw string) string { return k.oldStatuses() + gw }
func (k keyspace) oldAlive(gw string) string  { return k.oldStatuses() + gw + "/alive" }
func (k keyspace) oldRetry(gw string) string  { return k.oldStatuses() + gw + "/retry" }

// sources is above the documents of fleets, which gateways have no right to: they read
// what is rendered for each.
func (k keyspace) sources() string          { return k.prefix + "/sources/" }
func (k keyspace) source(sha string) stored { return stored(k.sources() + sha + "/") }

// records is above what tells each gateway of a fleet what to run.
func (k keyspace) records() string         { return k.prefix + "/for/" }
func (k keyspace) record(gw string) string { return k.records() + gw }

// home is where the document of a commit is stored.
func (k keyspace) home(c Commit) stored {
	if c.Fleet() {
		return k.source(c.SHA256)
	}
	return k.document(c.SHA256)
}

// documents is above what gateways read: the documents of the prefix, and what those of
// a fleet's gateways are made of.
func (k keyspace) documents() string             { return k.prefix + "/docs/" }
func (k keyspace) document(sha string) stored    { return stored(k.documents() + sha + "/") }
func (k keyspace) oldDocument(sha string) stored { return stored(oldBackupRoot + sha + "/") }
func (k keyspace) oldReference(sha string) string {
	return string(k.oldDocument(sha)) + "ref/" + k.hash
}

// stored is what the keys of one document begin with: its header and its chunks.
type stored string

func (d stored) header() string     { return string(d) + "head" }
func (d stored) chunk(n int) string { return fmt.Sprintf("%schunk/%05d", string(d), n) }

// The kinds of a gateway's keys.
const (
	kindStatus = "status"
	kindAlive  = "alive"
)

// parseStatusKey splits a key of the gateways' own into what it says of which gateway,
// and tells whether it is one of the last version's.
func (k keyspace) parseStatusKey(key string) (gateway, kind string, old bool) {
	if rest, ok := strings.CutPrefix(key, k.oldStatuses()); ok {
		gateway, kind, _ = strings.Cut(rest, "/")
		if kind == "" {
			kind = kindStatus
		}
		return gateway, kind, true
	}
	kind, gateway, _ = strings.Cut(strings.TrimPrefix(key, k.fleet()), "/")
	return gateway, kind, false
}

// parseRelease returns the number of a release's key.
func (k keyspace) parseRelease(key string) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(key, k.releases()), 10, 64)
}
