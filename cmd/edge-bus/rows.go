package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// rowLayout makes lines of frames. The columns are fixed from the first line on, because
// nobody knows what comes. A text that is too long for its column is never cut: the rest
// of its row moves to the next line.
type rowLayout struct {
	tag, value int    // columns
	byDay      bool   // times are of a day that a line of its own names
	day        string // that the last such line named
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
		return rowLayout{tag: 32, value: 14}
	case width >= whole+least:
		return rowLayout{tag: width - whole, value: 14}
	}
	return rowLayout{tag: max(width-short, 8), value: 14, byDay: true}
}

func (l *rowLayout) header() string {
	when := moment.FormatExact(time.Now())
	if l.byDay {
		when = moment.TimeOfDay(time.Now())
	}
	return fmt.Sprintf("%10s  %-*s  %-*s  %*s  %-6s  %s\n", "SEQ", len(when), "TIME", l.tag, "TAG", l.value, "VALUE", "UNIT", "QUALITY")
}

func (l *rowLayout) row(seq uint64, at time.Time, tag, value, unit, quality string) string {
	var b strings.Builder
	when := moment.FormatExact(at)
	if l.byDay {
		when = moment.TimeOfDay(at)
		if day := moment.Day(at); day != l.day {
			l.day = day
			fmt.Fprintf(&b, "%s:\n", day)
		}
	}
	tag, value, unit = cli.Printable(tag), cli.Printable(value), cli.Printable(unit)
	left := fmt.Sprintf("%10s  %s  ", strconv.FormatUint(seq, 10), when)
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
