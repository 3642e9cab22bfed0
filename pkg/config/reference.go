package config

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Reference is an item's field that names an item of another table.
type Reference struct {
	Table  Table // the one that names
	ID     string
	Field  string
	To     Table
	Target string // the one that is named
}

// String says that nothing has the name.
func (r Reference) String() string {
	return fmt.Sprintf("%s: there is no %s %s", r.Field, r.To.Singular(), r.Target)
}

// Dangling lists the references to what isn't there, by table and id.
func (s *Snapshot) Dangling() []Reference {
	return s.dangling(func(Table) bool { return true })
}

// dangling lists those to the tables that are known.
func (s *Snapshot) dangling(known func(Table) bool) []Reference {
	var out []Reference
	endpoints, drivers := known(Endpoints), known(Drivers)
	for _, id := range slices.Sorted(maps.Keys(s.Drivers)) {
		if !endpoints {
			break
		}
		if target := s.Drivers[id].EndpointID; !hasKey(s.Endpoints, target) {
			out = append(out, Reference{Drivers, id, "endpoint_id", Endpoints, target})
		}
	}
	for i := range s.Variables {
		if !drivers {
			break
		}
		if v := &s.Variables[i]; !hasKey(s.Drivers, v.DriverID) {
			out = append(out, Reference{Variables, v.Tag, "driver_id", Drivers, v.DriverID})
		}
	}
	return out
}

// ids yields the ids of a table.
func (s *Snapshot) ids(t Table) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id := range t.rows().forms(s) {
			if !yield(id) {
				return
			}
		}
	}
}

func hasKey[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}

// References reports what is dangling. The error is a [Findings].
func (s *Snapshot) References() error { return s.ReferencesIn(nil).Err() }

// ReferencesIn is [Snapshot.References] with the places in src; of a table that src has
// badly, nothing is missed.
func (s *Snapshot) ReferencesIn(src *Source) Findings { return referenceFindings(s, src) }

// maxHints bounds the names that others are looked through for: each takes a look at
// every item of a table.
const maxHints = 20

// referenceFindings tells which items name others that don't exist. With a
// source, tables that weren't read are not missed.
func referenceFindings(s *Snapshot, src *Source) Findings {
	var out Findings
	known := make(map[Table][]string)
	hints := make(map[string]string) // thousands of variables may name one driver wrongly
	for _, r := range s.dangling(func(t Table) bool { return src == nil || src.Has(t) }) {
		if src.declares(r.To, r.Target) {
			continue
		}
		hint, ok := hints[r.Field+r.Target]
		if !ok {
			if known[r.To] == nil {
				known[r.To] = src.ids(r.To, s.ids(r.To))
			}
			if len(hints) < maxHints {
				hint = didYouMean(r.Target, known[r.To])
			}
			if hint == "" && len(known[r.To]) == 0 {
				hint = "; " + r.To.FileName() + " is empty"
			}
			hints[r.Field+r.Target] = hint
		}
		f := Finding{Severity: SeverityError, Rule: "reference", Key: keyOf(r.Table, []string{r.ID, r.Field}), Message: r.String() + hint}
		out = append(out, f.At(src.Pos(r.Table, r.ID, r.Field)))
	}
	return out
}
