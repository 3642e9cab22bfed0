package s7

import (
	"errors"
	"fmt"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7/tia"
	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/xlsx"
)

// importAbility reads what TIA Portal and STEP 7 export.
func importAbility() *driver.Import {
	return &driver.Import{
		Help: `Of Siemens S7 it reads the PLC tags that TIA Portal exports (.xlsx), lists of symbols
(.sdf, or .csv with the columns Name, Data Type, Logical Address), and the sources of
data blocks and types (.db, .udt, .scl, .awl) with standard access, whose offsets it
computes. The number of a block is in no source: --db or a list of symbols says it.
What can't be taken is told with its line and the reason.`,
		Example: `  edge-cfg import PLCTags.xlsx --into ./config --driver press
  edge-cfg import Press.db Motor.udt --db Press=7 --into ./config --driver press`,
		Options: []driver.Option{
			{Name: "db", Type: "string", Usage: "s7: number of the data block, or NAME=NUMBER,NAME=NUMBER"},
			{Name: "each", Type: "bool", Usage: "s7: a variable for each element of an array, not one for all"},
			{Name: "tag-prefix", Type: "string", Usage: "s7: stands before each tag: line1."},
		},
		Extensions: []string{".xlsx", ".csv", ".sdf", ".db", ".udt", ".scl", ".awl"},
		Knows:      knowsExport,
		Read:       readExport,
	}
}

// knowsExport reports whether a file is one of Siemens' tools. A spreadsheet and a .csv may
// be anybody's: their columns tell.
func knowsExport(f driver.ImportFile) bool {
	name := strings.ToLower(f.Name)
	switch {
	case xlsx.Is(f.Data):
		known := errors.New("it is known")
		return errors.Is(xlsx.Read(f.Data, func(r xlsx.Row) error {
			if r.Line == 1 && tia.IsHead(r.Cells) {
				return known
			}
			return nil
		}), known)
	case strings.HasSuffix(name, ".csv"):
		head, _, _ := strings.Cut(string(f.Data), "\n")
		return tia.IsHead(strings.FieldsFunc(strings.NewReplacer(`"`, "", "\r", "").Replace(head), func(c rune) bool { return c == ',' || c == ';' || c == '\t' }))
	}
	return true
}

// blockNumbersOf reads --db.
func blockNumbersOf(text string) (map[string]int, error) {
	numbers := map[string]int{}
	for item := range strings.SplitSeq(text, ",") {
		name, digits, named := strings.Cut(item, "=")
		if !named {
			name, digits = "", item
		}
		n, err := number.Int(strings.TrimSpace(digits), 1, 0xFFFF)
		if err != nil {
			return nil, driver.Argsf("--db %s: %w; expected a number, or NAME=NUMBER", item, err)
		}
		if _, twice := numbers[strings.TrimSpace(name)]; twice {
			return nil, driver.Argsf("--db %s: it is said twice", item)
		}
		numbers[strings.TrimSpace(name)] = int(n)
	}
	return numbers, nil
}

