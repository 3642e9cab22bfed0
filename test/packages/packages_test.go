package packages

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

const (
	older = "v0.1.0"
	newer = "v0.2.0"
)

// made is what scripts/package made of two versions, in directories of their own.
var made = sync.OnceValues(func() (map[string]string, error) {
	dirs := make(map[string]string)
	for _, version := range []string{older, newer} {
		dir, err := makePackages(version)
		if err != nil {
			return nil, err
		}
		dirs[version] = dir
	}
	return dirs, nil
})

func TestMain(m *testing.M) {
	if os.Getenv("EDGE_PACKAGES") == "" {
		fmt.Println("packages are tested by make package-test")
		return
	}
	code := m.Run()
	if dirs, err := made(); err == nil {
		for _, dir := range dirs {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

func makePackages(version string) (string, error) {
	dir, err := os.MkdirTemp("", "packages")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("../../scripts/package", version, "linux/"+runtime.GOARCH)
	cmd.Env = append(os.Environ(), "DIST="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/package %s: %w\n%s", version, err, out)
	}
	return dir, nil
}

// file returns the one that a version's packages have with the given ending.
func file(t *testing.T, version, ending string) string {
	t.Helper()
	dirs, err := made()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dirs[version], "*"+ending))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %v, %v", ending, dirs[version], found, err)
	}
	return found[0]
}

// format is a kind of package and the commands of its system.
type format struct {
	ending                 string
	install, remove, purge string
	leaves                 []string // what removing leaves and purging takes
}

var (
	deb = format{ending: ".deb", install: "dpkg -i", remove: "dpkg -r edge-gateway", purge: "dpkg -P edge-gateway",
		leaves: []string{"/etc/edge-gw", "/var/lib/edge-gw"}}
	rpm = format{ending: ".rpm", install: "rpm -U --nodeps", remove: "rpm -e --nodeps edge-gateway"}
)

func TestDeb(t *testing.T) { lifetime(t, deb) }

func TestRPM(t *testing.T) { lifetime(t, rpm) }

// lifetime installs a package, runs the gateway as the service would, upgrades it,
// removes it. What the operator wrote outlives all but the purge.
func lifetime(t *testing.T, f format) {
	s := newSandbox(t)
	old, next := s.copyIn(t, file(t, older, f.ending)), s.copyIn(t, file(t, newer, f.ending))

	s.run(t, f.install+" "+old)
	s.want(t, "edge-gw version | head -1 | cut -d' ' -f2", older)
	s.want(t, "stat -c '%U:%G %a' /etc/edge-gw /etc/edge-gw/gateway.yml /etc/edge-gw/config/variables.yml /etc/edge-gw/secrets",
		"root:edge-gw 750\nroot:edge-gw 640\nroot:edge-gw 640\nroot:edge-gw 750")
	s.want(t, "getent passwd edge-gw | cut -d: -f6,7", "/var/lib/edge-gw:/usr/sbin/nologin")
	s.want(t, "grep -o '^gateway_id: [A-Za-z0-9_-]*' /etc/edge-gw/gateway.yml", "gateway_id: "+s.run(t, "uname -n | cut -d. -f1"))
	s.want(t, "systemctl is-enabled edge-gw", "enabled")
	for _, page := range []string{"edge-gw", "edge-cfg-push", "edge-bus-verify", "edge-ctl-why"} {
		if text := s.run(t, "MANPAGER=cat man "+page+" 2>&1"); !strings.Contains(text, "SYNOPSIS") {
			t.Errorf("man %s:\n%s", page, text)
		}
	}
	s.want(t, "bash -c 'source /usr/share/bash-completion/completions/edge-ctl && type -t __start_edge-ctl'", "function")
	serve(t, s)

	s.run(t, "echo '# mine' >> /etc/edge-gw/gateway.yml; echo EDGE_GW_LOG_LEVEL=debug >> /etc/default/edge-gw; systemctl disable edge-gw")
	s.run(t, f.install+" "+next)
	s.want(t, "edge-gw version | head -1 | cut -d' ' -f2", newer)
	kept := func() {
		t.Helper()
		s.want(t, "tail -1 /etc/edge-gw/gateway.yml", "# mine")
		s.want(t, "test -d /var/lib/edge-gw/log && echo there", "there")
	}
	kept()
	s.want(t, "tail -1 /etc/default/edge-gw", "EDGE_GW_LOG_LEVEL=debug")
	s.want(t, "systemctl is-enabled edge-gw || true", "disabled") // the operator's wish outlives an upgrade
	serve(t, s)

	s.run(t, f.remove)
	s.gone(t, "/usr/bin/edge-gw", "/usr/lib/systemd/system/edge-gw.service", "/etc/systemd/system/multi-user.target.wants/edge-gw.service")
	kept()
	s.run(t, f.install+" "+next)
	kept()
	if f.purge != "" {
		s.run(t, f.purge)
		s.gone(t, f.leaves...)
	}
}

