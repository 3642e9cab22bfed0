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

// Documents and statuses are outside of every prefix: a document is the same
// whoever refers to it.
const (
	backupRoot = "/edge/config/backup/"
	statusRoot = "/edge/status/v1/"
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
	if strings.HasPrefix(p+"/", backupRoot) || strings.HasPrefix(p+"/", statusRoot) || strings.HasPrefix(backupRoot, p+"/") {
		return keyspace{}, fmt.Errorf("prefix %q: %s and %s are kept for documents and statuses", prefix, backupRoot, statusRoot)
	}
	sum := sha256.Sum256([]byte(p))
	return keyspace{prefix: p, hash: hex.EncodeToString(sum[:8])}, nil
}

func (k keyspace) commit() string  { return k.prefix + "/commit" }
func (k keyspace) pending() string { return k.prefix + "/pending" }
func (k keyspace) dirty() string   { return k.prefix + "/dirty" }

func (k keyspace) table(t config.Table) string           { return k.prefix + "/" + string(t) + "/" }
func (k keyspace) item(t config.Table, id string) string { return k.table(t) + id }

func (k keyspace) releases() string          { return k.prefix + "/releases/" }
func (k keyspace) release(n uint64) string   { return fmt.Sprintf("%s%010d", k.releases(), n) }
func (k keyspace) statuses() string          { return statusRoot + k.hash + "/" }
func (k keyspace) status(gw string) string   { return k.statuses() + gw }
func (k keyspace) alive(gw string) string    { return k.statuses() + gw + "/alive" }
func (k keyspace) retry(gw string) string    { return k.statuses() + gw + "/retry" }
func (k keyspace) reference(s string) string { return references(s) + k.hash }

// A document's keys: its description, its chunks, and the prefixes that refer to
// it.
func document(sha string) string     { return backupRoot + sha + "/" }
func header(sha string) string       { return document(sha) + "head" }
func chunk(sha string, n int) string { return fmt.Sprintf("%schunk/%05d", document(sha), n) }
func references(sha string) string   { return document(sha) + "ref/" }

// parseStatusKey splits a key below statuses into the gateway and what follows
// it: "", "alive" or "retry".
func (k keyspace) parseStatusKey(key string) (gateway, kind string) {
	gateway, kind, _ = strings.Cut(strings.TrimPrefix(key, k.statuses()), "/")
	return gateway, kind
}

// parseRelease returns the number of a release's key.
func (k keyspace) parseRelease(key string) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(key, k.releases()), 10, 64)
}
