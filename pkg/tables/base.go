package tables

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// baseFile is where a directory remembers what its tables were in the store when
// they were pulled or pushed last. A push that would undo what others have pushed
// since is a conflict.
const baseFile = ".edge-cfg-base.json"

// Base is what is remembered: the state of each table, by its hash, so that a push
// of one table by somebody else doesn't stand in the way of another one.
type Base struct {
	Rev    int64                   `json:"rev"`
	Tables map[config.Table]string `json:"tables"`
}

// LoadBase returns nil where nothing is recorded yet.
func LoadBase(dir string) (*Base, error) {
	path := filepath.Join(dir, baseFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the base of the tables: %w", err)
	}
	out := new(Base)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("the base of the tables: %s: %w; delete it, then say --base rev=N", path, err)
	}
	return out, nil
}

// RecordBase notes that the given tables in dir are those of the commit at rev, whose
// tables have these hashes.
func RecordBase(dir string, rev int64, hashes map[config.Table]string, tables []config.Table) error {
	b, err := LoadBase(dir)
	if err != nil || b == nil {
		b = &Base{}
	}
	if b.Tables == nil {
		b.Tables = map[config.Table]string{}
	}
	b.Rev = rev
	for _, t := range tables {
		b.Tables[t] = hashes[t]
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("record the base: %w", err)
	}
	return WriteFile(filepath.Join(dir, baseFile), append(text, '\n'), 0o644)
}

// Overtaken reports whether one of the tables is in the store not as it was at the
// base, and not as it is to become either. A nil base knows nothing.
func (b *Base) Overtaken(head, next *config.Document, tables []config.Table) bool {
	if b == nil {
		return false
	}
	for _, t := range tables {
		was, known := b.Tables[t]
		now := head.TableSHA256(t)
		if known && now != was && now != next.TableSHA256(t) {
			return true
		}
	}
	return false
}
