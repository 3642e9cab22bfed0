package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// The times of rows: whole, or of a day that a line of its own names.
const (
	wholeTime = "2006-01-02 15:04:05.000 -07:00"
	timeOfDay = "15:04:05.000"
	wholeDay  = "2006-01-02 -07:00"
)

// rowLayout makes lines of frames in columns that are fixed from the first line on,
// since nobody knows what comes. What is too long for its column is never cut: it
// moves the rest of its row to the next line.
type rowLayout struct {
	tag, value int // columns
	time       string
	day        string // that the last line of a day named
}

// newRowLayout fits rows into width columns; 0: any number.
func newRowLayout(width int) rowLayout {
	const (
		whole = 79 // columns of a row with the whole time, but for the tag
		short = 61
		least = 20 // columns of a tag
	)
	switch {
	case width == 0 || width >= whole+32:
		return rowLayout{tag: 32, value: 14, time: wholeTime}
	case width >= whole+least:
		return rowLayout{tag: width - whole, value: 14, time: wholeTime}
	}
	return rowLayout{tag: max(width-short, 8), value: 14, time: timeOfDay}
}

func (l *rowLayout) header() string {
	return fmt.Sprintf("%10s  %-*s  %-*s  %*s  %-6s  %s\n", "SEQ", len(l.time), "TIME", l.tag, "TAG", l.value, "VALUE", "UNIT", "QUALITY")
}

func (l *rowLayout) row(seq uint64, at time.Time, tag, value, unit, quality string) string {
	var b strings.Builder
	if l.time == timeOfDay {
		if day := at.Format(wholeDay); day != l.day {
			l.day = day
			fmt.Fprintf(&b, "%s:\n", day)
		}
	}
	tag, value, unit = cli.Printable(tag), cli.Printable(value), cli.Printable(unit)
	left := fmt.Sprintf("%10s  %s  ", strconv.FormatUint(seq, 10), at.Format(l.time))
	b.WriteString(left + cli.Pad(tag, l.tag))
	if cli.Width(tag) > l.tag {
		b.WriteString("\n" + strings.Repeat(" ", len(left)+l.tag))
	}
	if w := cli.Width(value); w > l.value {
		fmt.Fprintf(&b, "  %s\n%s", value, strings.Repeat(" ", len(left)+l.tag+2+l.value))
	} else {
		b.WriteString("  " + strings.Repeat(" ", l.value-w) + value)
	}
	b.WriteString("  " + cli.Pad(unit, 6) + "  " + quality + "\n")
	return b.String()
}
