package tables

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Variables are those of a variables.yml, about to change.
type Variables struct {
	file  *File // nil: there is none yet
	path  string
	items map[string][]byte // canonical
	seen  map[string]bool   // changed or added

	Added, Changed, Same int // by this change
}

// OpenVariables reads the variables.yml of dir; there may be none yet. If the
// findings have an error, nothing can be changed.
func OpenVariables(dir string) (*Variables, config.Findings, error) {
	path := filepath.Join(dir, config.Variables.FileName())
	v := &Variables{path: path, items: map[string][]byte{}, seen: map[string]bool{}}
	file, err := openFile(path, config.Variables)
	if err != nil || file == nil {
		return v, nil, err
	}
	v.file = file
	for _, it := range file.doc().Items(config.Variables) {
		v.items[it.ID] = it.JSON
	}
	return v, file.findings, nil
}

// Path is where the file is.
func (v *Variables) Path() string { return v.path }

// Save writes the file, whole. What stands in it keeps its text and comments.
func (v *Variables) Save() error {
	items := make([]config.Item, 0, len(v.items))
	for id, raw := range v.items {
		items = append(items, config.Item{ID: id, JSON: raw})
	}
	doc, err := config.NewDocument(map[config.Table][]config.Item{config.Variables: items})
	if err != nil {
		return err
	}
	text, err := tableText(v.file, config.Variables, doc)
	if err != nil {
		return err
	}
	return WriteFile(v.path, text, 0o644)
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
		return errors.New("there is no tag")
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
		if where["node"] == nil && where["db"] == nil { // those say what type it is
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
		return fmt.Errorf("tag %s is there twice", tag)
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
	}
	v.items[tag] = raw
	return nil
}
