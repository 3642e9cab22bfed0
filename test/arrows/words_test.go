package arrows

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources calls look with every file of Go that the product is built of.
func sources(t *testing.T, look func(path string)) {
	t.Helper()
	seen := 0
	for _, root := range []string{"../../cmd", "../../pkg"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".pb.go") {
				return err
			}
			seen++
			look(filepath.ToSlash(path))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Errorf("%d files were looked at", seen)
	}
}

// TestTimesNameTheirZone: times that people read are written by pkg/moment, which names
// the zone.
func TestTimesNameTheirZone(t *testing.T) {
	zoneless := regexp.MustCompile(`15:04(:05(\.0+)?)?"$`)
	calls := regexp.MustCompile(`Format\(time\.(DateTime|TimeOnly|Kitchen|Stamp\w*|ANSIC)\)`)
	sources(t, func(path string) {
		if strings.HasPrefix(path, "../../pkg/moment/") {
			return
		}
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, literal := range literalsOf(t, path) {
			if zoneless.MatchString(literal) {
				t.Errorf("%s: a time written as %s has no zone: pkg/moment writes times", path, literal)
			}
		}
		for _, call := range calls.FindAllString(string(src), -1) {
			t.Errorf("%s: %s has no zone: pkg/moment writes times", path, call)
		}
	})
}
