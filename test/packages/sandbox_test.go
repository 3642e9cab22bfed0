package packages

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sandbox is a copy of this machine's files: an overlay in a mount namespace of its
// own, without an init system, as in a container.
type sandbox struct {
	pid  int
	root string
}

const mounts = `set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=0755 none "$1/root/run"
mount -t tmpfs -o mode=1777 none "$1/root/tmp"
echo ready
exec cat
`

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("packages can only be installed by root")
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--mount", "sh", "-c", mounts, "sh", dir)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends cat, and with the last process the namespace
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("no sandbox: %q, %v", line, err)
	}
	return &sandbox{pid: cmd.Process.Pid, root: filepath.Join(dir, "root")}
}

// command runs a command line in the sandbox.
func (s *sandbox) command(line string) *exec.Cmd {
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(s.pid), "-m", "chroot", s.root, "sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// run returns what a command line printed; one that fails ends the test.
func (s *sandbox) run(t *testing.T, line string) string {
	t.Helper()
	out, err := s.command(line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// want fails unless a command line prints what is expected.
func (s *sandbox) want(t *testing.T, line, expected string) {
	t.Helper()
	if got := s.run(t, line); got != expected {
		t.Errorf("%s: got %q, expected %q", line, got, expected)
	}
}

// gone fails for each path that exists.
func (s *sandbox) gone(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if s.command("test ! -e "+p).Run() != nil {
			t.Errorf("%s is still there", p)
		}
	}
}

// copyIn puts a file of this machine into the sandbox's /tmp.
func (s *sandbox) copyIn(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	name := "/tmp/" + filepath.Base(file)
	cmd := s.command("cat > '" + name + "'")
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}
