package s7_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/s7"
)

// imported reads files of package tia's tests, and returns the rows with blanks between
// their cells.
func imported(t *testing.T, a driver.Args, names ...string) (rows []string, out driver.Imported) {
	t.Helper()
	var files []driver.ImportFile
	for _, name := range names {
		data, err := os.ReadFile("tia/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, driver.ImportFile{Name: name, Data: data})
	}
	out, err := s7.Protocol().Import.Read(files, a)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Rows {
		rows = append(rows, strings.Join(r, " "))
	}
	return rows, out
}

// What an export has becomes variables that the driver resolves, in the notation of
// engineers.
func TestImport(t *testing.T) {
	rows, out := imported(t, driver.Args{Options: map[string]string{"db": "Press=7", "tag-prefix": "line1."}}, "Press.db", "Motor.udt", "symbols.sdf")
	all := strings.Join(rows, "\n") + "\n"
	for _, want := range []string{
		"line1.Press.Stop s7_db DB7.DBX0.1  bool", "line1.Press.Mode s7_db DB7.DBB1  uint8", "line1.Press.Öl_Temperatur s7_db DB7.DBD12  float32",
		"line1.Press.Text s7_db DB7.STRING16.20  string", "line1.Press.Name s7_db DB7.WSTRING46.10  wstring", "line1.Press.Cycle s7_db DB7.DBL78  float64",
		"line1.Press.Flags s7_db DB7.DBX86.0[10]  bool", "line1.Press.Speeds s7_db DB7.DBW90[6]  int16", "line1.Press.Raw s7_db DB7.DBB102[3]  uint8",
		"line1.Press.Long s7_db DB7.DBB148  dtl", "line1.Press.Last s7_db DB7.CHAR188.1  char", "line1.Not-Aus s7_db I0.0  bool", "line1.Zaehler_3 s7_db C3  bcd16", "line1.Zeit_5 s7_db T5  s5time",
	} {
		if !strings.Contains(all, want+"\n") {
			t.Errorf("there is no %q in\n%s", want, all)
		}
	}
	found := false
	for _, l := range out.Left {
		found = found || l.Line == 41 && l.Name == "Press.Ptr" && strings.Contains(l.Why, "no datatype for a ANY")
	}
	if !found {
		t.Errorf("left: %+v", out.Left)
	}
}

// Which files are Siemens', and what is wrong with options and names.
func TestImportDoubt(t *testing.T) {
	im := s7.Protocol().Import
	for text, want := range map[string]bool{"Name;Pfad;Datentyp;Logische Adresse\r\n": true, "tag,driver_id,s7,datatype\n": false, "\"Name\",\"Data Type\",\"Logical Address\"\n": true} {
		if got := im.Knows(driver.ImportFile{Name: "x.csv", Data: []byte(text)}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, db := range []string{"0", "65536", "Press=", "Press=x", "7,8", "", "A=1,A=2"} {
		if _, err := im.Read(nil, driver.Args{Options: map[string]string{"db": db}}); !isArgs(err) {
			t.Errorf("--db %q: %v", db, err)
		}
	}
	out, err := im.Read([]driver.ImportFile{{Name: "x.csv", Data: []byte("Name,Data Type,Logical Address\na b,Int,%MW2\na_b,Int,%MW4\n" + strings.Repeat("x", 129) + ",Int,%MW6\n")}}, driver.Args{})
	if err != nil || len(out.Rows) != 1 || len(out.Left) != 2 || !strings.Contains(out.Left[0].Why, "line 2's") || !strings.Contains(out.Left[1].Why, "can't be a tag") {
		t.Errorf("%+v, %v", out, err)
	}
}

func isArgs(err error) bool {
	_, ok := errors.AsType[*driver.ArgsError](err)
	return ok
}
