package xlsx_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/xlsx"
)

// file packs parts as a spreadsheet program does.
func file(t testing.TB, parts map[string]string) []byte {
	t.Helper()
	all := map[string]string{
		"xl/_rels/workbook.xml.rels": `<Relationships xmlns="r"><Relationship Id="rId1" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Target="/xl/worksheets/sheet2.xml"/></Relationships>`,
		"xl/workbook.xml":            `<workbook xmlns:r="r"><sheets><sheet name="PLC Tags" sheetId="1" r:id="rId1"/><sheet name="Constants" sheetId="2" r:id="rId2"/></sheets></workbook>`,
		"xl/worksheets/sheet1.xml":   `<worksheet><sheetData/></worksheet>`,
		"xl/worksheets/sheet2.xml":   `<worksheet><sheetData/></worksheet>`,
	}
	for name, text := range parts {
		if all[name] = text; text == "" {
			delete(all, name)
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range all {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const texts = `<sst><si><t>Name</t></si><si><r><t>Pre</t></r><r><t xml:space="preserve">ss &amp; Co </t></r><rPh sb="0" eb="1"><t>spoken</t></rPh></si><si><t/></si></sst>`

func TestRead(t *testing.T) {
	data := file(t, map[string]string{
		"xl/sharedStrings.xml": texts,
		"xl/worksheets/sheet1.xml": `<worksheet><sheetData>
<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="inlineStr"><is><t>Data</t></is></c><c t="inlineStr"><is><r><t>Ty</t></r><r><t>pe</t></r></is></c></row>
<row r="4"><c r="A4" t="s"><v>1</v></c><c r="B4"><v>12</v></c><c r="AB4" t="b"><v>1</v></c><c t="str"><v>x</v></c></row>
<row><c><v>5</v></c></row><row r="7"><c t="s"><v>2</v></c></row></sheetData></worksheet>`,
		"xl/worksheets/sheet2.xml": `<worksheet><sheetData><row><c t="str"><v>k</v></c></row></sheetData></worksheet>`,
	})
	wide := append([]string{"Press & Co ", "12"}, make([]string, 25)...)
	want := []xlsx.Row{
		{"PLC Tags", 1, []string{"Name", "", "Data", "Type"}},
		{"PLC Tags", 4, append(wide, "TRUE", "x")},
		{"PLC Tags", 5, []string{"5"}},
		{"Constants", 1, []string{"k"}},
	}
	var got []xlsx.Row
	if err := xlsx.Read(data, func(r xlsx.Row) error { got = append(got, r); return nil }); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	enough := errors.New("enough")
	if err := xlsx.Read(data, func(xlsx.Row) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want %v", err, enough)
	}
	if !xlsx.Is(data) || xlsx.Is([]byte("Name;Path")) {
		t.Error("Is")
	}
}

// What is no spreadsheet, is damaged, or is made to fill the memory, is refused.
func TestRefused(t *testing.T) {
	sheet := func(rows string) map[string]string {
		return map[string]string{"xl/worksheets/sheet1.xml": "<worksheet><sheetData>" + rows + "</sheetData></worksheet>", "xl/sharedStrings.xml": texts}
	}
	for name, parts := range map[string]map[string]string{
		"no book":             {"xl/workbook.xml": ""},
		"no list of parts":    {"xl/_rels/workbook.xml.rels": ""},
		"one part for sheets": {"xl/workbook.xml": strings.Repeat(`<sheet name="x" id="rId1"/>`, 2)},
		"no sheet":            {"xl/worksheets/sheet2.xml": ""},
		"half a sheet":        {"xl/worksheets/sheet1.xml": "<worksheet><sheetData><row><c>"},
		"half a text":         {"xl/sharedStrings.xml": "<sst><si><t>x"},
		"no such text":        sheet(`<row><c t="s"><v>3</v></c></row>`),
		"a text below zero":   sheet(`<row><c t="s"><v>-1</v></c></row>`),
		"a cell without name": sheet(`<row><c r="12"><v>1</v></c></row>`),
		"cells out of order":  sheet(`<row><c r="C1"><v>1</v></c><c r="A1"><v>1</v></c></row>`),
		"rows out of order":   sheet(`<row r="5"/><row r="5"/>`),
		"a row too far":       sheet(`<row r="2000000"/>`),
		"a column too far":    sheet(`<row><c r="ZZZZZ1"><v>1</v></c></row>`),
		"too many columns":    sheet(`<row><c r="XFE1"><v>1</v></c></row>`),
		"cells without end":   sheet(strings.Repeat(`<row><c r="XFD1"><v>1</v></c></row>`, 400)),
		"an entity":           {"xl/worksheets/sheet1.xml": `<!DOCTYPE x [<!ENTITY e "x">]><worksheet><sheetData><row><c><v>&e;</v></c></row></sheetData></worksheet>`},
	} {
		if err := xlsx.Read(file(t, parts), func(xlsx.Row) error { return nil }); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	for _, data := range []string{"", "PK\x03\x04", "Name;Path"} {
		if err := xlsx.Read([]byte(data), nil); err == nil {
			t.Errorf("%q is read", data)
		}
	}
}

// A file of some kilobytes that unpacks to gigabytes is refused before it does.
func TestBomb(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("xl/_rels/workbook.xml.rels")
	if err != nil {
		t.Fatal(err)
	}
	blank := bytes.Repeat([]byte(" "), 1<<20)
	for range 129 {
		if _, err := w.Write(blank); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := xlsx.Read(b.Bytes(), nil); !errors.Is(err, xlsx.ErrTooLarge) {
		t.Errorf("%v, want %v", err, xlsx.ErrTooLarge)
	}
}

// Somebody who sends a small spreadsheet can't fill the memory of who imports it, or keep
// the processor busy for long.
func TestWhoSendsASpreadsheetFillsNoMemory(t *testing.T) {
	const part, book = "xl/worksheets/sheet1.xml", "xl/workbook.xml"
	for name, parts := range map[string]map[string]string{
		"elements within each other":   {part: strings.Repeat("<a>", 100_000)},
		"a text of runs in each other": {"xl/sharedStrings.xml": "<sst><si>" + strings.Repeat("<r>", 100_000)},
		"a cell of cells in each other": {
			part: "<worksheet><row>" + strings.Repeat("<c>", 100_000)},
		"a tag of many attributes": {part: "<a " + strings.Repeat(`b="" `, 1<<18) + "/>"},
		"a long text":              {"xl/sharedStrings.xml": "<sst><si><t>" + strings.Repeat("x", 2<<20)},
		"a long name of a part's sheet": {
			book: `<workbook><sheet name="` + strings.Repeat("x", 2<<20) + `" id="rId1"/></workbook>`},
		"many relations":  {"xl/_rels/workbook.xml.rels": "<r>" + manyRelations(10_001) + "</r>"},
		"many namespaces": {part: "<r>" + strings.Repeat("<a"+strings.Repeat(` xmlns:a=""`, 1000)+"/>", 1001)},
		"many comments":   {part: "<r>" + strings.Repeat("<!---->", 1_000_001)},
		"runs without text in a cell": {
			part: "<r><row><c><is>" + strings.Repeat("<r"+strings.Repeat(` a=""`, 1000)+"><t/></r>", 1001)},
	} {
		if err := xlsx.Read(file(t, parts), func(xlsx.Row) error { return nil }); !errors.Is(err, xlsx.ErrTooLarge) {
			t.Errorf("%s: %v, want %v", name, err, xlsx.ErrTooLarge)
		}
	}
}

// Programs that write every attribute that there is stay within the bounds.
func TestMarkupThatTextsNeed(t *testing.T) {
	const rows, columns = 6_000, 12
	row := `<row r="%d" spans="1:12" s="1" customFormat="1" ht="15" customHeight="1" x14ac:dyDescent="0.25">` +
		strings.Repeat(`<c s="1" t="inlineStr"><is><r><rPr><b/><sz val="11"/><color theme="1"/></rPr><t xml:space="preserve">x</t></r></is></c>`, columns) + `</row>`
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, row, i+1)
	}
	n := 0
	err := xlsx.Read(file(t, map[string]string{"xl/worksheets/sheet1.xml": `<worksheet xmlns:x14ac="x">` + b.String() + "</worksheet>"}), func(xlsx.Row) error { n++; return nil })
	if err != nil || n != rows {
		t.Errorf("%d rows are read, %v", n, err)
	}
}

func manyRelations(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `<Relationship Id="%d"/>`, i)
	}
	return b.String()
}

// FuzzRead: whatever the sheet and the texts are, a row has lines in order and no panic.
func FuzzRead(f *testing.F) {
	f.Add(`<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c></row></sheetData></worksheet>`, texts)
	f.Add(`<worksheet><sheetData><row><c t="inlineStr"><is><t>x</t></is></c></row></sheetData></worksheet>`, `<sst/>`)
	f.Fuzz(func(t *testing.T, sheet, shared string) {
		last := ""
		line := 0
		_ = xlsx.Read(file(t, map[string]string{"xl/worksheets/sheet1.xml": sheet + " ", "xl/sharedStrings.xml": shared + " "}), func(r xlsx.Row) error {
			if r.Sheet != last {
				last, line = r.Sheet, 0
			}
			if r.Line <= line || len(r.Cells) == 0 {
				t.Error(fmt.Sprint(r, line))
			}
			line = r.Line
			return nil
		})
	})
}
