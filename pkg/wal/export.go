package wal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// An export is a file that any gateway of this format can read:
//
//	"EDGELOG1"  and a zstd stream of records
//	record      byte kind, uvarint length, bytes, uint32 CRC-32C of the bytes
//	kind 'h'    header, JSON; first
//	kind 's'    uvarint id, tag set
//	kind 'b'    uvarint first seq, logged (Unix ms), id of the set; block
//	kind 'e'    trailer, JSON; last
const (
	exportMagic     = "EDGELOG1"
	maxExportRecord = 64 << 20
)

// An export is a file that anybody may have made. What a reader has to remember of it is
// bounded.
const (
	maxExportHeader  = 64 << 10  // bytes
	maxExportTrailer = 16 << 20  // bytes
	maxExportSets    = 512 << 20 // bytes that its tag sets take in memory, all together
	maxExportHoles   = 10_000    // frames that are left out, in a row each
	maxExportPlaces  = 1000      // consumers
	maxExportSeq     = 1 << 62
)

// ExportHeader begins an export.
type ExportHeader struct {
	Format int    `json:"format"`
	Epoch  string `json:"epoch"`
	First  uint64 `json:"first_seq"`
	Last   uint64 `json:"last_seq"`
}

// ExportTrailer ends an export; a file without one was cut short.
type ExportTrailer struct {
	Batches int     `json:"batches"`
	Frames  uint64  `json:"frames"`
	Missing []Range `json:"missing"`             // damaged in the log that it was made from
	Places  []Place `json:"consumers,omitempty"` // where the consumers were; for Restore
}

// Place is how far a consumer had come within the exported frames.
type Place struct {
	Name     string  `json:"name"`
	Acked    uint64  `json:"acked"`
	Finished []Range `json:"finished,omitempty"`
}

// Export writes the durable frames first…last (0: to the end) to w.
func (l *Log) Export(ctx context.Context, w io.Writer, first, last uint64) (t ExportTrailer, err error) {
	if last == 0 || last > l.Durable() {
		last = l.Durable()
	}
	first = max(first, l.Floor())
	if _, err := io.WriteString(w, exportMagic); err != nil {
		return t, fmt.Errorf("export: %w", err)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return t, fmt.Errorf("export: %w", err)
	}
	defer func() {
		if closeErr := z.Close(); closeErr != nil && err == nil {
			err = fmt.Errorf("export: %w", closeErr)
		}
	}()
	e := exportWriter{w: z}
	if err := e.json('h', ExportHeader{int(l.format.Load()), l.Epoch(), first, last}); err != nil {
		return t, fmt.Errorf("export: %w", err)
	}
	ids := map[*frame.TagSet]uint64{}
	s := Scan{From: first, To: last}
	s.Damaged = func(d *DamageError) error {
		t.Missing = append(t.Missing, d.Range)
		return nil
	}
	s.Frames = func(b *frame.Batch) error {
		id, ok := ids[b.Set]
		if !ok {
			id = uint64(len(ids))
			if len(ids) >= setCacheSize {
				clear(ids)
				id = 0
			}
			ids[b.Set] = id
			if err := e.record('s', frame.AppendTagSet(binary.AppendUvarint(nil, id), b.Set)); err != nil {
				return err
			}
		}
		p := binary.AppendUvarint(nil, b.FirstSeq)
		p = binary.AppendUvarint(p, uint64(s.logged))
		p, err := l.Encode(binary.AppendUvarint(p, id), b)
		if err != nil {
			return err
		}
		t.Batches++
		t.Frames += uint64(len(b.Frames))
		return e.record('b', p)
	}
	if err := s.Run(ctx, l); err != nil {
		return t, fmt.Errorf("export: %w", err)
	}
	// Behind the frames: what is delivered meanwhile needs no second delivery.
	t.Places = l.places(last)
	if err := e.json('e', t); err != nil {
		return t, fmt.Errorf("export: %w", err)
	}
	return t, nil
}

type exportWriter struct{ w io.Writer }

func (e exportWriter) json(kind byte, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.record(kind, p)
}

func (e exportWriter) record(kind byte, p []byte) error {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(p)))
	sum := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	for _, part := range [][]byte{head, p, sum} {
		if _, err := e.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// ErrBadExport is wrapped by errors about files that are no whole export.
var ErrBadExport = errkind.New(errkind.Invalid, "not a whole export")

// IsExport reports whether a file that begins so is an export; what is shorter than eight
// bytes is none.
func IsExport(head []byte) bool { return bytes.HasPrefix(head, []byte(exportMagic)) }

// ReadExport reads an export. header is called first, then batch with each batch
// and when it was logged (Unix ms).
func ReadExport(r io.Reader, header func(ExportHeader) error, batch func(b *frame.Batch, logged int64) error) (t ExportTrailer, err error) {
	in, err := newExportReader(r)
	if err != nil {
		return t, fmt.Errorf("import: %w", err)
	}
	defer in.close()
	for first := true; ; first = false {
		kind, p, err := in.record()
		if err != nil && !errors.Is(err, ErrBadExport) {
			err = fmt.Errorf("%w: it ends after %d batches: %w", ErrBadExport, in.batches, err)
		}
		if err == nil && first != (kind == 'h') {
			err = fmt.Errorf("%w: header misplaced", ErrBadExport)
		}
		if err == nil {
			err = in.handle(kind, p, header, batch, &t)
		}
		if err != nil {
			return t, fmt.Errorf("import: %w", err)
		}
		if kind == 'e' {
			return t, nil
		}
	}
}

// ExportSize returns how many bytes the records of an export have unpacked, about what a
// log of it takes on the disk. It stops beyond most.
func ExportSize(r io.Reader, most int64) (size int64, err error) {
	in, err := newExportReader(r)
	if err != nil {
		return 0, fmt.Errorf("export: %w", err)
	}
	defer in.close()
	for size <= most {
		kind, p, err := in.record()
		if err != nil {
			return size, fmt.Errorf("export: %w", err)
		}
		if size += int64(len(p)); kind == 'e' {
			break
		}
	}
	return size, nil
}

func newExportReader(r io.Reader) (*exportReader, error) {
	magic := make([]byte, len(exportMagic))
	if _, err := io.ReadFull(r, magic); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if string(magic) != exportMagic {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrBadExport, exportMagic)
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, err
	}
	return &exportReader{r: bufio.NewReader(z), close: z.Close, sets: map[uint64]*frame.TagSet{}}, nil
}

