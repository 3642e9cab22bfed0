package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree writes files below a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	partEndpoints = "plc: {scheme: tcp, host: 10.0.0.1, port: 502}\n"
	partDrivers   = "m1: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n"
	partVariable  = "- {tag: a, driver_id: m1, access: R, address: {type: holding, addr: 40001}, datatype: uint16}\n"
)

// TestSeveralFilesAreOneTable: split in any way, a configuration has the hash that it has
// in one file each.
func TestSeveralFilesAreOneTable(t *testing.T) {
	v := func(tag string) string { return strings.Replace(partVariable, "tag: a", "tag: "+tag, 1) }
	want, err := LoadDir(tree(t, map[string]string{"endpoints.yml": partEndpoints, "drivers.yml": partDrivers, "variables.yml": v("b") + v("a") + v("c")}))
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range []map[string]string{
		{"endpoints/x.yml": partEndpoints, "drivers/y.yml": partDrivers, "variables/z.yml": v("a") + v("b") + v("c")},
		{"endpoints.yml": partEndpoints, "drivers.yml": partDrivers, "variables.yml": v("c"), "variables/1.yml": v("b"), "variables/0.yml": v("a")},
		{"endpoints.yml": partEndpoints, "drivers.yml": "", "drivers/m.yml": partDrivers, "variables/1.yml": "[]\n", "variables/2.yml": "# none\n",
			"variables/3.yml": v("c") + v("a") + v("b"), "variables/.hidden.yml": v("a"), "variables/4.yml~": v("a"), "variables/deeper/5.yml": v("a")},
	} {
		got, err := LoadDir(tree(t, files))
		if err != nil || got.SHA256 != want.SHA256 {
			t.Errorf("%v: %v", files, err)
		}
	}
}

// TestWhatFilesOfATableRefuse: doubles name both places; what would be ignored, or can't
// be told, is said.
func TestWhatFilesOfATableRefuse(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a tag in two files": {map[string]string{"variables.yml": "# x\n" + partVariable, "variables/press.yml": "# y\n# z\n" + partVariable},
			"variables/press.yml:3:9: error: tag a is taken already; first at variables.yml:2 (duplicate)"},
		"a tag in two parts": {map[string]string{"variables/1.yml": partVariable, "variables/2.yml": "[]", "variables/3.yml": partVariable},
			"variables/3.yml:1:9: error: tag a is taken already; first at variables/1.yml:1 (duplicate)"},
		"a driver in two files": {map[string]string{"variables.yml": "[]", "drivers/b.yml": "\n" + partDrivers},
			"drivers/b.yml:2:1: error: driver m1 is taken already; first at drivers.yml:1 (duplicate)"},
		"an endpoint that is wrong in one": {map[string]string{"variables.yml": "[]", "endpoints/b.yml": "plc: {scheme: tcp}\n"},
			"endpoints/b.yml:1:1: error: endpoint plc is taken already; first at endpoints.yml:1 (duplicate)"},
		"a table's own name":   {map[string]string{"variables/variables.yml": partVariable}, "has the name of a table's own file"},
		"another table's name": {map[string]string{"variables.yml": "[]", "variables/drivers.yml": partVariable}, "has the name of a table's own file"},
		"a conflict": {map[string]string{"variables.yml": "[]", "variables/b.yml": "<<<<<<< local\n" + partVariable + "=======\n>>>>>>> rev 3\n"},
			"variables/b.yml:1:1: error: a conflict that a merge has left"},
		"half of a conflict": {map[string]string{"variables.yml": partVariable + ">>>>>>> rev 3\n"}, "variables.yml:2:1: error: a conflict that a merge has left"},
		"the middle of one":  {map[string]string{"variables.yml": partVariable + "=======\r\n"}, "variables.yml:2:1: error: a conflict that a merge has left"},
		"only other files":   {map[string]string{"variables/b.yaml": partVariable}, "variables.yml: error: there is no such file"},
	} {
		files := map[string]string{"endpoints.yml": partEndpoints, "drivers.yml": partDrivers}
		for path, text := range tt.files {
			files[path] = text
		}
		dir := tree(t, files)
		_, err := LoadDir(dir)
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir+"/", ""), tt.want) {
			t.Errorf("%s: got %v, expected %s", name, err, tt.want)
		}
	}
}

// TestTableOfFile: the own name decides, else the directory's.
func TestTableOfFile(t *testing.T) {
	for path, want := range map[string]Table{
		"drivers.yml": Drivers, "/etc/variables/drivers.yml": Drivers, "x/drivers/press.yml": Drivers, "variables/a.b.yml": Variables,
		"press.yml": "", "drivers/press.yaml": "", "settings/a.yml": "", "drivers/.press.yml": "", "drivers/press": "",
	} {
		got, ok := TableOfFile(path)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
	for name, want := range map[string]bool{"drivers.yml": true, "drivers/a.yml": true, "settings.yml": true,
		"settings/a.yml": false, "drivers/drivers.yml": false, "drivers/../a.yml": false, "drivers/x/a.yml": false, "drivers/": false, "a.yml": false, "": false} {
		if IsTablePath(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	dir := tree(t, map[string]string{"variables/x.yml": "", "variables/x.yaml": "", "variables/y.json": "", "drivers/z.txt": "", "settings/a.yml": "", "endpoints/in/a.yml": ""})
	if got := Unread(dir); !slices.Equal(got, []string{"endpoints/in", "settings", "variables/x.yaml", "variables/y.json"}) {
		t.Errorf("%q", got)
	}
}
