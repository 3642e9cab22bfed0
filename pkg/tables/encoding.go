package tables

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

// SheetOptions say how to read a spreadsheet where it does not say so itself.
type SheetOptions struct {
	Encoding string // name as the web has it: "windows-1252", "gbk"; "": by the file's mark, or UTF-8
	Decimal  string // "." or ",": the decimal sign of numbers; "": by the separator
}

// candidates are the encodings that spreadsheets write most, whose readings are shown
// when a file doesn't say which one it has.
var candidates = [...]string{"windows-1252", "gbk", "windows-1251", "shift_jis"}

// Decode makes UTF-8 text of a file, and says how it was read if that was not plain UTF-8.
func (o SheetOptions) Decode(raw []byte) (text []byte, note string, err error) {
	marked := bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff"))
	switch {
	case marked && (o.Encoding == "" || strings.HasPrefix(strings.ToLower(o.Encoding), "utf-16")):
		text, err = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Bytes(raw)
		return text, "UTF-16, by its byte order mark", err
	case bytes.HasPrefix(raw, []byte("\ufeff")) && utf8.Valid(raw):
		return raw[len("\ufeff"):], "", nil
	case o.Encoding != "":
		if text, err = readAs(o.Encoding, raw); err != nil {
			return nil, "", err
		}
		return text, fmt.Sprintf("%s; a line of it: %s", o.Encoding, lineAt(text, firstForeign(raw))), nil
	case bytes.IndexByte(raw, 0) >= 0:
		return nil, "", usagef("it is not UTF-8 text: say --encoding utf-16le, or save it as UTF-8")
	case utf8.Valid(raw):
		return raw, "", nil
	}
	at := firstForeign(raw)
	what := "it is not UTF-8, and doesn't say what it is: save it as UTF-8, or say --encoding NAME."
	for _, name := range candidates {
		if as, err := readAs(name, raw); err == nil {
			what += fmt.Sprintf("\n  --encoding %-13s line %d is read as  %s", name, at+1, lineAt(as, at))
		}
	}
	return nil, "", usagef("%s", what)
}

// readAs decodes raw, or says that it isn't of that encoding.
func readAs(name string, raw []byte) ([]byte, error) {
	enc, err := htmlindex.Get(name)
	if err != nil {
		return nil, usagef("--encoding %s: expected a name such as utf-8, windows-1252, gbk, shift_jis, utf-16le", name)
	}
	text, err := enc.NewDecoder().Bytes(raw)
	if err == nil && bytes.ContainsRune(text, utf8.RuneError) {
		err = usagef("it is not %s: there are bytes in it that mean nothing there", name)
	}
	return text, err
}

// firstForeign returns the line, from 0, of the first byte that isn't ASCII.
func firstForeign(raw []byte) int {
	for i, c := range raw {
		if c >= utf8.RuneSelf {
			return bytes.Count(raw[:i], []byte("\n"))
		}
	}
	return 0
}

func lineAt(text []byte, n int) string {
	lines := bytes.SplitN(text, []byte("\n"), n+2)
	line := []rune(strings.TrimRight(string(lines[min(n, len(lines)-1)]), "\r"))
	return string(line[:min(len(line), 80)])
}

// separatorHint reads the line "sep=;" with which a spreadsheet says its separator.
func separatorHint(text []byte) (sep rune, rest []byte) {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	hint := strings.Trim(strings.TrimSpace(string(first)), `"`)
	if value, ok := strings.CutPrefix(strings.ToLower(hint), "sep="); ok && utf8.RuneCountInString(value) == 1 {
		sep, _ = utf8.DecodeRuneInString(value)
		return sep, rest
	}
	if strings.EqualFold(strings.TrimRight(string(first), "\r"), "sep=\t") {
		return '\t', rest
	}
	return 0, text
}

// thousands matches a number that has groups of three digits: which sign is the decimal
// one can't be told from it.
var thousands = regexp.MustCompile(`(^|[^\w.,])\d{1,3}(\.\d{3})+($|[^\w.,])|(^|[^\w.,])\d{1,3}(,\d{3})+($|[^\w.,])`)

// decimal returns a cell with numbers as the tables have them, where the separator of
// the sheet, or a person, says that they have decimal commas.
func (s *Sheet) decimal(column, cell string) (string, error) {
	switch {
	case s.decimalSign == ".":
		return cell, nil
	case s.decimalSign == "," && isNumeric(column):
		return strings.ReplaceAll(strings.ReplaceAll(cell, ".", ""), ",", "."), nil
	case s.comma == ',' && s.decimalSign == "":
		return cell, nil
	}
	if m := thousands.FindString(cell); m != "" && s.decimalSign == "" {
		m = strings.Trim(m, " ")
		return "", usagef("%s: %s can be read in two ways, %s or %s: say --decimal . or --decimal ,", column, m,
			strings.NewReplacer(".", "", ",", "").Replace(m), strings.Replace(m, ",", ".", 1))
	}
	return decimalComma.ReplaceAllString(cell, "$1.$2"), nil
}
