package tables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// shelf is a table in the files of a directory. An item stays in the file that holds it;
// new ones go to the table's own file (variables.yml).
type shelf struct {
	table config.Table
	home  string // path of the table's own file, which may not be there
	files []*File
}

// openShelf reads the files of a table in dir.
func openShelf(dir string, t config.Table) (*shelf, error) { return openShelfOver(nil, dir, t) }

// openShelfOver is openShelf for a layer over the tables of below.
func openShelfOver(below *config.Document, dir string, t config.Table) (*shelf, error) {
	s := &shelf{table: t, home: filepath.Join(dir, t.FileName())}
	paths, err := config.TableFiles(dir, t)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		f, err := openFile(below, path, t)
		if errors.Is(err, fs.ErrNotExist) { // since it was listed
			continue
		}
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// findings tells what is wrong in the files, items that stand in two of them included.
func (s *shelf) findings() config.Findings {
	var out config.Findings
	for _, f := range s.files {
		out = append(out, f.findings...)
	}
	if len(s.files) == 1 {
		return out
	}
	s.each(func(f *File, it config.Item, first *File) {
		if first == nil {
			return
		}
		var path []string
		if field := s.table.IDField(); field != "" {
			path = []string{field}
		}
		out = append(out, config.Taken(s.table, it.ID, f.src.Pos(s.table, it.ID, path...), first.src.Pos(s.table, it.ID, path...)))
	})
	out.Sort()
	return out
}

// each calls call with every item and the earlier file that has it too, nil if none has.
// It returns which file holds an item.
func (s *shelf) each(call func(f *File, it config.Item, first *File)) map[string]*File {
	owner := make(map[string]*File)
	for _, f := range s.files {
		for _, it := range f.doc().Items(s.table) {
			call(f, it, owner[it.ID])
			if owner[it.ID] == nil {
				owner[it.ID] = f
			}
		}
	}
	return owner
}

// doc returns what the files say together. Of an item that stands twice it is the first.
func (s *shelf) doc() (*config.Document, error) {
	if len(s.files) == 1 {
		return s.files[0].doc(), nil
	}
	var items []config.Item
	s.each(func(_ *File, it config.Item, first *File) {
		if first == nil {
			items = append(items, it)
		}
	})
	return config.NewDocument(map[config.Table][]config.Item{s.table: items})
}

// part is what one file of a shelf is to say.
type part struct {
	file        *File
	doc, theirs *config.Document // theirs is another one where sides conflict
}

// split gives each file its items of doc, and of theirs. Where an item is new, the home
// is one of the files.
func (s *shelf) split(doc, theirs *config.Document) ([]part, error) {
	if len(s.files) == 0 || len(s.files) == 1 && s.files[0].path == s.home {
		home := &File{path: s.home}
		if len(s.files) > 0 {
			home = s.files[0]
		}
		return []part{{home, doc, theirs}}, nil
	}
	owner := s.each(func(*File, config.Item, *File) {})
	files := slices.Clone(s.files)
	if files[0].path != s.home {
		files = slices.Insert(files, 0, &File{path: s.home})
	}
	sides := [2]map[*File][]config.Item{{}, {}}
	for i, d := range []*config.Document{doc, theirs} {
		for _, it := range d.Items(s.table) {
			f := owner[it.ID]
			if f == nil {
				f = files[0]
			}
			sides[i][f] = append(sides[i][f], it)
		}
	}
	var parts []part
	for _, f := range files {
		if f.text == nil && sides[0][f] == nil && sides[1][f] == nil {
			continue // there is no home, and none is needed
		}
		p := part{file: f}
		var err error
		if p.doc, err = config.NewDocument(map[config.Table][]config.Item{s.table: sides[0][f]}); err != nil {
			return nil, err
		}
		if p.theirs = p.doc; doc != theirs {
			if p.theirs, err = config.NewDocument(map[config.Table][]config.Item{s.table: sides[1][f]}); err != nil {
				return nil, err
			}
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// text is a file that is to be written.
type text struct {
	path      string
	text      []byte
	mode      os.FileMode
	conflicts []Conflict // that are marked in it
}

// writeTexts writes files and returns their paths: all of them, or none once ctx ended.
func writeTexts(ctx context.Context, texts []text) ([]string, error) {
	paths := []string{}
	if err := ctx.Err(); err != nil {
		return paths, err
	}
	for _, f := range texts {
		if err := WriteFile(f.path, f.text, f.mode); err != nil {
			return paths, err
		}
		paths = append(paths, f.path)
	}
	return paths, nil
}

// texts returns the files that change where the table is to be that of doc.
func (s *shelf) texts(doc *config.Document) ([]text, error) {
	return s.marked(&merged{local: doc, theirs: doc}, "")
}

// marked returns the files that change where the table is to be what two changes make of
// it. What conflicts is marked; label is what the marks call their side.
func (s *shelf) marked(m *merged, label string) ([]text, error) {
	parts, err := s.split(m.local, m.theirs)
	if err != nil {
		return nil, err
	}
	var texts []text
	for _, p := range parts {
		f, same := p.file, p.doc.SameTable(s.table, p.theirs)
		if f.text != nil && !f.resolved && f.readable() && same && f.doc().SameTable(s.table, p.doc) {
			continue
		}
		now := text{path: f.path, mode: fileMode(p.doc, s.table)}
		returns := endsInReturns(f.text)
		if returns {
			f = parseOver(f.below, f.path, bytes.ReplaceAll(f.text, []byte("\r\n"), []byte("\n")), s.table)
		}
		if now.text, err = tableText(f, s.table, p.doc); err != nil {
			return nil, err
		}
		if !same {
			var line func(id string) int
			if now.text, line, err = markTable(parseOver(f.below, f.path, now.text, s.table), s.table, p.theirs, label); err != nil {
				return nil, err
			}
			now.mode &= fileMode(p.theirs, s.table)
			for _, c := range config.CompareItems(s.table, p.doc.Items(s.table), p.theirs.Items(s.table)) {
				removed := ""
				if c.Old == nil {
					removed = "local"
				} else if c.New == nil {
					removed = "store"
				}
				now.conflicts = append(now.conflicts, Conflict{f.path, line(c.ID), config.Key(s.table, c.ID), m.conflicts[c.ID], removed})
			}
		}
		if returns {
			now.text = bytes.ReplaceAll(now.text, []byte("\n"), []byte("\r\n"))
		}
		texts = append(texts, now)
	}
	return texts, nil
}

// endsInReturns reports whether every line of a text ends as on Windows.
func endsInReturns(text []byte) bool {
	n := bytes.Count(text, []byte("\n"))
	return n > 0 && n == bytes.Count(text, []byte("\r\n"))
}

// File is one table's file, or one of several. Without a text it isn't there yet.
type File struct {
	path     string
	text     []byte
	snap     *config.Snapshot
	src      *config.Source
	findings config.Findings
	below    *config.Document // what it is a layer over, where it is one
	resolved bool             // the text is one side of a conflict that stands in the file
}

// openFile reads a table's file.
func openFile(below *config.Document, path string, t config.Table) (*File, error) {
	text, err := config.ReadTable(path)
	if err != nil {
		return nil, fmt.Errorf("read the tables: %w", err)
	}
	return parseOver(below, path, text, t), nil
}

func parseFile(path string, text []byte, t config.Table) *File { return parseOver(nil, path, text, t) }

// parseOver is parseFile for a layer over the tables of below.
func parseOver(below *config.Document, path string, text []byte, t config.Table) *File {
	f := &File{path: path, text: text, below: below}
	f.snap, f.src, f.findings = config.ReadTextOver(below, t, path, text)
	return f
}

// readable reports whether the file says for sure what its items are.
func (f *File) readable() bool { return f.findings.Err() == nil }

// doc is what the file says.
func (f *File) doc() *config.Document { return f.snap.Document() }
