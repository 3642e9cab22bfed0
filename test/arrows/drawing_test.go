package arrows

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
)

// Every package directly below pkg has its line in the architecture's table of packages.
func TestEveryPackageIsDrawn(t *testing.T) {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Packages")
	table, _, _ = strings.Cut(table, "\n## ")
	for name := range allowed {
		if path.Dir(name) == "pkg" && !strings.Contains(table, fmt.Sprintf("`%s`", path.Base(name))) {
			t.Errorf("docs/architecture.md, Packages: %s is missing", name)
		}
	}
}
