package main

import (
	"bufio"
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/visible"
)

const formatCSV cli.Format = "csv"

// frameWriter writes frames in the format that was asked for.
type frameWriter struct {
	w      *bufio.Writer
	format cli.Format
	json   *frame.JSONEncoder
	csv    *csv.Writer
	rows   rowLayout
	buf    []byte
	safe   []byte // buf, so that it can be shown
}

// newFrameWriter writes to w, whose lines have width columns; 0: any number.
func newFrameWriter(w io.Writer, format cli.Format, width int) *frameWriter {
	fw := &frameWriter{w: bufio.NewWriterSize(w, 64<<10), format: format, json: frame.NewJSONEncoder(frame.Milliseconds), rows: newRowLayout(width)}
	fw.csv = csv.NewWriter(fw.w)
	return fw
}

// begin writes the head of the file, if the format has one.
func (f *frameWriter) begin() error {
	switch f.format {
	case formatCSV:
		return f.csv.Write([]string{"seq", "time", "tag", "value", "unit", "quality", "driver"})
	case cli.FormatTable:
		_, err := f.w.WriteString(f.rows.header())
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
		if fr.Value.TextBytes() > 0 { // of numbers there is none that a spreadsheet runs
			value = cell(value)
		}
		return f.csv.Write([]string{strconv.FormatUint(seq, 10), fr.Time().UTC().Format(time.RFC3339Nano), cell(tag.Name), value, cell(tag.Unit),
			fr.Quality.String(), cell(b.Set.Driver)})
	case cli.FormatTable:
		_, err := f.w.WriteString(f.rows.row(seq, fr.Time(), tag.Name, fr.Value.String(), tag.Unit, fr.Quality.String()))
		return err
	}
	f.buf = f.json.AppendFrame(f.buf[:0], b, i)
	f.safe = append(visible.AppendEscaped(f.safe[:0], f.buf), '\n')
	_, err := f.w.Write(f.safe)
	return err
}

// cell is a text of others as a cell has it: neither a terminal nor a spreadsheet obeys it.
func cell(text string) string { return visible.Cell(visible.Text(text)) }

// flush hands everything on.
func (f *frameWriter) flush() error {
	f.csv.Flush()
	if err := f.csv.Error(); err != nil {
		return err
	}
	return f.w.Flush()
}
