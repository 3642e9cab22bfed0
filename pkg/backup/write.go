package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Writer writes a backup. Only one goroutine may use it.
type Writer struct {
	zip  *zstd.Encoder
	tar  *tar.Writer
	time time.Time
	sums bytes.Buffer
	open bool // a stream is
}

// NewWriter begins a backup; it fills in the manifest's format.
func NewWriter(w io.Writer, m Manifest) (*Writer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	b := &Writer{zip: z, tar: tar.NewWriter(z), time: m.Time}
	m.Format = Format
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return b, b.File(manifestName, 0o600, append(text, '\n'))
}

// File adds a file.
func (b *Writer) File(name string, mode os.FileMode, content []byte) error {
	if b.open {
		return ErrOpen
	}
	return b.entry(name, mode, content)
}

func (b *Writer) entry(name string, mode os.FileMode, content []byte) error {
	if err := validName(name); err != nil {
		return err
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(mode.Perm()), Size: int64(len(content)), ModTime: b.time}
	err := b.tar.WriteHeader(h)
	if err == nil {
		_, err = b.tar.Write(content)
	}
	if err != nil {
		return fmt.Errorf("backup: %s: %w", name, err)
	}
	fmt.Fprintf(&b.sums, "%x  %s\n", sha256.Sum256(content), name)
	return nil
}

// Stream begins a part whose length isn't known. It must be closed before the next
// part.
func (b *Writer) Stream(name string) (io.WriteCloser, error) {
	if b.open {
		return nil, ErrOpen
	}
	b.open = true
	return &streamWriter{b: b, name: name}, nil
}

// Close completes the backup. One that isn't closed is not a backup.
func (b *Writer) Close() error {
	if b.open {
		return ErrOpen
	}
	if err := b.entry(sumsName, 0o600, bytes.Clone(b.sums.Bytes())); err != nil {
		return err
	}
	err := b.tar.Close()
	if err == nil {
		err = b.zip.Close()
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// streamWriter cuts a stream into entries.
type streamWriter struct {
	b     *Writer
	name  string
	piece []byte
	n     int
}

func (s *streamWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		k := min(len(p), pieceSize-len(s.piece))
		s.piece, p = append(s.piece, p[:k]...), p[k:]
		if len(s.piece) == pieceSize {
			if err := s.flush(); err != nil {
				return done, err
			}
		}
		done += k
	}
	return done, nil
}

func (s *streamWriter) flush() error {
	err := s.b.entry(fmt.Sprintf("%s/%06d", s.name, s.n), 0o600, s.piece)
	s.piece = s.piece[:0]
	s.n++
	return err
}

// Close writes the rest. An empty stream is one empty piece.
func (s *streamWriter) Close() error {
	s.b.open = false
	if len(s.piece) > 0 || s.n == 0 {
		return s.flush()
	}
	return nil
}
