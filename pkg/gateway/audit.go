package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// auditFile of data_dir holds the end of the chain of audit records.
const auditFile = "audit.chain"

// auditChain links audit records: each has a number and the hash of the one before it,
// so that none can be changed, taken out or put in without a trace. Whoever consumes the
// sys.audit frames holds the copy that counts.
type auditChain struct {
	path string

	mu   sync.Mutex
	end  auditEnd
	read bool
}

// auditEnd is the last record of the chain.
type auditEnd struct {
	N    uint64 `json:"n"`
	Hash string `json:"hash"`
}

// seal adds n, prev and hash to a record. An end that can't be read or kept begins a new
// chain, which shows: its first record is number 1 and has no prev.
func (c *auditChain) seal(record map[string]any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.read {
		c.read = true
		if text, err := regular.ReadFile(c.path, 4<<10); err == nil && json.Unmarshal(text, &c.end) != nil {
			c.end = auditEnd{}
		}
	}
	record["n"], record["prev"] = c.end.N+1, c.end.Hash
	hash, err := auditHash(record)
	if err != nil {
		return err
	}
	record["hash"] = hash
	c.end = auditEnd{c.end.N + 1, hash}
	text, err := json.Marshal(c.end)
	if err == nil {
		err = durable.WriteFile(c.path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("the end of the audit's chain is not kept: %w", err)
	}
	return nil
}

// auditHash is the SHA-256 of a record's JSON without hash: keys sorted, no spaces.
func auditHash(record map[string]any) (string, error) {
	plain := make(map[string]any, len(record))
	for k, v := range record {
		if k != "hash" {
			plain[k] = v
		}
	}
	text, err := json.Marshal(plain)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// audit writes what was changed through the admin socket to the log and, as a
// frame, to whoever consumes the data.
func (g *Gateway) audit(r admin.AuditRecord) {
	object := map[string]any{
		"time": r.Time.UTC(), "method": r.Method, "user": r.User, "uid": r.Peer.UID, "request": r.Request, "code": r.Code, "error": r.Error,
	}
	if err := g.chain.seal(object); err != nil {
		g.log.Error("an audit record is not chained", "error", err)
	}
	g.log.Info("audit", "method", r.Method, "user", r.User, "uid", r.Peer.UID, "pid", r.Peer.PID, "request", r.Request, "code", r.Code, "error", r.Error,
		"n", object["n"], "prev", object["prev"], "hash", object["hash"])
	if err := g.bus.PublishSys("sys.audit", object); err != nil {
		g.log.Error("an audit record was not told upstream", "error", err)
	}
}

func newAuditChain(dataDir string) *auditChain {
	return &auditChain{path: filepath.Join(dataDir, auditFile)}
}
