package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Variables are those of a directory's files, about to change.
type Variables struct {
	shelf *shelf
	items map[string][]byte // canonical
	seen  map[string]bool   // changed or added

	Added, Changed, Same int // by this change

	placed []string // changed or added, and not as before
	moved  []string // told of by [Variables.Conflicts]
}

// OpenVariables reads the variables of dir; there may be none yet. If the findings have
// an error, nothing can be changed.
func OpenVariables(dir string) (*Variables, config.Findings, error) {
	s, err := openShelf(dir, config.Variables)
	if err != nil {
		return nil, nil, err
	}
	v := &Variables{shelf: s, items: map[string][]byte{}, seen: map[string]bool{}}
	s.each(func(_ *File, it config.Item, _ *File) { v.items[it.ID] = it.JSON })
	return v, s.findings(), nil
}

// Path is the file that new variables go to.
func (v *Variables) Path() string { return v.shelf.home }

// Save writes the files that change, each whole, and returns them. What stands in them
// keeps its text and comments.
func (v *Variables) Save(ctx context.Context) ([]string, error) {
	items := make([]config.Item, 0, len(v.items))
	for id, raw := range v.items {
		items = append(items, config.Item{ID: id, JSON: raw})
	}
	doc, err := config.NewDocument(map[config.Table][]config.Item{config.Variables: items})
	if err != nil {
		return nil, err
	}
	texts, err := v.shelf.texts(doc)
	if err != nil {
		return nil, err
	}
	return writeTexts(ctx, texts)
}

// Import lays the rows of a spreadsheet over the variables of the same tags, and
// adds the others. driver is for the rows that name none.
func (v *Variables) Import(s *Sheet, driver string) error {
	for i, row := range s.rows {
		if err := v.importRow(s, row, driver); err != nil {
			return fmt.Errorf("line %d: %w", s.lines[i], err)
		}
	}
	return nil
}

func (v *Variables) importRow(s *Sheet, row []string, driver string) error {
	fields := map[string]any{}
	if err := s.variable(row, fields); err != nil {
		return err
	}
	tag, _ := fields["tag"].(string)
	if tag == "" {
		return errors.New("the tag is missing")
	}
	item := map[string]any{}
	if old, ok := v.items[tag]; ok {
		var err error
		if item, err = (config.Item{ID: tag, JSON: old}).Tree(); err != nil {
			return err
		}
	} else {
		item["access"], item["address"] = "R", map[string]any{}
		where, _ := fields["address"].(map[string]any)
		if where["node"] == nil && where["db"] == nil && where["s7"] == nil && where["plugin"] == nil { // those say what type it is
			config.SetAt(item, []string{"address", "type"}, "holding")
		}
	}
	if item["driver_id"] == nil && driver != "" {
		item["driver_id"] = driver
	}
	if err := s.variable(row, item); err != nil {
		return err
	}
	return v.Put(tag, item)
}

// Put adds or replaces a variable.
func (v *Variables) Put(tag string, item map[string]any) error {
	if v.seen[tag] {
		return fmt.Errorf("tag %s occurs twice", tag)
	}
	v.seen[tag] = true
	raw, err := json.Marshal(item)
	if err != nil {
		return err
	}
	if raw, err = config.Variables.Canonical(tag, raw); err != nil {
		return err
	}
	old, ok := v.items[tag]
	switch {
	case !ok:
		v.Added++
	case string(old) == string(raw):
		v.Same++
	default:
		v.Changed++
		if was, is := placeOf(old), placeOf(raw); was != is {
			v.moved = append(v.moved, fmt.Sprintf("tag %s was %s and is now %s", tag, was, is))
		}
	}
	v.items[tag] = raw
	if string(old) != string(raw) {
		v.placed = append(v.placed, tag)
	}
	return nil
}

// place is where a variable's value is.
type place struct {
	Driver  string          `json:"driver_id"`
	Address json.RawMessage `json:"address"`
}

// placeOf returns the place of a canonical variable.
func placeOf(raw []byte) string {
	var p place
	if err := json.Unmarshal(raw, &p); err != nil {
		return "unknown" // it is canonical: it can be read
	}
	return fmt.Sprintf("%s of driver %s", p.Address, p.Driver)
}

// Conflicts says which changes a person should look at: tags that lead to another place
// than before, and places to which another tag leads already.
func (v *Variables) Conflicts() []string {
	out := slices.Sorted(slices.Values(v.moved))
	placed := slices.Sorted(slices.Values(v.placed))
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(v.items)), func(tag string) bool {
		_, new := slices.BinarySearch(placed, tag)
		return new
	})
	at := map[string]string{} // by place: the tag that has it
	for _, tag := range rest {
		at[placeOf(v.items[tag])] = tag
	}
	for _, tag := range placed {
		p := placeOf(v.items[tag])
		if at[p] == "" {
			at[p] = tag
		} else {
			out = append(out, fmt.Sprintf("tag %s is %s, as tag %s is", tag, p, at[p]))
		}
	}
	return out
}
