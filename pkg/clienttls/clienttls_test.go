package clienttls

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// pair makes a certificate and its key with openssl.
func pair(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-keyout", key, "-out", cert, "-subj", "/CN=edge").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	return cert, key
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir)
	otherCert, _ := pair(t, t.TempDir())
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files Files
		kind  error
		want  string
	}{
		{Files{}, nil, ""},
		{Files{CA: cert, Cert: cert, Key: key}, nil, ""},
		{Files{CA: "/dev/zero"}, ErrCA, "device"},
		{Files{CA: pipe}, ErrCA, "named pipe"},
		{Files{CA: empty}, ErrCA, "no certificate in PEM"},
		{Files{Cert: cert}, ErrCert, "a certificate needs its key"},
		{Files{Cert: cert, Key: pipe}, ErrCert, "named pipe"},
		{Files{Cert: otherCert, Key: key}, ErrCert, "private key does not match"},
	} {
		config, err := c.files.Config()
		if !errors.Is(err, c.kind) || (err == nil) != (config != nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.files, err, c.want)
		}
	}
}
