package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// topOrder is an order of the drivers, with the key that asks for it.
type topOrder struct {
	key, name string
	compare   func(a, b *topRow) int
}

// topRow is a driver with what it counted since the picture before.
type topRow struct {
	*pb.Driver
	polls, errors uint64
}

// topOrders lists the orders; what is worst comes first.
func topOrders() []topOrder {
	return []topOrder{
		{"n", "name", func(a, b *topRow) int { return strings.Compare(a.Id, b.Id) }},
		{"s", "state", func(a, b *topRow) int { return strings.Compare(a.State, b.State) }},
		{"p", "polls/s", func(a, b *topRow) int { return cmp.Compare(b.polls, a.polls) }},
		{"e", "errors/s", func(a, b *topRow) int { return cmp.Compare(b.errors, a.errors) }},
		{"b", "bad", func(a, b *topRow) int { return cmp.Compare(b.Bad, a.Bad) }},
		{"5", "p50", func(a, b *topRow) int { return cmp.Compare(b.LatencyP50Ms, a.LatencyP50Ms) }},
		{"9", "p99", func(a, b *topRow) int { return cmp.Compare(b.LatencyP99Ms, a.LatencyP99Ms) }},
		{"o", "overruns", func(a, b *topRow) int { return cmp.Compare(b.Overruns, a.Overruns) }},
		{"l", "last read", func(a, b *topRow) int { return admin.Time(a.LastRead).Compare(admin.Time(b.LastRead)) }},
		{"t", "points", func(a, b *topRow) int { return cmp.Compare(b.Points, a.Points) }},
	}
}

// topKeys explains the keys, for the help.
func topKeys() string {
	text := `  q, Ctrl-C           end
  up, down, pgup, pgdown, home, end
                      scroll the drivers (also j and k)
  /                   show only drivers with this text in name, state or error:
                      Enter keeps it, Esc takes it away
`
	for _, o := range topOrders() {
		text += fmt.Sprintf("  %-19s sort by %s\n", o.key, o.name)
	}
	return text + "  r                   the other way round\n"
}

// topView implements [cli.View].
type topView struct {
	client      *admin.Client
	before, now sample
	away        error // why there is nothing newer

	order   string // the key of it; "": as the gateway lists them
	reverse bool
	filter  string
	typing  bool // the filter
	offset  int  // lines of drivers that are scrolled away
	page    int  // lines of drivers that are shown
}

// Refresh implements [cli.View]: a gateway that answered once is waited for.
func (v *topView) Refresh(ctx context.Context) error {
	s, err := takeSample(ctx, v.client)
	if err != nil && v.now.at.IsZero() {
		return err
	}
	if v.away = err; err == nil {
		v.before, v.now = v.now, s
	}
	return nil
}

// Key implements [cli.View].
func (v *topView) Key(key string) bool {
	if v.typing {
		v.typed(key)
		return false
	}
	switch key {
	case "q":
		return true
	case "r":
		v.reverse = !v.reverse
	case "/":
		v.typing, v.filter, v.offset = true, "", 0
	case "esc":
		v.filter, v.offset = "", 0
	case "up", "k":
		v.offset--
	case "down", "j":
		v.offset++
	case "pgup":
		v.offset -= v.page
	case "pgdown", " ":
		v.offset += v.page
	case "home":
		v.offset = 0
	case "end":
		v.offset = 1 << 20 // Draw knows how many there are
	default:
		if slices.ContainsFunc(topOrders(), func(o topOrder) bool { return o.key == key }) {
			v.order, v.reverse, v.offset = key, false, 0
		}
	}
	return false
}

// typed takes a key of the filter.
func (v *topView) typed(key string) {
	switch {
	case key == "enter":
		v.typing = false
	case key == "esc":
		v.typing, v.filter = false, ""
	case key == "backspace":
		_, n := utf8.DecodeLastRuneInString(v.filter)
		v.filter = v.filter[:len(v.filter)-n]
	case utf8.RuneCountInString(key) == 1 && len(v.filter) < 64:
		v.filter += key
	}
	v.offset = 0
}

// drivers are those to be shown, in their order.
func (v *topView) drivers() []*pb.Driver {
	was := map[string]*pb.Driver{}
	for _, d := range v.before.drivers {
		was[d.Id] = d
	}
	var rows []*topRow
	for _, d := range v.now.drivers {
		if !strings.Contains(strings.ToLower(d.Id+" "+d.State+" "+d.Error), strings.ToLower(v.filter)) {
			continue
		}
		w := was[d.Id]
		rows = append(rows, &topRow{d, d.Polls - min(w.GetPolls(), d.Polls), d.Errors - min(w.GetErrors(), d.Errors)})
	}
	for _, o := range topOrders() {
		if o.key == v.order {
			slices.SortStableFunc(rows, o.compare)
		}
	}
	if v.reverse {
		slices.Reverse(rows)
	}
	list := make([]*pb.Driver, len(rows))
	for i, r := range rows {
		list[i] = r.Driver
	}
	return list
}

// maxProblems is how many problems top has room for.
const maxProblems = 4

// Draw implements [cli.View].
func (v *topView) Draw(out *cli.Output) error {
	perSecond := perSecondOf(v.before, v.now)
	head := out.Lines(func(t *cli.Table) {
		topHead(t, v.before, v.now, perSecond)
		topProblems(t, v.now.status.Problems, maxProblems)
		if v.away != nil {
			t.Cells(cli.Cell{Text: "away", Color: cli.Red}, cli.Cell{}, text(fmt.Sprintf("as of %s ago: %v", cli.Ago(v.now.at, time.Now()), v.away)))
		}
	})
	head = append(append(head, ""), out.Lines(func(t *cli.Table) { topConnectors(t, v.before, v.now, perSecond) })...)
	shown := v.now
	shown.drivers = v.drivers()
	body := out.Lines(func(t *cli.Table) { topDrivers(t, v.before, shown, perSecond) })

	// Even a small screen keeps some lines for the drivers (an empty one, their header, two
	// rows), and the last line for the keys.
	head = head[:min(len(head), max(1, out.Height()-5))]
	v.page = max(1, out.Height()-len(head)-3)
	v.offset = max(0, min(v.offset, len(body)-1-v.page))
	end := min(len(body), 1+v.offset+v.page)
	lines := append(append(head, "", body[0]), body[1+v.offset:end]...)
	for len(lines) < out.Height()-1 {
		lines = append(lines, "")
	}
	_, err := io.WriteString(out.Writer(), strings.Join(append(lines, v.footer(len(shown.drivers), len(body)-end)), "\n")+"\n")
	return err
}

// footer is the line of keys, or the filter as it is typed. below is how many lines follow.
func (v *topView) footer(drivers, below int) string {
	if v.typing {
		return fmt.Sprintf("filter: %s_   (%d of %d drivers; Enter, Esc)", cli.Printable(v.filter), drivers, len(v.now.drivers))
	}
	keys := "q quit  / filter  r reverse  sort: "
	for _, o := range topOrders() {
		mark := o.key
		if o.key == v.order {
			mark = "[" + o.key + "]"
		}
		keys += mark + " "
	}
	if v.filter != "" {
		keys += fmt.Sprintf(" %q %d of %d", v.filter, drivers, len(v.now.drivers))
	}
	if below > 0 {
		keys += fmt.Sprintf(" ↓%d", below)
	}
	if v.offset > 0 {
		keys += fmt.Sprintf(" ↑%d", v.offset)
	}
	return keys
}
