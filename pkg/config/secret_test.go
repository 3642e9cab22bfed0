package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	dir := t.TempDir()
	for path, content := range map[string]string{
		outside:                         "stolen",
		filepath.Join(dir, "pw"):        "s3cret\n",
		filepath.Join(dir, "two"):       "a\nb\r\n",
		filepath.Join(dir, "empty"):     "",
		filepath.Join(dir, "large.pem"): strings.Repeat("x", maxSecretBytes+1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": outside, "inside": "pw", "up": "../" + filepath.Base(dir) + "/../x"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"EDGE_SECRET_A": "from env", "HOME": "/root"}
	s := Secrets{Dir: dir, Lookup: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}
	for value, want := range map[string]string{
		"plain": "plain", "": "", "$x": "$x", "${x}": "${x}",
		"${file:pw}": "s3cret", "${file:two}": "a\nb", "${file:empty}": "", "${file:inside}": "s3cret",
		"${env:EDGE_SECRET_A}": "from env",
	} {
		if got, err := s.Resolve(value); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v; want %q", value, got, err, want)
		}
	}
	for value, want := range map[string]string{
		"${file:nothing}":           "no such file",
		"${file:link}":              "escapes",
		"${file:up}":                "escapes",
		"${file:../outside}":        "expected ${file:NAME}",
		"${file:" + outside + "}":   "expected ${file:NAME}",
		"${file:..}":                "",
		"${file:.}":                 "not a regular file",
		"${file:sub}":               "not a regular file",
		"${file:large.pem}":         "larger than 64 KiB",
		"${env:HOME}":               "expected ${file:NAME}",
		"${env:EDGE_SECRET_B}":      "the environment has no EDGE_SECRET_B",
		"pre${file:pw}":             "expected ${file:NAME}",
		"${file:pw}${file:pw}":      "expected ${file:NAME}",
		"${env:EDGE_SECRET_A} tail": "expected ${file:NAME}",
	} {
		got, err := s.Resolve(value)
		if err == nil || got != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q) = %q, %v; want an error with %q", value, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	if _, err := (Secrets{}).Resolve("${file:pw}"); err == nil {
		t.Error("a secret without a directory")
	}
}
