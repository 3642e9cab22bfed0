package config

import (
	"bytes"
	"errors"
	"iter"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Source is a set of tables as they were read from files: it knows where things
// stand. A nil Source knows nothing: what came from the config center has no
// place in a file.
type Source struct {
	docs map[Table][]*document // in the order in which they were read
	// origin, of what is rendered, tells where a field comes from.
	origin func(t Table, id string, path []string) Place
}

// Has reports whether the table was read, well or badly.
func (s *Source) Has(t Table) bool { return s != nil && (len(s.docs[t]) > 0 || s.origin != nil) }

// Whole reports whether all files of the table could be read: what it lacks isn't there.
func (s *Source) Whole(t Table) bool {
	return s.Has(t) && !slices.ContainsFunc(s.docs[t], func(d *document) bool { return d.broken })
}

// of returns the file that has an item, the first one where none has.
func (s *Source) of(t Table, id string) *document {
	docs := s.docs[t]
	for _, d := range docs {
		if d.has(id) {
			return d
		}
	}
	return docs[0]
}

// Pos returns where an item's field stands, the place of the item itself if it
// has no such field, and the zero Pos if nothing is known.
func (s *Source) Pos(t Table, id string, path ...string) Pos {
	if !s.Has(t) {
		return Pos{}
	}
	if s.origin != nil {
		from := s.origin(t, id, path)
		if t, id, path = from.Table, from.ID, from.Path; len(s.docs[t]) == 0 {
			return Pos{}
		}
	}
	return s.of(t, id).posOf(t, id, path...)
}

// Span returns which bytes of its file an item's lines are, with the comments that
// follow; false where items could not be read one by one.
func (s *Source) Span(t Table, id string) (start, end int, ok bool) {
	if !s.Has(t) || s.origin != nil {
		return 0, 0, false
	}
	d := s.of(t, id)
	i, known := d.index[id]
	if !known || d.items == nil {
		return 0, 0, false
	}
	return d.skipped + d.items[i].start, d.skipped + d.items[i].end, true
}

// declares reports whether the table has an item of that id, good or bad, or is
// so broken that nobody can tell.
func (s *Source) declares(t Table, id string) bool {
	return s.Has(t) && s.origin == nil && slices.ContainsFunc(s.docs[t], func(d *document) bool { return d.broken || d.has(id) })
}

// ids returns the ids that a table declares, sorted; those given if the source
// doesn't know.
func (s *Source) ids(t Table, good iter.Seq[string]) []string {
	if !s.Has(t) || t == Variables || s.origin != nil {
		return slices.Sorted(good)
	}
	all := map[string]bool{}
	for _, d := range s.docs[t] {
		for id := range d.ids() {
			all[id] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// document is one table's file.
type document struct {
	name    string
	src     []byte
	skipped int        // bytes of the file before src
	broken  bool       // it couldn't be read or is no YAML
	root    *yaml.Node // nil where the items were read one by one
	tree    any

	// The variables table.
	items []span         // where the items are in src
	index map[string]int // first item of a tag
}

// span is an item's part of a file.
type span struct {
	start, end int  // bytes
	line       int  // of start, from 1
	plain      bool // scanItem reads it
}

// ids yields the ids of the file's items, good or bad.
func (d *document) ids() iter.Seq[string] {
	if d.index != nil {
		return maps.Keys(d.index)
	}
	items, _ := d.tree.(map[string]any)
	return maps.Keys(items)
}

func (d *document) has(id string) bool {
	if d.index != nil {
		return hasKey(d.index, id)
	}
	items, _ := d.tree.(map[string]any)
	return hasKey(items, id)
}

// posOf returns the place of an item's field; see [Source.Pos].
func (d *document) posOf(t Table, id string, path ...string) Pos {
	if t == Variables {
		if i, ok := d.index[id]; ok {
			return d.itemPos(i, path, false)
		}
		return Pos{File: d.name}
	}
	return d.pos(append([]string{id}, path...), len(path) == 0)
}

func (d *document) declare(tag string, i int) {
	if _, seen := d.index[tag]; !seen {
		d.index[tag] = i
	}
}

// pos returns the place of path.
func (d *document) pos(path []string, onKey bool) Pos {
	n := place(d.root, path, onKey)
	if n == nil {
		return Pos{File: d.name}
	}
	return Pos{d.name, n.Line, n.Column}
}

// itemPos returns the place of a path inside item i of the variables table. The
// item is read again for it: places are asked for only where something is wrong,
// and a hundred thousand trees of YAML nodes would take half a gigabyte.
func (d *document) itemPos(i int, path []string, onKey bool) Pos {
	if d.items == nil {
		return d.pos(append([]string{strconv.Itoa(i)}, path...), onKey && len(path) > 0)
	}
	s := d.items[i]
	if s.plain {
		return d.plainPos(s, path, onKey)
	}
	root, err := parseYAML(d.name, d.src[s.start:s.end])
	if err != nil || root == nil {
		return Pos{d.name, s.line, 1} // not reached: the item was parsed before
	}
	n := place(root, append([]string{"0"}, path...), onKey && len(path) > 0)
	return Pos{d.name, n.Line + s.line - 1, n.Column}
}

// plainPos is itemPos for an item that scanItem reads.
func (d *document) plainPos(s span, path []string, onKey bool) Pos {
	text := d.src[s.start:s.end]
	dash := leading(text)
	best, depth := dash+2+leading(text[dash+2:]), 0
	scanPlaces(text, func(parent, key string, keyAt, valueAt int) {
		at := valueAt
		switch {
		case depth == 0 && len(path) > 0 && parent == "" && key == path[0]:
			depth = 1
		case depth == 1 && len(path) > 1 && parent == path[0] && key == path[1]:
			depth = 2
		default:
			return
		}
		if onKey && depth == len(path) {
			at = keyAt
		}
		best = at
	})
	before := text[:best]
	line := bytes.LastIndexByte(before, '\n') + 1
	return Pos{d.name, s.line + bytes.Count(before, []byte("\n")), utf8.RuneCount(before[line:]) + 1}
}

// parseTable reads a file's YAML.
func parseTable(t Table, name string, src []byte) (*document, Findings) {
	d := &document{name: name, src: bytes.TrimPrefix(src, []byte("\ufeff"))}
	d.skipped = len(src) - len(d.src)
	if found := conflictMarks(name, src); found != nil {
		d.broken = true
		return d, found
	}
	if t == Variables && d.scanItems() {
		return d, nil
	}
	root, err := parseYAML(name, d.src)
	if err != nil {
		d.broken = true
		var fs Findings
		errors.As(err, &fs)
		return d, fs
	}
	d.root = root
	if root == nil {
		return d, nil
	}
	b := newTreeBuilder(name)
	d.tree = b.build(root, 0, false)
	return d, b.findings
}
