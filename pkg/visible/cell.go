package visible

import (
	"regexp"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// dangerous matches a text that a spreadsheet may take for a formula and run (CWE-1236),
// with the quotes that keep it from doing so.
var dangerous = regexp.MustCompile(`^'*[=+\-@\t\r]`)

// Cell is a text as a cell of a CSV file has it that no spreadsheet runs: with a quote
// before what could be a formula. [FromCell] is the reverse.
func Cell(text string) string {
	if text != "" && strings.IndexByte("'=+-@\t\r", text[0]) >= 0 && dangerous.MatchString(text) {
		if _, err := number.Float(text); err != nil {
			return "'" + text
		}
	}
	return text
}

// FromCell is the text of a cell.
func FromCell(text string) string {
	if strings.HasPrefix(text, "'") && dangerous.MatchString(text) {
		return text[1:]
	}
	return text
}
