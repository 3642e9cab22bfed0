// Package arrows holds the direction of imports between the packages, which
// docs/architecture.md draws.
package arrows

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/edge-gateway/edge-gateway/"

// allowed lists, for each package, what it may import of the project. "x/..."
// allows x and all below it. A package that is missing here fails the test, so
// that a new one gets its place in the drawing.
var allowed = map[string][]string{
	"schemas":              {},
	"pkg/version":          {},
	"pkg/durable":          {"pkg/regular"},
	"pkg/logtest":          {},
	"pkg/backup":           {},
	"pkg/number":           {},
	"pkg/moment":           {"pkg/number"},
	"pkg/words":            {},
	"pkg/errkind":          {},
	"pkg/supervise":        {},
	"pkg/frame":            {},
	"pkg/regular":          {},
	"pkg/intake":           {},
	"pkg/visible":          {"pkg/number"},
	"pkg/xlsx":             {},
	"pkg/address":          {},
	"pkg/clienttls":        {"pkg/errkind", "pkg/regular"},
	"pkg/config":           {"pkg/address", "pkg/visible", "schemas", "pkg/number", "pkg/regular"},
	"pkg/config/bootstrap": {"pkg/config"},
	"pkg/point":            {"pkg/errkind", "pkg/config", "pkg/frame"},
	"pkg/endpoint":         {"pkg/errkind", "pkg/clienttls", "pkg/config", "pkg/number", "pkg/supervise", "pkg/moment", "pkg/words"},
	"pkg/wal":              {"pkg/errkind", "pkg/durable", "pkg/frame"},
	"pkg/bus":              {"pkg/config", "pkg/errkind", "pkg/frame", "pkg/visible", "pkg/wal"},
	"pkg/audit":            {"pkg/durable", "pkg/frame", "pkg/regular"},
	"pkg/driver":           {"pkg/errkind", "pkg/config", "pkg/endpoint", "pkg/frame", "pkg/number", "pkg/point", "pkg/supervise", "pkg/words"},
	"pkg/protocols":        {"pkg/config", "pkg/driver", "pkg/driver/..."},
	"pkg/connector":        {"pkg/errkind", "pkg/bus", "pkg/frame", "pkg/supervise"},
	"pkg/connectors":       {"pkg/connector", "pkg/connector/..."},
	"pkg/mqtt311":          {},
	"pkg/mqttreason":       {},
	"pkg/mqttwire":         {},
	"pkg/receiver":         {"pkg/address", "pkg/clienttls", "pkg/durable", "pkg/frame", "pkg/mqtt311", "pkg/mqttreason", "pkg/mqttwire", "pkg/regular", "pkg/supervise"},
	"pkg/plcsim":           {"pkg/config"},
	"pkg/sdk":              {"pkg/sdk/driverpb"},
	"pkg/sdk/driverpb":     {},
	"pkg/selector":         {},
	"pkg/rollout":          {"pkg/number", "pkg/selector"},
	"pkg/overlay":          {"pkg/config", "pkg/selector"},
	"pkg/lint":             {"pkg/config/...", "pkg/overlay", "pkg/point", "pkg/connectors", "pkg/endpoint", "pkg/driver", "pkg/protocols", "pkg/regular", "pkg/visible"},
	"pkg/feed":             {"pkg/errkind", "pkg/config", "pkg/durable", "pkg/regular"},
	"pkg/center":           {"pkg/clienttls", "pkg/config", "pkg/durable", "pkg/errkind", "pkg/feed", "pkg/moment", "pkg/overlay", "pkg/regular", "pkg/rollout", "pkg/words"},
	"pkg/tables":           {"pkg/config", "pkg/durable", "pkg/errkind", "pkg/lint", "pkg/number", "pkg/overlay", "pkg/protocols", "pkg/regular", "pkg/visible", "pkg/xlsx", "schemas"},
	"pkg/center/embedded":  {"pkg/durable"},
	"pkg/apply":            {"pkg/config", "pkg/driver"},
	"pkg/admin":            {"pkg/errkind", "pkg/admin/adminpb", "pkg/frame", "pkg/intake", "pkg/version", "pkg/words"},
	"pkg/admin/adminpb":    {"pkg/frame"},
	"pkg/admin/admintest":  {"pkg/admin", "pkg/admin/adminpb", "pkg/admin/asking", "pkg/config", "pkg/driver", "pkg/errkind", "pkg/endpoint", "pkg/frame", "pkg/protocols"},
	"pkg/admin/asking":     {"pkg/admin", "pkg/admin/adminpb", "pkg/driver", "pkg/errkind"},
	"pkg/admin/busadmin":   {"pkg/admin", "pkg/admin/adminpb", "pkg/bus", "pkg/errkind", "pkg/frame"},
	"pkg/page":             {"pkg/admin", "pkg/admin/adminpb", "pkg/errkind", "pkg/frame"},
	"pkg/cli":              {"pkg/errkind", "pkg/admin/...", "pkg/version", "pkg/number", "pkg/visible", "pkg/moment"},
	"pkg/cli/clitest":      {"pkg/cli"},
	"pkg/cli/options":      {"pkg/driver"},
}

