package e2e

import (
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestGroupReachesTheSocket does what docs/operator.md says of users: the packaged unit
// puts the admin socket where the commands look for it, in a directory that others may
// pass through; a member of admin.group uses it, and somebody else is told what to do.
func TestGroupReachesTheSocket(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("../../packaging/edge-gw.service")
	must(t, err)
	for _, line := range []string{"RuntimeDirectory=edge-gw", "RuntimeDirectoryMode=0755", "Environment=EDGE_GW_ADMIN_SOCKET=/run/edge-gw/admin.sock"} {
		if !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(line) + "$").Match(unit) {
			t.Errorf("the unit has no %s", line)
		}
	}
	if os.Getuid() != 0 {
		return // other users can't be played; .ci/run is root's
	}
	run := publicDir(t) // as systemd makes /run/edge-gw
	socket := filepath.Join(run, "admin.sock")
	gw := peer.NewGateway(t, "admin: {socket: "+socket+", mode: \"0660\", group: games}\n", tables("127.0.0.1:1", 1, "1s"))
	gw.Start(t)
	peer.WaitFor(t, 20*time.Second, "the socket", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	ctl := filepath.Join(publicDir(t), "edge-ctl")
	copyFile(t, peer.Build(t, "edge-ctl"), ctl)
	group, err := user.LookupGroup("games")
	must(t, err)
	gid, err := strconv.Atoi(group.Gid)
	must(t, err)
	as := func(groups ...uint32) (string, int) {
		cmd := exec.Command(ctl, "--socket", socket, "status")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: groups}}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := as(uint32(gid)); code != 0 || !strings.Contains(out, "gw-test") {
		t.Errorf("a member of the group: exit code %d\n%s", code, out)
	}
	if out, code := as(); code != 2 || !strings.Contains(out, "admin.group") {
		t.Errorf("somebody else: exit code %d\n%s", code, out)
	}
}

// publicDir is a directory that every user may pass through.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge-public")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, err)
	must(t, out.Close())
	must(t, os.Chmod(to, 0o755))
}
