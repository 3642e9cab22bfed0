package opcua

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// options are those of a client on demand.
func options(to driver.Target) Options {
	return Options{PKI: NewPKI(to.PKI, to.Name), Name: to.Name, Secret: to.Secret, File: to.File}
}

// probeAbility asks a server what it offers and what it is.
func probeAbility() *driver.Ability {
	return &driver.Ability{
		Help: `Of an OPC UA server (opc.tcp://HOST:PORT) it shows the endpoints, security policies,
certificate and state.`,
		Example: `  edge-ctl probe opc.tcp://192.168.10.20:4840`,
		Columns: []driver.Column{{Name: "SECURITY POLICY"}, {Name: "MODE"}, {Name: "USERS"}, {Name: "CHOSEN"}, {Name: "URL"}},
		Run:     runProbe,
	}
}

// probedServer is the document of a probe.
type probedServer struct {
	Application string              `json:"application,omitempty"`
	Endpoints   []probedOffer       `json:"endpoints"`
	Certificate *driver.Certificate `json:"certificate,omitempty"`
	Trust       string              `json:"trust,omitempty"` // "trusted", or why it is not
	Session     string              `json:"session"`         // "ok", or why there is none
	State       string              `json:"state,omitempty"`
	Product     string              `json:"product,omitempty"`
	Started     *time.Time          `json:"started,omitempty"`
	ClockMs     float64             `json:"clock_ms"` // by how much the server's clock is ahead
	Namespaces  []string            `json:"namespaces,omitempty"`
}

type probedOffer struct {
	URL    string   `json:"url"`
	Policy string   `json:"security_policy"`
	Mode   string   `json:"security_mode"`
	Users  []string `json:"users"`
	Chosen bool     `json:"chosen"`
}

func runProbe(ctx context.Context, to driver.Target, _ driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	p, err := Probe(ctx, to.Endpoint, to.Item, options(to))
	if err != nil {
		return r, err
	}
	out := probedServer{Application: p.App, Endpoints: []probedOffer{}, Session: "ok", State: p.State, Product: p.Product,
		ClockMs: driver.Milliseconds(p.Clock), Namespaces: p.Namespaces}
	for _, o := range p.Offers {
		out.Endpoints = append(out.Endpoints, probedOffer(o))
		chosen := ""
		if o.Chosen {
			chosen = "*"
		}
		if err := emit(driver.Event{Item: &driver.Item{Cells: []string{o.Policy, o.Mode, strings.Join(o.Users, ", "), chosen, o.URL}}}); err != nil {
			return r, err
		}
	}
	if p.Thumbprint != "" {
		out.Certificate = &driver.Certificate{Thumbprint: p.Thumbprint, Subject: p.Subject, From: p.From, To: p.To}
		out.Trust = "trusted"
	}
	if p.Trust != nil {
		out.Trust = p.Trust.Error()
	}
	if p.Session != nil {
		out.Session = p.Session.Error()
		r.Failure = "the server is reached, but gives no session"
	}
	if !p.Started.IsZero() {
		out.Started = &p.Started
	}
	r.Facts = out.facts()
	r.Document, err = driver.Document(out)
	return r, err
}

// facts are what people see of it below the endpoints.
func (p *probedServer) facts() []driver.Fact {
	var facts []driver.Fact
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, driver.Fact{Name: name, Value: value})
		}
	}
	add("application", p.Application)
	if c := p.Certificate; c != nil {
		add("certificate", fmt.Sprintf("%s, %s, valid %s to %s", c.Thumbprint, c.Subject, c.From.Format(time.DateOnly), c.To.Format(time.DateOnly)))
		add("trust", p.Trust)
	}
	add("session", p.Session)
	if p.State != "" {
		add("server", fmt.Sprintf("%s, %s, its clock is %.0f ms ahead", p.State, p.Product, p.ClockMs))
	}
	for i, ns := range p.Namespaces {
		add(fmt.Sprintf("namespace %d", i), ns)
	}
	return facts
}

// objects is where browsing begins.
const objects = "/Objects"

// browsing is what browse was asked for.
type browsing struct {
	start  Node
	depth  int // 0: all levels
	filter string
	stable bool // import nodes with their namespace's URI
	tags   map[string]int
}

