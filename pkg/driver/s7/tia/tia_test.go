package tia_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/tia"
)

func files(t testing.TB, names ...string) (list []tia.File) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, tia.File{Name: name, Data: data})
	}
	return list
}

// text writes points for comparison: name, address, type.
func text(points []tia.Point) (out []string) {
	for _, p := range points {
		at := fmt.Sprintf("%s%d", p.Area, p.Byte)
		if p.Area == "DB" {
			at = fmt.Sprintf("DB%d %d", p.DB, p.Byte)
		}
		if p.Bit >= 0 {
			at += fmt.Sprintf(".%d", p.Bit)
		}
		s := fmt.Sprintf("%s %s %s", p.Name, at, p.Type)
		if p.Len > 0 {
			s += fmt.Sprintf("[%d]", p.Len)
		}
		if p.Count > 0 {
			s += fmt.Sprintf(" x%d", p.Count)
		}
		out = append(out, s)
	}
	return out
}

func left(f tia.Found) (out []string) {
	for _, l := range f.Left {
		out = append(out, l.String())
	}
	return out
}

// compare fails for each line that differs.
func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%s %d:\n got %s\nwant %s", what, i, g, w)
		}
	}
}

// The offsets of a block with all that moves them: bits, odd bytes, texts, arrays,
// structures, types, and types in arrays.
func TestBlock(t *testing.T) {
	f, err := tia.Read(files(t, "Press.db", "Motor.udt"), tia.Options{Numbers: map[string]int{"": 7}})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "point", text(f.Points), []string{
		"Press.Start DB7 0.0 BOOL", "Press.Stop DB7 0.1 BOOL", "Press.Mode DB7 1 BYTE", "Press.Ready DB7 2.0 BOOL", "Press.Speed DB7 4 INT", "Press.Small DB7 6 SINT",
		"Press.Pressure DB7 8 REAL", "Press.Öl_Temperatur DB7 12 REAL", "Press.Text DB7 16 STRING[20]", "Press.Short DB7 38 STRING[3]", "Press.Flag DB7 44.0 BOOL",
		"Press.Name DB7 46 WSTRING[10]", "Press.Count DB7 70 UDINT", "Press.Total DB7 74 UDINT", "Press.Cycle DB7 78 LREAL",
		"Press.Flags DB7 86.0 BOOL x10", "Press.Next DB7 88.0 BOOL", "Press.Speeds DB7 90 INT x6", "Press.Raw DB7 102 BYTE x3", "Press.After DB7 106 BYTE",
		"Press.Motor.Run DB7 108.0 BOOL", "Press.Motor.Fault DB7 108.1 BOOL", "Press.Motor.Current DB7 110 REAL", "Press.Motor.Code DB7 114 BYTE",
		"Press.Motors.1.Run DB7 116.0 BOOL", "Press.Motors.1.Fault DB7 116.1 BOOL", "Press.Motors.1.Current DB7 118 REAL", "Press.Motors.1.Code DB7 122 BYTE",
		"Press.Motors.2.Run DB7 124.0 BOOL", "Press.Motors.2.Fault DB7 124.1 BOOL", "Press.Motors.2.Current DB7 126 REAL", "Press.Motors.2.Code DB7 130 BYTE",
		"Press.Pos.X DB7 132 REAL", "Press.Pos.Lamp DB7 136.0 BOOL", "Press.Pos.Deep.Y DB7 138 INT",
		"Press.Since DB7 140 DATE_AND_TIME", "Press.Long DB7 148 DTL", "Press.Delay DB7 160 S5TIME", "Press.Ptr DB7 162 ANY",
		"Press.Names.0 DB7 172 STRING[5]", "Press.Names.1 DB7 180 STRING[5]", "Press.Last DB7 188 CHAR",
	})
	compare(t, "left", left(f), []string{"Press.db:20: Press.Flag: it follows a STRING[3] and is taken to begin at the next even byte, 44; compare that with the offset in TIA Portal"})
	if f, err = tia.Read(files(t, "Press.db", "Motor.udt"), tia.Options{Numbers: map[string]int{"press": 7}, Each: true}); err != nil {
		t.Fatal(err)
	}
	all := text(f.Points)
	for _, want := range []string{"Press.Flags.9 DB7 87.1 BOOL", "Press.Speeds.1.-1 DB7 90 INT", "Press.Speeds.2.1 DB7 100 INT", "Press.Raw.2 DB7 104 BYTE", "Press.After DB7 106 BYTE"} {
		if !slices.Contains(all, want) {
			t.Errorf("one for each element: there is no %s", want)
		}
	}
}

