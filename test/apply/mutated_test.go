package apply

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/test/faults"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestMutatedDocuments pushes EDGE_APPLY_PUSHES good documents (10 by default) in which
// something is changed at random, past all checks, as a broken tool does. The process
// stays, each document is applied or refused with a reason, and the good one runs again
// afterwards, without a frame that is lost.
func TestMutatedDocuments(t *testing.T) {
	t.Parallel()
	pushes := 10
	if text := os.Getenv("EDGE_APPLY_PUSHES"); text != "" {
		var err error
		if pushes, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	row := faults.Open(t, "documents-mutated")
	random := row.Random(t)
	d := newDuel(t, ", verify_timeout: 1500ms", "")
	d.runs(0)
	process, good := d.Proc(), d.old.document()
	goroutines, _ := d.Metric("go_goroutines")
	refused := 0
	for n := range pushes {
		doc, what := mutated(t, random, good)
		if doc.SHA256() == good.SHA256() {
			continue
		}
		row.Fault(1)
		v, err := d.pushAnyhow(doc, what)
		if err != nil {
			t.Fatalf("document %d (%s): %v", n, what, err)
		}
		err = d.settled(v.Commit)
		if not := (*center.NotAppliedError)(nil); errors.As(err, &not) && not.Err == nil && len(not.Failed) == 1 && not.Failed[0].Error != "" {
			refused++
		} else if err != nil {
			t.Fatalf("document %d (%s): %v", n, what, err)
		}
		back := time.Now()
		if v, err = d.pushAnyhow(good, "good again"); err != nil {
			t.Fatalf("after document %d (%s): %v", n, what, err)
		}
		sha := good.SHA256()
		d.status("the good document to run after "+what, func(g center.Gateway) bool {
			return g.Online && g.SHA256 == sha && (g.State == center.Applied || g.State == center.RolledBack)
		})
		row.Recovered(time.Since(back))
		if d.Proc() != process {
			t.Fatalf("document %d (%s): it is another process", n, what)
		}
	}
	t.Logf("%d of %d documents were refused", refused, pushes)
	if refused < pushes/4 {
		t.Errorf("only %d of %d documents were refused: the test shows little", refused, pushes)
	}
	d.forgetValues()
	d.structure(d.old)
	peer.WaitFor(t, 20*time.Second, "goroutines to end", func() bool {
		n, ok := d.Metric("go_goroutines")
		return ok && n <= goroutines+5
	})
	d.account(row)
}

// mutated changes something in one item of doc, or an item as a whole, and says what.
func mutated(t *testing.T, r *rand.Rand, doc *config.Document) (*config.Document, string) {
	t.Helper()
	tables := map[config.Table][]config.Item{}
	for _, name := range config.AllTables() {
		tables[name] = slices.Clone(doc.Items(name))
	}
	name := []config.Table{config.Endpoints, config.Drivers, config.Variables, config.Settings}[r.IntN(4)]
	items := tables[name]
	i := r.IntN(len(items))
	what := string(name) + "/" + items[i].ID
	switch r.IntN(8) {
	case 0:
		tables[name] = slices.Delete(items, i, i+1)
		what += " is removed"
	case 1:
		items[i].ID += "x"
		what += " has another name"
	case 2:
		items[i].JSON = []byte(oddValues[r.IntN(len(oddValues))])
		what += " is " + short(items[i].JSON)
	default:
		tree, err := items[i].Tree()
		if err != nil {
			t.Fatal(err)
		}
		what += " " + mutate(r, tree)
		if items[i].JSON, err = json.Marshal(tree); err != nil {
			t.Fatal(err)
		}
	}
	out, err := config.NewDocument(tables)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return out, what
}

// oddValues are what no field expects.
var oddValues = []string{"null", "true", "-1", "1e308", "18446744073709551616", `""`, `"x"`, `"\u0000"`, `"${env:HOME}"`, "[]", "[[[[1]]]]", "{}",
	`{"a":{"b":null}}`, `"` + strings.Repeat("long", 5000) + `"`, `"999999h"`, `"0s"`, "0.5"}

// mutate changes one field of a tree, at any depth.
func mutate(r *rand.Rand, tree map[string]any) string {
	keys := slices.Sorted(maps.Keys(tree))
	if len(keys) == 0 {
		tree["unknown"] = true
		return "has a field more"
	}
	key := keys[r.IntN(len(keys))]
	if below, ok := tree[key].(map[string]any); ok && r.IntN(4) > 0 {
		return key + ": " + mutate(r, below)
	}
	switch r.IntN(5) {
	case 0:
		delete(tree, key)
		return "has no " + key
	case 1:
		tree[key+"x"] = tree[key]
		delete(tree, key)
		return "has " + key + " under another name"
	}
	value := oddValues[r.IntN(len(oddValues))]
	tree[key] = json.RawMessage(value)
	return key + " is " + short([]byte(value))
}

func short(value []byte) string { return string(value[:min(len(value), 30)]) }
