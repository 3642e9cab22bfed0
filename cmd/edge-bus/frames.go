package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

const formatCSV cli.Format = "csv"

// frameWriter writes frames in the format that was asked for.
type frameWriter struct {
	w      *bufio.Writer
	format cli.Format
	json   *frame.JSONEncoder
	csv    *csv.Writer
	buf    []byte
}

func newFrameWriter(w io.Writer, format cli.Format) *frameWriter {
	fw := &frameWriter{w: bufio.NewWriterSize(w, 64<<10), format: format, json: frame.NewJSONEncoder(frame.Milliseconds)}
	fw.csv = csv.NewWriter(fw.w)
	return fw
}

// begin writes the head of the file, if the format has one.
func (f *frameWriter) begin() error {
	switch f.format {
	case formatCSV:
		return f.csv.Write([]string{"seq", "time", "tag", "value", "unit", "quality", "driver"})
	case cli.FormatTable:
		_, err := fmt.Fprintf(f.w, "%12s  %-23s  %-32s  %16s  %-8s  %s\n", "SEQ", "TIME", "TAG", "VALUE", "UNIT", "QUALITY")
		return err
	}
	return nil
}

// write writes every frame of b.
func (f *frameWriter) write(b *frame.Batch) error {
	for i := range b.Frames {
		if err := f.one(b, i); err != nil {
			return err
		}
	}
	return nil
}

func (f *frameWriter) one(b *frame.Batch, i int) error {
	fr, tag, seq := &b.Frames[i], b.Tag(i), b.FirstSeq+uint64(i)
	switch f.format {
	case formatCSV:
		value := ""
		if !fr.Value.IsNone() {
			value = fr.Value.String()
		}
		return f.csv.Write([]string{strconv.FormatUint(seq, 10), fr.Time().UTC().Format(time.RFC3339Nano), tag.Name, value, tag.Unit, fr.Quality.String(), b.Set.Driver})
	case cli.FormatTable:
		_, err := fmt.Fprintf(f.w, "%12d  %-23s  %-32s  %16s  %-8s  %s\n", seq, fr.Time().Local().Format("2006-01-02 15:04:05.000"),
			tag.Name, cli.Printable(fr.Value.String()), tag.Unit, fr.Quality)
		return err
	}
	f.buf = append(f.json.AppendFrame(f.buf[:0], b, i), '\n')
	_, err := f.w.Write(f.buf)
	return err
}

// flush hands everything on.
func (f *frameWriter) flush() error {
	f.csv.Flush()
	if err := f.csv.Error(); err != nil {
		return err
	}
	return f.w.Flush()
}
