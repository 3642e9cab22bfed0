package modbus

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// textFormat is how a string lies in its registers.
type textFormat struct {
	charset encoding.Encoding // nil: UTF-8
	single  bool              // one character in each register, in its low byte
	padLeft bool              // NULs before the text, not behind it
}

// decodeText reads a string without its NULs and trailing blanks. What is no
// character of its charset is replaced, and the value is uncertain.
func (p *Point) decodeText(data []byte) (frame.Value, frame.Quality) {
	text := p.text.unpack(data, p.Order.swapsBytes())
	if p.text.padLeft {
		text = []byte(strings.TrimLeft(string(text), "\x00"))
	}
	for i, c := range text {
		if c == 0 {
			text = text[:i]
			break
		}
	}
	if p.text.charset != nil {
		decoded, err := p.text.charset.NewDecoder().Bytes(text)
		if err != nil {
			return frame.Value{}, frame.Bad
		}
		text = decoded
	}
	s := strings.TrimRight(string(text), " \t\r\n")
	if !utf8.ValidString(s) || p.text.charset != nil && strings.ContainsRune(s, utf8.RuneError) {
		return frame.StringValue(strings.ToValidUTF8(s, "\uFFFD")), frame.Uncertain
	}
	return frame.StringValue(s), frame.Good
}

// unpack returns the bytes of a text from its registers.
func (f *textFormat) unpack(data []byte, swapped bool) []byte {
	if !f.single {
		text := make([]byte, len(data))
		copy(text, data)
		if swapped {
			swapPairs(text)
		}
		return text
	}
	low := 1
	if swapped {
		low = 0
	}
	text := make([]byte, len(data)/2)
	for i := range text {
		text[i] = data[2*i+low]
	}
	return text
}

// pack is the opposite of unpack.
func (f *textFormat) pack(text []byte, swapped bool) []byte {
	if !f.single {
		if swapped {
			swapPairs(text)
		}
		return text
	}
	low := 1
	if swapped {
		low = 0
	}
	data := make([]byte, 2*len(text))
	for i, c := range text {
		data[2*i+low] = c
	}
	return data
}

// encodeText pads with NULs. A text that does not fit, or that the charset has no
// characters for, is an error, never cut.
func (p *Point) encodeText(raw frame.Value) ([]byte, error) {
	if raw.Kind() != frame.KindString {
		return nil, fmt.Errorf("%w: %s is not a text", ErrRange, raw)
	}
	text := []byte(raw.Text())
	if p.text.charset != nil {
		encoded, err := p.text.charset.NewEncoder().Bytes(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %q has characters that the charset lacks", ErrRange, raw.Text())
		}
		text = encoded
	}
	room := make([]byte, p.size())
	if p.text.single {
		room = room[:p.Count]
	}
	if len(text) > len(room) {
		return nil, fmt.Errorf("%w: text has %d bytes, %d fit", ErrRange, len(text), len(room))
	}
	at := 0
	if p.text.padLeft {
		at = len(room) - len(text)
	}
	copy(room[at:], text)
	return p.text.pack(room, p.Order.swapsBytes()), nil
}

func swapPairs(b []byte) {
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
}
