package backup_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/backup"
)

var manifest = backup.Manifest{Gateway: "gw-1", Version: "1.2", Time: time.Unix(1763888400, 0).UTC()}

// write makes a backup of two files and two streams.
func write(t testing.TB, long []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, manifest)
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.File("instance", 0o600, []byte("abc\n")))
	for _, content := range [][]byte{long, nil} {
		name := "log"
		if content == nil {
			name = "etcd"
		}
		s, err := w.Stream(name)
		check(err)
		if err := w.File("between", 0o600, nil); !errors.Is(err, backup.ErrOpen) {
			t.Errorf("a file inside a stream: %v", err)
		}
		for len(content) > 0 {
			n := min(len(content), 1<<20+7)
			_, err := s.Write(content[:n])
			check(err)
			content = content[n:]
		}
		check(s.Close())
	}
	check(w.File("config/drivers.yml", 0o640, []byte("{}\n")))
	check(w.Close())
	return out.Bytes()
}

// noise is content that isn't the same anywhere.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestWriteAndRead(t *testing.T) {
	long := noise(9<<20 + 5)
	file := write(t, long)
	got := map[string][]byte{}
	c, err := backup.Read(bytes.NewReader(file), func(m backup.Manifest) error {
		if m.Gateway != "gw-1" || m.Format != backup.Format || !m.Time.Equal(manifest.Time) {
			t.Errorf("manifest %+v", m)
		}
		return nil
	}, func(p backup.Part, r io.Reader) error {
		if p.Stream != (p.Name == "log" || p.Name == "etcd") {
			t.Errorf("%s: stream %v", p.Name, p.Stream)
		}
		b, err := io.ReadAll(r)
		got[p.Name] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"instance": "abc\n", "log": string(long), "etcd": "", "config/drivers.yml": "{}\n"} {
		if string(got[name]) != want {
			t.Errorf("%s has %d bytes, want %d", name, len(got[name]), len(want))
		}
		if c.Names[name] != int64(len(want)) {
			t.Errorf("%s: %d bytes are told, want %d", name, c.Names[name], len(want))
		}
	}
	if len(got) != 4 {
		t.Errorf("%d parts", len(got))
	}
	// A part that isn't read to its end is checked all the same.
	if _, err := backup.Read(bytes.NewReader(file), nil, nil); err != nil {
		t.Error(err)
	}
	mine := errors.New("no room")
	if _, err := backup.Read(bytes.NewReader(file), nil, func(backup.Part, io.Reader) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("the error of who takes the parts: %v", err)
	}
}

