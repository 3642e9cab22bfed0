package tables

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// Pull brings the document of a store to the files of dir, and returns those that it wrote. A file
// that says the same is left alone, and of the others the unchanged items keep their
// text and comments. What was edited since the base was recorded is an [EditedError]
// unless force is set; nothing was written then.
func Pull(dir, store string, doc *config.Document, force bool) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	b, err := LoadBase(dir, store)
	if err != nil {
		return nil, err
	}
	files := map[config.Table]*File{} // to be written; nil: there is none yet
	for _, t := range config.Tables() {
		path := filepath.Join(dir, t.FileName())
		f, err := openFile(path, t)
		switch {
		case err != nil:
			return nil, fmt.Errorf("pull: %w", err)
		case f == nil && t == config.Settings && len(doc.Items(t)) == 0:
		case f == nil:
			files[t] = nil
		case f.readable() && f.doc().TableSHA256(t) == doc.TableSHA256(t):
		case !force && (!f.readable() || b == nil || b.Tables[t] != f.doc().TableSHA256(t)):
			return nil, &EditedError{Path: path, Dir: dir}
		default:
			files[t] = f
		}
	}
	texts := map[config.Table][]byte{} // all of them, before one is written
	for t, f := range files {
		if texts[t], err = tableText(f, t, doc); err != nil {
			return nil, err
		}
	}
	written := []string{}
	for _, t := range config.Tables() {
		if text, ok := texts[t]; ok {
			path := filepath.Join(dir, t.FileName())
			if err := WriteFile(path, text, fileMode(doc, t)); err != nil {
				return nil, err
			}
			written = append(written, path)
		}
	}
	return written, nil
}

// fileMode keeps a file with literal secrets to its owner.
func fileMode(doc *config.Document, t config.Table) os.FileMode {
	if t != config.Variables {
		for _, it := range doc.Items(t) {
			tree, err := it.Tree()
			if err != nil {
				return 0o600
			}
			for _, p := range secretPaths(t, it.ID, tree) {
				if !isReference(config.ValueAt(tree, p)) {
					return 0o600
				}
			}
		}
	}
	return 0o644
}

// schemaURL is where editors find the schema of a table.
func schemaURL(t config.Table) string { return schemas.BaseURL + string(t) + ".schema.json" }
