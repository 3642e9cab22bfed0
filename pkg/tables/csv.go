package tables

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
	"github.com/edge-gateway/edge-gateway/pkg/xlsx"
)

// columns are the fields of a variable as a spreadsheet has them, in the order of
// an export. Those of the address stand beside the others.
var columns = [...]string{"tag", "driver_id", "access", "type", "addr", "addr2", "len", "bit", "byte", "chars", "node", "index", "s7", "area", "db", "start", "size", "plugin",
	"datatype", "byte_order", "charset", "pad", "scale", "scale_from", "na", "unit", "deadband", "report", "heartbeat", "polling",
	"merge", "block_start", "block_len",
	"verify_type", "verify_addr", "verify_addr2", "verify_len", "verify_bit", "verify_byte", "verify_chars",
	"verify_node", "verify_index", "verify_s7", "verify_area", "verify_db", "verify_start", "verify_size", "verify_plugin"}

// inAddress reports whether a column is a field of the address.
func inAddress(column string) bool {
	return slices.Contains([]string{"type", "addr", "addr2", "len", "bit", "byte", "chars", "node", "index", "s7", "area", "db", "start", "size", "plugin"}, column)
}

// pathOf returns where in a variable a column's field stands.
func pathOf(column string) []string {
	if field, ok := strings.CutPrefix(column, "block_"); ok {
		return []string{"block", field}
	}
	if field, ok := strings.CutPrefix(column, "verify_"); ok {
		return []string{"verify_address", field}
	}
	if inAddress(column) {
		return []string{"address", column}
	}
	return []string{column}
}

// isNumeric reports whether a column holds numbers.
func isNumeric(column string) bool {
	column = strings.TrimPrefix(column, "verify_")
	return slices.Contains([]string{"addr", "addr2", "len", "bit", "chars", "index", "db", "start", "size", "deadband", "block_start", "block_len"}, column)
}

// Sheet is a CSV file as text: its separator is what its header has most of.
type Sheet struct {
	header []string
	rows   [][]string
	lines  []int // where each row begins
	comma  rune

	decimalSign string // of numbers; "": by comma
}

// ReadSheet decodes what spreadsheets write: UTF-8 or UTF-16 by their marks, or what opts
// says; separated by comma, semicolon or tab, or by what its first line says ("sep=;"); or
// the first sheet of a spreadsheet file (xlsx).
// What is doubtful is a [UsageError] that says what to say. The note tells how it was
// read, "" if there is nothing to tell.
func ReadSheet(raw []byte, opts SheetOptions) (s *Sheet, note string, err error) {
	if opts.Decimal != "" && opts.Decimal != "." && opts.Decimal != "," {
		return nil, "", usagef("--decimal %s: expected . or ,", opts.Decimal)
	}
	if xlsx.Is(raw) { // its numbers have decimal points, whatever the program shows
		s = &Sheet{comma: ',', decimalSign: "."}
		return s, "", s.readBook(raw)
	}
	text, note, err := opts.Decode(raw)
	if err != nil {
		return nil, "", err
	}
	s = &Sheet{comma: ',', decimalSign: opts.Decimal}
	hint, text := separatorHint(text)
	head, _, _ := bytes.Cut(text, []byte("\n"))
	for _, c := range []rune{';', '\t'} {
		if bytes.Count(head, []byte(string(c))) > bytes.Count(head, []byte(string(s.comma))) {
			s.comma = c
		}
	}
	if hint != 0 {
		s.comma = hint
	}
	return s, note, s.read(text, hint != 0)
}

// NewSheet makes a sheet of rows that a program has, not a person: numbers have decimal
// points.
func NewSheet(header []string, rows [][]string) (*Sheet, error) {
	s := &Sheet{header: slices.Clone(header), rows: rows, lines: make([]int, len(rows)), comma: ',', decimalSign: "."}
	for i := range s.lines {
		s.lines[i] = i + 2
	}
	return s, s.checkHeader()
}

// readBook reads the first sheet of a spreadsheet file.
func (s *Sheet) readBook(raw []byte) error {
	first := ""
	if err := xlsx.Read(raw, func(r xlsx.Row) error {
		switch {
		case s.header == nil:
			s.header, first = r.Cells, r.Sheet
		case r.Sheet == first:
			s.rows, s.lines = append(s.rows, r.Cells), append(s.lines, r.Line)
		}
		return nil
	}); err != nil {
		return err
	}
	return s.checkHeader()
}

// read reads header and rows; hinted: a line above them is gone.
func (s *Sheet) read(text []byte, hinted bool) error {
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = s.comma, -1, s.comma != '\t'
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if hinted {
			line++
		}
		switch {
		case s.header == nil:
			s.header = row
		case strings.Join(row, "") != "": // spreadsheets leave empty lines at the end
			s.rows, s.lines = append(s.rows, row), append(s.lines, line)
		}
	}
	return s.checkHeader()
}

