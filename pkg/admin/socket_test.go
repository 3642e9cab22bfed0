package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// dialEnv makes this program a client that dials, writes a tag, and says what it
// was told.
const dialEnv = "ADMIN_TEST_DIAL"

func TestMain(m *testing.M) {
	if socket := os.Getenv(dialEnv); socket != "" {
		c, err := admin.Dial(context.Background(), socket)
		if err == nil {
			_, err = c.Tags.WriteTag(context.Background(), &pb.WriteTagRequest{Tag: "line.a", Value: pb.ValueOf(frame.IntValue(1))})
		}
		fmt.Println(err)
		os.Exit(0)
	}
	if os.Getenv(walkEnv) != "" {
		if err := walk(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// nobody is the user id that has no rights.
const nobody = 65534

// asNobody runs a client under another user and returns what it was told.
func asNobody(t *testing.T, dir, socket string) string {
	t.Helper()
	return runAsNobody(t, clientIn(t, dir), dialEnv+"="+socket)
}

// clientIn copies this program to where everybody may enter: it lies where nobody else may.
// It must not be copied while another test starts a program, which would hold it open.
func clientIn(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "client")
	copyFile(t, self, program)
	return program
}

// runAsNobody runs the program under another user and returns its first line.
func runAsNobody(t *testing.T, program string, env ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test must run as root, to become another user")
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = env
	cmd.Dir = filepath.Dir(program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("client: %v: %s", err, out)
	}
	first, _, _ := strings.Cut(string(out), "\n") // a complaint follows when coverage is measured
	return first + "\n"
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// openDir is a directory that everybody may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAnotherUserIsRefused(t *testing.T) {
	dir := openDir(t)
	s := admintest.Start(t, admintest.New().Backend(), func(c *admin.Config) { c.Socket = filepath.Join(dir, "admin.sock") })
	got := asNobody(t, dir, s.Socket)
	for _, want := range []string{"may not use " + s.Socket, "belongs to root:root", "0600", "sudo", "admin.group"} {
		if !strings.Contains(got, want) {
			t.Errorf("the client was told %q, which lacks %q", got, want)
		}
	}
	if len(s.Audits()) != 0 {
		t.Errorf("its call came through: %+v", s.Audits())
	}
}

func TestModeAndGroupLetOthersInAndTheAuditNamesThem(t *testing.T) {
	dir := openDir(t)
	s := admintest.Start(t, admintest.New().Backend(), func(c *admin.Config) {
		c.Socket, c.Mode, c.Group = filepath.Join(dir, "admin.sock"), 0o660, "65534"
	})
	info, err := os.Stat(s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o660 || st.Gid != nobody || st.Uid != 0 {
		t.Errorf("socket has mode %#o, owner %d:%d", info.Mode().Perm(), st.Uid, st.Gid)
	}
	if got := asNobody(t, dir, s.Socket); got != "<nil>\n" {
		t.Fatalf("the client was told %q", got)
	}
	audits := s.Audits()
	if len(audits) != 1 || audits[0].Peer.UID != nobody || audits[0].Peer.GID != nobody || audits[0].Peer.PID == int32(os.Getpid()) {
		t.Errorf("audited: %+v", audits)
	}
}

func TestSocketIsPrivateByDefault(t *testing.T) {
	s := admintest.Start(t, admin.Backend{})
	info, err := os.Stat(s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %#o", info.Mode().Perm())
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var gone *admin.UnreachableError
	if _, err := admin.Dial(t.Context(), path); !errors.As(err, &gone) || !strings.Contains(err.Error(), "nobody listens on") {
		t.Errorf("dial: %v", err)
	}
	s := admintest.Start(t, admintest.New().Backend(), func(c *admin.Config) { c.Socket = path })
	if _, err := admintest.Dial(t, s).Status.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestASocketInUseIsLeftAlone(t *testing.T) {
	s := admintest.Start(t, admintest.New().Backend())
	if _, err := admintest.Serve(admin.Config{Socket: s.Socket}, admin.Backend{}); !errors.Is(err, admin.ErrSocketInUse) {
		t.Errorf("second server: %v", err)
	}
	if _, err := admintest.Dial(t, s).Status.GetStatus(t.Context(), &pb.GetStatusRequest{}); err != nil {
		t.Errorf("first server: %v", err)
	}
}

func TestBadSockets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		cfg  admin.Config
		want string
	}{
		{admin.Config{}, "expected the path of a file"},
		{admin.Config{Socket: "@abstract"}, "expected the path of a file"},
		{admin.Config{Socket: "relative.sock"}, "expected an absolute path"},
		{admin.Config{Socket: file}, "not a socket"},
		{admin.Config{Socket: filepath.Join(dir, strings.Repeat("x", 120))}, "the system takes 107"},
		{admin.Config{Socket: filepath.Join(dir, "none", "admin.sock")}, "no such file or directory"},
		{admin.Config{Socket: filepath.Join(dir, "s"), Group: "no-such-group"}, "admin.group"},
		{admin.Config{Socket: filepath.Join(dir, "s"), Mode: 0o10600}, "three octal digits"},
	} {
		s, err := admintest.Serve(tc.cfg, admin.Backend{})
		if err == nil {
			_ = s.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.cfg, err, tc.want)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file was touched: %q, %v", data, err)
	}
}

func TestDialSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.sock"): "Is the gateway running?",
		file:                            "is not a socket",
		filepath.Join(dir, strings.Repeat("x", 120)): "too long",
	} {
		var gone *admin.UnreachableError
		_, err := admin.Dial(t.Context(), path)
		if !errors.As(err, &gone) || errkind.ExitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// TestIdleConnectionsOfOneUserLockNobodyOut: as many connections as one user may have
// say nothing; another user, and after a while the first, get through.
func TestIdleConnectionsOfOneUserLockNobodyOut(t *testing.T) {
	dir := openDir(t)
	s := admintest.Start(t, admintest.New().Backend(), func(c *admin.Config) {
		c.Socket, c.Mode = filepath.Join(dir, "admin.sock"), 0o666
	})
	refused := 0
	for range 300 {
		c, err := net.Dial("unix", s.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := c.Read(make([]byte, 64)); errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				refused++
				break
			}
		}
	}
	if refused < 100 {
		t.Errorf("%d of 300 connections of one user were refused", refused)
	}
	if got := asNobody(t, dir, s.Socket); got != "<nil>\n" {
		t.Errorf("another user was told %s", got)
	}
}

// TestRoles: another user may do what its role allows, and no more.
func TestRoles(t *testing.T) {
	for _, x := range []struct {
		roles admin.Roles
		ok    bool
	}{
		{admin.Roles{}, true},
		{admin.Roles{View: []string{"user:65534"}}, false},
		{admin.Roles{Operate: []string{"user:65534"}}, false},
		{admin.Roles{Write: []string{"user:65534"}}, true},
		{admin.Roles{Write: []string{"group:65534"}}, true},
		{admin.Roles{Maintain: []string{"user:65534"}, View: []string{"group:65534"}}, true},
		{admin.Roles{Maintain: []string{"user:0"}}, false},
	} {
		dir := openDir(t)
		s := admintest.Start(t, admintest.New().Backend(), func(c *admin.Config) {
			c.Socket, c.Mode, c.Roles = filepath.Join(dir, "admin.sock"), 0o666, x.roles
		})
		got := asNobody(t, dir, s.Socket)
		if (got == "<nil>\n") != x.ok || !x.ok && !strings.Contains(got, "needs the role write") {
			t.Errorf("%+v: %s", x.roles, got)
		}
		if audits := s.Audits(); len(audits) != 1 || (audits[0].Code == "OK") != x.ok {
			t.Errorf("%+v: audits %+v", x.roles, audits)
		}
		if _, err := admintest.Dial(t, s).Tags.WriteTag(t.Context(), &pb.WriteTagRequest{Tag: "line.a", Value: pb.ValueOf(frame.IntValue(1))}); err != nil {
			t.Errorf("%+v: root: %v", x.roles, err)
		}
	}
	for _, bad := range []string{"nobody", "user:", "user:no-such-user", "group:no-such-group", "role:x"} {
		if _, err := admintest.Serve(admin.Config{Socket: filepath.Join(t.TempDir(), "s"), Roles: admin.Roles{View: []string{bad}}}, admintest.New().Backend()); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
