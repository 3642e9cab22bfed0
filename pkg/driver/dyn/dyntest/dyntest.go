// Package dyntest helps to test drivers of kind dyn: a directory where they may be installed,
// and the test's own binary as a driver.
package dyntest

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn"
)

// Dir makes a directory from which drivers are run, until the test ends. A test's usual
// directories are below /tmp, where everybody may write.
func Dir(t testing.TB) string {
	t.Helper()
	var bases []string
	for _, base := range []func() (string, error){os.UserCacheDir, os.UserHomeDir} {
		if dir, err := base(); err == nil {
			bases = append(bases, dir)
		}
	}
	bases = append(bases, "/var/lib", "/opt")
	var last error
	for _, base := range bases {
		if last = os.MkdirAll(base, 0o755); last != nil {
			continue
		}
		if last = dyn.CheckDir(base); last != nil {
			continue
		}
		dir, err := os.MkdirTemp(base, "edge-gw-drivers-*")
		if last = err; err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	t.Fatalf("no directory is fit for drivers: %v", last)
	return ""
}

// Install copies an executable to a name in dir.
func Install(t testing.TB, dir, name, executable string) {
	t.Helper()
	in, err := os.Open(executable)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }() // only read
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", 0o755); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// InstallSelf copies the test's own binary to a name in dir. Its TestMain must run the driver
// when sdk.Started says so.
func InstallSelf(t testing.TB, dir, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	Install(t, dir, name, self)
}
