package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// maxLine bounds a line of a file of records.
const maxLine = 64 << 20

// TakeBatch takes the records among the frames of a log. The gateway's own frames have no
// driver: what came from elsewhere is no record, whatever its tag.
func (v *Verifier) TakeBatch(b *frame.Batch) {
	for i := range b.Frames {
		if b.Set.Driver == "" && b.Tag(i).Name == Tag {
			v.Take(b.FirstSeq+uint64(i), []byte(b.Frames[i].Value.String()))
		}
	}
}

// line is what a line of JSON may be: a frame, or a record itself.
type line struct {
	Seq   uint64          `json:"seq"`
	Tag   *string         `json:"tag"`
	Value json.RawMessage `json:"value"`
	Hash  *string         `json:"hash"`
}

// ReadLines takes the records of a file of JSON lines, as consumers keep them: each line is
// a frame, a payload of the gateway (an array of frames, with an envelope or without), or a
// record.
func (v *Verifier) ReadLines(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	n := 0
	for in.Scan() {
		n++
		text := bytes.TrimSpace(in.Bytes())
		if len(text) == 0 {
			continue
		}
		if err := v.line(text); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MiB", n+1, maxLine>>20)
	}
	return in.Err()
}

func (v *Verifier) line(text []byte) error {
	if text[0] == '{' {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("expected JSON: %w", err)
		}
		switch {
		case l.Tag != nil:
			v.frame(&l)
			return nil
		case l.Hash != nil:
			v.Take(0, text)
			return nil
		}
	}
	_, frames, err := frame.OpenJSON(text)
	if err != nil {
		return err
	}
	var lines []line
	if err := json.Unmarshal(frames, &lines); err != nil {
		return fmt.Errorf("expected a frame, an array of frames, or an audit record: %w", err)
	}
	for i := range lines {
		v.frame(&lines[i])
	}
	return nil
}

func (v *Verifier) frame(l *line) {
	if l.Tag != nil && *l.Tag == Tag {
		v.Take(l.Seq, l.Value)
	}
}