func browsingOf(a driver.Args) (b browsing, err error) {
	b.tags = map[string]int{}
	start := a.Argument
	if start == "" {
		start = objects
	}
	if b.start, err = ParseNode(start); err != nil {
		return b, driver.Argsf("%w", err)
	}
	depth, err := number.Int(a.Get("depth", "0"), 0, math.MaxInt32)
	if err != nil {
		return b, driver.Argsf("--depth %s: %w", a.Get("depth", "0"), err)
	}
	b.depth, b.filter, b.stable = int(depth), a.Get("filter", ""), a.Options["stable"] == "true"
	return b, nil
}

// browseAbility lists the nodes of a server.
func browseAbility() *driver.Ability {
	return &driver.Ability{
		Help: `On an OPC UA server, browse walks through the nodes from NODE on (default: the folder
Objects), and shows types, access rights and values of variables. Each node is
listed once below each parent; where it was listed before, browse does not go down
again. With --stable the nodes have their namespace's URI, which survives a restart
of the server; its index may not.`,
		Example: `  edge-ctl browse opc.tcp://192.168.10.20:4840
  edge-ctl browse opc.tcp://192.168.10.20:4840 /Objects/2:Line \
    --filter '*Temp*' -o csv > points.csv`,
		Options: []driver.Option{
			{Name: "depth", Type: "int", Usage: "levels below NODE (default: all)"},
			{Name: "filter", Type: "glob", Usage: "only variables whose name matches this glob"},
			{Name: "stable", Type: "bool", Usage: "csv: nodes with their namespace's URI instead of its index"},
		},
		Columns: []driver.Column{{Name: "PATH"}, {Name: "NODE"}, {Name: "CLASS"}, {Name: "TYPE"}, {Name: "ACCESS"}, {Name: "VALUE"}},
		Import:  []string{"tag", "access", "type", "node", "datatype"},
		Check: func(a driver.Args) error {
			_, err := browsingOf(a)
			return err
		},
		Run: runBrowse,
	}
}

func runBrowse(ctx context.Context, to driver.Target, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	s, err := Connect(ctx, to.Endpoint, to.Item, options(to))
	if err != nil {
		return r, err
	}
	defer s.Close()
	return s.list(ctx, a, emit)
}

// Ask implements driver.Asker: browsing needs no session of its own, of which some
// servers have few.
func (d *opcuaDriver) Ask(ctx context.Context, ability string, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	l, err := d.use()
	if err != nil || ability != driver.AbilityBrowse {
		return r, fmt.Errorf("driver %s: %s over its session: %w", d.id, ability, errors.ErrUnsupported)
	}
	s := &Session{ask: l.askLong, namespaces: l.namespaces, caps: l.caps}
	return s.list(ctx, a, emit)
}

// list lists nodes.
func (s *Session) list(ctx context.Context, a driver.Args, emit func(driver.Event) error) (r driver.Report, err error) {
	b, err := browsingOf(a)
	if err != nil {
		return r, err
	}
	return r, s.Browse(ctx, b.start, BrowseOptions{
		Depth: b.depth, Filter: b.filter, Values: true,
		Found: func(f Found) error {
			item, err := b.item(f)
			if err != nil {
				return err
			}
			return emit(driver.Event{Item: &item})
		},
		Seen: func(nodes, waiting int) {
			_ = emit(driver.Event{Progress: fmt.Sprintf("%d nodes, %d to look into", nodes, waiting)}) // the next item tells of an error
		},
	})
}

// item describes a node.
func (b *browsing) item(f Found) (driver.Item, error) {
	doc, err := driver.Document(struct {
		Path   string `json:"path"`
		Node   string `json:"node"`
		Stable string `json:"stable"`
		Class  string `json:"class"`
		Type   string `json:"type,omitempty"`
		Access string `json:"access,omitempty"`
		Value  string `json:"value,omitempty"`
		Seen   bool   `json:"seen,omitempty"`
	}{f.Path, f.Node, f.Stable, f.Class, f.Type, f.Access, f.Value, f.Seen})
	return driver.Item{Cells: []string{f.Path, f.Node, f.Class, f.Type, f.Access, f.Value}, Document: doc, Import: b.variable(f)}, err
}