type exportReader struct {
	r       *bufio.Reader
	close   func()
	next    uint64 // the first seq that a batch may have
	last    uint64 // of the export
	sets    map[uint64]*frame.TagSet
	size    int // bytes of all sets
	holes   int
	batches int
}

func (in *exportReader) record() (kind byte, p []byte, err error) {
	if kind, err = in.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(in.r)
	if err != nil {
		return 0, nil, err
	}
	most := uint64(maxExportRecord)
	switch kind {
	case 'h':
		most = maxExportHeader
	case 'e':
		most = maxExportTrailer
	}
	if n > most {
		return 0, nil, fmt.Errorf("%w: record of %d bytes", ErrBadExport, n)
	}
	var buf bytes.Buffer // grows with what is there, not with what is claimed
	if _, err := io.CopyN(&buf, in.r, int64(n)+4); err != nil {
		return 0, nil, err
	}
	p = buf.Bytes()
	sum := binary.LittleEndian.Uint32(p[n:])
	if p = p[:n]; crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return 0, nil, fmt.Errorf("%w: checksum differs after %d batches", ErrBadExport, in.batches)
	}
	return kind, p, nil
}

func (in *exportReader) handle(kind byte, p []byte, header func(ExportHeader) error, batch func(*frame.Batch, int64) error, t *ExportTrailer) error {
	number := func() uint64 {
		v, n := binary.Uvarint(p)
		p = p[max(n, 0):]
		return v
	}
	switch kind {
	case 'h':
		var h ExportHeader
		if err := json.Unmarshal(p, &h); err != nil {
			return fmt.Errorf("%w: header: %w", ErrBadExport, err)
		}
		if h.Format > formatVersion {
			return fmt.Errorf("%w: format %d, this release knows %d", ErrNewerFormat, h.Format, formatVersion)
		}
		if h.First == 0 || h.Last > maxExportSeq || h.First > h.Last+1 {
			return fmt.Errorf("%w: frames %d to %d", ErrBadExport, h.First, h.Last)
		}
		in.next, in.last = h.First, h.Last
		return header(h)
	case 's':
		id := number()
		set, err := frame.DecodeTagSet(p)
		if err != nil || id > setCacheSize {
			return fmt.Errorf("%w: tag set %d: %w", ErrBadExport, id, err)
		}
		if in.size += set.Size(); in.size > maxExportSets {
			return fmt.Errorf("%w: its tag sets take more than %d MiB; export less at a time (--from, --to)", ErrBadExport, maxExportSets>>20)
		}
		in.sets[id] = set
	case 'b':
		first, logged, set := number(), number(), in.sets[number()]
		if set == nil {
			return fmt.Errorf("%w: batch %d without its tag set", ErrBadExport, first)
		}
		b, err := frame.DecodeBlock(p, set)
		if err != nil {
			return fmt.Errorf("%w: batch %d: %w", ErrBadExport, first, err)
		}
		if b.FirstSeq = first; len(b.Frames) == 0 || first < in.next || first > in.last || uint64(len(b.Frames))-1 > in.last-first {
			return fmt.Errorf("%w: a batch of %d frames from %d on", ErrBadExport, len(b.Frames), first)
		}
		if first > in.next && in.batches > 0 {
			if in.holes++; in.holes > maxExportHoles {
				return fmt.Errorf("%w: more than %d holes", ErrBadExport, maxExportHoles)
			}
		}
		in.next = b.LastSeq() + 1
		in.batches++
		return batch(b, int64(logged))
	case 'e':
		if err := json.Unmarshal(p, t); err != nil {
			return fmt.Errorf("%w: trailer: %w", ErrBadExport, err)
		}
		if t.Batches != in.batches {
			return fmt.Errorf("%w: %d batches of %d", ErrBadExport, in.batches, t.Batches)
		}
		if len(t.Places) > maxExportPlaces {
			return fmt.Errorf("%w: %d consumers", ErrBadExport, len(t.Places))
		}
	default:
		return fmt.Errorf("%w: record of kind %d", ErrBadExport, kind)
	}
	return nil
}
