package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Tag is the tag of the frames that carry audit records.
const Tag = "sys.audit"

// Chain links audit records. Its end is kept in a file.
type Chain struct {
	path string

	mu   sync.Mutex
	end  end
	read bool
}

// end is the last record of the chain.
type end struct {
	N    uint64 `json:"n"`
	Hash string `json:"hash"`
}

// NewChain returns the chain whose end is in the file path.
func NewChain(path string) *Chain { return &Chain{path: path} }

// Record adds n, prev and hash to a record, and hands it to publish before the next record
// is sealed: records are published in their order. An end that can't be read or kept begins
// a new chain, which shows: its first record is number 1 and has no prev.
func (c *Chain) Record(record map[string]any, publish func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.seal(record)
	return errors.Join(err, publish())
}

func (c *Chain) seal(record map[string]any) error {
	if !c.read {
		c.read = true
		if text, err := regular.ReadFile(c.path, 4<<10); err == nil && json.Unmarshal(text, &c.end) != nil {
			c.end = end{}
		}
	}
	record["n"], record["prev"] = c.end.N+1, c.end.Hash
	hash, err := hashOf(record)
	if err != nil {
		return fmt.Errorf("an audit record is not chained: %w", err)
	}
	record["hash"] = hash
	c.end = end{c.end.N + 1, hash}
	text, err := json.Marshal(c.end)
	if err == nil {
		err = durable.WriteFile(c.path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("the end of the audit's chain is not kept: %w", err)
	}
	return nil
}

// hashOf is the SHA-256 of a record's JSON without hash: keys sorted, no spaces.
func hashOf(record map[string]any) (string, error) {
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
