package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// baseFile is where a directory remembers what its tables were in the store when
// they were pulled or pushed last. A push that would undo what others have pushed
// since is a conflict.
const baseFile = ".edge-cfg-base.json"

// base is what is remembered: the state of each table, by its hash, so that a push
// of one table by somebody else doesn't stand in the way of another one.
type base struct {
	Rev    int64                   `json:"rev"`
	Tables map[config.Table]string `json:"tables"`
}

// loadBase returns nil where nothing is recorded yet.
func loadBase(dir string) (*base, error) {
	path := filepath.Join(dir, baseFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the base of the tables: %w", err)
	}
	out := new(base)
	if err := json.Unmarshal(b, out); err != nil {
		return nil, fmt.Errorf("the base of the tables: %s: %w; delete it, then say --base rev=N", path, err)
	}
	return out, nil
}

// recordBase notes that the given tables in dir are those of commit c.
func recordBase(dir string, c center.Commit, tables []config.Table) error {
	b, err := loadBase(dir)
	if err != nil || b == nil {
		b = &base{}
	}
	if b.Tables == nil {
		b.Tables = map[config.Table]string{}
	}
	b.Rev = c.Rev
	for _, t := range tables {
		b.Tables[t] = c.Tables[t]
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("record the base: %w", err)
	}
	return writeFile(filepath.Join(dir, baseFile), append(text, '\n'), 0o644)
}

// check returns a conflict if one of the tables is in the store not as it was at
// the base, and not as it is to become either.
func (b *base) check(head center.Version, doc *config.Document, tables []config.Table) error {
	if b == nil || b.undone(head.Commit) {
		return nil
	}
	for _, t := range tables {
		was, known := b.Tables[t]
		now := head.Document().TableSHA256(t)
		if known && now != was && now != doc.TableSHA256(t) {
			return &center.ConflictError{Base: center.Commit{Rev: b.Rev}, Head: head.Commit}
		}
	}
	return nil
}

// undone reports whether head is nothing but a gateway's rollback of the commit
// that was pushed from here: nobody else's work is in it.
func (b *base) undone(head center.Commit) bool {
	return head.BaseRev == b.Rev && strings.HasPrefix(head.Author.OSUser, gatewayAuthor)
}

// gatewayAuthor begins the name of a commit's author that is a gateway.
const gatewayAuthor = "edge-gw/"

// revFlag reads what --base, --from and --to take.
func revFlag(name, value string) (int64, error) {
	text, _ := strings.CutPrefix(value, "rev=")
	rev, err := number.Int(text, 1, math.MaxInt64)
	if err != nil {
		return 0, cli.Usagef("--%s %s: expected rev=N, a revision that 'edge-cfg log' lists", name, value)
	}
	return rev, nil
}
