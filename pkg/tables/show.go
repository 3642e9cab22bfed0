package tables

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// WriteYAML writes what key names in doc as people write it, without literal secrets.
func WriteYAML(w io.Writer, doc *config.Document, key Key) error {
	out := bufio.NewWriter(w)
	var err error
	switch {
	case key.Table == "":
		for _, t := range shownTables(doc) {
			sep := ":\n"
			if len(doc.Items(t)) == 0 {
				sep = ": "
			}
			if _, err = out.WriteString(string(t) + sep); err == nil {
				err = showTable(out, doc, t, 2)
			}
			if err != nil {
				return err
			}
		}
	case key.ID == "":
		err = showTable(out, doc, key.Table, 0)
	default:
		err = showValue(out, doc, key)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// shownTables lists the tables that are printed of a document: layers only where it has some.
func shownTables(doc *config.Document) []config.Table {
	if doc.Layered() {
		return config.AllTables()
	}
	return config.Tables()
}

func showTable(out *bufio.Writer, doc *config.Document, t config.Table, dent int) error {
	var text bytes.Buffer
	items := doc.Items(t)
	for first := true; first || len(items) > 0; first = false {
		part := items[:min(len(items), batch)]
		items = items[len(part):]
		shown := make([]config.Item, len(part))
		for i, it := range part {
			var err error
			if shown[i], err = shownItem(t, it); err != nil {
				return err
			}
		}
		text.Reset()
		if err := writeTable(&text, t, shown, dent); err != nil {
			return err
		}
		if _, err := out.Write(text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func showValue(out io.Writer, doc *config.Document, key Key) error {
	raw, err := value(doc, key)
	if err != nil {
		return err
	}
	n, err := itemNode(raw)
	if err != nil {
		return err
	}
	return writeYAML(out, n)
}

// WriteJSON writes what key names in doc as JSON, without literal secrets: a table is
// a list of variables, and an object of anything else, as in files.
func WriteJSON(w io.Writer, doc *config.Document, key Key) error {
	out := &jsonWriter{w: bufio.NewWriter(w)}
	switch {
	case key.Table == "":
		out.text("{\n")
		for i, t := range shownTables(doc) {
			if i > 0 {
				out.text(",\n")
			}
			out.text(fmt.Sprintf("  %q: ", string(t)))
			out.table(doc, t, "  ")
		}
		out.text("\n}\n")
	case key.ID == "":
		out.table(doc, key.Table, "")
		out.text("\n")
	default:
		raw, err := value(doc, key)
		if err != nil {
			return err
		}
		out.indented(raw, "")
		out.text("\n")
	}
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

// jsonWriter writes indented JSON piece by piece; the first error stays.
type jsonWriter struct {
	w   *bufio.Writer
	buf bytes.Buffer
	err error
}

func (j *jsonWriter) text(s string) {
	if j.err == nil {
		_, j.err = j.w.WriteString(s)
	}
}

func (j *jsonWriter) indented(raw []byte, prefix string) {
	j.buf.Reset()
	if err := json.Indent(&j.buf, raw, prefix, "  "); err != nil && j.err == nil {
		j.err = err
	}
	if j.err == nil {
		_, j.err = j.w.Write(j.buf.Bytes())
	}
}

func (j *jsonWriter) table(doc *config.Document, t config.Table, prefix string) {
	brackets := "{}"
	if t.IDField() != "" {
		brackets = "[]"
	}
	j.text(brackets[:1])
	for i, it := range doc.Items(t) {
		if i > 0 {
			j.text(",")
		}
		j.text("\n" + prefix + "  ")
		if t.IDField() == "" {
			j.text(fmt.Sprintf("%q: ", it.ID))
		}
		shown, err := shownItem(t, it)
		if err != nil && j.err == nil {
			j.err = err
		}
		j.indented(shown.JSON, prefix+"  ")
		if j.err != nil {
			return
		}
	}
	if len(doc.Items(t)) > 0 {
		j.text("\n" + prefix)
	}
	j.text(brackets[1:])
}

// value returns the item or the field that key names, without literal secrets.
func value(doc *config.Document, key Key) (json.RawMessage, error) {
	raw, ok := doc.Get(key.Table, key.ID)
	if !ok {
		return nil, key.missing(doc.IDs(key.Table))
	}
	it, err := shownItem(key.Table, config.Item{ID: key.ID, JSON: raw})
	if err != nil || key.Field == nil {
		return it.JSON, err
	}
	tree, err := it.Tree()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if v := config.ValueAt(tree, key.Field); v != nil {
		return json.Marshal(v)
	}
	if err := key.checkField(tree); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s is not set", key)
}

// shownItem is an item without literal secrets.
func shownItem(t config.Table, it config.Item) (config.Item, error) {
	if t == config.Variables {
		return it, nil // no secrets there
	}
	tree, err := it.Tree()
	if err != nil {
		return it, fmt.Errorf("%s: %w", config.Key(t, it.ID), err)
	}
	it.JSON, err = json.Marshal(withoutSecrets(t, it.ID, tree))
	return it, err
}
