package tables

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// plantDoc makes a document of one table.
func plantDoc(t *testing.T, table config.Table, items ...config.Item) *config.Document {
	t.Helper()
	doc, err := config.NewDocument(map[config.Table][]config.Item{table: items})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// a side of a merge changes its document at random: fields of items, and now and then
// which items there are.
func randomEdit(t *testing.T, rnd *rand.Rand, doc *config.Document) *config.Document {
	t.Helper()
	for range rnd.IntN(4) + 2 {
		ids := doc.IDs(config.Variables)
		id := ids[rnd.IntN(len(ids))]
		raw, _ := doc.Get(config.Variables, id)
		item, err := config.Item{ID: id, JSON: raw}.Tree()
		if err != nil {
			t.Fatal(err)
		}
		switch rnd.IntN(8) {
		case 0:
			id = fmt.Sprintf("new.tag%d", rnd.IntN(4))
			item["tag"] = id
		case 1:
			config.SetAt(item, []string{"address", "addr"}, rnd.IntN(3)+40001)
		case 2:
			delete(item, "unit")
		case 3:
			item["unit"] = []string{"bar", "°C", "m3 # h"}[rnd.IntN(3)]
		case 4:
			item["scale"] = fmt.Sprintf("value / %d", rnd.IntN(3)+2)
		case 5:
			item["deadband"] = float64(rnd.IntN(3)+1) / 4
		case 6:
			delete(item, "deadband")
		case 7:
			if len(ids) > 3 {
				items := slices.DeleteFunc(slices.Clone(doc.Items(config.Variables)), func(it config.Item) bool { return it.ID == id })
				doc = plantDoc(t, config.Variables, items...)
				continue
			}
		}
		if doc, err = replaceItem(doc, config.Variables, id, item); err != nil {
			t.Fatal(err)
		}
	}
	return doc
}

// fieldsOf flattens the items of a table: an address is one value.
func fieldsOf(t *testing.T, doc *config.Document) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	for _, it := range doc.Items(config.Variables) {
		tree, err := it.Tree()
		if err != nil {
			t.Fatal(err)
		}
		out[it.ID] = map[string]string{}
		for k, v := range tree {
			out[it.ID][k] = fmt.Sprint(v)
		}
	}
	return out
}

// expected says field by field what a merge must give, local first, and whether the item
// conflicts. An item that a side lacks is nil.
func expected(base, local, theirs map[string]string) (merged map[string]string, conflict bool) {
	switch {
	case maps.Equal(base, local) && (base == nil) == (local == nil):
		return theirs, false
	case maps.Equal(base, theirs) && (base == nil) == (theirs == nil):
		return local, false
	case local == nil || theirs == nil:
		return local, local != nil || theirs != nil
	}
	merged = map[string]string{}
	keys := slices.Concat(slices.Collect(maps.Keys(base)), slices.Collect(maps.Keys(local)), slices.Collect(maps.Keys(theirs)))
	for _, k := range keys {
		v := local[k]
		if local[k] == base[k] {
			v = theirs[k]
		} else if theirs[k] != base[k] && theirs[k] != local[k] {
			conflict = true
		}
		if v != "" {
			merged[k] = v
		}
	}
	return merged, conflict
}

