//go:build linux

package dyn

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// trustedDir makes a directory that only root and this user may write to.
func trustedDir(t *testing.T) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err == nil {
		err = os.MkdirAll(base, 0o755)
	}
	if err != nil || CheckDir(base) != nil {
		base = "/var/lib"
	}
	dir, err := os.MkdirTemp(base, "edge-gw-files-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestAttacks is what somebody who may push tables can try, or who may write somewhere on the
// machine: each is refused, and the reason is told.
func TestAttacks(t *testing.T) {
	root := trustedDir(t)
	dir := filepath.Join(root, "drivers")
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	elf := "\x7fELF and so on"
	write("good", elf, 0o755)
	write("sub/libgood.so", elf, 0o755)
	write("../outside", elf, 0o755)
	write("plain", elf, 0o644)
	write("writable", elf, 0o777)
	write("group", elf, 0o775)
	write("setuid", elf, 0o755|os.ModeSetuid)
	write("setgid", elf, 0o755|os.ModeSetgid)
	write("open/good", elf, 0o755)
	must(os.Chmod(filepath.Join(dir, "open"), 0o777))
	must(os.Symlink("good", filepath.Join(dir, "link")))
	must(os.Symlink("sub", filepath.Join(dir, "linkdir")))
	must(os.Symlink("/", filepath.Join(dir, "rootlink")))
	must(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o755))
	tmp := filepath.Join(t.TempDir(), "sh")
	must(os.WriteFile(tmp, []byte(elf), 0o755))
	must(os.Symlink("/bin/sh", filepath.Join(filepath.Dir(tmp), "link")))
	write("script", "#!/bin/sh\nexit\n", 0o755)
	write("script-elsewhere", "#!"+tmp+"\n", 0o755)
	write("script-by-link", "#!"+filepath.Dir(tmp)+"/link\n", 0o755)
	write("script-env", "#!/usr/bin/env python3\n", 0o755)
	write("script-relative", "#!sh\n", 0o755)
	write("script-nothing", "#!\n", 0o755)
	write("script-endless", "#!"+strings.Repeat("/a", 300), 0o755)
	write("script-missing", "#!/no/such/interpreter\n", 0o755)
	other := filepath.Join(dir, "foreign")
	write("foreign", elf, 0o755)
	foreign := "belongs to user"
	if err := os.Chown(other, 12345, 12345); err != nil {
		foreign = "" // only root can give a file away
	}
	sum := sha256.Sum256([]byte(elf))

	for path, want := range map[string]string{
		"good": "", "sub/libgood.so": "", "script": "", "foreign": foreign,

		"../outside":                      "stays below drivers_dir",
		"sub/../../outside":               "stays below drivers_dir",
		"./good":                          "stays below drivers_dir",
		"":                                "stays below drivers_dir",
		".":                               "stays below drivers_dir",
		"sub//libgood.so":                 "stays below drivers_dir",
		filepath.Join(dir, "good"):        "relative to drivers_dir",
		"/bin/sh":                         "relative to drivers_dir",
		tmp:                               "relative to drivers_dir",
		`..\outside`:                      `without \`,
		"good\x00":                        `without \`,
		"no-such":                         "is not installed",
		"sub/no-such":                     "is not installed",
		"good/below":                      "symbolic link, or no directory",
		"link":                            "symbolic link",
		"linkdir/libgood.so":              "symbolic link",
		"rootlink/bin/sh":                 "symbolic link",
		"sub":                             "expected a regular file",
		"pipe":                            "expected a regular file",
		"plain":                           "chmod +x",
		"writable":                        "chmod go-w",
		"group":                           "chmod go-w",
		"open/good":                       "others than its owner may write to",
		"setuid":                          "set-user-id",
		"setgid":                          "set-group-id",
		"script-elsewhere":                "others than its owner may write to",
		"script-by-link":                  "others than its owner may write to",
		"script-env":                      "env looks its interpreter up",
		"script-relative":                 "not an absolute path",
		"script-nothing":                  "names no interpreter",
		"script-endless":                  "names no interpreter",
		"script-missing":                  "no such file",
		"sub/" + strings.Repeat("x", 300): "name too long",
	} {
		f, err := locate(dir, path, "")
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", path, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want an error with %q", path, err, want)
		case err != nil:
			if fields := config.FieldErrors(err); len(fields) != 1 || fields[0].Path[0] != "path" {
				t.Errorf("%q: the error %v names no field", path, err)
			}
		}
		if f != nil {
			_ = f.Close()
		}
	}
	if _, err := locate(dir, "good", strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), hex.EncodeToString(sum[:])) {
		t.Errorf("another sha256: %v", err)
	}
	if _, err := locate(dir, "good", hex.EncodeToString(sum[:])); err != nil {
		t.Errorf("its sha256: %v", err)
	}
	if _, err := locate(filepath.Join(root, "none"), "good", ""); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("without a directory: %v", err)
	}

	// A directory above counts as well, and a link to it where it leads.
	must(os.Symlink(dir, filepath.Join(root, "here")))
	if _, err := locate(filepath.Join(root, "here"), "good", ""); err != nil {
		t.Errorf("over a link to the directory: %v", err)
	}
	must(os.Chmod(root, 0o777))
	if _, err := locate(dir, "good", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("below a directory that others may write to: %v", err)
	}
	must(os.Symlink(dir, filepath.Join(filepath.Dir(tmp), "drivers")))
	must(os.Chmod(root, 0o755))
	if err := os.MkdirAll(filepath.Join(filepath.Dir(tmp), "own"), 0o755); err != nil {
		t.Fatal(err)
	}
	must(os.WriteFile(filepath.Join(filepath.Dir(tmp), "own", "good"), []byte(elf), 0o755))
	if _, err := locate(filepath.Join(filepath.Dir(tmp), "own"), "good", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("in /tmp: %v", err)
	}
}

// TestDefaultDir: lint, which has no gateway.yml, looks where gateways do.
func TestDefaultDir(t *testing.T) {
	text, err := schemas.FS.ReadFile("gateway.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Properties struct {
			Dir struct{ Default string } `json:"drivers_dir"`
		}
	}
	if err := json.Unmarshal(text, &s); err != nil || s.Properties.Dir.Default != DefaultDir {
		t.Errorf("the schema says %q, the package %q, %v", s.Properties.Dir.Default, DefaultDir, err)
	}
}