// variable is a node as edge-cfg imports it, nil if it is none that can be read.
func (b *browsing) variable(f Found) []string {
	t := datatypeOf(f.Type)
	if f.Class != "Variable" || f.Seen || t == "" || f.Access == "" {
		return nil
	}
	prefix := strings.TrimPrefix(b.start.String(), objects)
	if !strings.HasPrefix(prefix, "/") {
		prefix = ""
	}
	node := f.Node
	if b.stable {
		node = f.Stable
	}
	return []string{b.tag(prefix + f.Path), f.Access, string(config.AddrOPCNode), node, t}
}

// datatypeOf returns the datatype that reads values of an OPC UA type, "" for what is
// no value that a variable can have.
func datatypeOf(t string) string {
	element, array := strings.CutSuffix(t, "[]")
	own := scalarType(element)
	if array && !config.DataType(own).Numeric() && own != string(config.TypeBool) {
		return string(config.TypeJSON)
	}
	return own
}

// scalarType is that of one value.
func scalarType(t string) string {
	switch t {
	case "", "Null":
		return ""
	case "Boolean":
		return string(config.TypeBool)
	case "SByte":
		return string(config.TypeInt8)
	case "Byte":
		return string(config.TypeUint8)
	case "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64":
		return strings.ToLower(t)
	case "Float":
		return string(config.TypeFloat32)
	case "Double":
		return string(config.TypeFloat64)
	case "ByteString":
		return string(config.TypeBinary)
	case "ExtensionObject":
		return string(config.TypeJSON)
	}
	return string(config.TypeString)
}

// tag makes a tag of a path, which no other path has: nodes may have the same name.
func (b *browsing) tag(path string) string {
	name := tagOf(path)
	tag := name
	for n := b.tags[name] + 1; b.tags[tag] > 0; n++ {
		tag, b.tags[name] = tagOf(fmt.Sprintf("%s_%d", path, n)), n
	}
	b.tags[tag]++
	return tag
}

// tagOf makes a tag of a path: the names without their namespaces, joined by dots. Of a
// long one it has the end.
func tagOf(path string) string {
	var names []string
	for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
		if i := strings.IndexByte(name, ':'); i > 0 && strings.Trim(name[:i], "0123456789") == "" {
			name = name[i+1:]
		}
		names = append(names, strings.Map(func(c rune) rune {
			if c == '.' || !config.ValidTag("x"+string(c)) {
				return '_'
			}
			return c
		}, norm.NFC.String(name)))
	}
	tag := []rune(strings.Join(names, "."))
	text := string(tag[max(0, len(tag)-config.MaxTag):])
	if !config.ValidTag(text) || strings.HasPrefix(text, frame.SysPrefix) { // it begins with a mark, or is the gateway's
		text = "_" + text[min(1, len(text)):]
	}
	return text
}

// trustList implements [driver.TrustList].
type trustList struct{ pki *PKI }

// List implements [driver.TrustList].
func (t trustList) List() ([]driver.Certificate, error) {
	var out []driver.Certificate
	list, err := t.pki.List()
	for _, e := range list {
		out = append(out, e.certificate())
	}
	return out, err
}

// Find implements [driver.TrustList].
func (t trustList) Find(name string) (driver.Certificate, error) {
	return certificateOf(t.pki.Find(name))
}

// Trust implements [driver.TrustList].
func (t trustList) Trust(name string) (driver.Certificate, error) {
	return certificateOf(t.pki.Trust(name))
}

// Reject implements [driver.TrustList].
func (t trustList) Reject(name string) (driver.Certificate, error) {
	return certificateOf(t.pki.Reject(name))
}

func certificateOf(e Entry, err error) (driver.Certificate, error) {
	if err != nil {
		return driver.Certificate{}, err
	}
	return e.certificate(), nil
}

func (e *Entry) certificate() driver.Certificate {
	return driver.Certificate{
		Thumbprint: e.Thumbprint, Subject: e.Cert.Subject.String(), From: e.Cert.NotBefore, To: e.Cert.NotAfter, Folder: e.Folder, File: e.File,
	}
}