// TestPullMergesAndKeepsText: a person edits the files while others set fields in the
// store, round after round, each followed by a pull. What comes out is, item by item and
// field by field, what both made; what conflicts is marked, and either side can be taken;
// comments and the order of all lines stay exactly; items stay in their files.
func TestPullMergesAndKeepsText(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "variables.yml"), filepath.Join(dir, "variables", "b.yml")}
	if err := os.Mkdir(filepath.Join(dir, "variables"), 0o755); err != nil {
		t.Fatal(err)
	}
	conflicts, merges := 0, 0
	var base *config.Document
	for round := range 48 {
		if round%8 == 0 {
			for i, path := range files {
				text := commented
				if i == 1 {
					text = strings.ReplaceAll(strings.ReplaceAll(commented, "plant.", "other."), "# ", "# (b) ")
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			base = shelfDoc(t, dir)
			recordBase(t, dir, base)
		}
		theirs := randomEdit(t, rnd, base)
		local := randomEdit(t, rnd, base)
		editHere(t, dir, local)
		before := commentsOf(t, files)
		p := Pull{Dir: dir, Store: "s", Doc: theirs, Label: "rev 12", Base: func(config.Table, string) (*config.Document, error) { return base, nil }}
		done, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkMerge(t, dir, done, base, local, theirs, rnd.IntN(2) == 0)
		if conflicts += len(done.Conflicts); len(done.Conflicts) == 0 {
			merges++
		}
		keepsOrder(t, before, commentsOf(t, files))
		recordBase(t, dir, theirs)
		base = theirs
		if again := shelfDoc(t, dir); rnd.IntN(2) == 0 { // pushed
			base = again
			recordBase(t, dir, base)
		} else if _, err := (&Pull{Dir: dir, Store: "s", Doc: theirs, Force: true}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if conflicts < 15 || merges < 8 {
		t.Errorf("%d conflicts and %d merges without: the edits are too tame", conflicts, merges)
	}
}

func shelfDoc(t *testing.T, dir string) *config.Document {
	t.Helper()
	s, err := openShelf(dir, config.Variables)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.findings().Err(); err != nil {
		t.Fatal(err)
	}
	doc, err := s.doc()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func recordBase(t *testing.T, dir string, doc *config.Document) {
	t.Helper()
	hashes := map[config.Table]string{}
	for _, table := range config.Tables() {
		hashes[table] = doc.TableSHA256(table)
	}
	if err := RecordBase(dir, "s", 1, hashes, config.Tables()); err != nil {
		t.Fatal(err)
	}
}

// editHere writes what a person makes of the files.
func editHere(t *testing.T, dir string, doc *config.Document) {
	t.Helper()
	s, err := openShelf(dir, config.Variables)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := s.texts(doc)
	if err == nil {
		_, err = writeTexts(t.Context(), texts)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// checkMerge holds the files to what they must say, and takes one side of what conflicts.
func checkMerge(t *testing.T, dir string, done *Pulled, base, local, theirs *config.Document, takeTheirs bool) {
	t.Helper()
	for _, c := range done.Conflicts {
		text, err := os.ReadFile(c.File)
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Split(string(text), "\n"); lines[c.Line-1] != "<<<<<<< local" {
			t.Fatalf("%v is not there:\n%s", c, text)
		}
	}
	s, err := openShelf(dir, config.Variables)
	if err != nil {
		t.Fatal(err)
	}
	if (s.findings().Err() != nil) != (len(done.Conflicts) > 0) {
		t.Fatalf("%d conflicts, and the files are %v", len(done.Conflicts), s.findings())
	}
	for _, f := range s.files {
		if err := os.WriteFile(f.path, oneSide(f.text, takeTheirs), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	was, ours, others, got := fieldsOf(t, base), fieldsOf(t, local), fieldsOf(t, theirs), fieldsOf(t, shelfDoc(t, dir))
	marked := map[string]bool{}
	for _, c := range done.Conflicts {
		marked[strings.TrimPrefix(c.Key, "variables/")] = true
	}
	for id := range union(was, ours, others, got) {
		a, b := ours[id], others[id]
		if takeTheirs {
			a, b = b, a
		}
		want, conflict := expected(was[id], a, b)
		if conflict != marked[id] || !maps.Equal(want, got[id]) {
			t.Fatalf("%s: base %v, local %v, theirs %v: conflict %v, marked %v, got %v, want %v", id, was[id], ours[id], others[id], conflict, marked[id], got[id], want)
		}
	}
}

func union(sets ...map[string]map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, set := range sets {
		for id := range set {
			out[id] = true
		}
	}
	return out
}

// commentsOf returns the lines of each file that are nothing but comments.
func commentsOf(t *testing.T, files []string) [][]string {
	t.Helper()
	out := make([][]string, len(files))
	for i, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") && strings.TrimLeft(line, " ") == line { // others are inside an item
				out[i] = append(out[i], line)
			}
		}
	}
	return out
}

func keepsOrder(t *testing.T, before, after [][]string) {
	t.Helper()
	for i := range before {
		if !slices.Equal(before[i], after[i]) {
			t.Fatalf("file %d: comments were\n%q\nand are\n%q", i, before[i], after[i])
		}
	}
}

// TestPullKeepsLineEnds: a file that was written on Windows stays one, marks included.
func TestPullKeepsLineEnds(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "variables.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "\n", "\r\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(commented)
	base := shelfDoc(t, dir)
	recordBase(t, dir, base)
	key, value, err := ParseAssignment("variables/plant.flow", "unit=l")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := key.Assign(base, value)
	if err != nil {
		t.Fatal(err)
	}
	for text, conflicts := range map[string]int{commented: 0, strings.ReplaceAll(commented, `'m3''h'`, "kg"): 1} {
		write(text)
		done, err := (&Pull{Dir: dir, Store: "s", Doc: theirs, Base: func(config.Table, string) (*config.Document, error) { return base, nil }}).Run(t.Context())
		if err != nil || len(done.Conflicts) != conflicts {
			t.Fatalf("%v, %v", done, err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !endsInReturns(got) || !bytes.Contains(got, []byte("unit: l\r\n")) {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// TestPullWithoutABase: what can't be merged is left alone.
func TestPullWithoutABase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "variables.yml")
	if err := os.WriteFile(path, []byte(commented), 0o600); err != nil {
		t.Fatal(err)
	}
	base := shelfDoc(t, dir)
	theirs := plantDoc(t, config.Variables, base.Items(config.Variables)[:2]...)
	p := Pull{Dir: dir, Store: "s", Doc: theirs, Base: func(config.Table, string) (*config.Document, error) { return nil, nil }}
	refused := func(why string) {
		t.Helper()
		var edited *EditedError
		if _, err := p.Run(t.Context()); !errors.As(err, &edited) || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, expected an edited file: %s", err, why)
		}
		if text, err := os.ReadFile(path); err != nil || !bytes.Equal(text, []byte(commented)) {
			t.Errorf("it was written: %v\n%s", err, text)
		}
	}
	refused("it isn't known which release it was made from")
	recordBase(t, dir, plantDoc(t, config.Variables))
	refused("is not kept any more")
	p.Base = func(config.Table, string) (*config.Document, error) { return nil, errors.New("no quorum") }
	if _, err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no quorum") {
		t.Errorf("got %v", err)
	}
}

// TestMarksOfWhatHasNoLines: a table in braces, or an empty one, is marked as a whole.
func TestMarksOfWhatHasNoLines(t *testing.T) {
	item := config.Item{ID: "m1", JSON: []byte(`{"cfg":{"polling":"1s","unit_id":1},"endpoint_id":"plc","kind":"static","proto":"modbus"}`)}
	for _, text := range []string{"{}\n", "{m1: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 3s}}}"} {
		f := parseFile("drivers.yml", []byte(text), config.Drivers)
		theirs := plantDoc(t, config.Drivers, item)
		marked, line, err := markTable(f, config.Drivers, theirs, "rev 3")
		if err != nil {
			t.Fatal(err)
		}
		if line("m1") != 1 || strings.TrimSuffix(string(oneSide(marked, false)), "\n") != strings.TrimSuffix(text, "\n") || !meansTable(oneSide(marked, true), config.Drivers, theirs) {
			t.Errorf("marked:\n%s", marked)
		}
	}
}
