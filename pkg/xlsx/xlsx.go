// Package xlsx reads the texts in the cells of a spreadsheet file (Office Open XML). It
// knows nothing of formulas, formats or dates: what it is for are lists that other programs
// export as text.
//
// A file may come from anybody, so every size has a bound: a file that unpacks to more is
// refused, not read.
package xlsx

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a file.
const (
	mostUnpacked = 128 << 20 // bytes of all that is read
	mostToken    = 1 << 20   // bytes of one tag, or of one text
	mostDepth    = 64        // elements within each other
	mostParts    = 10_000    // and relations
	mostText     = 64 << 20  // bytes of all shared texts
	mostCells    = 5_000_000
	mostMarkup   = 1_000_000 // tags, attributes, namespaces and comments, and perText more for each text
	perText      = 16        // what a program writes around the text of a cell, generously
	mostColumns  = 16_384    // as the format has it
	mostRows     = 1 << 20
)

// ErrTooLarge means that a file has more in it than is read.
var ErrTooLarge = errors.New("the spreadsheet is too large")

// Row is a row of a sheet. Its cells begin with column A; what is empty is "".
type Row struct {
	Sheet string
	Line  int // as a person counts
	Cells []string
}

// Is reports whether data may be a spreadsheet: it is a zip file.
func Is(data []byte) bool { return bytes.HasPrefix(data, []byte("PK\x03\x04")) }

// book is an open file.
type book struct {
	parts map[string]*zip.File
	texts []string
	cells int
	left  left
}

// left is what may still be read of a file: a small file that unpacks to millions of empty
// tags or of namespaces takes no memory, but it keeps a processor busy for a minute.
type left struct{ bytes, markup int }

// Read hands each row that isn't empty to visit, sheet by sheet in their order. An error of
// visit ends it.
func Read(data []byte, visit func(Row) error) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("it is no spreadsheet (xlsx): %w", err)
	}
	if len(z.File) > mostParts {
		return fmt.Errorf("%w: it has %d parts", ErrTooLarge, len(z.File))
	}
	b := &book{parts: map[string]*zip.File{}, left: left{mostUnpacked, mostMarkup}}
	for _, f := range z.File {
		b.parts[strings.TrimPrefix(f.Name, "/")] = f
	}
	sheets, err := b.sheets()
	if err != nil {
		return err
	}
	if err := b.readTexts(); err != nil {
		return err
	}
	for _, s := range sheets {
		if err := b.rows(s, visit); err != nil {
			return fmt.Errorf("sheet %q: %w", s.name, err)
		}
	}
	return nil
}