// allowedBelow is for packages below a directory: every driver, every connector.
var allowedBelow = map[string][]string{
	"pkg/driver/": {"pkg/config", "pkg/errkind", "pkg/driver/...", "pkg/durable", "pkg/endpoint/...", "pkg/frame", "pkg/number", "pkg/plcsim", "pkg/point",
		"pkg/regular", "pkg/sdk/driverpb", "pkg/xlsx", "schemas", "pkg/moment"},
	"pkg/connector/": {"pkg/address", "pkg/bus", "pkg/clienttls", "pkg/config", "pkg/connector/...", "pkg/errkind", "pkg/frame", "pkg/mqtt311", "pkg/mqttreason", "pkg/mqttwire", "pkg/number", "pkg/regular", "pkg/supervise", "schemas", "pkg/moment"},
	"pkg/endpoint/":  {"pkg/endpoint/..."},
	"pkg/config/":    {"pkg/config/...", "schemas"},
}

// anything lists the packages that may import every package of the project: the
// composition root, what stands on it, the commands and the tests.
var anything = []string{"pkg/gateway", "pkg/demo", "cmd/", "test/", "examples/", "docs/examples/"}

// owners says which packages alone may import a library.
var owners = map[string][]string{
	"github.com/cockroachdb/pebble":   {"pkg/wal"},
	"go.etcd.io/etcd/client":          {"pkg/center"},
	"go.etcd.io/etcd/server":          {"pkg/center/embedded"},
	"go.etcd.io/etcd/etcdutl":         {"pkg/center/embedded"},
	"github.com/eclipse/paho.golang":  {"pkg/connector/mqtt", "pkg/receiver"},
	"github.com/goburrow/modbus":      {"pkg/driver/modbus"},
	"github.com/gopcua/opcua":         {"pkg/driver/opcua"},
	"github.com/simonvetter/modbus":   {"pkg/plcsim"},
	"github.com/mochi-mqtt/server":    {"pkg/demo"},
	"go.bug.st/serial":                {"pkg/endpoint"},
	"github.com/expr-lang/expr":       {"pkg/point"},
	"github.com/spf13/cobra":          {"pkg/cli", "cmd/"},
	"github.com/prometheus/exporter-": {"pkg/gateway"},
	"google.golang.org/grpc":          {"pkg/admin", "pkg/center", "pkg/cli", "pkg/driver/dyn", "pkg/driver/plugin", "pkg/gateway", "pkg/sdk", "cmd/"},
	"github.com/hashicorp/go-":        {"pkg/driver/dyn", "pkg/sdk"},
	"github.com/santhosh-tekuri/json": {"pkg/config", "pkg/lint", "pkg/connector/mqtt", "pkg/driver", "schemas"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages; expected the whole project", len(pkgs))
	}
	return pkgs
}

// within reports whether name is one of patterns: exact, "x/..." or "x/".
func within(name string, patterns []string) bool {
	for _, p := range patterns {
		if base, ok := strings.CutSuffix(p, "/..."); ok {
			if name == base || strings.HasPrefix(name, base+"/") {
				return true
			}
		} else if strings.HasSuffix(p, "/") && strings.HasPrefix(name, p) || name == p {
			return true
		}
	}
	return false
}

func rulesFor(name string) ([]string, bool) {
	if rules, ok := allowed[name]; ok {
		return rules, true
	}
	for prefix, rules := range allowedBelow {
		if strings.HasPrefix(name, prefix) {
			return rules, true
		}
	}
	return nil, false
}

