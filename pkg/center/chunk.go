package center

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// A document is stored as text, one line per item ("variables/plant.flow {…}"),
// cut every sliceSize bytes. Each slice is compressed by itself: whatever version
// of the compressor wrote a chunk, what it decodes to depends on the document
// alone, so that two writers can fill in the same document.
const (
	sliceSize = 900 << 10 // incompressible, a chunk still has less than 1 MiB
	maxText   = 256 << 20 // no document is larger; a damaged header can't make a reader allocate more

	documentFormat = 1
)

// docHeader describes a stored document.
type docHeader struct {
	Format int `json:"format"`
	Size   int `json:"size"` // of the text, bytes
	Chunks int `json:"chunks"`
}

// codec holds a compressor and a decompressor; both may be used by many goroutines.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(2<<20), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &codec{enc: enc, dec: dec}, nil
}

func (c *codec) close() {
	_ = c.enc.Close() // writes to nothing
	c.dec.Close()
}

// lines calls each with the rows of the document as it is stored, before
// compression. The bytes are valid until the next.
func lines(d *config.Document, each func([]byte)) {
	var row []byte
	for _, t := range config.AllTables() {
		for _, it := range d.Items(t) {
			row = append(append(append(row[:0], t...), '/'), it.ID...)
			row = append(append(append(row, ' '), it.JSON...), '\n')
			each(row)
		}
	}
}

// parseText is the reverse of [lines]. The document's items are slices of
// text.
func parseText(text []byte) (*config.Document, error) {
	tables := map[config.Table][]config.Item{}
	last, lastID := 0, ""
	for line := 1; len(text) > 0; line++ {
		var row []byte
		var whole bool
		row, text, whole = bytes.Cut(text, []byte{'\n'})
		key, raw, spaced := bytes.Cut(row, []byte{' '})
		name, id, named := strings.Cut(string(key), "/")
		t := config.Table(name)
		i := t.Index()
		if !whole || !spaced || !named || i < last || i == last && id <= lastID {
			return nil, fmt.Errorf("line %d is not the next item of a table", line)
		}
		last, lastID = i, id
		tables[t] = append(tables[t], config.Item{ID: id, JSON: raw[:len(raw):len(raw)]})
	}
	return config.NewDocument(tables)
}

// encode returns the document's header and chunks. It compresses on all processors,
// and keeps no more of the text than they work on: a gateway does this after every
// change.
func (c *codec) encode(d *config.Document) (head []byte, chunks [][]byte, err error) {
	var wg sync.WaitGroup
	buffers := make(chan []byte, runtime.GOMAXPROCS(0)+1)
	for range cap(buffers) {
		buffers <- nil
	}
	out := make([]*[]byte, 0, 32)
	size := 0
	var slice []byte
	flush := func() {
		full, chunk := slice, new([]byte)
		out = append(out, chunk)
		wg.Go(func() {
			*chunk = c.enc.EncodeAll(full, make([]byte, 0, len(full)/8))
			buffers <- full[:0]
		})
	}
	lines(d, func(row []byte) {
		size += len(row)
		for len(row) > 0 {
			if slice == nil {
				if slice = <-buffers; cap(slice) == 0 {
					slice = make([]byte, 0, sliceSize)
				}
			}
			n := min(len(row), sliceSize-len(slice))
			slice, row = append(slice, row[:n]...), row[n:]
			if len(slice) == sliceSize {
				flush()
				slice = nil
			}
		}
	})
	if slice != nil {
		flush()
	}
	wg.Wait()
	if size > maxText {
		return nil, nil, fmt.Errorf("the document has %d bytes; at most %d can be stored", size, maxText)
	}
	chunks = make([][]byte, len(out))
	for i, chunk := range out {
		chunks[i] = *chunk
	}
	head, err = json.Marshal(docHeader{Format: documentFormat, Size: size, Chunks: len(chunks)})
	return head, chunks, err
}

// parseHeader refuses what [codec.encode] can't have written.
func parseHeader(b []byte) (docHeader, error) {
	var h docHeader
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("document header: %w", err)
	}
	if h.Format != documentFormat {
		return h, fmt.Errorf("document header: format %d; this version reads format %d", h.Format, documentFormat)
	}
	if h.Size < 0 || h.Size > maxText || h.Chunks != (h.Size+sliceSize-1)/sliceSize {
		return h, fmt.Errorf("document header: %d bytes in %d chunks is not possible", h.Size, h.Chunks)
	}
	return h, nil
}

// decodeChunk decompresses chunk n, into scratch if that is large enough.
func (c *codec) decodeChunk(h docHeader, n int, b, scratch []byte) ([]byte, error) {
	want := min(sliceSize, h.Size-n*sliceSize)
	out, err := c.dec.DecodeAll(b, scratch[:0])
	if err == nil && len(out) != want {
		err = fmt.Errorf("%d bytes, expected %d", len(out), want)
	}
	if err != nil {
		return nil, fmt.Errorf("chunk %d: %w", n, err)
	}
	return out, nil
}

// decode is the reverse of encode.
func (c *codec) decode(head []byte, chunks [][]byte) (*config.Document, error) {
	h, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	if len(chunks) != h.Chunks {
		return nil, fmt.Errorf("%d chunks, expected %d", len(chunks), h.Chunks)
	}
	text := make([]byte, 0, h.Size)
	scratch := make([]byte, 0, sliceSize)
	for i, b := range chunks {
		if scratch, err = c.decodeChunk(h, i, b, scratch); err != nil {
			return nil, err
		}
		text = append(text, scratch...)
	}
	return parseText(text)
}
