package center

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// KeepCache copies a follower's cache file to another path, if it holds the document
// with the hash sha.
func KeepCache(cache, path, sha string) error {
	text, err := regular.ReadFile(cache, 1<<30)
	if err != nil {
		return fmt.Errorf("configuration cache: %w", err)
	}
	var c cached
	first, _, _ := bytes.Cut(text, []byte{'\n'})
	if err := json.Unmarshal(first, &c); err != nil {
		return fmt.Errorf("configuration cache %s: %w: %w", cache, ErrDamaged, err)
	}
	if c.Commit.SHA256 != sha {
		return fmt.Errorf("configuration cache %s holds the document %.12s, not %.12s", cache, c.Commit.SHA256, sha)
	}
	return durable.WriteFile(path, text, 0o600)
}

// Hold makes the cache file at path one that a follower begins with: what the file at
// proven holds, with the verdict that the document with the hash sha, which came with
// revision rev, is not to be run. The follower must not run.
func Hold(path, proven, sha string, rev int64, reason, version string) error {
	file, err := regular.Open(proven)
	if err != nil {
		return fmt.Errorf("configuration cache: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	codec, err := newCodec()
	if err != nil {
		return err
	}
	defer codec.close()
	f := cacheFile{path: path, codec: codec}
	c, err := f.read(bufio.NewReader(file))
	if err != nil {
		return fmt.Errorf("configuration cache %s: %w", proven, err)
	}
	c.Bad = &verdict{Rev: rev, SHA256: sha, State: Pinned, Error: reason, Version: version}
	return f.save(*c)
}
