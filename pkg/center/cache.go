package center

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// NewestCacheFormat is the version of the cache file that this release writes.
const NewestCacheFormat = 1

// CacheFormat returns the version of a cache file; [ErrFormat] if this release
// doesn't know it.
func CacheFormat(path string) (int, error) {
	file, err := regular.Open(path)
	if err != nil {
		return 0, fmt.Errorf("configuration cache: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	var c struct {
		Format int `json:"format"`
	}
	if err := json.NewDecoder(file).Decode(&c); err != nil {
		return 0, fmt.Errorf("configuration cache %s: %w: %w", path, ErrDamaged, err)
	}
	if c.Format < 1 || c.Format > NewestCacheFormat {
		return c.Format, fmt.Errorf("configuration cache %s: %w: format %d, and this version reads format %d", path, ErrFormat, c.Format, NewestCacheFormat)
	}
	return c.Format, nil
}

// cacheFile is the gateway's own copy of the last configuration that it ran, so
// that it starts without the store. One line of JSON, then the document's chunks,
// each behind its length (4 bytes, big-endian).
type cacheFile struct {
	path  string
	codec *codec
}

// cached is the content of the file.
type cached struct {
	Format int       `json:"format"`
	Prefix string    `json:"prefix"`
	Rev    int64     `json:"rev"`
	Commit Commit    `json:"commit"`
	Head   docHeader `json:"document"`
	Bad    *verdict  `json:"bad,omitempty"`

	doc *config.Document
}

// verdict is what became of a commit that doesn't run.
type verdict struct {
	Rev     int64  `json:"rev"`
	ID      string `json:"id"`               // of the commit
	SHA256  string `json:"sha256,omitempty"` // of the document, where the commit isn't known
	State   State  `json:"state"`
	Error   string `json:"error"`
	Version string `json:"version"`           // of edge-gw: another one may be able to run it
	ByHand  bool   `json:"by_hand,omitempty"` // a person put this gateway back

	// Side is the document where the commit has two, of a rollout.
	Side     string `json:"side,omitempty"`
	Unsigned bool   `json:"unsigned,omitempty"` // it was refused for its signature
}

// save replaces the file, so that a crash leaves the old or the new one.
func (f cacheFile) save(c cached) error {
	head, chunks, err := f.codec.encode(c.doc)
	if err == nil {
		c.Head, err = parseHeader(head)
	}
	if err != nil {
		return fmt.Errorf("configuration cache: %w", err)
	}
	c.Format, c.Rev = NewestCacheFormat, c.Commit.Rev
	c.Commit.Delta = nil
	first, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("configuration cache: %w", err)
	}
	var b bytes.Buffer
	b.Write(first)
	b.WriteByte('\n')
	for _, chunk := range chunks {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(chunk))))
		b.Write(chunk)
	}
	if err := durable.WriteFile(f.path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("configuration cache: %w", err)
	}
	return nil
}

// load reads the file. Without one, or with one of another prefix or format, it
// returns nil.
func (f cacheFile) load(prefix string) (*cached, error) {
	file, err := regular.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration cache: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	c, err := f.read(bufio.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("configuration cache %s: %w", f.path, err)
	}
	if c.Prefix != prefix {
		return nil, nil
	}
	return c, nil
}

func (f cacheFile) read(r *bufio.Reader) (*cached, error) {
	first, err := r.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	var c cached
	if err := json.Unmarshal(first, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.Format != NewestCacheFormat {
		return nil, fmt.Errorf("%w: format %d, and this version reads format %d", ErrFormat, c.Format, NewestCacheFormat)
	}
	c.Commit.Rev = c.Rev
	head, err := json.Marshal(c.Head)
	if err == nil {
		_, err = parseHeader(head)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	chunks := make([][]byte, c.Head.Chunks)
	for i := range chunks {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > 1<<20 {
			return nil, fmt.Errorf("%w: a chunk of %d bytes is not possible", ErrDamaged, n)
		}
		chunks[i] = make([]byte, n)
		if _, err := io.ReadFull(r, chunks[i]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if c.doc, err = f.codec.decode(head, chunks); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.doc.SHA256() != c.Commit.SHA256 {
		return nil, fmt.Errorf("%w: the document has the hash %.12s, expected %.12s", ErrDamaged, c.doc.SHA256(), c.Commit.SHA256)
	}
	return &c, nil
}
