package s7

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// textCodec reads and writes texts: CHARs, a STRING (a byte with the room, a byte with
// the length, the characters), or a WSTRING (the same in words).
type textCodec struct {
	kind    kind
	charset encoding.Encoding // nil: UTF-8
}

// textCodecOf returns the codec of a variable, nil if it is no text.
func textCodecOf(v *config.Variable) (*textCodec, error) {
	k, _, _ := kindOf(v.Datatype)
	if k != kindChar && k != kindString && k != kindWString {
		return nil, nil
	}
	charset, err := driver.Charset(v.Charset)
	if err != nil {
		return nil, config.FieldErrorf("charset", "%v", err)
	}
	return &textCodec{k, charset}, nil
}

// decode reads a text. Lengths that can't be are no text: bad. A character that is
// none of the charset is replaced, and the value is uncertain.
func (c *textCodec) decode(data []byte) (frame.Value, frame.Quality) {
	switch c.kind {
	case kindWString:
		return decodeWString(data)
	case kindString:
		room, n := int(data[0]), int(data[1])
		if n > room || n > len(data)-2 {
			return frame.Value{}, frame.Bad
		}
		return c.text(data[2 : 2+n])
	}
	return c.text([]byte(strings.TrimRight(string(data), "\x00 ")))
}

func (c *textCodec) text(b []byte) (frame.Value, frame.Quality) {
	s := string(b)
	if c.charset != nil {
		decoded, err := c.charset.NewDecoder().String(s)
		if err != nil {
			return frame.Value{}, frame.Bad
		}
		s = decoded
	}
	if !utf8.ValidString(s) || c.charset != nil && strings.ContainsRune(s, utf8.RuneError) {
		return frame.StringValue(strings.ToValidUTF8(s, "\uFFFD")), frame.Uncertain
	}
	return frame.StringValue(s), frame.Good
}

func decodeWString(data []byte) (frame.Value, frame.Quality) {
	room, n := int(binary.BigEndian.Uint16(data)), int(binary.BigEndian.Uint16(data[2:]))
	if n > room || 2*n > len(data)-4 {
		return frame.Value{}, frame.Bad
	}
	units := make([]uint16, n)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(data[4+2*i:])
	}
	runes := utf16.Decode(units)
	if !slices.Equal(utf16.Encode(runes), units) { // half of a pair was replaced
		return frame.StringValue(string(runes)), frame.Uncertain
	}
	return frame.StringValue(string(runes)), frame.Good
}

// head is how many bytes before a text say how much room there is, which a write leaves
// as they are.
func (c *textCodec) head() int {
	switch c.kind {
	case kindString:
		return 1
	case kindWString:
		return 2
	}
	return 0
}

// encode returns the bytes of a text, size of them, with nothing in its head. A text that doesn't fit, or that
// the charset has no characters for, is an error, never cut.
func (c *textCodec) encode(raw frame.Value, size int) ([]byte, error) {
	if raw.Kind() != frame.KindString {
		return nil, fmt.Errorf("%w: %s is not a text", ErrRange, raw)
	}
	out := make([]byte, size)
	if c.kind == kindWString {
		units := utf16.Encode([]rune(raw.Text()))
		room := (size - 4) / 2
		if len(units) > room {
			return nil, fmt.Errorf("%w: text has %d characters, %d fit", ErrRange, len(units), room)
		}
		binary.BigEndian.PutUint16(out[2:], uint16(len(units)))
		for i, u := range units {
			binary.BigEndian.PutUint16(out[4+2*i:], u)
		}
		return out, nil
	}
	text := raw.Text()
	if c.charset != nil {
		encoded, err := c.charset.NewEncoder().String(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %q has characters that the charset lacks", ErrRange, text)
		}
		text = encoded
	}
	at := 0
	if c.kind == kindString {
		at = 2
	}
	if len(text) > size-at {
		return nil, fmt.Errorf("%w: text has %d bytes, %d fit", ErrRange, len(text), size-at)
	}
	if c.kind == kindString {
		out[1] = byte(len(text))
	}
	copy(out[at:], text)
	return out, nil
}
