package tables

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// baseFile is where a directory remembers what its tables were in each store when they
// were pulled or pushed last. A push that would undo what others have pushed there since
// is a conflict.
const baseFile = ".edge-cfg-base.json"

// Base is what is remembered of one store: the state of each table, by its hash, so that a
// push of one table by somebody else doesn't stand in the way of another one.
type Base struct {
	// Store names the store: its prefix and the id of its first release. A store that is
	// empty has no name, and no base.
	Store  string                  `json:"store,omitempty"`
	Rev    int64                   `json:"rev"`
	Tables map[config.Table]string `json:"tables"`
}

// bases is the content of the file. Before stores had names it was one base.
type bases struct {
	Stores []Base `json:"stores,omitempty"`
	Base
}

func readBases(dir string) (bases, error) {
	path := filepath.Join(dir, baseFile)
	var b bases
	text, err := regular.ReadFile(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, fmt.Errorf("the base of the tables: %w", err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("the base of the tables: %s: %w; delete it, then say --base rev=N", path, err)
	}
	return b, nil
}

// LoadBase returns what is remembered of a store; nil where nothing is.
func LoadBase(dir, store string) (*Base, error) {
	all, err := readBases(dir)
	if err != nil {
		return nil, err
	}
	for _, b := range all.Stores {
		if b.Store == store && store != "" {
			return &b, nil
		}
	}
	if all.Stores == nil && all.Tables != nil {
		return &all.Base, nil
	}
	return nil, nil
}

// RecordBase notes that the given tables in dir are those of the commit at rev in store,
// whose tables have these hashes.
func RecordBase(dir, store string, rev int64, hashes map[config.Table]string, tables []config.Table) error {
	all, err := readBases(dir)
	if err != nil {
		all = bases{}
	}
	i := slices.IndexFunc(all.Stores, func(b Base) bool { return b.Store == store })
	if i < 0 {
		first := Base{Store: store, Tables: map[config.Table]string{}}
		if all.Stores == nil && all.Tables != nil {
			first.Tables = all.Tables
		}
		i = len(all.Stores)
		all.Stores = append(all.Stores, first)
	}
	b := &all.Stores[i]
	b.Rev = rev
	for _, t := range tables {
		b.Tables[t] = hashes[t]
		if hashes[t] == "" { // a layer without items, which a commit leaves out
			b.Tables[t] = config.EmptyDocument().TableSHA256(t)
		}
	}
	text, err := json.MarshalIndent(struct {
		Stores []Base `json:"stores"`
	}{all.Stores}, "", "  ")
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
