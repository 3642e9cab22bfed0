package main

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// difference is a config.Difference with what it is between. It is of documents,
// not of snapshots: so it shows what this version of the tool can't read, too.
type difference struct {
	*config.Difference
	old, new *center.Document
}

// compare returns what leads from one document to another.
func compare(old, new *center.Document) (*difference, error) {
	d := &difference{&config.Difference{}, old, new}
	for _, t := range config.Tables() {
		td := d.Table(t)
		for _, it := range new.Items(t) {
			was, ok := old.Get(t, it.ID)
			switch {
			case !ok:
				td.Added = append(td.Added, it.ID)
			case !bytes.Equal(was, it.JSON):
				fields, err := compareItems(was, it.JSON)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", config.Key(t, it.ID), err)
				}
				td.Changed = append(td.Changed, config.Change{ID: it.ID, Fields: fields})
			}
		}
		for _, it := range old.Items(t) {
			if _, ok := new.Get(t, it.ID); !ok {
				td.Removed = append(td.Removed, it.ID)
			}
		}
	}
	return d, nil
}

func compareItems(old, new []byte) ([]config.FieldChange, error) {
	was, err := plainTree(old)
	if err != nil {
		return nil, err
	}
	is, err := plainTree(new)
	if err != nil {
		return nil, err
	}
	var out []config.FieldChange
	compareTrees("", was, is, &out)
	return out, nil
}

// compareTrees lists the fields that differ, by path, down to the leaves. Lists are
// compared whole.
func compareTrees(path string, old, new any, out *[]config.FieldChange) {
	was, oldIsMap := old.(map[string]any)
	is, newIsMap := new.(map[string]any)
	if !(oldIsMap && (newIsMap || new == nil) || newIsMap && old == nil) {
		if !reflect.DeepEqual(old, new) {
			*out = append(*out, config.FieldChange{Path: path, Old: old, New: new})
		}
		return
	}
	keys := map[string]bool{}
	for _, m := range []map[string]any{was, is} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		sub := k
		if path != "" {
			sub = path + "." + k
		}
		compareTrees(sub, was[k], is[k], out)
	}
}

// counts counts the changes per table.
func (d *difference) counts() center.Changes {
	out := center.Changes{}
	for _, t := range config.Tables() {
		if td := d.Table(t); !td.Empty() {
			out[t] = center.Counts{Added: len(td.Added), Removed: len(td.Removed), Changed: len(td.Changed)}
		}
	}
	return out
}

// removed counts the items that go.
func (d *difference) removed() int {
	n := 0
	for _, c := range d.counts() {
		n += c.Removed
	}
	return n
}

// hideSecrets replaces the literal secrets in the changed fields.
func (d *difference) hideSecrets() {
	for _, t := range config.Tables() {
		for i, c := range d.Table(t).Changed {
			d.Table(t).Changed[i].Fields = hideSecrets(t, c, itemTree(d.old, t, c.ID), itemTree(d.new, t, c.ID))
		}
	}
}
