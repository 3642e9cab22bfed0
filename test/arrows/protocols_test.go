package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// namers are the packages that may name a protocol: the drivers, the list, and what is
// about one protocol.
var namers = []string{
	"pkg/driver/...", "pkg/protocols", "pkg/plcsim", "pkg/demo",
	"pkg/admin/admintest", // its drivers have one
	"pkg/endpoint",        // tells of the usual port
}

// notations are the packages in whose sight a protocol's name is a field of an address,
// which the tables have.
var notations = map[string][]string{"s7": {"pkg/config", "pkg/tables"}}

// TestNobodyNamesAProtocol: what lint, the gateway and the commands know of a protocol
// stands in its package. No literal elsewhere has its name, and nobody imports it.
func TestNobodyNamesAProtocol(t *testing.T) {
	sources(t, func(path string) {
		name := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
		if within(name, namers) {
			return
		}
		for _, literal := range literalsOf(t, path) {
			for _, proto := range protocols.Builtin().Names() {
				if !within(name, notations[proto]) && regexp.MustCompile(`(?i)\b`+regexp.QuoteMeta(proto)+`\b`).MatchString(literal) {
					t.Errorf("%s: %s names the protocol %s: it belongs into its descriptor", path, literal, proto)
				}
			}
		}
	})
}

func literalsOf(t *testing.T, path string) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			out = append(out, l.Value)
		}
		return true
	})
	return out
}
