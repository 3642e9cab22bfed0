package arrows

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// TestCountsHaveOneForm: "1 frames" is written nowhere that a person reads, since
// pkg/words counts. What is "of N frames" or "more than N parts" is always many.
func TestCountsHaveOneForm(t *testing.T) {
	const things = `frames?|tags?|items?|releases?|gateways?|drivers?|variables?|endpoints?|messages?|gaps?|breaks?|records?|places?|files?|days?|` +
		`warnings?|errors?|conflicts?|times|connections?|commands?|results?|updates?|requests?|options?|failures?|problems?|blocks?|samples?|points?`
	counted := regexp.MustCompile(`(^|\S+ |[^%\s\w])%d (more )?(` + things + `)\b`)
	many := regexp.MustCompile(`^(of|than|all|the|rev|seq|release|message) `)
	told := []string{"../../cmd/", "../../pkg/admin/", "../../pkg/center/", "../../pkg/cli/", "../../pkg/demo/", "../../pkg/endpoint/", "../../pkg/gateway/"}
	forTests := regexp.MustCompile(`/(admintest|clitest|endpointtest)/|pkg/admin/(convert|service_small)`) // or for programs
	sources(t, func(path string) {
		if !slices.ContainsFunc(told, func(dir string) bool { return strings.HasPrefix(path, dir) }) || forTests.MatchString(path) {
			return
		}
		for _, literal := range literalsOf(t, path) {
			for _, found := range counted.FindAllString(literal, -1) {
				if !many.MatchString(found) {
					t.Errorf("%s: %q of %s: pkg/words counts", path, found, literal)
				}
			}
		}
	})
}
