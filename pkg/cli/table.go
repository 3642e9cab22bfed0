package cli

import (
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

// Color is how a cell is shown on a terminal.
type Color string

// The colours.
const (
	Plain  Color = ""
	Bold   Color = "\x1b[1m"
	Faint  Color = "\x1b[2m"
	Red    Color = "\x1b[31m"
	Green  Color = "\x1b[32m"
	Yellow Color = "\x1b[33m"

	resetColor = "\x1b[0m"
)

// Cell is one cell of a table.
type Cell struct {
	Text  string
	Color Color
	Right bool // aligned right, for numbers
}

// Table collects rows and prints them in columns as wide as they need, cut to
// the terminal's width.
type Table struct {
	header []Cell
	rows   [][]Cell
	kept   []string // names of columns, see Keep
	color  bool
	width  int
}

// Header names the columns. A table without one is a list of names and values.
func (t *Table) Header(names ...string) {
	t.header = nil
	for _, n := range names {
		t.header = append(t.header, Cell{Text: n, Color: Bold})
	}
}

// Keep names the columns that say why: where the terminal has no room for all of
// a row, their texts stand whole below it. The other columns go from the last on, so
// that what matters most comes first.
func (t *Table) Keep(names ...string) { t.kept = names }

// takeKept takes the columns to be kept out of rows, if they are too wide, and
// returns the cells that each row had there.
func (t *Table) takeKept(rows [][]Cell) (cells [][]Cell) {
	total := -columnGap
	for _, w := range naturalWidths(rows) {
		total += w + columnGap
	}
	if t.width == 0 || total <= t.width {
		return nil
	}
	cells = make([][]Cell, len(rows))
	for _, name := range t.kept {
		at := slices.IndexFunc(t.header, func(c Cell) bool { return c.Text == name })
		if at < 0 {
			continue
		}
		for i, row := range rows {
			if at >= len(row) {
				continue
			}
			if c := row[at]; i > 0 && c.Text != "" {
				if len(t.kept) > 1 {
					c.Text = strings.ToLower(name) + ": " + c.Text
				}
				cells[i] = append(cells[i], c)
			}
			rows[i] = slices.Delete(slices.Clone(row), at, at+1)
		}
		t.header = slices.Delete(slices.Clone(t.header), at, at+1)
	}
	return cells
}

// naturalWidths are the widths that the columns of rows would like to have.
func naturalWidths(rows [][]Cell) (widths []int) {
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(Printable(c.Text)))
		}
	}
	return widths
}

// Row adds a row of plain texts.
func (t *Table) Row(texts ...string) {
	cells := make([]Cell, len(texts))
	for i, s := range texts {
		cells[i] = Cell{Text: s}
	}
	t.Cells(cells...)
}

// Cells adds a row.
func (t *Table) Cells(cells ...Cell) { t.rows = append(t.rows, cells) }

