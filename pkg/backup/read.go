package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// Part is a file or a stream of a backup.
type Part struct {
	Name   string
	Mode   os.FileMode // of a file
	Stream bool
}

// Contents is what was read of a backup.
type Contents struct {
	Manifest
	Names map[string]int64 // the parts, and how many bytes each had
}

// Read reads a backup to its end, calls begin with the manifest and then part with
// each part, and checks everything. What part is given is only known to be right
// when Read has returned nil: read a backup once for the checks before it is put
// anywhere. part need not read all of r; nil for both only checks.
//
// The error wraps [ErrDamaged] or [ErrNewer], or is one of begin or part.
func Read(r io.Reader, begin func(Manifest) error, part func(p Part, r io.Reader) error) (*Contents, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	defer z.Close()
	if part == nil {
		part = func(Part, io.Reader) error { return nil }
	}
	b := &reader{tar: tar.NewReader(z), sums: sha256.New(), c: &Contents{Names: map[string]int64{}}}
	if err := b.manifest(); err != nil {
		return nil, err
	}
	if begin != nil {
		if err := begin(b.c.Manifest); err != nil {
			return nil, err
		}
	}
	for b.next(); b.head != nil; {
		if err := b.part(part); err != nil {
			return nil, err
		}
	}
	if b.err != nil {
		return nil, b.err
	}
	if _, err := io.Copy(io.Discard, z); err != nil { // its own checksum stands at its end
		return nil, damaged(err)
	}
	return b.c, nil
}

func damaged(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) }

type reader struct {
	tar  *tar.Reader
	c    *Contents
	sums hash.Hash // of the lines of SHA256SUMS
	n    int

	head *tar.Header // of the entry that comes next; nil behind the last
	err  error       // what is wrong with the entry after head
}

// next reads the header of the next entry, and the end of the archive behind the
// sums.
func (b *reader) next() {
	b.head = nil
	h, err := b.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		b.err = fmt.Errorf("%w: it ends after %d entries, without its checksums", ErrDamaged, b.n)
	case err != nil:
		b.err = damaged(err)
	case h.Name == sumsName:
		b.err = b.end()
	default:
		b.head, b.err = h, b.check(h)
		if b.err != nil {
			b.head = nil
		}
	}
}

func (b *reader) check(h *tar.Header) error {
	if b.n++; b.n > maxEntries {
		return fmt.Errorf("%w: it has more than %d entries", ErrDamaged, maxEntries)
	}
	if h.Typeflag != tar.TypeReg || h.Size < 0 {
		return fmt.Errorf("%w: %.80q is not a file", ErrDamaged, h.Name)
	}
	return validName(h.Name)
}

// end compares the sums and sees that nothing follows.
func (b *reader) end() error {
	got := sha256.New()
	if _, err := io.Copy(got, b.tar); err != nil {
		return damaged(err)
	}
	if !bytes.Equal(got.Sum(nil), b.sums.Sum(nil)) {
		return fmt.Errorf("%w: its checksums differ: it was changed", ErrDamaged)
	}
	if _, err := b.tar.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something stands behind its end", ErrDamaged)
	}
	return nil
}

func (b *reader) manifest() error {
	b.next()
	if b.err != nil {
		return b.err
	}
	if b.head == nil || b.head.Name != manifestName || b.head.Size > maxManifest {
		return fmt.Errorf("%w: it does not begin with %s", ErrDamaged, manifestName)
	}
	text, err := io.ReadAll(b.tar)
	if err != nil {
		return damaged(err)
	}
	b.sum(manifestName, sha256.Sum256(text))
	if err := json.Unmarshal(text, &b.c.Manifest); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, manifestName, err)
	}
	switch f := b.c.Format; {
	case f > Format:
		return fmt.Errorf("%w: format %d, this release reads %d; restore it with edge-gw %.80s", ErrNewer, f, Format, b.c.Version)
	case f < 1:
		return fmt.Errorf("%w: format %d", ErrDamaged, f)
	}
	return nil
}

func (b *reader) sum(name string, sum [32]byte) { fmt.Fprintf(b.sums, "%x  %s\n", sum, name) }

// part hands the entry at head to handle, with the entries that go on with it.
func (b *reader) part(handle func(Part, io.Reader) error) error {
	p := Part{Name: b.head.Name, Mode: os.FileMode(b.head.Mode).Perm()}
	if dir, piece := path.Split(b.head.Name); dir != "" && piece == pieceName(0) {
		p.Name, p.Stream = path.Clean(dir), true
	}
	if _, twice := b.c.Names[p.Name]; twice {
		return fmt.Errorf("%w: %q stands twice in it", ErrDamaged, p.Name)
	}
	if len(b.c.Names) >= maxParts {
		return fmt.Errorf("%w: it has more than %d parts", ErrDamaged, maxParts)
	}
	in := &partReader{b: b, part: p, hash: sha256.New()}
	err := handle(p, in)
	if err == nil || in.err != nil {
		_, err = io.Copy(io.Discard, in) // to the end, for the sums
	}
	b.c.Names[p.Name] = in.size
	return err
}

func pieceName(n int) string {
	text := strconv.Itoa(n)
	for len(text) < 6 {
		text = "0" + text
	}
	return text
}