// readExport makes variables of files.
func readExport(files []driver.ImportFile, a driver.Args) (out driver.Imported, err error) {
	o := tia.Options{Each: a.Options["each"] == "true"}
	if text, given := a.Options["db"]; given {
		if o.Numbers, err = blockNumbersOf(text); err != nil {
			return out, err
		}
	}
	list := make([]tia.File, len(files))
	for i, f := range files {
		list[i] = tia.File(f)
	}
	found, err := tia.Read(list, o)
	if err != nil {
		return out, err
	}
	out.Columns = []string{"tag", "type", "s7", "size", "datatype"}
	for _, l := range found.Left {
		out.Left = append(out.Left, driver.LeftOut(l))
	}
	tags := map[string]int{}
	for i := range found.Points {
		p := &found.Points[i]
		row, why := importRow(a.Options["tag-prefix"], p)
		if before, twice := tags[row[0]]; why == "" && twice {
			why = fmt.Sprintf("tag %s is line %d's", row[0], before)
		}
		if why != "" {
			out.Left = append(out.Left, driver.LeftOut{File: p.File, Line: p.Line, Name: p.Name, Why: why})
			continue
		}
		tags[row[0]] = p.Line
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// importRow makes a variable of a point, or says why it is none.
func importRow(prefix string, p *tia.Point) (row []string, why string) {
	t := siemensType(p.Type)
	v := config.Variable{Tag: prefix + p.Name, Datatype: t, Address: config.Address{Type: config.AddrS7DB, S7: addressText(p)}}
	size := ""
	if t == config.TypeChar && p.Area != "DB" {
		v.Address.Size, size = 1, "1"
	}
	row = []string{v.Tag, string(v.Address.Type), v.Address.S7, size, string(t)}
	if t == "" {
		return row, fmt.Sprintf("there is no datatype for a %s", p.Type)
	}
	if !config.ValidTag(v.Tag) {
		return row, fmt.Sprintf("%q can't be a tag: expected 1 to %d letters and digits, _ . and -", v.Tag, config.MaxTag)
	}
	if _, _, err := Resolve(&v); err != nil {
		return row, err.Error()
	}
	return row, ""
}

// addressText writes where a point is, as engineers do.
func addressText(p *tia.Point) string {
	t := siemensType(p.Type)
	head := p.Area
	switch {
	case p.Area == "T" || p.Area == "C":
		return fmt.Sprintf("%s%d", p.Area, p.Byte)
	case p.Area == "DB" && t == config.TypeChar:
		return fmt.Sprintf("DB%d.CHAR%d.%d", p.DB, p.Byte, max(p.Count, 1))
	case p.Area == "DB" && (t == config.TypeString || t == config.TypeWString):
		return fmt.Sprintf("DB%d.%s%d.%d", p.DB, strings.ToUpper(string(t)), p.Byte, p.Len)
	case p.Area == "DB":
		head = fmt.Sprintf("DB%d.DB", p.DB)
	}
	array := ""
	if p.Count > 0 {
		array = fmt.Sprintf("[%d]", p.Count)
	}
	if p.Bit >= 0 {
		if p.Area == "DB" {
			head += "X"
		}
		return fmt.Sprintf("%s%d.%d%s", head, p.Byte, p.Bit, array)
	}
	_, size, _ := kindOf(t)
	letter := map[int]string{2: "W", 4: "D", 8: "L"}[size]
	if letter == "" {
		letter = "B"
	}
	return fmt.Sprintf("%s%s%d%s", head, letter, p.Byte, array)
}

// siemensType is the datatype of values of a type, "" if there is none.
func siemensType(t string) config.DataType {
	return map[string]config.DataType{
		"BOOL": config.TypeBool, "BYTE": config.TypeUint8, "USINT": config.TypeUint8, "SINT": config.TypeInt8,
		"WORD": config.TypeUint16, "UINT": config.TypeUint16, "INT": config.TypeInt16,
		"DWORD": config.TypeUint32, "UDINT": config.TypeUint32, "DINT": config.TypeInt32,
		"LWORD": config.TypeUint64, "ULINT": config.TypeUint64, "LINT": config.TypeInt64,
		"REAL": config.TypeFloat32, "LREAL": config.TypeFloat64,
		"TIME": config.TypeTime, "LTIME": config.TypeLTime, "S5TIME": config.TypeS5Time, "COUNTER": config.TypeBCD16,
		"DATE": config.TypeDate, "TIME_OF_DAY": config.TypeTOD, "TOD": config.TypeTOD,
		"DATE_AND_TIME": config.TypeS7DT, "DT": config.TypeS7DT, "DTL": config.TypeDTL,
		"CHAR": config.TypeChar, "STRING": config.TypeString, "WSTRING": config.TypeWString,
	}[t]
}