// checkHeader brings the names to those of columns, and refuses others.
func (s *Sheet) checkHeader() error {
	seen := map[string]bool{}
	for i, name := range s.header {
		name = strings.ToLower(strings.TrimSpace(name))
		name = strings.TrimPrefix(name, "address.")
		s.header[i] = name
		if !slices.Contains(columns[:], name) {
			hint := "known are " + strings.Join(columns[:], ", ")
			if near := config.Nearest(name, columns[:]); near != "" {
				hint = "did you mean " + near + "?"
			}
			return fmt.Errorf("line 1: unknown column %q; %s", name, hint)
		}
		if seen[name] {
			return fmt.Errorf("line 1: the column %s occurs twice", name)
		}
		seen[name] = true
	}
	if !seen["tag"] {
		return fmt.Errorf("line 1: the column tag is missing")
	}
	return nil
}

// variable lays the fields of a row over an item, which may be empty. An empty
// cell says nothing.
func (s *Sheet) variable(row []string, item map[string]any) error {
	for i, cell := range row {
		if cell = strings.TrimSpace(cell); cell == "" || i >= len(s.header) {
			continue
		}
		name := s.header[i]
		value, err := s.value(name, cell)
		if err != nil {
			return err
		}
		config.SetAt(item, pathOf(name), value)
	}
	return nil
}

// decimalComma matches a number as it is written where the comma isn't the
// separator.
var decimalComma = regexp.MustCompile(`\b(\d+),(\d+)\b`)

func (s *Sheet) value(column, cell string) (any, error) {
	if isNumeric(column) || column == "scale" && !strings.Contains(cell, "(") {
		var err error
		if cell, err = s.decimal(column, cell); err != nil {
			return nil, err
		}
	}
	if b, err := strconv.ParseBool(strings.ToLower(cell)); column == "merge" && err == nil && len(cell) > 1 { // spreadsheets write FALSE
		return b, nil
	}
	if column == "na" { // several have blanks between them
		var list []any
		for text := range strings.FieldsSeq(cell) {
			n, err := number.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s: expected numbers with blanks between: %s %w", column, text, err)
			}
			list = append(list, n)
		}
		if len(list) == 1 {
			return list[0], nil
		}
		return list, nil
	}
	if strings.HasSuffix(column, "plugin") && strings.HasPrefix(cell, "{") { // an address with several fields
		if !json.Valid([]byte(cell)) {
			return nil, fmt.Errorf("%s: %.64q is no JSON", column, cell)
		}
		return json.RawMessage(cell), nil
	}
	if !isNumeric(column) {
		return visible.FromCell(cell), nil
	}
	f, err := number.Float(cell)
	if e, ok := errors.AsType[*number.Error](err); ok && e.Kind == number.NoNumber {
		return nil, fmt.Errorf("%s: expected a number, got %q", column, cell)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: expected a number: %w", column, err)
	}
	return json.Number(strconv.FormatFloat(f, 'f', -1, 64)), nil
}

// WriteSheet writes the variables of a document as CSV, with the columns that any of
// them uses.
func WriteSheet(w io.Writer, doc *config.Document) error {
	paths := make([][]string, len(columns))
	for i, column := range columns {
		paths[i] = pathOf(column)
	}
	missing := slices.Clone(paths[1:]) // the tag is there
	if err := eachTree(doc, func(item map[string]any) error {
		missing = slices.DeleteFunc(missing, func(path []string) bool { return cellText(config.ValueAt(item, path)) != "" })
		return nil
	}); err != nil {
		return err
	}
	var used [][]string
	var header []string
	for i, path := range paths {
		if !slices.ContainsFunc(missing, func(m []string) bool { return slices.Equal(m, path) }) {
			used, header = append(used, path), append(header, columns[i])
		}
	}
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	cells := make([]string, len(used))
	if err := eachTree(doc, func(item map[string]any) error {
		for i, path := range used {
			cells[i] = visible.Cell(visible.Text(cellText(config.ValueAt(item, path))))
		}
		return out.Write(cells)
	}); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// eachTree calls each with every variable.
func eachTree(doc *config.Document, each func(map[string]any) error) error {
	for _, it := range doc.Items(config.Variables) {
		item, err := it.Tree()
		if err == nil {
			err = each(item)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", config.Key(config.Variables, it.ID), err)
		}
	}
	return nil
}

// cellText is a value as a cell has it; nothing is empty.
func cellText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any:
		text, err := json.Marshal(v)
		if err != nil {
			return "" // not reached: it came from JSON
		}
		return string(text)
	case []any:
		texts := make([]string, len(v))
		for i, e := range v {
			texts[i] = fmt.Sprint(e)
		}
		return strings.Join(texts, " ")
	}
	return fmt.Sprint(v)
}
