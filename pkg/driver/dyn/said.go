package dyn

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	maxLine   = 4096 // bytes of a line that are kept
	lineBurst = 50   // lines at once
	lineRate  = 5    // lines a second
	lastLines = 4    // of those that are no log records, for the reason of an end
)

// said takes what a driver writes, line by line, into the gateway's log, as many lines as the
// gateway takes. It is read however much comes: a driver that floods is not held up by it, and
// holds up nobody.
type said struct {
	log     *slog.Logger
	limit   *rate.Limiter
	mu      sync.Mutex
	omitted int
	last    []string // texts without a level, the newest last
	crash   string   // how a crash of Go began; "": there was none
}

func newSaid(log *slog.Logger) *said {
	return &said{log: log, limit: rate.NewLimiter(lineRate, lineBurst)}
}

// read reads lines until r ends. first, if not nil, gets the first line, which is not logged.
func (s *said) read(r io.Reader, first func(line string)) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		text := strings.TrimRight(strings.ToValidUTF8(string(line), "?"), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = in.ReadSlice('\n')
		}
		switch {
		case text == "":
		case first != nil:
			first(text)
			first = nil
		default:
			s.line(text)
		}
		if err != nil {
			return
		}
	}
}

// Write takes what the driver wrote to what it takes for its standard output.
func (s *said) Write(p []byte) (int, error) {
	for text := range strings.SplitSeq(strings.ToValidUTF8(string(p), "?"), "\n") {
		if text = strings.TrimRight(text, "\r"); text != "" {
			s.line(text[:min(len(text), maxLine)])
		}
	}
	return len(p), nil
}

// line logs a line: a record of log/slog in JSON as one, others as they are.
func (s *said) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	level, msg, attrs := record(text)
	if msg == "" {
		msg, attrs = "the driver said", []any{"text", text}
		if len(s.last) == lastLines {
			s.last = slices.Delete(s.last, 0, 1)
		}
		s.last = append(s.last, text)
		if s.crash == "" && (strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")) {
			s.crash = text
		}
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	if !s.limit.AllowN(time.Now(), 1) {
		s.omitted++
		return
	}
	if s.omitted > 0 {
		attrs = append(attrs, "lines_left_out", s.omitted)
		s.omitted = 0
	}
	s.log.Log(context.Background(), level, msg, attrs...)
}

// record reads a record of log/slog in JSON; msg is "" if text is none.
func record(text string) (level slog.Level, msg string, attrs []any) {
	if !strings.HasPrefix(text, "{") {
		return slog.LevelInfo, "", nil
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return slog.LevelInfo, "", nil
	}
	msg, _ = fields["msg"].(string)
	name, _ := fields["level"].(string)
	if err := level.UnmarshalText([]byte(name)); err != nil {
		level = slog.LevelInfo
	}
	for k, v := range fields {
		switch k {
		case "time", "level", "msg", "driver", "seq", "endpoint":
		default:
			attrs = append(attrs, slog.Any(k, v))
		}
	}
	return level, msg, attrs
}

// tail returns what a process says that ends: how its crash began, or the last lines that were
// no log records.
func (s *said) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crash != "" {
		return s.crash
	}
	return strings.Join(s.last, " / ")
}