// serve runs the gateway as the unit does and asks it how it is.
func serve(t *testing.T, s *sandbox) {
	t.Helper()
	s.run(t, "install -d -o edge-gw -g edge-gw -m 0700 /var/lib/edge-gw; install -d -o edge-gw -g edge-gw -m 0755 /run/edge-gw")
	const as = "setpriv --reuid=edge-gw --regid=edge-gw --clear-groups --no-new-privs "
	s.run(t, as+"edge-gw config check --config /etc/edge-gw/gateway.yml --metrics-listen "+peer.FreeAddr(t))
	gw := s.command("umask 077; EDGE_GW_ADMIN_SOCKET=/run/edge-gw/admin.sock exec " + as +
		"edge-gw run --config /etc/edge-gw/gateway.yml --metrics-listen " + peer.FreeAddr(t))
	gw.Stdout, gw.Stderr = t.Output(), t.Output()
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	s.run(t, "for i in $(seq 300); do edge-ctl tags 2>/dev/null | grep -q demo.temperature && exit 0; sleep 0.1; done; edge-ctl status; edge-ctl tags; exit 1")
	s.run(t, "edge-gw doctor --config /etc/edge-gw/gateway.yml")
	s.run(t, "pkill -TERM -x edge-gw")
	if err := gw.Wait(); err != nil {
		t.Errorf("the gateway ended: %v", err)
	}
}

// TestReproducible: the same commit makes the same bytes.
func TestReproducible(t *testing.T) {
	again, err := makePackages(older)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(again) })
	for _, ending := range []string{".deb", ".rpm", ".tar.gz"} {
		one := file(t, older, ending)
		a, err := os.ReadFile(one)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(again, filepath.Base(one)))
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(a) != sha256.Sum256(b) {
			t.Errorf("%s was built differently the second time", filepath.Base(one))
		}
	}
	sums, err := exec.Command("sh", "-c", "cd '"+again+"' && sha256sum -c SHA256SUMS").CombinedOutput()
	if err != nil || strings.Count(string(sums), ": OK") != 3 {
		t.Errorf("SHA256SUMS: %v\n%s", err, sums)
	}
}

func TestLintian(t *testing.T) {
	out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error", file(t, older, ".deb")).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("lintian: %v", err)
	}
}

// TestUnit: systemd understands every line of the unit, and finds it well protected.
func TestUnit(t *testing.T) {
	s := newSandbox(t)
	s.run(t, deb.install+" "+s.copyIn(t, file(t, older, ".deb")))
	if out := s.run(t, "systemd-analyze verify --man=no /usr/lib/systemd/system/edge-gw.service 2>&1 | grep edge-gw || true"); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	t.Log(s.run(t, "systemd-analyze security --offline=true --threshold=20 edge-gw.service | tail -1"))
}

// TestParts: a package has what its licence and its readers ask for.
func TestParts(t *testing.T) {
	s := newSandbox(t)
	s.run(t, deb.install+" "+s.copyIn(t, file(t, older, ".deb")))
	for _, bin := range []string{"edge-gw", "edge-cfg", "edge-bus", "edge-ctl"} {
		sbom := s.run(t, "cat /usr/share/doc/edge-gateway/sbom/"+bin+".cdx.json")
		for _, part := range []string{`"bomFormat": "CycloneDX"`, `"pkg:golang/github.com/spf13/cobra@`, `"version": "` + older + `"`} {
			if !strings.Contains(sbom, part) {
				t.Errorf("the parts list of %s has no %s", bin, part)
			}
		}
	}
	s.want(t, "head -1 /usr/share/doc/edge-gateway/copyright", "edge-gateway")
	s.want(t, "edge-cfg lint /usr/share/doc/edge-gateway/examples/minimal/config >/dev/null 2>&1 && echo ok", "ok")
}