// decode calls each with every token of a part.
func (b *book) decode(name string, each func(*xml.Decoder, xml.Token) error) error {
	f := b.parts[name]
	if f == nil {
		return fmt.Errorf("it is no spreadsheet (xlsx): there is no %s in it", name)
	}
	if f.UncompressedSize64 > uint64(max(b.left.bytes, 0)) {
		return fmt.Errorf("%w: %s has %d bytes", ErrTooLarge, name, f.UncompressedSize64)
	}
	in, err := f.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer in.Close() //nolint:errcheck // it was read, or there is another error
	d := newDecoder(in, &b.left)
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = each(d, t)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// newDecoder reads from in as long as left lasts, whatever the archive says. Neither a
// long token nor a deep element takes memory beyond its bound.
func newDecoder(in io.Reader, left *left) *xml.Decoder {
	b := &bounded{in: in, left: left}
	b.inner = xml.NewDecoder(b)
	return xml.NewTokenDecoder(b)
}

type bounded struct {
	in    io.Reader
	left  *left // of the file
	token int   // of the token at hand
	depth int
	inner *xml.Decoder
}

// earn makes room for the markup around a text that was read.
func (l *left) earn(text string) {
	if text != "" {
		l.markup += perText
	}
}

func (b *bounded) Read(p []byte) (int, error) {
	most := min(b.left.bytes, b.token)
	if most <= 0 {
		return 0, ErrTooLarge
	}
	n, err := b.in.Read(p[:min(len(p), most)])
	b.left.bytes -= n
	b.token -= n
	return n, err
}

func (b *bounded) Token() (xml.Token, error) {
	b.token = mostToken
	t, err := b.inner.Token()
	switch t := t.(type) {
	case xml.StartElement:
		b.depth++
		b.left.markup -= 1 + len(t.Attr)
	case xml.EndElement:
		b.depth--
	case xml.CharData:
	default:
		b.left.markup--
	}
	if b.depth > mostDepth {
		return nil, fmt.Errorf("%w: more than %d elements are within each other", ErrTooLarge, mostDepth)
	}
	if b.left.markup < 0 {
		return nil, fmt.Errorf("%w: it has %d tags and attributes more than its texts need; export it as CSV", ErrTooLarge, mostMarkup)
	}
	return t, err
}

// sheet is one of a book, and the part that it is in.
type sheet struct{ name, part string }

// sheets returns those of the book in their order.
func (b *book) sheets() (list []sheet, err error) {
	parts := map[string]string{} // by id
	err = b.decode("xl/_rels/workbook.xml.rels", func(_ *xml.Decoder, t xml.Token) error {
		if e, ok := t.(xml.StartElement); ok && e.Name.Local == "Relationship" {
			target := attribute(e, "Target")
			if !strings.HasPrefix(target, "/") {
				target = path.Join("xl", target)
			}
			if parts[attribute(e, "Id")] = strings.TrimPrefix(target, "/"); len(parts) > mostParts {
				return fmt.Errorf("%w: it has more than %d relations", ErrTooLarge, mostParts)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = b.decode("xl/workbook.xml", func(_ *xml.Decoder, t xml.Token) error {
		if e, ok := t.(xml.StartElement); ok && e.Name.Local == "sheet" {
			part := parts[attribute(e, "id")]
			if b.parts[part] == nil || slices.ContainsFunc(list, func(s sheet) bool { return s.part == part }) {
				return fmt.Errorf("sheet %q is missing, or in the part of another", attribute(e, "name"))
			}
			list = append(list, sheet{attribute(e, "name"), part})
		}
		return nil
	})
	return list, err
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// readTexts reads the texts that cells share. A file may have none.
func (b *book) readTexts() error {
	const name = "xl/sharedStrings.xml"
	if b.parts[name] == nil {
		return nil
	}
	total := 0
	return b.decode(name, func(d *xml.Decoder, t xml.Token) error {
		e, ok := t.(xml.StartElement)
		if !ok || e.Name.Local != "si" {
			return nil
		}
		text, err := textWithin(d)
		if total += len(text) + 16; total > mostText {
			return fmt.Errorf("%w: it has more than %d bytes of text", ErrTooLarge, mostText)
		}
		b.texts = append(b.texts, text)
		b.left.earn(text)
		return err
	})
}

// textWithin returns the text of the runs (t) of an element, up to its end, without what is
// said of how they are spoken.
func textWithin(d *xml.Decoder) (string, error) {
	var text strings.Builder
	for depth, phonetic := 1, 0; depth > 0; {
		t, err := d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			switch {
			case t.Name.Local == "rPh":
				phonetic = depth
			case t.Name.Local == "t" && phonetic == 0:
				var run string
				if err := d.DecodeElement(&run, &t); err != nil {
					return "", err
				}
				depth--
				text.WriteString(run)
			}
		case xml.EndElement:
			if phonetic == depth {
				phonetic = 0
			}
			depth--
		}
	}
	return text.String(), nil
}

// rows hands the rows of a sheet to visit.
func (b *book) rows(s sheet, visit func(Row) error) error {
	row := Row{Sheet: s.name}
	return b.decode(s.part, func(d *xml.Decoder, t xml.Token) error {
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "row":
				line := row.Line + 1
				if text := attribute(t, "r"); text != "" {
					n, err := strconv.Atoi(text)
					if err != nil || n < line || n > mostRows {
						return fmt.Errorf("row %q stands behind row %d", text, row.Line)
					}
					line = n
				}
				row.Line, row.Cells = line, nil
			case "c":
				return b.cell(d, t, &row)
			}
		case xml.EndElement:
			if t.Name.Local == "row" && strings.Join(row.Cells, "") != "" {
				return visit(row)
			}
		}
		return nil
	})
}

// cell reads a cell into its row.
func (b *book) cell(d *xml.Decoder, e xml.StartElement, row *Row) error {
	column := len(row.Cells)
	if at := attribute(e, "r"); at != "" {
		n, err := columnOf(at)
		if err != nil || n < column {
			return fmt.Errorf("line %d: cell %q stands behind column %d", row.Line, at, column)
		}
		column = n
	}
	if b.cells += column + 1 - len(row.Cells); column >= mostColumns || b.cells > mostCells {
		return fmt.Errorf("%w: it has more than %d cells, or more than %d columns", ErrTooLarge, mostCells, mostColumns)
	}
	var c struct {
		Value  string `xml:"v"`
		Inline struct {
			Text string   `xml:"t"`
			Runs []string `xml:"r>t"`
		} `xml:"is"`
	}
	if err := d.DecodeElement(&c, &e); err != nil {
		return err
	}
	text := c.Value
	switch attribute(e, "t") {
	case "s":
		n, err := strconv.Atoi(strings.TrimSpace(c.Value))
		if err != nil || n < 0 || n >= len(b.texts) {
			return fmt.Errorf("line %d: there is no text %q", row.Line, c.Value)
		}
		text = b.texts[n]
	case "inlineStr":
		text = c.Inline.Text + strings.Join(c.Inline.Runs, "")
	case "b":
		text = map[string]string{"0": "FALSE", "1": "TRUE"}[c.Value]
	}
	b.left.earn(text)
	row.Cells = append(append(row.Cells, make([]string, column-len(row.Cells))...), text)
	return nil
}

// columnOf returns the column of a cell such as AB12, from 0.
func columnOf(at string) (int, error) {
	n := 0
	for i := range len(at) {
		c := at[i]
		if c < 'A' || c > 'Z' {
			break
		}
		if n = 26*n + int(c-'A') + 1; n > mostColumns {
			return 0, ErrTooLarge
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("%q is no cell", at)
	}
	return n - 1, nil
}
