package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newWhy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why TAG|DRIVER|ENDPOINT|CONNECTOR",
		Short: "Say what is wrong with a tag, driver, endpoint or connector",
		Long: `why walks the way of a value, from the endpoint to the connectors, names the first
thing that is wrong, and the command or setting that mends it. It asks the gateway,
not the device.`,
		Example: `  edge-ctl why press.temp
  edge-ctl why press-1
  edge-ctl why mqtt -o json | jq .first`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, everyName),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				w, err := look(ctx, c)
				if err != nil {
					return err
				}
				a, err := w.why(args[0])
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(a, func(t *cli.Table) { a.table(t) })
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// everyName lists all that why knows.
func everyName(ctx context.Context, c *admin.Client) ([]string, error) {
	w, err := look(ctx, c)
	return w.names(), err
}

// whole is what a gateway shows of itself.
type whole struct {
	endpoints  []*pb.Endpoint
	drivers    []*pb.Driver
	tags       []*pb.Tag
	connectors []*pb.Connector
	bus        *pb.GetBusStatsResponse
	config     *pb.ConfigStatus
}

// look asks a gateway for everything.
func look(ctx context.Context, c *admin.Client) (w whole, err error) {
	for _, ask := range []func() error{
		func() error { w.endpoints, err = endpoints(ctx, c); return err },
		func() error { w.drivers, err = drivers(ctx, c); return err },
		func() error { w.tags, err = c.Tags.List(ctx, ""); return err },
		func() error { w.connectors, err = connectors(ctx, c); return err },
		func() error { w.bus, err = c.Bus.Stats(ctx); return err },
		func() error {
			r, err := c.Config.GetConfigStatus(ctx, &pb.GetConfigStatusRequest{})
			w.config = r.GetStatus()
			return err
		},
	} {
		if err := ask(); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *whole) names() (list []string) {
	list = append(list, names(w.tags, (*pb.Tag).GetName)...)
	list = append(list, names(w.drivers, (*pb.Driver).GetId)...)
	list = append(list, names(w.endpoints, (*pb.Endpoint).GetId)...)
	return append(list, names(w.connectors, (*pb.Connector).GetName)...)
}

// answer is what why prints.
type answer struct {
	Name  string  `json:"name"`
	Kind  string  `json:"kind"` // "tag", "driver", "endpoint", "connector"
	OK    bool    `json:"ok"`   // nothing is wrong
	First *link   `json:"first,omitempty"`
	Links []*link `json:"links"`
}

// link is one link of the chain from the device to the broker.
type link struct {
	Link  string `json:"link"` // "endpoint", "driver", "request", "tag", "scale", "log", "connector"
	Name  string `json:"name,omitempty"`
	State string `json:"state"` // "ok", "wrong", "unknown"
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
}

// The states of a link.
const (
	linkOK      = "ok"
	linkWrong   = "wrong"
	linkUnknown = "unknown"
)

// why walks the chain of what is called name.
func (w *whole) why(name string) (*answer, error) {
	a := &answer{Name: name}
	if t, ok := find(w.tags, name, (*pb.Tag).GetName); ok {
		a.Kind = "tag"
		d, ok := find(w.drivers, t.Driver, (*pb.Driver).GetId)
		if !ok { // it went between two calls
			d = new(pb.Driver)
		}
		// What the device says of the tag itself comes before what is slow for all.
		a.Links = slices.Insert(w.deviceLinks(d), 2, requestLink(t))
		a.Links = append(a.Links, tagLink(t), scaleLink(t))
	} else if d, ok := find(w.drivers, name, (*pb.Driver).GetId); ok {
		a.Kind = "driver"
		a.Links = append(w.deviceLinks(d), w.tagsLink(d))
	} else if e, ok := find(w.endpoints, name, (*pb.Endpoint).GetId); ok {
		a.Kind = "endpoint"
		a.Links = []*link{endpointLink(e)}
		for _, id := range e.Drivers {
			if d, ok := find(w.drivers, id, (*pb.Driver).GetId); ok {
				a.Links = append(a.Links, w.driverLink(d), speedLink(d))
			}
		}
	} else if c, ok := find(w.connectors, name, (*pb.Connector).GetName); ok {
		a.Kind = "connector"
		a.Links = []*link{w.logLink(), connectorLink(c)}
	} else {
		return nil, w.unknown(name)
	}
	if a.Kind == "tag" || a.Kind == "driver" {
		a.Links = append(a.Links, w.logLink())
		for _, c := range w.connectors {
			a.Links = append(a.Links, connectorLink(c))
		}
	}
	for _, state := range []string{linkWrong, linkUnknown} {
		if at := slices.IndexFunc(a.Links, func(l *link) bool { return l.State == state }); at >= 0 && a.First == nil {
			a.First = a.Links[at]
		}
	}
	a.OK = a.First == nil
	return a, nil
}

// unknown is the error about a name that nothing has.
func (w *whole) unknown(name string) error {
	hint := "'edge-ctl tags' and 'edge-ctl status' list what there is"
	if near := config.Nearest(name, w.names()); near != "" {
		hint = "did you mean " + near + "?"
	}
	if w.config.GetError() != "" {
		hint += "; the last configuration was not taken: " + w.config.GetError()
	}
	return fmt.Errorf("no tag, driver, endpoint or connector is called %q: %w; %s", name, errkind.NotFound, hint)
}

func find[T any](list []T, name string, of func(T) string) (x T, ok bool) {
	at := slices.IndexFunc(list, func(x T) bool { return of(x) == name })
	if at < 0 {
		return x, false
	}
	return list[at], true
}

// deviceLinks are those from the endpoint to d's requests.
func (w *whole) deviceLinks(d *pb.Driver) []*link {
	e, ok := find(w.endpoints, d.Endpoint, (*pb.Endpoint).GetId)
	first := &link{Link: "endpoint", Name: d.Endpoint, State: linkUnknown, Text: "not listed"}
	if ok {
		first = endpointLink(e)
	}
	return []*link{first, w.driverLink(d), speedLink(d)}
}

func endpointLink(e *pb.Endpoint) *link {
	l := &link{Link: "endpoint", Name: e.Id, State: linkOK, Text: fmt.Sprintf("%s is %s", e.Url, e.State)}
	switch e.State {
	case "down":
		l.State, l.Text = linkWrong, fmt.Sprintf("%s is down: %s", e.Url, cli.OneLine(e.Error))
		l.Hint = "edge-ctl probe " + e.Id + " shows how far a connection comes; check host, port and the cable"
	case "paused":
		l.State, l.Hint = linkWrong, "the log has no room: edge-bus stats says which consumer holds it"
	}
	return l
}

func (w *whole) driverLink(d *pb.Driver) *link {
	l := &link{Link: "driver", Name: d.Id, State: linkOK}
	l.Text = "running"
	if d.LastRead != nil {
		l.Text += fmt.Sprintf(", last answer %s ago", since(d.LastRead))
	}
	switch d.State {
	case "fault":
		l.State, l.Text = linkWrong, "in fault: "+cli.OneLine(cmp.Or(d.Error, d.LastError))
		l.Hint = "edge-ctl probe " + d.Endpoint + " --unit N --read ADDR asks the device; edge-ctl trace " + d.Endpoint + " shows the bytes"
		if t, ok := find(w.tags, d.Id, (*pb.Tag).GetDriver); ok && t.Hint != "" {
			l.Hint = t.Hint // why the device has none of them
		}
	case "paused":
		l.State, l.Text, l.Hint = linkWrong, "paused", "edge-ctl drivers resume "+d.Id
	case "starting", "stopped":
		l.State, l.Text = linkUnknown, d.State+", no answer yet"
		if d.Error != "" {
			l.Text += ": " + cli.OneLine(d.Error)
		}
	}
	return l
}

// speedLink judges whether the device keeps up.
func speedLink(d *pb.Driver) *link {
	m := d.GetLastMinute()
	l := &link{Link: "request", Name: d.Id, State: linkOK}
	l.Text = fmt.Sprintf("%d answered in the last minute, %s at the median", m.GetPolls(), latencyCell(d.LatencyP50Ms).Text)
	if d.State != "running" {
		l.State, l.Text = linkUnknown, "the device is not polled"
		return l
	}
	for _, judge := range []func(*pb.Driver) *pb.Problem{admin.Slow, admin.Lossy} {
		if p := judge(d); p != nil {
			l.State, l.Text, l.Hint = linkWrong, cli.OneLine(p.Text), p.Hint
			break
		}
	}
	return l
}

// requestLink says whether a tag's own registers are answered.
func requestLink(t *pb.Tag) *link {
	l := &link{Link: "request", Name: t.Address, State: linkOK, Text: "answered"}
	switch {
	case t.Access == "W":
		l.Text = "only written, never read"
	case t.Reason != "" && t.Reason != driver.Unusable:
		l.State, l.Text, l.Hint = linkWrong, cli.OneLine(t.Reason), t.Hint
	case !t.Known:
		l.State, l.Text = linkUnknown, "not answered yet"
	}
	return l
}

func tagLink(t *pb.Tag) *link {
	l := &link{Link: "tag", Name: t.Name, State: linkOK, Text: tagLine(t)}
	switch {
	case t.Access == "W", !t.Known:
	case t.Quality.Frame() == frame.Bad:
		l.State = linkWrong
	case t.Quality.Frame() == frame.Uncertain:
		l.State, l.Hint = linkWrong, "the text is not UTF-8: check datatype and byte_order"
	}
	return l
}

func scaleLink(t *pb.Tag) *link {
	l := &link{Link: "scale", State: linkOK, Text: "as configured"}
	switch {
	case t.Reason == driver.Unusable:
		l.State, l.Text, l.Hint = linkWrong, t.Reason, t.Hint
	case t.Reason != "":
		l.State, l.Text = linkUnknown, "there is nothing to scale"
	}
	return l
}

// tagsLink sums up a driver's tags.
func (w *whole) tagsLink(d *pb.Driver) *link {
	l := &link{Link: "tag", State: linkOK, Text: words.Count(d.Points, "tag") + ", none bad"}
	if d.Bad == 0 {
		return l
	}
	l.State, l.Text = linkWrong, fmt.Sprintf("%d of %s bad", d.Bad, words.Count(d.Points, "tag"))
	for _, t := range w.tags {
		if t.Driver == d.Id && t.Reason != "" {
			l.Text += fmt.Sprintf(", such as %s (%s): %s", t.Name, t.Address, cli.OneLine(t.Reason))
			l.Hint = t.Hint
			break
		}
	}
	return l
}

func (w *whole) logLink() *link {
	b := w.bus
	l := &link{Link: "log", State: linkOK, Text: fmt.Sprintf("frame %d is on disk", b.DurableSeq)}
	switch {
	case b.DiskFull:
		l.State, l.Text, l.Hint = linkWrong, "the disk is full", "free some of it, or lower bus.wal_max_bytes"
	case b.Paused:
		l.State, l.Text, l.Hint = linkWrong, "the log is full: drivers wait for room", "edge-bus stats says which consumer holds it"
	}
	return l
}

func connectorLink(c *pb.Connector) *link {
	l := &link{Link: "connector", Name: c.Name, State: linkOK, Text: c.State + ", " + words.Count(c.Lag, "frame") + " behind"}
	switch c.State {
	case "up":
	case "paused":
		l.State, l.Hint = linkWrong, "edge-ctl connector "+c.Name+" resume"
	default:
		l.State, l.Hint = linkWrong, "edge-ctl connector "+c.Name+" test shows how far a connection comes"
		if c.Error != "" {
			l.Text = c.State + ": " + cli.OneLine(c.Error)
		}
	}
	return l
}

// table shows the verdict, then the chain.
func (a *answer) table(t *cli.Table) {
	verdict := cli.Cell{Text: "nothing is wrong on the way", Color: cli.Green}
	if l := a.First; l != nil {
		verdict = cli.Cell{Text: strings.TrimSpace(l.Link+" "+l.Name) + ": " + l.Text, Color: cli.Red}
		if l.State == linkUnknown {
			verdict.Color = cli.Yellow
		}
	}
	t.Cells(cli.Cell{Text: a.Name, Color: cli.Bold}, text(""), verdict)
	if a.First != nil && a.First.Hint != "" {
		t.Cells(text(""), text(""), text("→ "+a.First.Hint))
	}
	for _, l := range a.Links {
		state := cli.Cell{Text: l.State, Color: map[string]cli.Color{linkOK: cli.Green, linkWrong: cli.Red, linkUnknown: cli.Yellow}[l.State]}
		t.Cells(cli.Cell{Text: l.Link, Color: cli.Faint}, state, text(strings.TrimSpace(l.Name+"  "+l.Text)))
	}
}