// STEP 7's sources and symbols: numbers of blocks and types, and a block whose number the
// symbols have.
func TestStep7(t *testing.T) {
	f, err := tia.Read(files(t, "old.awl", "symbols.sdf"), tia.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "point", text(f.Points), []string{
		"Not-Aus I0.0 BOOL", "Band_ein Q4.7 BOOL", "Merker_Wort M10 WORD", "Zaehler_3 C3 COUNTER", "Zeit_5 T5 S5TIME",
		"DB10.LEVEL DB10 0 INT", "DB10.PUMP.ON DB10 2.0 BOOL", "DB10.PUMP.HOURS DB10 4 DINT", "DB10.T1 DB10 8 TIME", "DB10.LIST DB10 12 WORD x4",
		"Tank.ON DB12 0.0 BOOL", "Tank.HOURS DB12 2 DINT",
	})
	compare(t, "left", left(f), []string{
		"old.awl:34: FB7: it is a function block; data blocks and types are read",
		"symbols.sdf:2: Temperatur: it is a peripheral address, which is not read over this protocol; the process image has it without P",
		"symbols.sdf:8: Zyklus: it is a block, which has no value",
		"old.awl:29: Drive: its number is not in the source; say it with --db Drive=NUMBER",
	})
}

// workbook makes a spreadsheet as TIA Portal exports PLC tags: a sheet of tags and one of
// constants, all cells text.
func workbook(t testing.TB, head string, rows ...string) []byte {
	t.Helper()
	sheet := func(rows []string) string {
		var b strings.Builder
		b.WriteString(`<worksheet><sheetData>`)
		for _, row := range rows {
			b.WriteString("<row>")
			for cell := range strings.SplitSeq(row, "|") {
				b.WriteString(`<c t="inlineStr"><is><t>`)
				if err := xml.EscapeText(&b, []byte(cell)); err != nil {
					t.Fatal(err)
				}
				b.WriteString(`</t></is></c>`)
			}
			b.WriteString("</row>")
		}
		return b.String() + `</sheetData></worksheet>`
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="rId1" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Target="worksheets/sheet2.xml"/></Relationships>`,
		"xl/workbook.xml":            `<workbook xmlns:r="r"><sheets><sheet name="PLC Tags" r:id="rId1"/><sheet name="Constants" r:id="rId2"/></sheets></workbook>`,
		"xl/worksheets/sheet1.xml":   sheet(append([]string{head}, rows...)),
		"xl/worksheets/sheet2.xml":   sheet([]string{"Name|Path|Data Type|Value|Comment", "MAX|Tags|Int|5|"}),
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
	return b.Bytes()
}

const head = "Name|Path|Data Type|Logical Address|Comment|Hmi Visible|Hmi Accessible|Hmi Writeable|Typeobject ID|Version ID"

// PLC tags as a spreadsheet, with the mnemonics and the types that there are, and with what
// can't be taken.
func TestTags(t *testing.T) {
	rows := []string{
		"Start|Default tag table|Bool|%I0.0|the button|True|True|True||", "Lampe|Tags|Bool|%A1.7||True|True|True||", "Druck|Tags|Real|%MD100|||||||", "Breite|Tags|LReal|%M200.0||||||",
		"Zeichen|Tags|Char|%MB5||||||", "Uhr|Tags|DTL|%M300.0||||||", "Z1|Tags|Counter|%Z1||||||", "T1|Tags|Timer|%T1||||||",
		"Falsch|Tags|Int|%MD4||||||", "NurByte|Tags|Bool|%M4||||||", "Achtes|Tags|Bool|%M4.8||||||", "Motor|Tags|UDT_Motor|%I8.0||||||", "Peri|Tags|Word|%IW64:P||||||",
		"Leer|Tags|Int|||||||", "Krumm|Tags|Int|%M4.3||||||", "Text|Tags|String|%M500.0||||||", "Optim|Tags|Int|\"DB\".x||||||",
	}
	f, err := tia.Read([]tia.File{{Name: "PLCTags.xlsx", Data: workbook(t, head, rows...)}}, tia.Options{})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "point", text(f.Points), []string{
		"Start I0.0 BOOL", "Lampe Q1.7 BOOL", "Druck M100 REAL", "Breite M200 LREAL", "Zeichen M5 CHAR", "Uhr M300 DTL", "Z1 C1 COUNTER", "T1 T1 S5TIME",
	})
	compare(t, "left", left(f), []string{
		"PLCTags.xlsx:10: Falsch: its address %MD4 has another size than a INT",
		"PLCTags.xlsx:11: NurByte: a Bool has a bit behind its byte, such as M0.1",
		"PLCTags.xlsx:12: Achtes: a byte has the bits 0 to 7",
		`PLCTags.xlsx:13: Motor: its type "UDT_MOTOR" is none that a tag of one value has`,
		"PLCTags.xlsx:14: Peri: it is a peripheral address, which is not read over this protocol; the process image has it without P",
		"PLCTags.xlsx:15: Leer: it has no address",
		"PLCTags.xlsx:16: Krumm: a INT begins with a byte, not with a bit",
		`PLCTags.xlsx:17: Text: its type "STRING" is none that a tag of one value has`,
		`PLCTags.xlsx:18: Optim: its address "\"DB\".X" is none that is known`,
	})
	german := "Name;Pfad;Datentyp;Logische Adresse;Kommentar\r\n\"Druck; oben\";Tags;Real;%MD100;\r\n"
	if f, err = tia.Read([]tia.File{{Name: "tags.csv", Data: []byte(german)}}, tia.Options{}); err != nil {
		t.Fatal(err)
	}
	compare(t, "German", append(text(f.Points), left(f)...), []string{"Druck__oben M100 REAL"})
	if _, err := tia.Read([]tia.File{{Name: "x.xlsx", Data: workbook(t, "Name|Value")}}, tia.Options{}); err == nil {
		t.Error("a spreadsheet without a list of tags is read")
	}
}

// What the source leaves open is told, and nothing behind it gets an address.
func TestLeft(t *testing.T) {
	body := func(members string) string {
		return "DATA_BLOCK DB1\nSTRUCT\na : Int;\n" + members + "\nEND_STRUCT;\nBEGIN\nEND_DATA_BLOCK\n"
	}
	for name, tc := range map[string]struct {
		source string
		points int
		left   string // of the first
		more   int    // others that are left
	}{
		"optimized": {"DATA_BLOCK \"P\"\n{S7_Optimized_Access := 'TRUE'}\nSTRUCT\na : Int;\nEND_STRUCT;\nEND_DATA_BLOCK", 0, "s:1: P: it has optimized block access", 0},
		"no number": {"DATA_BLOCK \"P\"\nVAR\na : Int;\nEND_VAR\nEND_DATA_BLOCK", 0, "s:1: P: its number is not in the source; say it with --db P=NUMBER", 0},
		"no type":   {body("m : \"UDT_X\";\nb : Int;\nc : Bool;"), 1, `s:4: DB1.m: type "UDT_X" is in none of the files`, 2},
		"IEC timer": {body("m : TON_TIME;\nb : Int;"), 1, `s:4: DB1.m: type "TON_TIME" is in none of the files`, 1},
		"constant":  {body("m : Array[0..\"MAX\"] of Int;\nb : Int;"), 1, `s:4: DB1: expected a number, found "MAX"; the value of a constant`, 0},
		"rows":      {body("m : Array[0..1, 0..2] of Bool;\nb : Int;"), 1, "s:4: DB1.m: an array of several dimensions whose rows", 1},
		"too long":  {body("m : Array[0..65535] of Int;\nb : Int;"), 2, "s:5: DB1.b: a block has 65536 bytes at most", 0},
		"far":       {body("m : Array[0..2000000000] of Int;\nb : Int;"), 1, "s:4: DB1.m: an array has more elements than", 1},
		"itself":    {"TYPE A\nSTRUCT\nx : A;\nEND_STRUCT\nEND_TYPE\n" + body("m : A;"), 1, `s:3: DB1.m.x: type "A" is part of itself`, 0},
		"half":      {"DATA_BLOCK DB1\nSTRUCT\na : Int;\nb : ", 1, "s:4: DB1: expected a type, found the end of the file", 0},
		"semicolon": {body("b : Int\nc : Int;"), 2, `s:5: DB1: expected ;, found "c"`, 0},
		"text":      {body("b : String[300];"), 1, "s:4: DB1: STRING[300]: expected 0 to 254 characters", 0},
		"backwards": {body("b : Array[2..1] of Int;"), 1, "s:4: DB1: an array from 2 to 1 has no elements", 0},
		"instance":  {"DATA_BLOCK DB 5 FB 10\nBEGIN\nEND_DATA_BLOCK", 0, `s:1: DB5: it is a block of "FB10", which is in none`, 0},
		"number 0":  {"DATA_BLOCK DB 0\nSTRUCT\na : Int;\nEND_STRUCT\nEND_DATA_BLOCK", 0, "s:1: DB0: expected the name of a data block", 0},
		"twice":     {"TYPE A\nSTRUCT\nx : Int;\nEND_STRUCT\nEND_TYPE\nTYPE A\nSTRUCT\nx : Real;\nEND_STRUCT\nEND_TYPE\n" + body("m : A;\nn: Int;"), 3, "s:6: A: there are two types of this name", 0},
		"deep":      {body("b : " + strings.Repeat("Struct\nc : ", 40) + "Int;"), 1, "s:37: DB1: more than 32 structures lie in each other", 0},
		"rubbish":   {"TYPE A STRUCT x : Int; END_STRUCT END_TYPE\nwhat is this\n" + body("m : A;"), 2, `s:2: expected DATA_BLOCK or TYPE, found "what"`, 0},
	} {
		f, err := tia.Read([]tia.File{{Name: "s", Data: []byte(tc.source)}}, tia.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(f.Points) != tc.points || len(f.Left) != 1+tc.more || !strings.HasPrefix(f.Left[0].String(), tc.left) {
			t.Errorf("%s: %q, left %q; want %d points, %d left, first %q", name, text(f.Points), left(f), tc.points, 1+tc.more, tc.left)
		}
	}
}

// A source of some hundred bytes that means more values than fit anywhere ends soon.
func TestBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("TYPE T0\nSTRUCT\nEND_STRUCT\nEND_TYPE\n")
	for i := range 20 {
		fmt.Fprintf(&b, "TYPE T%d\nSTRUCT\nx : Array[0..9999] of T%d;\nEND_STRUCT\nEND_TYPE\n", i+1, i)
	}
	b.WriteString("DATA_BLOCK DB1\nSTRUCT\nx : T20;\nEND_STRUCT\nEND_DATA_BLOCK\n")
	if f, err := tia.Read([]tia.File{{Name: "s", Data: []byte(b.String())}}, tia.Options{}); err == nil {
		t.Errorf("%d points, %q", len(f.Points), left(f))
	}
}

// FuzzSource: whatever a source is, points of a block follow each other without a byte in
// common but for bits, and each is within the block.
func FuzzSource(f *testing.F) {
	for _, file := range files(f, "Press.db", "Motor.udt", "old.awl") {
		f.Add(string(file.Data), false)
		f.Add(string(file.Data), true)
	}
	f.Fuzz(func(t *testing.T, source string, each bool) {
		found, err := tia.Read([]tia.File{{Name: "a", Data: []byte("TYPE \"UDT_Motor\" STRUCT a : Bool; END_STRUCT END_TYPE\n" + source)}}, tia.Options{Numbers: map[string]int{"": 1}, Each: each})
		if err != nil {
			return
		}
		last := map[int]int{}
		for _, p := range found.Points {
			bit := 8*p.Byte + max(p.Bit, 0)
			if p.Bit > 7 || p.Line < 1 || p.Name == "" || bit < last[p.DB] && p.Byte > 0 && p.DB == 0 {
				t.Errorf("%+v", p)
			}
			if p.Bit < 0 && p.Type == "BOOL" || p.Byte > 1<<17 {
				t.Errorf("%+v", p)
			}
			last[p.DB] = bit
		}
	})
}

// FuzzList: whatever a list of tags is, it is points or reasons.
func FuzzList(f *testing.F) {
	f.Add("Name,Data Type,Logical Address\na,Bool,%I0.0\n")
	f.Add(`"Not-Aus  ","E  0.0 ","BOOL ",""`)
	f.Fuzz(func(t *testing.T, list string) {
		found, err := tia.Read([]tia.File{{Name: "a.csv", Data: []byte(list)}}, tia.Options{})
		if err != nil {
			return
		}
		for _, p := range found.Points {
			if p.Byte < 0 || p.Bit > 7 || p.Area == "" {
				t.Errorf("%q: %+v", list, p)
			}
		}
	})
}
