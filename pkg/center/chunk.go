package center

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// text returns the document as it is stored, before compression.
func (d *Document) text() []byte {
	size := 0
	for i, t := range config.Tables() {
		for _, it := range d.tables[i] {
			size += len(t) + len(it.ID) + len(it.JSON) + 3
		}
	}
	out := make([]byte, 0, size)
	for i, t := range config.Tables() {
		for _, it := range d.tables[i] {
			out = append(out, t...)
			out = append(out, '/')
			out = append(out, it.ID...)
			out = append(out, ' ')
			out = append(out, it.JSON...)
			out = append(out, '\n')
		}
	}
	return out
}

// parseText is the reverse of [Document.text]. The document's items are slices of
// text.
func parseText(text []byte) (*Document, error) {
	d := &Document{}
	order := 0
	for line := 1; len(text) > 0; line++ {
		var row []byte
		var whole bool
		row, text, whole = bytes.Cut(text, []byte{'\n'})
		key, raw, spaced := bytes.Cut(row, []byte{' '})
		table, id, named := strings.Cut(string(key), "/")
		i := tableIndex(config.Table(table))
		if !whole || !spaced || !named || i < order {
			return nil, fmt.Errorf("line %d is not an item of a table", line)
		}
		order = i
		d.tables[i] = append(d.tables[i], Item{ID: id, JSON: raw[:len(raw):len(raw)]})
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	d.sha256 = d.sum()
	return d, nil
}

// encode returns the document's header and chunks.
func (c *codec) encode(d *Document) (head []byte, chunks [][]byte, err error) {
	text := d.text()
	if len(text) > maxText {
		return nil, nil, fmt.Errorf("the document has %d bytes; at most %d can be stored", len(text), maxText)
	}
	n := (len(text) + sliceSize - 1) / sliceSize
	chunks = make([][]byte, n)
	var wg sync.WaitGroup
	for i := range chunks {
		slice := text[i*sliceSize : min((i+1)*sliceSize, len(text))]
		wg.Go(func() { chunks[i] = c.enc.EncodeAll(slice, make([]byte, 0, len(slice)/4)) })
	}
	wg.Wait()
	head, err = json.Marshal(docHeader{Format: documentFormat, Size: len(text), Chunks: n})
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
func (c *codec) decode(head []byte, chunks [][]byte) (*Document, error) {
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