// What people have on their machines reads it too.
func TestTarReadsIt(t *testing.T) {
	cmd := exec.Command("sh", "-c", `cd "$0" && zstd -dc | tar x && sha256sum --quiet -c SHA256SUMS && cat log/* | wc -c`, t.TempDir())
	cmd.Stdin = bytes.NewReader(write(t, noise(5<<20)))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "5242880" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestEveryCutIsFound(t *testing.T) {
	file := write(t, noise(3000))
	for n := range file {
		if _, err := backup.Read(bytes.NewReader(file[:n]), nil, nil); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut off after %d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, err := backup.Read(bytes.NewReader(append(bytes.Clone(file), "more"...)), nil, nil); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("with more behind its end: %v", err)
	}
}

func TestEveryChangeIsFound(t *testing.T) {
	file := write(t, noise(3000))
	for n := range file {
		changed := bytes.Clone(file)
		changed[n] ^= 0x10
		if c, err := backup.Read(bytes.NewReader(changed), nil, nil); err == nil {
			// A few bits of zstd's framing mean nothing; the content must be right.
			if c.Gateway != manifest.Gateway || c.Names["log"] != 3000 {
				t.Fatalf("byte %d changed: %+v", n, c)
			}
		}
	}
}

// forge makes an archive of these entries, as somebody who means harm would.
func forge(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, h := range entries {
		content := []byte(h.Linkname)
		if h.Typeflag == 0 {
			h.Typeflag, h.Linkname, h.Size = tar.TypeReg, "", int64(len(content))
		} else {
			content = nil
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestForged(t *testing.T) {
	m := tar.Header{Name: "manifest.json", Linkname: `{"format":1,"gateway":"gw-1"}`}
	for what, file := range map[string][]byte{
		"no manifest":       forge(t, tar.Header{Name: "instance", Linkname: "x"}),
		"format 0":          forge(t, tar.Header{Name: "manifest.json", Linkname: `{}`}),
		"no JSON":           forge(t, tar.Header{Name: "manifest.json", Linkname: `{`}),
		"no sums":           forge(t, m, tar.Header{Name: "instance", Linkname: "x"}),
		"wrong sums":        forge(t, m, tar.Header{Name: "SHA256SUMS", Linkname: "x"}),
		"out of its place":  forge(t, m, tar.Header{Name: "../evil", Linkname: "x"}),
		"from the root":     forge(t, m, tar.Header{Name: "/etc/passwd", Linkname: "x"}),
		"a link":            forge(t, m, tar.Header{Name: "log", Typeflag: tar.TypeSymlink, Linkname: "/etc"}),
		"a directory":       forge(t, m, tar.Header{Name: "log/", Typeflag: tar.TypeDir}),
		"twice":             forge(t, m, tar.Header{Name: "a", Linkname: "x"}, tar.Header{Name: "a", Linkname: "x"}),
		"a stream twice":    forge(t, m, tar.Header{Name: "s/000000"}, tar.Header{Name: "s/000001"}, tar.Header{Name: "a"}, tar.Header{Name: "s/000000"}),
		"nothing":           nil,
		"an empty archive":  forge(t),
		"no zstd":           []byte("hello, this is no backup"),
		"a line in a name":  forge(t, m, tar.Header{Name: "a\nb", Linkname: "x"}),
		"the manifest late": forge(t, tar.Header{Name: "SHA256SUMS", Linkname: ""}, m),
	} {
		_, err := backup.Read(bytes.NewReader(file), nil, func(p backup.Part, _ io.Reader) error {
			if strings.Contains(p.Name, "..") || strings.HasPrefix(p.Name, "/") {
				t.Errorf("%s: %q was handed out", what, p.Name)
			}
			return nil
		})
		if !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	newer := forge(t, tar.Header{Name: "manifest.json", Linkname: `{"format":2,"version":"9.9"}`})
	if _, err := backup.Read(bytes.NewReader(newer), nil, nil); !errors.Is(err, backup.ErrNewer) || !strings.Contains(err.Error(), "9.9") {
		t.Errorf("a newer one: %v", err)
	}
}

// TestMakerOfABackupFillsNoMemory: neither many parts nor a checksum file without end take
// more memory than a usual backup.
func TestMakerOfABackupFillsNoMemory(t *testing.T) {
	m := tar.Header{Name: "manifest.json", Linkname: `{"format":1,"gateway":"gw-1"}`}
	many := []tar.Header{m}
	for i := range 10_001 {
		many = append(many, tar.Header{Name: fmt.Sprintf("%0200d", i)})
	}
	large := tar.Header{Name: "manifest.json", Linkname: strings.Repeat(" ", 1<<20) + "{}"}
	sums := forge(t, m, tar.Header{Name: "SHA256SUMS", Linkname: strings.Repeat("0", 64<<20)})
	for name, file := range map[string][]byte{"parts": forge(t, many...), "manifest": forge(t, large), "sums": sums} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := backup.Read(bytes.NewReader(file), nil, nil)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, backup.ErrDamaged) || took > 60<<20 {
			t.Errorf("%s: %v, %d MiB", name, err, took>>20)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(write(f, noise(300)))
	f.Add(forge(f, tar.Header{Name: "manifest.json", Linkname: `{"format":1}`}, tar.Header{Name: "s/000000", Linkname: "x"}))
	f.Fuzz(func(t *testing.T, file []byte) {
		sizes := map[string]int64{}
		c, err := backup.Read(bytes.NewReader(file), nil, func(p backup.Part, r io.Reader) error {
			n, err := io.Copy(io.Discard, r)
			sizes[p.Name] = n
			return err
		})
		if err != nil {
			if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrNewer) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		for name, n := range c.Names {
			if sizes[name] != n {
				t.Errorf("%s: %d bytes were read, %d are told", name, sizes[name], n)
			}
		}
	})
}
