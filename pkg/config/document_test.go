package config

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDocumentIsTheSnapshot: a document decodes to a snapshot of its own hash,
// which encodes to the same document; what a copy is changed to is encoded anew.
func TestDocumentIsTheSnapshot(t *testing.T) {
	s := plant(4, 5)
	doc := s.Document()
	back, err := doc.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	if back.SHA256 != s.SHA256 || back.Document() != doc || !Diff(s, back).Empty() {
		t.Errorf("it came back as %s, expected %s", back.Document().JSON(), doc.JSON())
	}
	if again := back.encode(); again.SHA256() != doc.SHA256() {
		t.Errorf("what was decoded encodes to %s", again.JSON())
	}
	changed := *back
	changed.Endpoints = map[string]Endpoint{"other": {Scheme: "tcp", Host: "h"}}
	if got := changed.Document(); got == doc || len(got.Items(Endpoints)) != 1 || got.Items(Endpoints)[0].ID != "other" {
		t.Errorf("the changed copy has the document %s", got.JSON())
	}
}

// TestEveryTableRefusesWhatItsSchemaRefuses: one bad item per table, told by key.
func TestEveryTableRefusesWhatItsSchemaRefuses(t *testing.T) {
	tables := map[Table][]Item{}
	for _, table := range Tables() {
		tables[table] = []Item{{ID: "bad", JSON: []byte(`{"colour":"red"}`)}}
	}
	tables[Settings][0] = Item{ID: "bus", JSON: []byte(`{"colour":"red"}`)}
	doc, err := NewDocument(tables)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := doc.Snapshot(nil)
	var fs Findings
	if snap != nil || !errors.As(err, &fs) {
		t.Fatalf("got %v, %v", snap, err)
	}
	for _, table := range Tables() {
		if !slices.ContainsFunc(fs, func(f Finding) bool { return len(f.Key) > len(table) && f.Key[:len(table)] == string(table) }) {
			t.Errorf("%s: nothing was found; all: %v", table, fs)
		}
		var one Findings
		if _, err := table.Canonical("bad", []byte(`{"colour":"red"}`)); !errors.As(err, &one) {
			t.Errorf("%s: Canonical says %v", table, err)
		}
	}
}

// TestDeltaLeadsThere: whatever two documents there are, their changes make a delta
// that leads from one to the other, decoding step by step gives what decoding the
// whole gives, and all three views of the difference agree.
func TestDeltaLeadsThere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	old, snap := EmptyDocument(), (*Snapshot)(nil)
	for round := range 60 {
		next := randomSnapshot(rnd).Document()
		list := old.Changes(next)
		delta := NewDelta(list, 1<<20)
		got, err := delta.Apply(old)
		if err != nil || got.SHA256() != next.SHA256() {
			t.Fatalf("round %d: the delta leads to %s, %v", round, got.JSON(), err)
		}
		if snap, err = got.Snapshot(snap); err != nil {
			t.Fatal(err)
		}
		whole, err := next.Snapshot(nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := Diff(snap, whole); !d.Empty() || snap.encode().SHA256() != whole.encode().SHA256() {
			t.Fatalf("round %d: decoded step by step, it differs: %+v", round, d)
		}
		d := old.Diff(next)
		if n := Count(list).Total(); n != d.Len() || n != len(list) {
			t.Fatalf("round %d: %d items differ, the count is %d, the difference %d", round, len(list), n, d.Len())
		}
		if d.Empty() != (old.SHA256() == next.SHA256()) {
			t.Fatalf("round %d: the hash and the difference disagree", round)
		}
		for _, table := range Tables() {
			if d.Table(table).Empty() != (old.TableSHA256(table) == next.TableSHA256(table)) {
				t.Fatalf("round %d: %s: the hash and the difference disagree", round, table)
			}
		}
		old = next
	}
}

// randomSnapshot makes a small configuration whose items others like it have too.
func randomSnapshot(rnd *rand.Rand) *Snapshot {
	s := plant(4, 4)
	maps.DeleteFunc(s.Endpoints, func(string, Endpoint) bool { return rnd.IntN(3) == 0 })
	maps.DeleteFunc(s.Drivers, func(string, Driver) bool { return rnd.IntN(3) == 0 })
	vars := slices.DeleteFunc(s.Variables, func(Variable) bool { return rnd.IntN(3) == 0 })
	for i := range vars {
		vars[i].Unit = fmt.Sprint(rnd.IntN(3))
	}
	return NewSnapshot(s.Endpoints, s.Drivers, vars, map[string]map[string]any{"bus": {"wal_flush_ms": int64(rnd.IntN(3))}})
}

// TestListsAreOneValue: a list that differs is told whole, a mapping by its leaves,
// and no digit of a number is lost.
func TestListsAreOneValue(t *testing.T) {
	item := func(cfg string) *Document {
		doc, err := NewDocument(map[Table][]Item{Drivers: {{ID: "d", JSON: []byte(`{"cfg":` + cfg + `}`)}}})
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	for _, c := range []struct{ old, new, want string }{
		{`{"l":[1,2]}`, `{"l":[1,3]}`, `[{cfg.l [1 2] [1 3]}]`},
		{`{}`, `{"m":{"a":{"b":1}}}`, `[{cfg.m.a.b <nil> 1}]`},
		{`{"m":{"a":1,"b":2}}`, `{"m":3}`, `[{cfg.m map[a:1 b:2] 3}]`},
		{`{"n":18446744073709551615}`, `{"n":18446744073709551614}`, `[{cfg.n 18446744073709551615 18446744073709551614}]`},
	} {
		got := item(c.old).Diff(item(c.new)).Drivers.Changed
		if len(got) != 1 || fmt.Sprint(got[0].Fields) != c.want {
			t.Errorf("%s → %s: got %v, want %s", c.old, c.new, got, c.want)
		}
	}
}