// print writes the table.
func (t *Table) print(w io.Writer) error {
	rows := t.rows
	if t.header != nil {
		rows = append([][]Cell{t.alignedHeader()}, rows...)
	}
	kept := t.takeKept(rows)
	widths := t.columnWidths(rows)
	if n := t.fitting(rows, len(widths)); n < len(widths) {
		remark := t.notShown(n)
		for i := range rows {
			rows[i] = rows[i][:min(n, len(rows[i]))]
		}
		widths = t.columnWidths(rows)
		if n > 1 { // with one column, a remark could not be told from a row
			for _, line := range wrapText(remark, t.width) {
				rows = append(rows, []Cell{{Text: line, Color: Faint}})
			}
		}
	}
	if t.header == nil && t.width > 0 {
		rows = wrapped(rows, widths)
	}
	var b strings.Builder
	for i, row := range rows {
		if t.isRemark(rows, row) {
			all := Width(Printable(row[0].Text))
			if t.width > 0 {
				all = min(all, t.width)
			}
			t.writeRow(&b, row, []int{all})
			continue
		}
		t.writeRow(&b, row, widths)
		if i < len(kept) {
			for _, c := range kept[i] {
				t.writeBelow(&b, c)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeBelow writes what was kept of a row on lines of its own.
func (t *Table) writeBelow(b *strings.Builder, c Cell) {
	const indent = 2
	for _, line := range wrapText(Printable(c.Text), max(t.width-indent, 1)) {
		b.WriteString(strings.Repeat(" ", indent))
		t.writeRow(b, []Cell{{Text: line, Color: c.Color}}, []int{max(t.width-indent, 1)})
	}
}

// wrapped continues the last cells of a list's rows on lines of their own where
// they are wider than their column: a sentence says its reason at the end.
func wrapped(rows [][]Cell, widths []int) [][]Cell {
	var out [][]Cell
	for _, row := range rows {
		last := len(row) - 1
		if last < 0 {
			continue
		}
		for i, line := range wrapText(Printable(row[last].Text), widths[last]) {
			cells := make([]Cell, len(row))
			if i == 0 {
				copy(cells, row)
			}
			cells[last] = Cell{Text: line, Color: row[last].Color, Right: row[last].Right}
			out = append(out, cells)
		}
	}
	return out
}

// wrapText breaks s at blanks into lines of at most width columns. A word that is
// wider has a line of its own, to be cut.
func wrapText(s string, width int) []string {
	lines, rest := []string{}, s
	for Width(rest) > width {
		at := 0
		for i, r := range rest {
			if r != ' ' || i == 0 {
				continue
			}
			if at > 0 && Width(rest[:i]) > width {
				break
			}
			at = i
		}
		if at == 0 {
			break
		}
		lines, rest = append(lines, strings.TrimRight(rest[:at], " ")), strings.TrimLeft(rest[at:], " ")
	}
	return append(lines, rest)
}

// fitted breaks the lines of text that have more than width columns; 0: any number. What
// is indented stays as it is: a command, which a person copies.
func fitted(text string, width int) string {
	if width == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, " ") {
			lines[i] = strings.Join(wrapText(line, width), "\n")
		}
	}
	return strings.Join(lines, "\n")
}

// alignedHeader is the header with the alignment of the first row.
func (t *Table) alignedHeader() []Cell {
	head := append([]Cell(nil), t.header...)
	if len(t.rows) > 0 {
		for i := range min(len(head), len(t.rows[0])) {
			head[i].Right = t.rows[0][i].Right
		}
	}
	return head
}

const columnGap = 2

// fitting returns how many of n columns are shown: on a narrow terminal the last
// ones go, so that names stay whole; what is wider than longCell alone does not
// drive them out. A list without a header keeps everything.
func (t *Table) fitting(rows [][]Cell, n int) int {
	if t.width == 0 || t.header == nil {
		return n
	}
	const longCell = 24
	total := -columnGap
	for i := range n {
		w := 0
		for _, row := range rows {
			if i < len(row) && !t.isRemark(rows, row) {
				w = max(w, Width(Printable(row[i].Text)))
			}
		}
		if i > 0 {
			w = min(w, longCell)
		}
		if total += w + columnGap; total > t.width {
			return max(i, 1)
		}
	}
	return n
}

// notShown says which columns a narrow terminal has no room for, from the nth on.
func (t *Table) notShown(n int) string {
	var names []string
	for _, c := range t.header[min(n, len(t.header)):] {
		names = append(names, c.Text)
	}
	return "no room for " + strings.Join(names, ", ") + ": see them with -o wide"
}

// isRemark reports whether row is a sentence below a table: a single cell where
// the header has more. It takes the whole line and widens no column.
func (t *Table) isRemark(rows [][]Cell, row []Cell) bool {
	return t.header != nil && len(row) == 1 && len(rows[0]) > 1
}

// columnWidths measures the columns and takes what is too much for the terminal
// from the widest ones.
func (t *Table) columnWidths(rows [][]Cell) []int {
	var widths []int
	for _, row := range rows {
		if t.isRemark(rows, row) {
			continue
		}
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(Printable(c.Text)))
		}
	}
	const narrowest = 6
	for t.width > 0 {
		total, widest := -columnGap, 0
		for i, w := range widths {
			total += w + columnGap
			if w > widths[widest] {
				widest = i
			}
		}
		if total <= t.width || widths[widest] <= narrowest {
			break
		}
		widths[widest] = max(narrowest, widths[widest]-(total-t.width))
	}
	return widths
}

func (t *Table) writeRow(b *strings.Builder, row []Cell, widths []int) {
	for len(row) > 1 && row[len(row)-1].Text == "" {
		row = row[:len(row)-1] // no blanks at the end of a line
	}
	for i, c := range row {
		text := truncate(Printable(c.Text), widths[i])
		pad := strings.Repeat(" ", widths[i]-Width(text))
		if i > 0 {
			b.WriteString(strings.Repeat(" ", columnGap))
		}
		if c.Right {
			b.WriteString(pad)
		}
		if t.color && c.Color != Plain {
			text = string(c.Color) + text + resetColor
		}
		b.WriteString(text)
		if !c.Right && i < len(row)-1 {
			b.WriteString(pad)
		}
	}
	b.WriteByte('\n')
}

// Printable replaces control characters, so that a text that came from a device
// or a broker cannot command the terminal.
func Printable(s string) string { return visible.Text(s) }

// OneLine puts the lines of an error that names several things behind one another.
func OneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

// truncate cuts s to n columns, an ellipsis showing where.
func truncate(s string, n int) string {
	if Width(s) <= n {
		return s
	}
	used := 1 // the ellipsis
	for i, r := range s {
		if used += runeWidth(r); used > n {
			return s[:i] + "…"
		}
	}
	return s
}

// Pad fills s up to width columns with blanks.
func Pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-Width(s))) }

// Width returns the columns that s takes on a terminal.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// runeWidth returns the columns that r takes: 2 for wide East Asian letters, 0
// for marks that combine with the letter before.
func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