func TestImportArrows(t *testing.T) {
	used := map[string]bool{} // "pkg/a pkg/b": the arrow that allows something
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if within(name, anything) {
			continue
		}
		rules, ok := rulesFor(name)
		if !ok {
			t.Errorf("%s has no place in the drawing of packages: add it to this test and to docs/architecture.md", name)
			continue
		}
		for _, imp := range p.Imports {
			sub, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if !within(sub, rules) {
				t.Errorf("%s imports %s: arrows go down only (allowed: %v)", name, sub, rules)
			}
			for _, rule := range rules {
				if within(sub, []string{rule}) {
					used[name+" "+rule] = true
				}
			}
		}
	}
	for name, rules := range allowed {
		for _, rule := range rules {
			if !used[name+" "+rule] {
				t.Errorf("%s does not import %s: take the arrow away", name, rule)
			}
		}
	}
}

func TestLibraryOwners(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "test/") {
			continue
		}
		for _, imp := range p.Imports {
			for lib, who := range owners {
				if !strings.HasPrefix(imp, lib) || within(name, who) {
					continue
				}
				if below(name, who) {
					continue
				}
				t.Errorf("%s imports %s, which belongs to %v alone", name, imp, who)
			}
		}
	}
}

// below lets an owner's subpackages share its library.
func below(name string, who []string) bool {
	for _, w := range who {
		if strings.HasPrefix(name, strings.TrimSuffix(w, "/")+"/") {
			return true
		}
	}
	return false
}

// opensItself says who reads a file without pkg/regular, and why: all others would wait for
// the other end of a pipe that somebody put in the file's place, or read a device for ever.
var opensItself = map[string]string{
	"pkg/wal/os_unix.go":              "the log's own directories, to sync them",
	"pkg/durable/durable.go":          "directories, to sync them",
	"pkg/bus/flash_linux.go":          "what the kernel tells in /sys",
	"pkg/driver/dyn/process_linux.go": "what the kernel tells in /proc",
	"cmd/edge-bus/audit.go":           "a person names it; <(…) is a pipe",
	"cmd/edge-bus/transfer.go":        "a person names it; <(…) is a pipe",
	"cmd/edge-cfg/import.go":          "a person names it; <(…) is a pipe",
}

// TestFilesAreOpenedAsRegularOnes: whoever may put a pipe, a device or an endless file in the
// place of a file that the product reads hangs nothing with it.
func TestFilesAreOpenedAsRegularOnes(t *testing.T) {
	opens := regexp.MustCompile(`\bos\.(Open|ReadFile)\(`)
	used := map[string]bool{}
	for _, top := range []string{"pkg", "cmd"} {
		err := filepath.WalkDir(filepath.Join("../..", top), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") /* helpers of tests */ {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || !opens.Match(text) {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, "../../"))
			if used[name] = true; opensItself[name] == "" {
				t.Errorf("%s reads a file with package os: use pkg/regular, or say here why not", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range opensItself {
		if !used[name] {
			t.Errorf("%s opens nothing itself: take it away", name)
		}
	}
}

// TestBrokerStaysOut: what goes into packages links no broker.
func TestBrokerStaysOut(t *testing.T) {
	for tags, want := range map[string]bool{"": true, "nobroker": false} {
		list := exec.Command("go", "list", "-deps", "-tags", tags, "./cmd/...")
		list.Dir = "../.."
		text, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), "mochi-mqtt"); got != want {
			t.Errorf("with the tags %q a broker is linked: %v", tags, got)
		}
	}
}

// TestSDKIsLight: who writes a driver links nothing of the gateway.
func TestSDKIsLight(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./pkg/sdk")
	list.Dir = "../.."
	text, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(text)) {
		sub, ours := strings.CutPrefix(dep, module)
		if ours && !within(sub, []string{"pkg/sdk/..."}) || strings.Contains(dep, "etcd") || strings.Contains(dep, "pebble") || strings.Contains(dep, "prometheus") {
			t.Errorf("pkg/sdk links %s", dep)
		}
	}
}

// TestEmbeddedEtcdStaysOut keeps etcd's server out of the operators' tools: only
// edge-gw links it.
func TestEmbeddedEtcdStaysOut(t *testing.T) {
	for _, tool := range []string{"edge-cfg", "edge-bus", "edge-ctl"} {
		cmd := exec.Command("go", "list", "-deps", "./cmd/"+tool)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list -deps ./cmd/%s: %v", tool, err)
		}
		if strings.Contains(string(out), "go.etcd.io/etcd/server") {
			t.Errorf("%s links etcd's server", tool)
		}
	}
}
