package alerts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestCompose: the example mounts what is there, all dashboards and rules among it, and
// its gateway's files are good.
func TestCompose(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(examples, "compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image   string
			Volumes []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	mounted := map[string]bool{}
	for name, s := range file.Services {
		if s.Image == "" || strings.HasSuffix(s.Image, "latest") {
			t.Errorf("%s: image %q, expected one release", name, s.Image)
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, named := file.Volumes[source]; named || source == "../../bin" { // make build makes it
				continue
			}
			mounted[source] = true
			if _, err := os.Stat(filepath.Join(examples, source)); err != nil {
				t.Errorf("%s mounts %s, which is not there", name, source)
			}
		}
	}
	for _, dir := range []string{"./prometheus", "./grafana/dashboards", "./grafana/provisioning", "./gateway"} {
		if !mounted[dir] {
			t.Errorf("nobody mounts %s", dir)
		}
	}
	for _, line := range [][]string{
		{"promtool", "check", "config", filepath.Join(examples, "prometheus", "prometheus.yml")},
		{peer.Build(t, "edge-cfg"), "lint", filepath.Join(examples, "gateway", "gateway.yml"), filepath.Join(examples, "gateway", "config")},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(line, " "), err, out)
		}
	}
}
