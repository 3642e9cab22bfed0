package tia

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/xlsx"
)

// File is one that was exported. Its data is UTF-8, or a spreadsheet.
type File struct {
	Name string
	Data []byte
}

// Read reads files that belong together: lists of tags, which also have the numbers of
// data blocks, sources of blocks, and those of the types in them.
func Read(files []File, o Options) (Found, error) {
	var f Found
	src := &sources{types: map[string]typ{}, found: &f}
	numbers := map[string]int{}
	for _, file := range files {
		if IsSource(file.Data) {
			src.parse(file.Name, string(file.Data))
			continue
		}
		rows, err := rowsOf(file)
		if err != nil {
			return f, fmt.Errorf("%s: %w", file.Name, err)
		}
		maps.Copy(numbers, f.Symbols(rows))
	}
	for i := range src.blocks {
		if b := &src.blocks[i]; b.number == 0 {
			b.number = numbers[strings.ToUpper(b.name)]
		}
	}
	return f, src.layout(o)
}

// IsSource reports whether a text is the source of blocks or types.
func IsSource(data []byte) bool {
	if xlsx.Is(data) {
		return false
	}
	t := newLexer(string(data[:min(len(data), 64<<10)])).next()
	for _, word := range []string{"DATA_BLOCK", "TYPE", "FUNCTION_BLOCK", "FUNCTION", "ORGANIZATION_BLOCK"} {
		if t.is(word) {
			return true
		}
	}
	return false
}

// rowsOf reads a list of tags: a spreadsheet, or text with separators.
func rowsOf(file File) (rows []Row, err error) {
	if xlsx.Is(file.Data) {
		return sheetRows(file)
	}
	text := string(file.Data)
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = separatorOf(text), -1, true
	for {
		cells, err := r.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		rows = append(rows, Row{file.Name, line, cells})
	}
}

// separatorOf is what the first line has most of.
func separatorOf(text string) rune {
	head, _, _ := strings.Cut(text, "\n")
	best := ','
	for _, c := range []rune{';', '\t'} {
		if strings.Count(head, string(c)) > strings.Count(head, string(best)) {
			best = c
		}
	}
	return best
}

// sheetRows reads the sheets of a spreadsheet that are lists of tags; the others, such as
// that of constants, have none.
func sheetRows(file File) (rows []Row, err error) {
	sheet, list, lists := "", false, 0
	err = xlsx.Read(file.Data, func(r xlsx.Row) error {
		if r.Sheet != sheet {
			sheet, list = r.Sheet, IsHead(r.Cells)
			if list {
				lists++
			}
		}
		if list {
			rows = append(rows, Row{file.Name, r.Line, r.Cells})
		}
		return nil
	})
	if err == nil && lists == 0 {
		err = fmt.Errorf("no sheet has the columns Name, Data Type and Logical Address in its first row")
	}
	return rows, err
}
