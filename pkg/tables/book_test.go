package tables

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"
)

// A spreadsheet file has the same columns as a CSV file; its numbers have decimal points
// whatever the program shows, and only its first sheet is read.
func TestBook(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="a" Target="s1.xml"/><Relationship Id="b" Target="s2.xml"/></Relationships>`,
		"xl/workbook.xml":            `<workbook><sheets><sheet name="points" id="a"/><sheet name="notes" id="b"/></sheets></workbook>`,
		"xl/s1.xml": `<worksheet><sheetData><row r="1"><c t="inlineStr"><is><t>tag</t></is></c><c t="inlineStr"><is><t>addr</t></is></c><c t="inlineStr"><is><t>datatype</t></is></c><c t="inlineStr"><is><t>deadband</t></is></c></row>
<row r="3"><c r="A3" t="inlineStr"><is><t>a</t></is></c><c r="B3"><v>40001</v></c><c r="C3" t="inlineStr"><is><t>uint16</t></is></c><c r="D3"><v>0.10000000000000001</v></c></row></sheetData></worksheet>`,
		"xl/s2.xml": `<worksheet><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>`,
	} {
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
	s, note, err := ReadSheet(b.Bytes(), SheetOptions{})
	if err != nil || note != "" {
		t.Fatal(note, err)
	}
	v := &Variables{items: map[string][]byte{}, seen: map[string]bool{}}
	if err := v.Import(s, "d"); err != nil || v.Added != 1 {
		t.Fatal(v.Added, err)
	}
	const want = `{"access":"R","address":{"addr":40001,"type":"holding"},"datatype":"uint16","deadband":0.1,"driver_id":"d","tag":"a"}`
	if got := string(v.items["a"]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
